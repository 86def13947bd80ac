"""The one writer of a process: commits together what waits, on a thread of its own.

Units of the append lane that wait share a transaction, each in a savepoint, and so do units of the settlement lane. A unit of the
control lane has a transaction of its own.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import apsw

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Clock
from aegis_stream.store.database import Lane, Unit
from aegis_stream.store.jobs import STUCK_S, WRITE_TIMEOUT_S, Job, answer, stuck

from .checkpoint import Checkpointer, copy
from .connect import unwritable
from .files import DatabaseFiles
from .gate import WriteGate
from .unit import SqliteUnit

T = TypeVar("T")

UNITS_PER_COMMIT_MAX = 512
"""Most units of work in one transaction: bounds how long the first of them waits for its ack."""
CACHE_KIB = 65_536
"""Page cache of the writer's connection."""
CHECKPOINT_CACHE_KIB = 256
"""Page cache of the connection that copies the write-ahead log, which reads no page twice."""


class GroupWriter:
    """Writes of one process to one database file.

    Args:
        connect: opens a connection with a page cache of so many KiB.
        gate: passed before each transaction.
        files: nothing is written once they were removed or replaced.
        threads: False runs everything at once in the caller's thread, so that a simulated event loop stays in step.
    """

    def __init__(
        self,
        connect: Callable[[int], apsw.Connection],
        gate: WriteGate,
        files: DatabaseFiles,
        clock: Clock,
        *,
        threads: bool,
    ) -> None:
        self._connect = connect
        self._gate = gate
        self._files = files
        self._clock = clock
        self._threads = threads
        self.connection = connect(CACHE_KIB)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._held: Job | None = (
            None  # taken from the queue, not yet begun; the writer's thread alone touches it
        )
        self._writing: threading.Thread | None = None
        self._checkpointer: Checkpointer | None = None
        self._log_is_long = False
        self._since_s: float | None = None  # written by the writer's thread, as the next one; read by any
        self._fault: Unavailable | None = None
        if threads:
            self._checkpointer = Checkpointer(lambda: connect(CHECKPOINT_CACHE_KIB), self._want_log_copied)
            self._checkpointer.watch(self.connection)

    def submit(self, work: Callable[[Unit], T], lane: Lane) -> "asyncio.Future[T]":
        """Begin a unit of work and return its future."""
        job = Job(work, lane, asyncio.get_running_loop().create_future())
        if not self._threads:
            self._commit([job])
            job.resolve()
        else:
            if self._writing is None:
                thread = threading.Thread(target=self._run, name="store-write", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the machine has no thread to give; the next write asks again
                    job.future.set_exception(unwritable(error))
                    return job.future
                self._writing = thread
            job.wait_at_most(WRITE_TIMEOUT_S)
            self._jobs.put(job)
        return job.future

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run a unit of work of the control lane in the caller's thread. Raises: what `work` raised, or Unavailable."""
        with self._gate:
            self._files.check()
            try:
                unit = SqliteUnit(self.connection, self._clock)
                unit.begin()
                result = work(unit)
                self.connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(apsw.Error):
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                if isinstance(error, apsw.Error):
                    raise unwritable(error) from error
                raise
        return result

    def close(self) -> None:
        """Finish what is waiting and close the connection."""
        if self._writing is not None:
            self._jobs.put(None)
            self._writing.join()
            self._writing = None
        if self._checkpointer is not None:
            self._checkpointer.close()
        self.connection.close()

    def _run(self) -> None:
        """Body of the writer's thread: what waits, one commit, again. No delay is ever added."""
        while (first := self._held or self._jobs.get()) is not None:
            self._held = None
            group = self._group(first)
            self._commit(group)
            answer(group)
            if self._log_is_long:
                self._copy_rest()

    def _group(self, first: Job) -> list[Job]:
        """Return `first` and what waits behind it, as far as they may share a transaction.

        On PostgreSQL each unit of the control lane is a transaction of its own; here as well, so that none comes to rely
        on another that shares its fate.
        """
        group = [first]
        while first.lane is not Lane.CONTROL and len(group) < UNITS_PER_COMMIT_MAX:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            if job.lane is not first.lane:
                self._held = job
                break
            group.append(job)
        return group

    def fault(self) -> Unavailable | None:
        """Return why writes fail at present: the last one did, or one is under way for too long. None when they do not."""
        since_s = self._since_s
        if since_s is not None and time.monotonic() - since_s > STUCK_S:
            return stuck()
        return self._fault

    def _commit(self, group: list[Job]) -> None:
        self._since_s = time.monotonic()
        self._fault = self._try_commit(group)
        self._since_s = None

    def _try_commit(self, group: list[Job]) -> Unavailable | None:
        """Commit what the units of a group do. Returns: why it failed; None when it did not, whatever became of single units."""
        try:
            with self._gate:
                self._files.check()
                unit = SqliteUnit(self.connection, self._clock)
                unit.begin()
                alone = len(group) == 1
                for job in group:
                    if job.begin():
                        self._run_one(job, unit, contextlib.nullcontext() if alone else unit.savepoint())
                self.connection.execute("ROLLBACK" if alone and group[0].error else "COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live on and the waiting must know
            failure = error if isinstance(error, Unavailable) else unwritable(error)
            if failure is not error:
                self._abandon()
                failure.__cause__ = error
            for job in group:
                job.error = job.error or failure
            return failure
        return None

    @staticmethod
    def _run_one(job: Job, unit: SqliteUnit, within: contextlib.AbstractContextManager[None]) -> None:
        """Run one unit of work; one that raises takes only itself back.

        Args:
            within: undoes what the unit did when it raises. Where it is alone in its transaction, that is rolled back instead.
        Raises: apsw.Error when the store is to blame.
        """
        try:
            with within:
                job.result = job.work(unit)
        except apsw.ConstraintError as error:
            job.error = error  # a bug of this unit's statements: the others are not to blame
        except apsw.Error:
            raise
        except Exception as error:  # noqa: BLE001 - carried to whoever waits for this unit
            job.error = error

    def _want_log_copied(self) -> None:
        self._log_is_long = True

    def _copy_rest(self) -> None:
        """Copy what was committed while the bulk of the log was copied; behind the gate, so that nothing is added to it."""
        self._log_is_long = False
        with contextlib.suppress(apsw.Error, OSError), self._gate:
            copy(self.connection)

    def _abandon(self) -> None:
        """After a failed transaction: roll back, and open the connection anew so that no failed sync is trusted."""
        with contextlib.suppress(apsw.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        with contextlib.suppress(apsw.Error, Misconfigured, Unavailable):
            fresh = self._connect(CACHE_KIB)
            self.connection.close()
            self.connection = fresh
            if self._checkpointer is not None:
                self._checkpointer.watch(fresh)
