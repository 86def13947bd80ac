"""A page of shared memory between the harness and a load generator: how far it may go, how far it has come.

The generator runs closed-loop on the true end: it sends while fewer than `backlog_max` events are on their way, so the load
is the highest that the whole chain sustains, and ends only after every request it began has been answered. All numbers
are doubles at fixed places; load.lua knows the same layout.
"""

import contextlib
import mmap
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECEIVED, BACKLOG_MAX, STOP = 0, 1, 2
FIRST_SLOT, SLOT = 8, 8
"""Doubles before the first thread's slot, and in one."""
SENT, ACKED, BAD, ANSWERS = 0, 1, 2, 3
THREADS_MAX = 16
_SIZE = 4096


@dataclass(slots=True)
class Control:
    """The page, as the harness sees it."""

    path: Path
    _page: mmap.mmap

    def set(self, place: int, value: float) -> None:
        """Write one number."""
        struct.pack_into("<d", self._page, place * 8, value)

    def get(self, place: int) -> float:
        """Read one number."""
        value: float = struct.unpack_from("<d", self._page, place * 8)[0]
        return value

    def total(self, field: int) -> int:
        """Return the sum of one number over all threads."""
        return int(sum(self.get(FIRST_SLOT + SLOT * thread + field) for thread in range(THREADS_MAX)))


@contextlib.contextmanager
def control_page(folder: Path) -> Iterator[Control]:
    """Make a page; it is gone when the block ends."""
    with tempfile.NamedTemporaryFile(prefix="control-", dir=folder) as file:
        file.truncate(_SIZE)
        with contextlib.closing(mmap.mmap(file.fileno(), _SIZE)) as page:
            yield Control(Path(file.name), page)


@contextlib.contextmanager
def open_page(path: Path) -> Iterator[Control]:
    """Open a page that the harness has made (the generator's side)."""
    with path.open("r+b") as file, contextlib.closing(mmap.mmap(file.fileno(), _SIZE)) as page:
        yield Control(path, page)
