"""Rules of durability.py that refuse nothing: clock, checksums, pooler, connections, session."""

from collections.abc import Iterator

from aegis_stream.domain.ids import SECOND
from aegis_stream.store.suitability import Demands, Finding

from .facts import BY_STORAGE, Facts

CLOCK_SLACK_US = 5 * SECOND
"""How far the server's clock may be from ours: leases are judged by the server's."""
CONNECTIONS_PER_PROCESS = 6
"""What an API process or a worker opens: append, settlement, control, two for reading, one for wake-ups."""


def clock(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Compare the clocks, if they were read."""
    if facts.clock_ahead_us is None:
        return
    seconds = facts.clock_ahead_us / SECOND
    detail = f"the server's clock is {abs(seconds):,.1f} s {'ahead of' if seconds >= 0 else 'behind'} this machine's"
    if abs(facts.clock_ahead_us) > CLOCK_SLACK_US:
        yield Finding(
            "server clock", "warn", detail, "synchronize both, as with chronyd: some times come from each"
        )
    else:
        yield Finding("server clock", "ok", detail)


def checksums(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Tell whether the server notices damage on its disk. Before PostgreSQL 18 it does not by default."""
    found = facts.setting("data_checksums")
    if found == "off" and facts.managed not in BY_STORAGE:
        detail = "data checksums are off: the server does not notice what a disk damages"
        remedy = "stop the server and run pg_checksums --enable; `aegis doctor` verifies events all the same"
        yield Finding("checksums", "info", detail, remedy)
    else:
        yield Finding("checksums", "ok", found)


def pooler(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Tell whether a pooler is in between, and what does not work through it."""
    if not facts.pooled:
        yield Finding("pooler", "ok", "none: sessions are the server's own")
        return
    detail = "a pooler is in between: statements are not prepared, and new events are polled for"
    remedy = "set AEGIS_DATABASE_LISTEN_URL to the server itself; most installations need no pooler"
    yield Finding("pooler", "info", detail, remedy)
    if facts.defaults.get("statement_timeout", "0") != "0":
        detail = "statement_timeout is set for this role, and behind a pooler it can cancel a commit"
        remedy = "ALTER ROLE … SET statement_timeout = 0, for the role that the service logs in as"
        yield Finding("pooler", "warn", detail, remedy)


def connections(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Compare the connections in use, of all clients, with the limit."""
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, *reserved = (int(facts.setting(name) or 0) for name in names)
    most -= sum(reserved)
    room = max(0, most - facts.connections) // CONNECTIONS_PER_PROCESS
    detail = (
        f"{facts.connections} of {most} in use, {CONNECTIONS_PER_PROCESS} for each API process and each worker: "
        f"room for {room} more processes"
    )
    if room or facts.pooled:
        yield Finding("connections", "ok", detail)
    else:
        remedy = "raise max_connections and restart the server, or use a pooler"
        yield Finding("connections", "warn", detail, remedy)


def jit(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Tell whether the server compiles our statements, which are too short for that."""
    if facts.setting("jit") == "on":
        remedy = "ALTER ROLE … SET jit = off, for the role that the service logs in as"
        yield Finding(
            "jit", "info", "the server compiles statements, which costs short ones more than it saves", remedy
        )
    else:
        yield Finding("jit", "ok", "off in sessions of the service")


def encryption(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Judge whether events cross a network as plain text."""
    if facts.encrypted:
        yield Finding("encryption", "ok", "TLS")
    elif facts.remote:
        detail = "events cross a network unencrypted"
        remedy = "add sslmode=verify-full and sslrootcert=… to AEGIS_DATABASE_URL"
        yield Finding("encryption", "warn", detail, remedy)
    else:
        yield Finding("encryption", "ok", "none: the connection stays on this machine")


def role(facts: Facts, _: Demands) -> Iterator[Finding]:
    """Tell whether the service may do more than it needs."""
    if facts.superuser:
        remedy = "use a role that owns the database and is no superuser"
        yield Finding("role", "info", "the service logs in as a superuser", remedy)
    else:
        yield Finding("role", "ok", "no superuser")
