"""Opens connections to the database file, with the settings on which durability rests."""

import contextlib
import os
from pathlib import Path

import apsw

from aegis_stream.errors import Misconfigured, Unavailable

SQLITE_VERSION_MIN = (3, 51, 3)
"""Older versions can corrupt a WAL database when one connection writes while another checkpoints."""
BUSY_TIMEOUT_MS = 10_000
"""Longest wait for a lock that the write gate did not already order."""
PAGE_BYTES = 8192
"""Page size of a new database; one that exists keeps its own.

Larger pages hold a log with less waste and fewer calls, but where ids are random, every event writes a page of the index of ids.
docs/explanation/performance.md has the figures.
"""
WAL_BYTES_KEPT = 64 << 20
"""Size to which the write-ahead log is cut when it is written from its start again: one that grew under a long reader shrinks."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "9p", "lustre"}
)
"""Where locks and shared memory are not to be trusted (sqlite.org/wal.html: all processes must be on one machine)."""


def _forgo_statistics() -> None:
    """Tell SQLite not to count its memory: nobody asks, and all threads wait for one lock to count each allocation.

    SQLite takes this only while it is not in use; otherwise it stays as it is.
    """
    if not apsw.connections():
        apsw.shutdown()
        apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
        apsw.initialize()


_forgo_statistics()


def create_private(path: Path) -> None:
    """Create the database file, readable by its owner only, unless it exists; SQLite gives -wal and -shm the same mode.

    An existing file is never opened here: closing any descriptor of a file drops every POSIX lock that this process holds
    on it. Without its SHARED lock another SQLite takes the database for unused, and deletes the write-ahead log under the
    running service. Source: sqlite.org/howtocorrupt.html, section 2.2.
    Raises: Misconfigured when the file cannot be created.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _cannot_open(path, error) from error


def connect(path: Path, cache_kib: int, autocheckpoint_pages: int) -> apsw.Connection:
    """Open a connection to a database file that exists.

    Args:
        cache_kib: size of its page cache.
        autocheckpoint_pages: length of the write-ahead log at which SQLite copies it by itself; 0 for never.
    Raises: Misconfigured when it cannot be opened.
    """
    try:
        connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute(
            f"PRAGMA page_size = {PAGE_BYTES:d}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            f"PRAGMA wal_autocheckpoint = {autocheckpoint_pages:d}; PRAGMA journal_size_limit = {WAL_BYTES_KEPT:d};"
            f"PRAGMA cache_size = -{cache_kib:d}; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON"
        ).fetchall()  # a statement that returns a row stops there: without this, those after the first would never run
    except apsw.Error as error:
        raise _cannot_open(path, error) from error
    return connection


def _cannot_open(path: Path, error: Exception) -> Misconfigured:
    return Misconfigured(
        f"cannot open the database {path}: {error}; AEGIS_DATA_DIR must be a directory this user may write to",
        code="store-unreadable",
    )


def unwritable(error: Exception) -> Unavailable:
    """Return the error to raise when a write failed for this reason."""
    full = isinstance(error, apsw.FullError)
    return Unavailable(
        "the disk is full: nothing was stored; free some space"
        if full
        else f"the store cannot be written: {error}",
        code="store-full" if full else "store-unwritable",
        retry_after_s=5,
    )


def refuse_unsuitable(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Refuse an SQLite that corrupts, and a file system whose locks cannot be trusted.

    Raises: Misconfigured with what to do.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_VERSION_MIN:
        raise Misconfigured(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a database: upgrade the package apsw to 3.51.3 or newer"
        )
    kind = _file_system_of(path.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Misconfigured(
            f"AEGIS_DATA_DIR lies on a network file system ({kind}), where SQLite can lose data: "
            "use a directory on a local disk",
            code="network-file-system",
        )


def _file_system_of(path: Path, mounts: Path) -> str | None:
    """Return the type of the file system that holds `path`, or None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    best, kind = "", None
    for line in lines:  # proc(5): … mount point is field 5, the type follows the " - " separator
        left, _, right = line.partition(" - ")
        fields, place = right.split(), left.split()[4]
        if (place == "/" or path == Path(place) or path.is_relative_to(place)) and len(place) >= len(best):
            best, kind = place, fields[0]
    return kind
