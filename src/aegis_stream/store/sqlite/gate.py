"""Lets one process at a time begin a write."""

import fcntl
import os
from pathlib import Path


class WriteGate:
    """A file lock before SQLite's own write lock, in order of arrival.

    SQLite waits for its write lock by polling, with longer and longer sleeps; a file lock wakes the next process at once. The kernel
    frees it when a process dies.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; nobody may be inside."""
        os.close(self._file)
