"""A PostgreSQL database (protocol Database)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg

from aegis_stream.errors import Unavailable
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.database import Lane, Unit
from aegis_stream.store.jobs import WRITE_TIMEOUT_S, Job

from . import schema
from .connect import Session, unavailable
from .lanes import LaneWriter
from .readers import Readers
from .watch import CommitWatch
from .watchdog import Watchdog

T = TypeVar("T")

READERS = 2
"""Threads that read, each with a connection of its own."""


class PostgresDatabase:
    """Reads on snapshots, and writes that are durable when they return: on the primary, and on its synchronous standbys.

    Each lane has a thread and a connection, which opens when it is first needed.

    Args:
        url: where the database is.
        direct_url: the same database without a pooler in between; None where `url` has none.
    """

    def __init__(self, url: DatabaseUrl, direct_url: DatabaseUrl | None = None) -> None:
        self._url = url
        self._direct_url = direct_url or url
        self._watchdog = Watchdog(self._connect)
        self._lanes = {lane: LaneWriter(lane, self._watched) for lane in Lane}
        self._read_threads = ThreadPoolExecutor(READERS, "store-read")
        self._readers = Readers(self._watched)
        self._watch = CommitWatch(self._connect)

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date: see the protocol. Raises: Unavailable as well."""
        try:
            with Session(self._direct_url) as session:
                return schema.migrate(session)
        except psycopg.Error as error:
            raise unavailable(error, "written to") from error

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot: see the protocol."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._read_threads, self._readers.read, work)
        except RuntimeError as error:  # the machine has no thread to give
            raise unavailable(error, "read") from error
        return await reading

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the control lane: see the protocol."""
        return await self.submit(work, Lane.CONTROL)

    def submit(self, work: Callable[[Unit], T], lane: Lane) -> "asyncio.Future[T]":
        """Begin `work` in a lane: see the protocol."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lanes[lane].submit(Job(work, lane, future), WRITE_TIMEOUT_S)
        return future

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot, in the caller's thread: see the protocol."""
        return self._readers.read(work)

    def peek(self, _work: Callable[[Unit], T]) -> T | None:
        """Return None: a read of another machine waits for the network."""
        return None

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the control lane, in the caller's thread: see the protocol."""
        return self._lanes[Lane.CONTROL].write_now(work)

    def write_fault(self) -> Unavailable | None:
        """Return why writes fail at present: see the protocol."""
        return next((fault for lane in self._lanes.values() if (fault := lane.fault()) is not None), None)

    def changed(self) -> int:
        """Return a number that differs after somebody has committed: see the protocol. It may be some 50 ms behind."""
        return self._watch.changes()

    def close(self) -> None:
        """Finish what is waiting and close all connections."""
        for lane in self._lanes.values():
            lane.close()
        self._read_threads.shutdown(wait=True)
        self._readers.close()
        self._watch.close()
        self._watchdog.close()

    def _watched(self) -> Session:
        return self._watchdog.watch(self._connect())

    def _connect(self) -> Session:
        return Session(self._url)
