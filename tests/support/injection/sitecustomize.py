"""Puts faults of disk and clock into each Python process of a service under test: Python imports this module when it starts.

`support.injected` has the test's side, and sets the environment that leads here.
"""

import mmap
import os
import time
from pathlib import Path

from support.disk_faults import BYTES, CLOCK_S, FILES, DiskFaults, FaultyVfs, kind_of

CONTROL, FOLDER = os.environ["FAULTS_CONTROL"], os.environ["FAULTS_FOLDER"]

with Path(CONTROL).open("r+b") as _file:
    FAULTS = DiskFaults(mmap.mmap(_file.fileno(), BYTES))
VFS = FaultyVfs(FAULTS)


def _move_clock() -> None:
    """Let the wall clock be as far off as the control file says; clocks that nobody sets stay."""
    real, real_ns, switches = time.time, time.time_ns, FAULTS.switches
    time.time = lambda: real() + switches[CLOCK_S]
    time.time_ns = lambda: real_ns() + switches[CLOCK_S] * 1_000_000_000


def _break_files() -> None:
    """Let the program's own files fail as those of SQLite do."""

    def wrap(name: str, call: str) -> None:
        real = getattr(os, name)

        def broken(handle, *values):
            kind = _kind(handle)
            if kind and (error := FAULTS.fault_of(call, kind)):
                raise OSError(error, os.strerror(error))
            return real(handle, *values)

        setattr(os, name, broken)

    for name, call in (("fsync", "sync"), ("fdatasync", "sync"), ("write", "write"), ("pwrite", "write")):
        wrap(name, call)


def _kind(handle: int) -> int:
    """Return which of FILES a descriptor is; 0 for those that are not below the folder."""
    try:
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
    except OSError:
        return 0
    if not path.startswith(FOLDER + "/"):
        return 0
    return FILES["other"] if path.endswith(" (deleted)") else kind_of(path)


_move_clock()
_break_files()
