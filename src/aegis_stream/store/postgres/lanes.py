"""A lane of writes of one process: a thread and a connection of its own, one transaction a unit of work.

Lanes do not wait for each other: what must not happen at the same time is kept apart by row locks, and in the control lane by one
lock for the whole database.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from aegis_stream.errors import Unavailable
from aegis_stream.store.database import Lane, Unit
from aegis_stream.store.jobs import STUCK_S, Job, answer, stuck

from .connect import UNPREPARED, CommitUnknown, Session, unavailable
from .sharded import unit_on
from .silent import end_silent

T = TypeVar("T")

CONTROL_LOCK = "SELECT pg_advisory_xact_lock(4723906714)"
"""Held by the one unit of the control lane that runs in the whole database; the number is no other program's."""
TRIES_MAX = 5
"""How often a unit of work is run that must run again: after a deadlock, a lost race, or with statements prepared anew."""
AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, *UNPREPARED)
ELSEWHERE = (
    CommitUnknown,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.FeatureNotSupported,
    *UNPREPARED,
)
"""After these a new connection is needed: a commit in doubt, a server that is a standby now, plans from before a change of the schema,
statements that are not prepared although the driver believes it."""
_OWN_FAULT = (psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.DataError)
"""Raised by statements that are wrong, or by what they were given: the database is not to blame."""


class LaneWriter:
    """Writes of one lane.

    Args:
        connect: opens a connection.
    """

    def __init__(self, lane: Lane, connect: Callable[[], Session]) -> None:
        self._lane = lane
        self._connect = connect
        self._first = f"; {CONTROL_LOCK}" if lane is Lane.CONTROL else ""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()  # held while a unit runs: units of one lane run one after the other
        self._session: Session | None = None
        self._since_s: float | None = None
        self._fault: Unavailable | None = None

    def submit(self, job: Job, patience_s: float) -> None:
        """Begin a unit of work; on the event loop."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"store-{self._lane.value}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the machine has no thread to give; the next write asks again
                job.future.set_exception(unavailable(error, "written to"))
                return
            self._thread = thread
        job.wait_at_most(patience_s)
        self._jobs.put(job)

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run a unit of work in the caller's thread. Raises: what `work` raised, or Unavailable."""
        with self._turn:
            self._since_s = time.monotonic()
            try:
                result = self._transact(work)
                self._fault = None
            except Unavailable as error:
                self._fault = error
                raise
            finally:
                self._since_s = None
        return result

    def fault(self) -> Unavailable | None:
        """Return why writes fail at present: the last one did, or one is under way for too long. None when they do not."""
        since_s = self._since_s
        if since_s is not None and time.monotonic() - since_s > STUCK_S:
            return stuck()
        return self._fault

    def close(self) -> None:
        """Finish what is waiting and close the connection."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self._disconnect()

    def _run(self) -> None:
        """Body of the thread: one unit of work after the other."""
        while (job := self._jobs.get()) is not None:
            if job.begin():
                try:
                    job.result = self.write_now(job.work)
                except Exception as error:  # noqa: BLE001 - carried to whoever waits for this unit
                    job.error = error
                answer([job])

    def _transact(self, work: Callable[[Unit], T]) -> T:
        """Run a unit of work in a transaction of its own, again where the database asks for it.

        Raises: what `work` raised; Unavailable.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(work)
            except AGAIN as error:
                if tries >= TRIES_MAX:
                    raise unavailable(error, "written to") from error
            except _OWN_FAULT:
                raise
            except psycopg.errors.LockNotAvailable as error:
                self._free_locks()
                raise unavailable(error, "written to") from error
            except psycopg.Error as error:
                raise unavailable(error, "written to") from error

    def _free_locks(self) -> None:
        """See to it that nobody holds locks for good who will never go on."""
        with contextlib.suppress(psycopg.Error):
            end_silent(self._connected())

    def _once(self, work: Callable[[Unit], T]) -> T:
        session = self._connected()
        unit = unit_on(session, "READ WRITE", self._first)
        try:
            with session.busy():
                result = work(unit)
                if unit.begun:
                    session.commit()
        except BaseException as error:
            self._undo(session, error)
            raise
        return result

    def _undo(self, session: Session, error: BaseException) -> None:
        """Undo a failed transaction; a connection that failed, or whose commit is in doubt, is closed instead."""
        if isinstance(error, ELSEWHERE):
            self._disconnect()
            return
        try:
            session.rollback()
        except psycopg.Error:
            self._disconnect()

    def _connected(self) -> Session:
        """Return the connection; a new one where the last one is gone. Raises: psycopg.OperationalError."""
        if self._session is not None and self._session.is_stale():
            self._disconnect()
        if self._session is None:
            self._session = self._connect()
        return self._session

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                session.close()
