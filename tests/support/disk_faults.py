"""Faults of a disk, injected between SQLite and the file system: errors, short writes and slow syncs, at chosen calls.

    faults = DiskFaults()
    with faulty_disk(faults):
        ...                                        # every connection opened here goes through it
        faults.start(call="sync", error=errno.EIO, first=3, times=1)
        faults.stop()

The switches lie in a block of memory that may be a file, so that a test controls the processes of a service: see `injected.py`.
"""

import contextlib
import errno
import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

import aegis_stream.store.sqlite.connect  # noqa: F401 - first: it starts SQLite anew, which forgets whose file system is the default

NAME, BASE = "faulty", "unix"
CALLS = ("open", "read", "write", "sync", "truncate")
FILES = {"database": 1, "log": 2, "other": 4}
"""Which files: the database, its write-ahead log, files of the program beside it."""
SECTOR = 512

# The switches, by their place in the block of memory.
_CALL, _ERROR, _FILES, _FIRST, _TIMES, _EVERY, _SHORT, _DELAY_MS, _SEEN, _HITS, CLOCK_S = range(11)
BYTES = 4096


class DiskFaults:
    """Which calls to the file system fail, and how.

    Args:
        memory: the switches, shared with other processes; of this process alone if it is not given.
    """

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        self.switches = memoryview(memory or mmap.mmap(-1, BYTES)).cast("q")

    def start(
        self,
        *calls: str,
        error: int = 0,
        files: tuple[str, ...] = ("database", "log"),
        first: int = 0,
        times: int = 0,
        every: int = 1,
        short: bool = False,
        delay_ms: int = 0,
    ) -> None:
        """Let calls fail from now on.

        Args:
            calls: of CALLS; any if none is given.
            error: errno; 0 for none.
            first: how many of them succeed before; the counting begins now.
            times: how many fail; 0 for all.
            every: only each so manieth fails.
            short: a failing write stores its first sector.
            delay_ms: how long each of them takes.
        """
        self.stop()
        s = self.switches
        s[_ERROR], s[_FIRST], s[_TIMES], s[_EVERY] = error, first, times, every
        s[_FILES] = sum(FILES[one] for one in files)
        s[_SHORT], s[_DELAY_MS], s[_SEEN], s[_HITS] = short, delay_ms, 0, 0
        s[_CALL] = sum(1 << CALLS.index(one) for one in calls or CALLS)  # last: it turns the others on

    def stop(self) -> None:
        """Let all calls succeed."""
        self.switches[_CALL] = 0

    @property
    def seen(self) -> int:
        """How many calls were of the chosen ones since the start."""
        return self.switches[_SEEN]

    @property
    def hits(self) -> int:
        """How many of them failed or were slow."""
        return self.switches[_HITS]

    def fault_of(self, call: str, file: int) -> int:
        """Return the errno with which this call fails; 0 if it succeeds."""
        s = self.switches
        if not s[_CALL] >> CALLS.index(call) & 1 or not s[_FILES] & file:
            return 0
        s[_SEEN] += 1
        nth = s[_SEEN] - s[_FIRST]
        if nth <= 0 or nth % s[_EVERY] or (s[_TIMES] and s[_HITS] >= s[_TIMES]):
            return 0
        s[_HITS] += 1
        if s[_DELAY_MS]:
            time.sleep(s[_DELAY_MS] / 1000)
        return s[_ERROR]

    @property
    def short(self) -> bool:
        """Whether a failing write stores its first sector."""
        return bool(self.switches[_SHORT])


def kind_of(path: str) -> int:
    """Return which of FILES a path is; 0 for those that no fault concerns."""
    name = Path(path).name
    if name.endswith(("-shm", ".lock", ".sock")):
        return 0
    if name.endswith("-wal"):
        return FILES["log"]
    return FILES["database" if name.endswith(".db") else "other"]


class FaultyVfs(apsw.VFS):
    """The default file system with faults; connections opened while it is registered use it."""

    def __init__(self, faults: DiskFaults) -> None:
        self._faults = faults
        super().__init__(NAME, BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        kind = kind_of(path or "")
        if self._faults.fault_of("open", kind):
            raise apsw.CantOpenError
        return _FaultyFile(self._faults, kind, name, flags)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, faults: DiskFaults, kind: int, name: Any, flags: list[int]) -> None:
        self._faults, self._kind = faults, kind
        super().__init__(BASE, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        if self._faults.fault_of("read", self._kind):
            raise _io_error(apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if error := self._faults.fault_of("write", self._kind):
            if self._faults.short:
                super().xWrite(data[:SECTOR], offset)
            # As SQLite's own file system tells them: only a full disk is a full disk.
            raise apsw.FullError if error == errno.ENOSPC else _io_error(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.fault_of("sync", self._kind):
            raise _io_error(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.fault_of("truncate", self._kind):
            raise _io_error(apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)


def _io_error(extended: int) -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = extended
    return error


@contextlib.contextmanager
def faulty_disk(faults: DiskFaults) -> Iterator[DiskFaults]:
    """Put the faults between SQLite and the files that are opened inside the block."""
    vfs = FaultyVfs(faults)
    try:
        yield faults
    finally:
        vfs.unregister()
