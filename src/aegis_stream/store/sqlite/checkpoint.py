"""Carries the write-ahead log over into the database file, beside the commits instead of within them.

SQLite by itself does it at the end of a commit, and all that wait for that commit wait for thousands of pages to be copied
and synced. Here a thread of its own copies the bulk while commits go on; what they added meanwhile is little, and the
writer copies it between two commits, so that the log is empty for a moment and begins again at its start.
"""

import contextlib
import threading
from collections.abc import Callable

import apsw

WAL_PAGES_MAX = 8000
"""Pages in the write-ahead log at which copying begins (32 MB)."""
PAUSE_S = 0.05
"""Shortest time between two copies, seconds: one that a reader kept from getting on is not tried at every commit."""


class Checkpointer:
    """Keeps the write-ahead log of one database short.

    Args:
        connect: opens a connection of its own, with automatic checkpoints off.
        finish: asks the writer to copy the rest between two commits.
    """

    def __init__(self, connect: Callable[[], apsw.Connection], finish: Callable[[], None]) -> None:
        self._connect = connect
        self._finish = finish
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, writer: apsw.Connection) -> None:
        """Look at the length of the log after every commit of this connection; replaces SQLite's own checkpoints."""
        writer.set_wal_hook(self._committed)

    def close(self) -> None:
        """Stop; a copy under way is finished."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _committed(self, _: apsw.Connection, __: str, pages: int) -> int:
        if pages >= WAL_PAGES_MAX and not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)
                self._thread.start()
        return apsw.SQLITE_OK

    def _run(self) -> None:
        connection = self._connect()
        while self._wanted.wait() and not self._closed.is_set():
            # A full disk, or another process at the same work: the commits go on, and the next one asks again.
            with contextlib.suppress(apsw.Error):
                copy(connection)
                self._finish()
            self._wanted.clear()
            if self._closed.wait(PAUSE_S):
                break
        connection.close()


def copy(connection: apsw.Connection) -> None:
    """Copy what can be copied without waiting for anybody. Raises: apsw.Error."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
