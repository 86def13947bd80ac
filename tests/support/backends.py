"""Places for a store, one class a database: what tests of every store do to it beyond the protocols.

Another database joins by one more member of BACKENDS.
"""

import fcntl
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.database import Database
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.opening import Location
from aegis_stream.store.retention import Retention
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.clock import SteadyClock
from support.directory import Directory
from support.simulation import SeededRandom
from support.stores import Store


@dataclass
class Stall:
    """A transaction that is held at the moment of its commit."""

    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class Backend(Protocol):
    """A place for a store, and what a test may do to it."""

    clock: SteadyClock
    name: str

    @property
    def location(self) -> Location:
        """Where another process opens the same store."""
        ...

    def open(self, around: Callable[[Database], Any] = ...) -> Store:
        """Open the store once more, as another process would; `around` is put around its database."""
        ...

    def fail_next_commit(self, store: Store, after: int = 0) -> None:
        """Let a transaction of a store fail at the moment of its commit, and no other: the next one, or `after` so many."""
        ...

    def stall_before_commit(self, store: Store, *, fail: bool = False) -> AbstractContextManager[Stall]:
        """Hold the next transaction of a store at the moment of its commit until the block ends; then let it pass, or fail."""
        ...

    def stop_a_writer(self, patience_s: float) -> AbstractContextManager[None]:
        """Let another process hold the right to write until the block ends; others wait so long for it, seconds."""
        ...

    def raw(self) -> bytes:
        """Return every byte that the store has written anywhere."""
        ...

    def close(self) -> None:
        """Close every store that was opened."""
        ...


@dataclass
class SqliteBackend:
    """A SQLite file in a folder of its own."""

    folder: Path
    name: str = "sqlite"
    clock: SteadyClock = field(default_factory=SteadyClock)
    opened: list[Store] = field(default_factory=list)

    def open(self, around: Callable[[Database], Any] = lambda db: db) -> Store:
        """Open the store once more, as another process would.

        Args:
            around: what is put around the database.
        """
        db = SqliteDatabase(self.folder / "aegis.db", self.clock)
        db.migrate()
        db = around(db)
        directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(len(self.opened))))
        store = Store(db, StoredLog(db), StoredLedger(db), directory, Retention(db), self.clock)
        self.opened.append(store)
        return store

    def raw(self) -> bytes:
        """Return every byte that the store has written anywhere."""
        # In another process: one that closes a descriptor of the database file drops SQLite's locks on it.
        files = [str(file) for file in sorted(self.folder.iterdir())]
        return subprocess.run(["cat", *files], capture_output=True, check=True).stdout

    def fail_next_commit(self, store: Store, after: int = 0) -> None:
        """Let a transaction of a store fail at the moment of its commit, and no other: the next one, or `after` so many."""
        fates = iter([False] * after)
        store.db._writer.connection.set_commit_hook(lambda: next(fates, True))

    @contextmanager
    def stall_before_commit(self, store: Store, *, fail: bool = False) -> Iterator[Stall]:
        """Hold the next transaction of a store at the moment of its commit until the block ends; then let it pass, or fail."""
        stall = Stall()
        fates = iter([True])

        def at_commit() -> bool:
            if next(fates, False):
                stall.reached.set()
                stall.go_on.wait(60)  # the block ends it; on a slow machine that takes a while
                return fail
            return False

        store.db._writer.connection.set_commit_hook(at_commit)
        try:
            yield stall
        finally:
            stall.go_on.set()

    @property
    def location(self) -> Location:
        """Where another process opens the same store."""
        return Location(DatabaseUrl(self.folder / "aegis.db"), self.folder / "bell")

    @contextmanager
    def stop_a_writer(self, patience_s: float) -> Iterator[None]:
        """Let another process hold the right to write until the block ends; others wait so long for it, seconds."""
        with mock.patch("aegis_stream.store.sqlite.writer.WRITE_TIMEOUT_S", patience_s):
            gate = os.open(self.folder / "aegis.db.lock", os.O_RDWR)
            fcntl.flock(gate, fcntl.LOCK_EX)
            try:
                yield
            finally:
                os.close(gate)

    def close(self) -> None:
        for store in self.opened:
            store.db.close()


def _postgres(folder: Path) -> Backend:
    from support.postgres_backend import PostgresBackend

    return PostgresBackend(folder)


BACKENDS: dict[str, Callable[[Path], Backend]] = {"sqlite": SqliteBackend, "postgres": _postgres}
