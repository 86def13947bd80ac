"""Copies the write-ahead log into the database file, beside the commits instead of within them.

By default SQLite copies it at the end of a commit, and everyone who waits for that commit waits until thousands of pages are
copied and synced. Here a thread copies most of it while commits continue. The writer copies the little that was added meanwhile
between two commits; then the log is empty for a moment, and SQLite writes it from the start again.
"""

import contextlib
import threading
from collections.abc import Callable

import apsw

from aegis_stream.errors import Misconfigured, Unavailable

WAL_BYTES_MAX = 32 << 20
"""Length of the write-ahead log at which copying begins."""
PAUSE_S = 0.05
"""Shortest time between two copies, seconds: a copy that a reader blocks is not tried again at every commit."""


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
        self._pages_max = 0

    def watch(self, writer: apsw.Connection) -> None:
        """Check the length of the log after every commit of this connection; replaces SQLite's own checkpoints."""
        self._pages_max = WAL_BYTES_MAX // int(writer.pragma("page_size"))
        writer.set_wal_hook(self._committed)

    def close(self) -> None:
        """Stop; a copy under way is finished."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _committed(self, _: apsw.Connection, __: str, pages: int) -> int:
        if pages >= self._pages_max and not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._start()
        return apsw.SQLITE_OK

    def _start(self) -> None:
        """Start the thread; where the machine has none to give, the next commit asks again, and this one is not concerned."""
        thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._wanted.clear()
        else:
            self._thread = thread

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while self._wanted.wait() and not self._closed.is_set():
            # A full disk, no free descriptor, another process that copies: commits continue, and the next one asks again.
            with contextlib.suppress(apsw.Error, Misconfigured, Unavailable):
                connection = connection or self._connect()
                copy(connection)
                self._finish()
            self._wanted.clear()
            if self._closed.wait(PAUSE_S):
                break
        if connection is not None:
            connection.close()


def copy(connection: apsw.Connection) -> None:
    """Copy what can be copied without waiting for readers or writers. Raises: apsw.Error."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
