"""Whether a PostgreSQL server keeps what it acknowledges: pure rules over what it says of itself (facts.py).

A start is refused by the findings whose state is "refuse"; `aegis doctor` shows all of them. The rules of replication.py
and conditions.py belong to them.
Some services replicate below PostgreSQL. What nobody can change there is told, and refuses nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from aegis_stream.errors import Misconfigured
from aegis_stream.store.suitability import NO_DEMANDS, Demands, Finding

from . import conditions, replication
from .facts import BY_STORAGE, Facts, read_facts

VERSION_MIN = 14
DURABLE = frozenset({"on", "remote_apply"})
"""Values of synchronous_commit with which a commit waits for the disk, and for the standbys if there are any to wait for."""
_COMMIT_REMEDY = "ALTER ROLE … SET synchronous_commit = on, for the role that the service logs in as"


def refuse_unsuitable(
    connection: psycopg.Connection[Any], demands: Demands = NO_DEMANDS
) -> tuple[Finding, ...]:
    """Refuse a server that loses what it acknowledges.

    Args:
        connection: set up as our sessions are, and idle.
    Returns: the findings that are not ok, but refuse nothing.
    Raises: Misconfigured with what to set. psycopg.Error.
    """
    findings = judge(read_facts(connection), demands)
    for one in findings:
        if one.state == "refuse":
            raise Misconfigured(f"{one.detail}: {one.remedy}", code="database-unsuitable")
    return tuple(one for one in findings if one.state != "ok")


def judge(facts: Facts, demands: Demands = NO_DEMANDS) -> tuple[Finding, ...]:
    """Return all findings, one row after the other."""
    return tuple(finding for row in _ROWS for finding in row(facts, demands))


def _version(facts: Facts, _: Demands) -> Iterator[Finding]:
    major, minor = divmod(facts.version, 10_000)
    if major < VERSION_MIN:
        remedy = f"use PostgreSQL {VERSION_MIN} or newer"
        yield Finding("version", "refuse", f"the server is PostgreSQL {major}.{minor}", remedy)
    else:
        service = f", {facts.managed}" if facts.managed else ""
        yield Finding("version", "ok", f"PostgreSQL {major}.{minor}{service}")


def _encoding(facts: Facts, _: Demands) -> Iterator[Finding]:
    if facts.encoding == "UTF8":
        yield Finding("encoding", "ok", "UTF8")
        return
    detail = f"the database has the encoding {facts.encoding}, which cannot hold every event"
    remedy = "create it with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    yield Finding("encoding", "refuse", detail, remedy)


def _writable(facts: Facts, _: Demands) -> Iterator[Finding]:
    if facts.in_recovery:
        remedy = "name the primary in AEGIS_DATABASE_URL, or all servers: of several hosts the one that accepts writes is used"
        yield Finding("writable", "refuse", "the server is a standby, which cannot be written", remedy)
    elif facts.defaults.get("default_transaction_read_only") == "on":
        detail = "transactions of this role are read-only by default"
        remedy = "set default_transaction_read_only = off for the role, the database or the server"
        yield Finding("writable", "refuse", detail, remedy)
    else:
        yield Finding("writable", "ok", "the server accepts writes")


def _fsync(facts: Facts, _: Demands) -> Iterator[Finding]:
    if facts.setting("fsync") != "off":
        yield Finding("fsync", "ok", "on")
    elif facts.managed in BY_STORAGE:
        yield Finding("fsync", "ok", f"off, by storage: {facts.managed} keeps each commit below PostgreSQL")
    else:
        detail = "fsync is off: a power failure loses commits that were acknowledged"
        yield Finding("fsync", "refuse", detail, "set fsync = on in postgresql.conf, and reload")


def _page_writes(facts: Facts, demands: Demands) -> Iterator[Finding]:
    row = "full_page_writes"
    if facts.setting(row) != "off":
        yield Finding(row, "ok", "on")
    elif facts.managed in BY_STORAGE:
        yield Finding(row, "ok", f"off, by storage: {facts.managed} keeps pages below PostgreSQL")
    elif demands.atomic_pages:
        remedy = "nothing if the file system never tears a page, as ZFS; otherwise set full_page_writes = on"
        yield Finding(row, "info", "full_page_writes is off, and AEGIS_ATOMIC_PAGES is set", remedy)
    else:
        detail = "full_page_writes is off: a power failure can damage the database"
        remedy = (
            "set full_page_writes = on in postgresql.conf, and reload; "
            "or set AEGIS_ATOMIC_PAGES=1 if the file system never tears a page, as ZFS"
        )
        yield Finding(row, "refuse", detail, remedy)


def _commits(facts: Facts, _: Demands) -> Iterator[Finding]:
    row = "synchronous_commit"
    now, default = facts.setting(row), facts.defaults.get(row, "")
    if now not in DURABLE:
        detail = f"synchronous_commit is {now} although the service sets it to on: a commit is acknowledged before it is durable"
        yield Finding(row, "refuse", detail, _COMMIT_REMEDY)
    elif facts.pooled and default not in DURABLE:
        detail = f"synchronous_commit is {default} by default, and behind a pooler a session may run with it"
        yield Finding(row, "refuse", detail, _COMMIT_REMEDY)
    else:
        yield Finding(row, "ok", now)


_ROWS: tuple[Callable[[Facts, Demands], Iterator[Finding]], ...] = (
    *(_version, _encoding, _writable, _fsync, _page_writes, _commits),
    *(replication.standbys, replication.slots),
    *(conditions.clock, conditions.checksums, conditions.pooler, conditions.connections),
    *(conditions.jit, conditions.encryption, conditions.role),
)
