"""Picks the database: the only module outside a database's own folder that knows which ones there are.

Every process imports it when it starts, so what only a command needs is imported where the command calls it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aegis_stream.errors import Misconfigured
from aegis_stream.ports import Clock, Notifier, Random
from aegis_stream.settings import DatabaseUrl

from . import local_wakeups
from .database import Database
from .recorded_head import NAME
from .sqlite import connect
from .sqlite.database import SqliteDatabase
from .suitability import Demands, Finding

if TYPE_CHECKING:
    from .copying import CopySource, CopyTarget
    from .inspection import Inspection


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is.

    Args:
        url: of a SQLite file, or of PostgreSQL, with the password.
        wake_folder: where the workers of this machine listen for wake-ups.
        direct_url: the same PostgreSQL database without a pooler in between; None where `url` has none.
    """

    url: DatabaseUrl
    wake_folder: Path
    direct_url: DatabaseUrl | None = None

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.url.sqlite_path

    @property
    def shared(self) -> bool:
        """Whether several machines can share the database."""
        return self.url.is_postgres


class OpenNotifier(Notifier, Protocol):
    """A notifier that holds something open."""

    def close(self) -> None:
        """Close what it holds open."""
        ...


class Presence(Protocol):
    """What shows that a process lives."""

    def close(self) -> None:
        """Show it no more."""
        ...


class WakeListener(Protocol):
    """What listens for wake-ups, and calls back until it is closed."""

    @property
    def hears(self) -> bool:
        """Whether all who notify can wake this worker at the moment; else it must look more often."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Distribution(Protocol):
    """A database whose tables are to be sharded by organization."""

    def plan(self) -> Sequence[tuple[str, str]]:
        """Return the statements that are missing, and what each is for. Raises: Unavailable."""
        ...

    def run(self, text: str) -> None:
        """Run a statement of the plan. Raises: Unavailable; then nothing of it is done."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def open_database(location: Location, clock: Clock, *, threads: bool = True) -> Database:
    """Open a database; its schema is as it was left.

    Args:
        clock: leases are judged by it, where the database has no clock of its own.
        threads: False runs everything at once in the caller's thread.
    Raises: Misconfigured, in words that say what to do.
    """
    if location.shared:
        return _open_postgres(location)
    return SqliteDatabase(location.path, clock, threads=threads)


def open_notifier(location: Location, random: Random) -> OpenNotifier:
    """Return what wakes the workers of a database."""
    if location.shared:
        from .postgres.wakeups import NodeNotifier  # noqa: PLC0415 - an extra

        return NodeNotifier(location.url, location.wake_folder, random)
    return local_wakeups.WakeNotifier(location.wake_folder)


def open_listener(
    location: Location, worker_id: str, on_wake: Callable[[int, int], None], random: Random
) -> WakeListener:
    """Open what a worker listens to; `on_wake` is called with organization and head, (0, 0) when destinations changed."""
    if location.shared:
        from .postgres.wakeups import NodeListener  # noqa: PLC0415 - an extra

        url = location.direct_url or location.url
        return NodeListener(url, location.wake_folder, worker_id, on_wake, random)
    return local_wakeups.WakeListener(location.wake_folder, worker_id, on_wake)


def open_presence(location: Location, process_id: str) -> Presence:
    """Show that this process lives, until it is closed or the process ends. Raises: OSError when no descriptor is free."""
    return local_wakeups.Presence(location.wake_folder, process_id)


def is_alive(location: Location, name: str) -> bool:
    """Tell whether a worker or another process of this node still runs. Raises: OSError where that cannot be asked."""
    return local_wakeups.is_alive(location.wake_folder, name)


def refuse_unsuitable(location: Location, demands: Demands) -> tuple[Finding, ...]:
    """Refuse a database that would lose what it acknowledges.

    Returns: what is not as it should be, but refuses nothing.
    Raises: Misconfigured with what to do; Unavailable when it cannot be asked.
    """
    if location.shared:
        with _driver():
            from .postgres.inspect import refuse_unsuitable as refuse_server  # noqa: PLC0415 - an extra
        return refuse_server(location.url, demands)
    connect.refuse_unsuitable(location.path)
    return ()


def refuse_unfinished(db: Database) -> None:
    """Refuse to serve a database of which a part is missing: an unfinished copy. Raises: Misconfigured."""
    if db.read_now(lambda unit: unit.row("unfinished_copy")) is not None:
        raise Misconfigured(
            "the database is an unfinished copy: run `aegis database copy` again until it says that the copy is equal",
            code="unfinished-copy",
        )


def inspect_database(location: Location) -> "Inspection":
    """Open a database for reading alone. Raises: Misconfigured, Unavailable when it cannot be read."""
    from .inspection import Inspection  # noqa: PLC0415 - for commands
    from .sqlite.inspect import ReadOnlySqlite  # noqa: PLC0415

    if location.shared:
        with _driver():
            from .postgres.inspect import ReadOnlyPostgres  # noqa: PLC0415 - an extra
        return Inspection(ReadOnlyPostgres(location.url))
    return Inspection(ReadOnlySqlite(location.path))


def back_up(location: Location, target: Path, tell: Callable[[int, int], None]) -> None:
    """Copy a database to a new file while it is in use.

    Args:
        tell: called with how much is copied, and the total.
    Raises: Misconfigured, Unavailable; then there is no such file.
    """
    from .sqlite import backup  # noqa: PLC0415 - for commands

    backup.back_up(location.path, target, tell)


def restore(location: Location, source: Path, aside: Path | None) -> None:
    """Put a backup in place of a database that nobody uses.

    Args:
        aside: new directory for the files that are there; None when there must be none.
    Raises: Conflict, Misconfigured, Unavailable; then nothing has changed.
    """
    from .sqlite import backup  # noqa: PLC0415 - for commands

    backup.restore(source, location.path, beside=[location.wake_folder.with_name(NAME)], aside=aside)


def open_copy_source(url: DatabaseUrl) -> "CopySource":
    """Open a database to copy it. Raises: Misconfigured, Unavailable."""
    if url.is_postgres:
        return _open_postgres_copy(url, writing=False)
    from .sqlite.copying import SqliteCopy  # noqa: PLC0415 - for commands

    return SqliteCopy(url.sqlite_path, writing=False)


def open_copy_target(url: DatabaseUrl) -> "CopyTarget":
    """Open a database to copy into it, with the newest schema. Raises: Conflict, Misconfigured, Unavailable."""
    if url.is_postgres:
        return _open_postgres_copy(url, writing=True)
    from .sqlite.copying import SqliteCopy, prepare_target  # noqa: PLC0415 - for commands

    prepare_target(url.sqlite_path)
    return SqliteCopy(url.sqlite_path, writing=True)


def _open_postgres(location: Location) -> Database:
    """Open a PostgreSQL database. Raises: Misconfigured when its driver is missing."""
    with _driver():
        from .postgres.database import PostgresDatabase  # noqa: PLC0415 - an extra
    return PostgresDatabase(location.url, location.direct_url)


def _open_postgres_copy(url: DatabaseUrl, *, writing: bool) -> "CopyTarget":
    """Open a PostgreSQL database to copy it, or to copy into it. Raises: Misconfigured when its driver is missing."""
    with _driver():
        from .postgres.copying import PostgresCopy, prepare_target  # noqa: PLC0415 - an extra
    if writing:
        prepare_target(url)
    return PostgresCopy(url)


def open_distribution(url: DatabaseUrl) -> Distribution:
    """Open a PostgreSQL database to shard its tables. Raises: Conflict, Misconfigured, Unavailable."""
    if not url.is_postgres:
        raise Misconfigured(
            f"{url} is a SQLite file: only a PostgreSQL database with Citus can be distributed"
        )
    with _driver():
        from .postgres.distribution import Distribution as Postgres  # noqa: PLC0415 - an extra
    return Postgres(url)


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    """Say what to install where an import fails: the driver of PostgreSQL is an extra. Raises: Misconfigured."""
    try:
        yield
    except ImportError as error:
        raise Misconfigured(
            "the URL names PostgreSQL, whose driver is missing: pip install 'aegis-audit-stream[postgres]'",
            code="driver-missing",
        ) from error
