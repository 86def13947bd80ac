"""The checks of `aegis doctor` on this machine: settings, files, disk, clock.

They create, change and repair nothing, and no finding repeats a secret. checks_store.py has the checks of the database and
of those who work on it, checks_egress.py those that leave the machine.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from aegis_stream import build
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.settings import SETTINGS, Settings

FREE_BYTES_MIN = 1 << 30
FREE_SHARE_MIN = 0.05
"""Too little free space: a GiB holds a few hundred thousand events, and file systems are slow when they are nearly full."""
FREE_FILES_MIN = 1000
CLOCK_SLACK_US = 5 * SECOND
"""How far the clock may be behind a recorded time: clocks are sometimes set back a little."""
SHOWN_MAX = 10
"""Most ids that one finding lists."""
_DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
_TRIED_BYTES = 65_536
_CLOCK_UNSYNCHRONIZED = 5  # TIME_ERROR, adjtimex(2)

State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """The result of one check.

    Args:
        state: "note" is worth knowing, but not a problem.
        remedy: what to do; "" if the state is "ok".
    """

    check: str
    state: State
    detail: str
    remedy: str = ""


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more


# ── the build ──


def check_build(installed: build.Build) -> Finding:
    """Check that compiled modules are those of the source beside them."""
    if installed.kind == "pure":
        return Finding("build", "ok", "pure Python: a compiled build needs less CPU")
    if not installed.stale:
        return Finding("build", "ok", "compiled")
    return Finding(
        "build",
        "problem",
        f"the source was changed after it was compiled: {listed(list(installed.stale))}",
        "install the package again; until then the old code runs",
    )


# ── settings and files ──


def check_settings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Check settings that are valid, but may be unwise."""
    yield Finding("configuration", "ok", "all settings are known and in range")
    if settings.egress.allow_http:
        yield Finding(
            "configuration", "note", "plain http destinations are accepted: events and credentials cross networks unencrypted",
            "unset AEGIS_ALLOW_HTTP, unless this is a test",
        )  # fmt: skip
    wide = [
        str(one) for one in settings.egress.allowed_networks if one.prefixlen < (8 if one.version == 4 else 7)
    ]
    if wide:
        yield Finding(
            "configuration", "problem", f"AEGIS_ALLOWED_NETWORKS allows {', '.join(wide)} to every organization",
            "list only the networks of the receivers",
        )  # fmt: skip
    if config is not None and any(
        value is not None and SETTINGS[name].secret for name, value in settings.values().items()
    ):
        yield from _private(config, "configuration")


def check_files(folder: Path, database: Path | None = None) -> Iterator[Finding]:
    """Check who can read the data directory and its files.

    Args:
        database: the SQLite file; None where the database is elsewhere.
    """
    found = folder.stat()
    problems = []
    if stat.S_IMODE(found.st_mode) & 0o077:
        problems.append(Finding("files", "problem", f"other users can read {folder}", f"chmod 700 {folder}"))
    names = [folder / name for name in ("master.key", "operator.sha256")]
    if database is not None:
        names += [database.with_name(database.name + end) for end in ("", "-wal", "-shm", ".lock")]
    for path in names:
        problems += [one for one in _private(path, "files") if one.state == "problem"]
        if path.exists() and path.stat().st_uid != found.st_uid:
            problems.append(
                Finding(
                    "files",
                    "problem",
                    f"{path} belongs to another user than the directory: the service may be unable to write it",
                    f"chown {found.st_uid}:{found.st_gid} {path}",
                )
            )
    yield from problems or [Finding("files", "ok", f"only the owner can read {folder} and its files")]


def _private(path: Path, check: str) -> Iterator[Finding]:
    if not path.exists():
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(check, "problem", f"other users can read or write {path}", f"chmod 600 {path}")
    else:
        yield Finding(check, "ok", f"only the owner can read {path}")


def check_disk(folder: Path) -> Iterator[Finding]:
    """Check the free space."""
    room = os.statvfs(folder)
    free, whole = room.f_bavail * room.f_frsize, max(1, room.f_blocks * room.f_frsize)
    if fault := _write_fault(folder):
        yield Finding(
            "disk",
            "problem",
            f"nothing can be written in {folder}: {fault}",
            "free space, or check the disk, its quota and its mount options",
        )
        return
    text = f"{free / 1e9:.1f} GB ({free / whole:.0%}) free on the file system of {folder}"
    if free < FREE_BYTES_MIN or (free / whole < FREE_SHARE_MIN and free < 20 * FREE_BYTES_MIN):
        remedy = "free space, or lower AEGIS_RETENTION_DAYS: when the disk is full, ingest answers 503"
        yield Finding("disk", "problem", text, remedy)
    elif room.f_files and room.f_favail < FREE_FILES_MIN:
        yield Finding(
            "disk",
            "problem",
            f"{room.f_favail} files can still be created on the file system of {folder}",
            "delete files there",
        )
    else:
        yield Finding("disk", "ok", text)


def _write_fault(folder: Path) -> str:
    """Return why a file without a name cannot be written and synced there; "" when it can, or this user may not try."""
    try:
        handle = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _DISK_FAULTS else ""
    try:
        os.write(handle, bytes(_TRIED_BYTES))
        os.fsync(handle)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    finally:
        os.close(handle)
    return ""


# ── clock ──


def check_clock(now: Micros, newest: Micros, database: Path | None) -> Iterator[Finding]:
    """Compare the clock with the times that the store and the file system have recorded.

    Args:
        newest: the newest time in the store.
        database: the SQLite file; None where the database is elsewhere.
    """
    near = () if database is None else (database, database.with_name(database.name + "-wal"))
    files = [path for path in near if path.exists()]
    noted = max([newest, *(Micros(path.stat().st_mtime_ns // 1000) for path in files)])
    if now < noted - CLOCK_SLACK_US:
        yield Finding(
            "clock", "problem", f"the clock shows {to_text(now)}, but {to_text(noted)} is already recorded",
            "set the clock (timedatectl, chronyd); until then events get wrong times",
        )  # fmt: skip
        return
    synchronized = _is_synchronized()
    if synchronized is False:
        yield Finding(
            "clock", "note", f"the clock shows {to_text(now)}, but is not synchronized",
            "run chronyd or systemd-timesyncd; receivers reject signatures with a wrong time",
        )  # fmt: skip
    else:
        kept = "is synchronized" if synchronized else "agrees with recorded times; synchronization is unknown"
        yield Finding("clock", "ok", f"the clock shows {to_text(now)} and {kept}")


def _is_synchronized() -> bool | None:
    """Ask the kernel whether the clock is synchronized; None if it does not tell.

    Source: adjtimex(2): with modes 0 it changes nothing and returns the state of the clock.
    """
    try:
        library = ctypes.CDLL(None)
        state = int(library.adjtimex(ctypes.create_string_buffer(256)))  # struct timex has 208 bytes
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _CLOCK_UNSYNCHRONIZED
