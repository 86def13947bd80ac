"""Notices when the files of an open database are removed or replaced under the running service.

SQLite does not: it goes on writing to a file that has no name any more, and whatever it stores there is gone with the process.
"""

import time
from collections.abc import Callable
from pathlib import Path

from aegis_stream.errors import StoreReplaced

LOOK_S = 0.25
"""Shortest time between two looks, seconds; each costs three calls of stat(2)."""

_Identity = tuple[int, int]


class DatabaseFiles:
    """The database, its write-ahead log and their index, as this process opened them.

    Any thread may call `check`. A file that is put back is accepted again: what matters is which file the path names now.

    Args:
        path: the database file, which exists.
        now_s: monotonic time, seconds.
    """

    def __init__(self, path: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._look_at_s = 0.0
        self._paths = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
        self._known: dict[Path, _Identity] = {}
        self._held = False
        self._fault = ""
        self.check()

    def hold(self) -> None:
        """Learn that a connection of this process holds its lock, so that the log and its index stay what they are now.

        Before that another process that closes the database as the last one removes both, and that is no fault.
        """
        self._held = True

    def check(self, *, at_once: bool = False) -> None:
        """Look whether each path still names the file that was opened, at most once in LOOK_S.

        Args:
            at_once: look now, before a file is opened by its path.
        Raises: StoreReplaced when a file was removed or replaced; then nothing may be stored or read.
        """
        now_s = self._now_s()
        if now_s >= self._look_at_s or at_once:
            self._look_at_s = now_s + LOOK_S
            self._fault = self._find_fault()
        if self._fault:
            raise StoreReplaced(
                f"{self._fault} while the service was running, so nothing can be stored: stop the service, put the files "
                "back or restore a backup, and start it again",
                retry_after_s=5,
            )

    def _find_fault(self) -> str:
        for path in self._paths:
            try:
                found, known = _identity(path), self._known.get(path)
            except (
                OSError
            ):  # an error of the disk, a directory that may not be searched: reads and writes say so
                continue
            if known is None:
                if found is not None and (self._held or path == self._paths[0]):
                    self._known[path] = found  # the log and its index appear with the first transaction
            elif found is None:
                return f"{path} was removed"
            elif found != known:
                return f"{path} was replaced"
        return ""


def _identity(path: Path) -> _Identity | None:
    """Return device and inode of the file that a path names; None when it names none. Raises: OSError when that is unknown."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
