"""Cuts connections on which a server has been silent for too long, so that whoever waits can go to another server.

A server that is frozen keeps its connections open: neither keep-alives nor time-outs of the network notice, and after a failover the
process would wait for the old primary for ever. A commit that waits for its standby is left alone: the server would go on with it.
"""

import contextlib
import threading
import time
import weakref
from collections.abc import Callable

import psycopg

from .connect import Session

SILENT_MAX_S = 15.0
"""How long a statement may take before its connection is looked at, seconds."""
PAUSE_S = 1.0
"""Pause between two looks, seconds."""
_AT_WORK = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state <> 'idle'"


class Watchdog:
    """Watches the connections of one process.

    Args:
        connect: opens a connection, to find out whether the server answers.
    """

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, session: Session) -> Session:
        """Watch a connection from now on; returns it."""
        with self._lock:
            self._sessions.add(session)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="store-watchdog", daemon=True)
                with contextlib.suppress(
                    RuntimeError
                ):  # the machine has no thread to give; the next connection asks again
                    thread.start()
                    self._thread = thread
        return session

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(PAUSE_S):
            with self._lock:
                sessions = list(self._sessions)
            for session in sessions:
                since_s = session.busy_since_s
                if (
                    since_s is not None
                    and time.monotonic() - since_s > SILENT_MAX_S
                    and not self._is_at_work(session)
                ):
                    session.cut()

    def _is_at_work(self, session: Session) -> bool:
        """Ask the server whether it still works for a connection; one that does not answer, or is another one, does not."""
        try:
            with self._connect() as other:
                if session.pooled:
                    return True  # it cannot be told which of the server's connections is ours
                return (
                    other.server == session.server
                    and other.cursor.execute(_AT_WORK, (session.pid,)).fetchone() is not None
                )
        except psycopg.Error:
            return False
