"""What must be true of the database files under every running service, seen from outside.

    assert file_faults(pids, database) == []

Each process that has the database open holds SQLite's SHARED lock on it, has no deleted file of it open, and has the files
open that the paths name. Without the lock another SQLite takes the database for unused and removes its write-ahead log.
"""

import time
from contextlib import suppress
from pathlib import Path

SHARED_FIRST = 0x40000002
"""Where SQLite's SHARED lock begins. Source: sqlite.org/src/file/src/os.h."""
ENDS = ("", "-wal", "-shm")


def file_faults(pids: list[int], database: Path, *, seconds: float = 5.0) -> list[str]:
    """Return what is wrong with the files and locks of these processes; a process that is just starting gets some seconds."""
    deadline = time.monotonic() + seconds
    while (faults := _faults(pids, database)) and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks, not instead of one
    return faults


def _faults(pids: list[int], database: Path) -> list[str]:
    locked = _lockers(database)
    faults = []
    for pid in pids:
        held = _open_files(pid, database)
        faults += [f"process {pid} has {name} open, which is deleted" for name in held if "(deleted)" in name]
        for end in ENDS:
            path = database.with_name(database.name + end)
            inodes = held.get(str(path), set())
            if inodes and inodes != {path.stat().st_ino}:
                faults.append(f"process {pid} has another file open than {path} names")
        if str(database) in held and pid not in locked and _runs(pid):
            faults.append(f"process {pid} holds no SHARED lock on {database}")
    return faults


def _open_files(pid: int, database: Path) -> dict[str, set[int]]:
    """Return the inodes of the files of the database that a process has open, by their paths."""
    found: dict[str, set[int]] = {}
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith(str(database)) and not target.endswith(".lock"):
                    found.setdefault(target, set()).add(entry.stat().st_ino)
    return found


def _lockers(database: Path) -> set[int]:
    """Return the processes that hold SQLite's SHARED lock. Source: proc(5), /proc/locks."""
    inode = database.stat().st_ino
    pids = set()
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[1] == "POSIX" and fields[5].rpartition(":")[2] == str(inode):
            first, last = int(fields[6]), fields[7]
            if first <= SHARED_FIRST and (last == "EOF" or int(last) >= SHARED_FIRST):
                pids.add(int(fields[4]))
    return pids


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False
