"""A SQLite database file (protocol Database)."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Clock
from aegis_stream.store.database import Lane, Unit

from . import schema
from .connect import connect, create_private, refuse_unsuitable
from .files import DatabaseFiles
from .gate import WriteGate
from .unit import on_snapshot
from .writer import GroupWriter

T = TypeVar("T")

READER_CACHE_KIB = 16_384
"""Page cache of a reading connection."""
PEEK_CACHE_KIB = 2048
"""Page cache of the connection that reads on the event loop."""
READERS = 2
"""Threads that read, each with a connection of its own."""
AUTOCHECKPOINT_PAGES = 2000
"""Length of the write-ahead log at which SQLite copies it by itself, where no thread does."""


class SqliteDatabase:
    """Reads on snapshots that never wait for the writer, and writes that are durable when they return.

    The one writer gives all units of work an order, whatever their lane.

    Args:
        path: the database file; its directory exists.
        clock: leases are judged by it.
        threads: False runs everything at once in the caller's thread, so that a simulated event loop stays in step.
    Raises: Misconfigured when the file cannot be opened, or SQLite cannot be trusted with it.
    """

    def __init__(self, path: Path, clock: Clock, *, threads: bool = True) -> None:
        self.path = path
        self._clock = clock
        self._threads = threads
        refuse_unsuitable(path)
        create_private(path)
        self._files = DatabaseFiles(path)
        self._gate = WriteGate(path.with_name(path.name + ".lock"))
        self._writer = GroupWriter(self._connect, self._gate, self._files, clock, threads=threads)
        self._readers = ThreadPoolExecutor(READERS, "store-read") if threads else None
        self._reader_local = threading.local()
        self._all_readers: list[apsw.Connection] = []
        self._peeker: apsw.Connection | None = None  # of the event loop's thread

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date: see the protocol."""
        with self._gate:
            return schema.migrate(self._writer.connection, self.path)

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot: see the protocol."""
        if self._readers is None:
            return self.read_now(work)
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, work)
        except RuntimeError as error:  # the machine has no thread to give
            raise Unavailable(f"the store cannot be read: {error}", code="store-unreadable") from error
        return await reading

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the control lane: see the protocol."""
        return await self._writer.submit(work, Lane.CONTROL)

    def submit(self, work: Callable[[Unit], T], lane: Lane) -> "asyncio.Future[T]":
        """Begin `work` in a lane: see the protocol."""
        return self._writer.submit(work, lane)

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot, in the caller's thread: see the protocol."""
        self._files.check()
        with _readable():
            return on_snapshot(self._reader(), self._clock, work)

    def peek(self, work: Callable[[Unit], T]) -> T | None:
        """Run `work` on the event loop: see the protocol. The rows are in memory: the write-ahead log was written just now."""
        try:
            if self._peeker is None:
                self._peeker = self._connect(PEEK_CACHE_KIB)
                self._peeker.set_busy_timeout(0)
                self._all_readers.append(self._peeker)
            return on_snapshot(self._peeker, self._clock, work)
        except (apsw.Error, Misconfigured, Unavailable):
            return None

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the control lane, in the caller's thread: see the protocol."""
        return self._writer.write_now(work)

    def write_fault(self) -> Unavailable | None:
        """Return why writes fail at present: see the protocol."""
        return self._writer.fault()

    def changed(self) -> int:
        """Return a number that differs after another process has committed: see the protocol."""
        self._files.check()
        with _readable():
            return int(self._reader().pragma("data_version") or 0)

    def close(self) -> None:
        """Finish what is waiting and close all connections."""
        self._writer.close()
        if self._readers is not None:
            self._readers.shutdown(wait=True)
        for connection in self._all_readers:
            connection.close()
        self._gate.close()

    def _connect(self, cache_kib: int) -> apsw.Connection:
        self._files.check(at_once=True)  # a file that took the place of ours must not be opened beside it
        connection = connect(self.path, cache_kib, 0 if self._threads else AUTOCHECKPOINT_PAGES)
        self._files.hold()
        return connection

    def _reader(self) -> apsw.Connection:
        reader: apsw.Connection | None = getattr(self._reader_local, "connection", None)
        if reader is None:
            reader = self._connect(READER_CACHE_KIB)
            self._reader_local.connection = reader
            self._all_readers.append(reader)
        return reader


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn the driver's errors into ours, also when a reader's connection cannot be opened now. Raises: Unavailable."""
    try:
        yield
    except apsw.Error as error:
        raise Unavailable(f"the store cannot be read: {error}", code="store-unreadable") from error
    except Misconfigured as error:
        raise Unavailable(error.message, code="store-unreadable") from error
