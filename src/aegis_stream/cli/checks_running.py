"""The check of `aegis doctor` for a service that still runs on files that were removed, replaced or moved.

SQLite goes on writing to a file without a name. A running service says so itself at `/readyz`; this check finds it without
asking it, by the descriptors of its processes, as far as this user may see them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .checks import Finding

_DELETED = " (deleted)"
"""What the kernel appends to the path of a file that has no name any more. Source: proc(5), /proc/pid/fd."""
_REMEDY = "stop the service, put the files back or restore a backup, and start it again"


def check_running(folder: Path, database: Path, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Check that no running process uses a database that is not here any more.

    Args:
        folder: the data directory, which may be missing.
    """
    names = {str(database.resolve()) + end for end in ("", "-wal", "-shm")}
    holders = sorted(pid for pid in _processes(proc) if _holds_deleted(proc / str(pid), names))
    if holders:
        yield Finding(
            "files",
            "problem",
            f"{database} was removed or replaced while the service runs (process {', '.join(map(str, holders[:5]))}): it stores nothing",
            _REMEDY,
        )
    elif not database.exists() and _has_listener(folder / "bell", proc):
        yield Finding(
            "files", "problem", f"a service runs on {database}, which was moved or removed: it stores nothing", _REMEDY
        )  # fmt: skip


def _processes(proc: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(one.name) for one in proc.iterdir() if one.name.isdigit())


def _holds_deleted(process: Path, names: set[str]) -> bool:
    """Tell whether a process has one of these files open although nothing has its name any more."""
    with contextlib.suppress(OSError):  # it has ended, or belongs to another user
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(entry.readlink())
                if target.endswith(_DELETED) and target.removesuffix(_DELETED) in names:
                    return True
    return False


def _has_listener(folder: Path, proc: Path) -> bool:
    """Tell whether a worker listens in a folder, by the path under which it bound its socket."""
    with contextlib.suppress(OSError):
        begin = str(folder) + "/"
        for line in (proc / "net" / "unix").read_text(errors="replace").splitlines():
            _, _, path = line.partition(begin)
            if path.endswith(".sock") and line.split()[-1].startswith(begin):
                return True
    return False
