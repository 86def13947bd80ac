"""What a PostgreSQL server says of itself: read in a few queries that any role may make, and judged in durability.py."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow, tuple_row

from aegis_stream.domain.ids import Micros

SETTINGS = (
    *(
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "synchronous_standby_names",
        "data_checksums",
        "jit",
    ),
    *("wal_level", "max_slot_wal_keep_size", "idle_replication_slot_timeout", "statement_timeout"),
    *("default_transaction_read_only", "max_connections", "superuser_reserved_connections"),
    "reserved_connections",
)
"""The settings of the server that are judged. A server that is too old for one does not have it."""
MANAGED = {
    "alloydb": "AlloyDB",
    "aurora": "Amazon Aurora",
    "azure": "Azure Database",
    "cloudsql": "Cloud SQL",
    "neon": "Neon",
    "rds": "Amazon RDS",
}
"""Managed services, by the prefix of the settings that they add. Aurora has a function as well."""
BY_STORAGE = frozenset({"AlloyDB", "Amazon Aurora", "Neon"})
"""Those whose storage replicates a commit before it is acknowledged."""

_SERVER = """
SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'), pg_is_in_recovery(),
    pg_backend_pid()::int8, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    (SELECT sum(numbackends)::int8 FROM pg_stat_database),
    CASE WHEN to_regproc('aurora_version') IS NULL THEN '' ELSE 'aurora' END"""
_OWN_SETTINGS = f"""
SELECT name, setting, reset_val FROM pg_settings
WHERE name IN ({", ".join(f"'{name}'" for name in SETTINGS)})"""  # noqa: S608 - our own names
_PREFIXES = f"""
SELECT DISTINCT split_part(name, '.', 1) FROM pg_settings
WHERE split_part(name, '.', 1) IN ({", ".join(f"'{name}'" for name in MANAGED)}) AND name LIKE '%.%'"""  # noqa: S608
# Consumers of logical replication are no standbys, and a base backup is none yet.
_STANDBYS = """
SELECT r.application_name, r.sync_state
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
WHERE coalesce(s.slot_type, 'physical') = 'physical' AND coalesce(r.state, '') <> 'backup'
ORDER BY 1, r.pid"""
_SLOTS = """
SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8
FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL AND NOT pg_is_in_recovery()
ORDER BY 2 DESC LIMIT 10"""
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8"


class Standby(NamedTuple):
    """A server that receives the write-ahead log. A role without pg_monitor sees that there is one, and None of the rest.

    Args:
        sync_state: async, potential, sync or quorum.
    """

    name: str | None
    sync_state: str | None


class Slot(NamedTuple):
    """A replication slot that nobody reads, and the bytes of write-ahead log that are kept for it."""

    name: str
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A server as one of our sessions sees it.

    Args:
        version: as in server_version_num: 150004.
        settings: of the session; defaults: what a new session of this role has. A setting that the server lacks is missing.
        slots: those that nobody reads, with what is kept for them; the ten that cost most.
        clock_ahead_us: how far the server's clock is ahead of ours; None when it was not compared.
        managed: the managed service that runs it, "" for none that is known.
        pooled: whether a pooler is between us and the server.
        connections: of all clients, in all databases.
        encrypted: whether the connection is; remote: whether it leaves this machine.
    """

    version: int
    encoding: str = "UTF8"
    in_recovery: bool = False
    superuser: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    standbys: tuple[Standby, ...] = ()
    slots: tuple[Slot, ...] = ()
    clock_ahead_us: int | None = None
    managed: str = ""
    pooled: bool = False
    connections: int = 0
    encrypted: bool = False
    remote: bool = False

    def setting(self, name: str) -> str:
        """Return a setting of the session; "" where the server does not have it."""
        return self.settings.get(name, "")


def read_facts(connection: psycopg.Connection[Any], clock: Callable[[], Micros] | None = None) -> Facts:
    """Ask the server about itself, on a session that is set up as ours are, and idle.

    Args:
        clock: ours, to compare the server's with; None leaves it out.
    Raises: psycopg.Error.
    """
    version, encoding, recovering, backend, superuser, connections, aurora = _rows(connection, _SERVER)[0]
    # Read in a transaction after the one in which the session was set up: some poolers do not carry a setting over.
    settings = _rows(connection, _OWN_SETTINGS)
    prefixes = {aurora, *(prefix for (prefix,) in _rows(connection, _PREFIXES))} - {""}
    standbys = [Standby(*row) for row in _rows(connection, _STANDBYS)]
    return Facts(
        version=version,
        encoding=encoding,
        in_recovery=recovering,
        superuser=bool(superuser),
        settings={name: value for name, value, _ in settings},
        defaults={name: value for name, _, value in settings},
        standbys=tuple(standbys),
        slots=tuple(Slot(*row) for row in _rows(connection, _SLOTS)),
        clock_ahead_us=None if clock is None else _clock_ahead(connection, clock),
        # Aurora has RDS's settings too; its name comes first.
        managed=MANAGED[min(prefixes)] if prefixes else "",
        # A pooler gives its clients process numbers of its own.
        pooled=backend != connection.info.backend_pid,
        connections=connections,
        encrypted=bool(connection.pgconn.ssl_in_use),
        remote=_is_remote(connection),
    )


def _clock_ahead(connection: psycopg.Connection[Any], clock: Callable[[], Micros]) -> int:
    """Return how far the server's clock is ahead of ours, within half the time of a round trip."""
    before = clock()
    [(theirs,)] = _rows(connection, _CLOCK)
    return int(theirs - (before + clock()) // 2)


def _is_remote(connection: psycopg.Connection[Any]) -> bool:
    host, address = connection.info.host, connection.info.hostaddr
    if host.startswith(("/", "@")):
        return False
    with contextlib.suppress(ValueError):
        return not ip_address(address or host).is_loopback
    return host not in ("", "localhost")


def _rows(connection: psycopg.Connection[Any], query: str) -> list[TupleRow]:
    """Run a query in a transaction of its own, whatever kinds of cursors and rows the connection makes otherwise."""
    with connection.transaction(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return cursor.execute(query.encode()).fetchall()
