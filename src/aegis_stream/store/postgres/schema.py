"""Brings the schema of a PostgreSQL database up to date.

Nodes of two neighbouring versions run side by side during an upgrade. So each step says in its first line whether the version before
it can go on: `-- expands: …` (it can) or `-- contracts: …` (it cannot).
"""

import time
from importlib import resources
from typing import NamedTuple

import psycopg

from aegis_stream.errors import Misconfigured
from aegis_stream.store.database import Schema

from .connect import Session

LOCK = "SELECT pg_advisory_xact_lock(4723906715)"
"""Held by the one process that migrates."""
LOCK_TIMEOUT = "2s"
"""How long a step may wait for a table that is in use: meanwhile others wait behind it."""
TRIES_MAX = 30
"""How often a step is tried that finds a table in use."""
_HAS_TABLES = "SELECT 1 FROM pg_tables WHERE tablename = 'meta' AND schemaname = ANY (current_schemas(false))"
"""Not to_regclass: after a wait for the lock it still answers from its cache that there is no such table."""
_EXPANDS, _CONTRACTS = "-- expands: ", "-- contracts: "


class Step(NamedTuple):
    """One step of the schema.

    Args:
        oldest_reader: the oldest version whose program can go on after it.
    """

    version: int
    text: str
    oldest_reader: int


def steps() -> list[Step]:
    """Return the steps of the schema in order. Raises: ValueError for one that does not say whether it expands."""
    folder = resources.files(__package__).joinpath("migrations")
    found: list[Step] = []
    oldest = 1
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
        text = folder.joinpath(name).read_text(encoding="utf-8")
        version = int(name[:4])
        if not text.startswith((_EXPANDS, _CONTRACTS)):
            raise ValueError(f"{name} must begin with {_EXPANDS!r} or {_CONTRACTS!r} and the reason")
        if text.startswith(_CONTRACTS):
            oldest = version
        found.append(Step(version, text, oldest))
    return found


def found_schema(session: Session) -> tuple[int, int]:
    """Return the version of the schema, and the oldest version whose program can read it; 0, 0 for an empty database."""
    if session.cursor.execute(_HAS_TABLES).fetchone() is None:
        return 0, 0
    found = session.cursor.execute(
        "SELECT name, value FROM meta WHERE name IN ('schema_version', 'schema_oldest_reader')"
    )
    rows: dict[str, int] = dict(found.fetchall())
    return rows.get("schema_version", 0), rows.get("schema_oldest_reader", 0)


def schema(session: Session) -> Schema:
    """Return the version of the schema, and the newest that this program knows."""
    found, oldest_reader = found_schema(session)
    return Schema(found, steps()[-1].version, oldest_reader)


def migrate(session: Session) -> tuple[int, int]:
    """Make the steps that are missing, all in one transaction; one process at a time.

    Returns: schema version before and after.
    Raises: Misconfigured when the database is newer than this program can read; psycopg.Error.
    """
    known = steps()
    before, oldest_reader = found_schema(session)
    if before >= known[-1].version:
        _refuse_newer(before, oldest_reader, known[-1].version)
        return before, before
    for tries in range(1, TRIES_MAX + 1):
        try:
            return _make(session, known)
        except psycopg.errors.LockNotAvailable:
            session.rollback()
            if tries == TRIES_MAX:
                raise
            time.sleep(0.1)
    raise AssertionError("the last try returns or raises")


def _make(session: Session, known: list[Step]) -> tuple[int, int]:
    session.begin("", f"; {LOCK}; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    try:
        before, _ = found_schema(session)
        missing = [step for step in known if step.version > before]
        for step in missing:
            session.exec(step.text)
        if missing:
            values = (
                ("schema_version", missing[-1].version),
                ("schema_oldest_reader", missing[-1].oldest_reader),
            )
            for name, value in values:
                session.cursor.execute(
                    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
        session.commit()
    except BaseException:
        session.rollback()
        raise
    return before, max(before, known[-1].version)


def _refuse_newer(found: int, oldest_reader: int, newest: int) -> None:
    """Refuse a schema that this program cannot read. Raises: Misconfigured."""
    if oldest_reader > newest:
        raise Misconfigured(
            f"the database has schema version {found}, which this program cannot read: it knows {newest}, and {oldest_reader} is "
            "needed; install the version that wrote it, or restore the backup made before the upgrade",
            code="schema-too-new",
        )
