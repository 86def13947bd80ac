"""Picks the database: the only module outside a database's own folder that knows which ones there are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aegis_stream.ports import Clock, Notifier

from .database import Database
from .inspection import Inspection
from .recorded_head import NAME
from .sqlite import backup, connect, wakeups
from .sqlite.database import SqliteDatabase
from .sqlite.inspect import ReadOnlySqlite


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is.

    Args:
        path: its SQLite file.
        wake_folder: where workers listen for wake-ups.
    """

    path: Path
    wake_folder: Path


class OpenNotifier(Notifier, Protocol):
    """A notifier that holds something open."""

    def close(self) -> None:
        """Close what it holds open."""
        ...


class WakeListener(Protocol):
    """What listens for wake-ups, and calls back until it is closed."""

    def close(self) -> None:
        """Stop listening."""
        ...


def open_database(location: Location, clock: Clock, *, threads: bool = True) -> Database:
    """Open a database; its schema is as it was left.

    Args:
        clock: leases are judged by it, where the database has no clock of its own.
        threads: False runs everything at once in the caller's thread.
    Raises: Misconfigured, in words that say what to do.
    """
    return SqliteDatabase(location.path, clock, threads=threads)


def open_notifier(location: Location) -> OpenNotifier:
    """Return what wakes the workers of a database."""
    return wakeups.WakeNotifier(location.wake_folder)


def open_listener(location: Location, worker_id: str, on_wake: Callable[[int, int], None]) -> WakeListener:
    """Open the socket of a worker; `on_wake` is called with organization and head, (0, 0) when destinations changed."""
    return wakeups.WakeListener(location.wake_folder, worker_id, on_wake)


def is_alive(location: Location, worker_id: str) -> bool:
    """Tell whether the process of a worker of this machine still runs. Raises: OSError where that cannot be asked."""
    return wakeups.is_alive(location.wake_folder, worker_id)


def refuse_unsuitable(location: Location) -> None:
    """Refuse what a database cannot be trusted on. Raises: Misconfigured with what to do."""
    connect.refuse_unsuitable(location.path)


def inspect_database(location: Location) -> Inspection:
    """Open a database for reading alone. Raises: Unavailable when it cannot be read."""
    return Inspection(ReadOnlySqlite(location.path))


def back_up(location: Location, target: Path, tell: Callable[[int, int], None]) -> None:
    """Copy a database to a new file while it is in use.

    Args:
        tell: called with how much is copied, and the total.
    Raises: Misconfigured, Unavailable; then there is no such file.
    """
    backup.back_up(location.path, target, tell)


def restore(location: Location, source: Path, aside: Path | None) -> None:
    """Put a backup in place of a database that nobody uses.

    Args:
        aside: new directory for the files that are there; None when there must be none.
    Raises: Conflict, Misconfigured, Unavailable; then nothing has changed.
    """
    backup.restore(source, location.path, beside=[location.wake_folder.with_name(NAME)], aside=aside)
