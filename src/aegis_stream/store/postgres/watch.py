"""Notices that somebody has committed, on a thread and a connection of its own."""

import threading
from collections.abc import Callable

import psycopg

from aegis_stream.errors import Unavailable

from .connect import Session, unavailable

PAUSE_S = 0.05
"""Pause between two looks, seconds."""
RETRY_S = 0.5
"""Pause after one that failed, seconds."""
_SNAPSHOT = "SELECT pg_current_snapshot()::text"
"""Its text changes exactly when a commit becomes visible; no table is read. A position in the write-ahead log moves before that."""


class CommitWatch:
    """Counts changes of what is visible. It begins when it is first asked.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._changes = 0
        self._fault: Unavailable | None = None

    def changes(self) -> int:
        """Return a number that differs after somebody has committed. Raises: Unavailable while the database cannot be read."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="store-watch", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the machine has no thread to give; the next call asks again
                raise unavailable(error, "read") from error
            self._thread = thread
        if self._fault is not None:
            raise self._fault
        return self._changes

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._connect() as session:
                    self._look(session)
            except psycopg.Error as error:
                self._fault = unavailable(error, "read")
                self._closing.wait(RETRY_S)

    def _look(self, session: Session) -> None:
        seen = ""
        while not self._closing.wait(PAUSE_S):
            row = session.run(_SNAPSHOT).first
            if row is not None and row[0] != seen:
                seen = row[0]
                self._changes += 1
            self._fault = None
