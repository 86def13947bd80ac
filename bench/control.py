"""Shared memory between the harness and a load generator: how far it may go, and how far it is.

The generator is a closed loop around the whole chain: it sends while fewer than `backlog_max` events are in flight, so the
load is the highest that the chain sustains. It ends only when all its requests are answered. All numbers are doubles at
fixed offsets; load.lua uses the same layout.
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
"""Doubles before the first thread's slot, and in each slot."""
SENT, ACKED, BAD, ANSWERS = 0, 1, 2, 3
THREADS_MAX = 16
_SIZE = 4096


@dataclass(slots=True)
class Control:
    """The harness's side of the page."""

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
    """Create a page; it is removed when the block ends."""
    with tempfile.NamedTemporaryFile(prefix="control-", dir=folder) as file:
        file.truncate(_SIZE)
        with contextlib.closing(mmap.mmap(file.fileno(), _SIZE)) as page:
            yield Control(Path(file.name), page)


@contextlib.contextmanager
def open_page(path: Path) -> Iterator[Control]:
    """Open a page that the harness has created (the generator's side)."""
    with path.open("r+b") as file, contextlib.closing(mmap.mmap(file.fileno(), _SIZE)) as page:
        yield Control(path, page)
