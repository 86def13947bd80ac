"""Copies a database file while the service runs, and puts a copy back.

A copy is whole or absent: it gets its name when it is complete, synced and checked.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from aegis_stream.errors import Conflict, Misconfigured, Unavailable

from .schema import migrations

STEP_PAGES = 1024
"""Pages that one step copies (4 MiB); between steps the caller is told how far it is."""
FAULTS_SHOWN_MAX = 5
ENDS = ("", "-wal", "-shm")
"""What the names of a database's files end with."""
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
"""Bytes that every open connection has locked. Source: sqlite.org/src/file/src/os.h, SHARED_FIRST and SHARED_SIZE."""
_MAGIC = b"SQLite format 3\0"


def back_up(database: Path, target: Path, tell: Callable[[int, int], None]) -> None:
    """Copy a database to a new file: everything that was acknowledged before the call.

    All steps read one snapshot, so constant writes do not start the copy again; the write-ahead log cannot be emptied
    meanwhile, and grows.

    Args:
        tell: called with the pages copied so far, and their total.
    Raises: Misconfigured when there is no database, or the target exists or cannot be written. Unavailable when the database
        cannot be read or the copy is damaged. After any error the target does not exist.
    """
    if not database.exists():
        raise Misconfigured(f"there is no database at {database}: set AEGIS_DATA_DIR to its directory")
    with _fresh(target) as unfinished:
        try:
            _copy_pages(database, unfinished, tell)
        except apsw.Error as error:
            raise Unavailable(f"the backup failed, and nothing was kept: {error}") from error
        check_copy(unfinished)


def restore(source: Path, database: Path, *, beside: list[Path], aside: Path | None) -> None:
    """Put a backup in place of a database that nobody uses.

    Args:
        beside: files that belong to the old database, and go with it.
        aside: directory to which the old files are moved; None when there must be none.
    Raises: Conflict when a process uses the database, or files are in the way and `aside` is None. Misconfigured when the
        backup cannot be read or the copy not be written. Unavailable when the backup is damaged. Then nothing has changed.
    """
    if source.with_name(source.name + "-wal").exists():
        raise Misconfigured(
            f"{source} has a write-ahead log beside it, so it is no backup but a copied database: "
            "make a backup of it with `aegis backup`"
        )
    check_copy(source)
    if is_in_use(database):
        raise Conflict(f"a process uses {database}: stop the service before you restore")
    old = [one for one in (*_files_of(database), *beside) if one.exists()]
    if old and aside is None:
        raise Conflict(
            f"{old[0].parent} has {', '.join(one.name for one in old)} already: "
            "add --replace to move them aside, or restore into another directory"
        )
    with _fresh(database, replacing=bool(old), name=".restoring") as unfinished:
        try:
            shutil.copyfile(source, unfinished)
        except OSError as error:
            raise Misconfigured(f"{source} cannot be copied to {unfinished}: {error.strerror}") from error
        try:
            _make_one_file(unfinished)
        except apsw.Error as error:
            raise Unavailable(f"{source} is damaged: {error}") from error
        check_copy(unfinished)
        if aside is not None and old:
            _move(old, aside)


def check_copy(path: Path) -> None:
    """Check a file that nobody writes: that it is a database of this program, and undamaged. Creates no file beside it.

    Raises: Misconfigured when it is no database that this program can use. Unavailable when it is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise Misconfigured(f"{path} is not a database: name a file made by `aegis backup`")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
    try:
        connection = apsw.Connection(
            f"file:{quote(str(path.resolve()))}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        with contextlib.closing(connection):
            _refuse_version(path, int(connection.pragma("user_version") or 0))
            rows = connection.execute(f"PRAGMA quick_check({FAULTS_SHOWN_MAX:d})").fetchall()
    except apsw.Error as error:
        raise Unavailable(f"{path} is damaged: {error}") from error
    faults = [str(text) for (text,) in rows if text != "ok"]
    if faults:
        raise Unavailable(f"{path} is damaged: {'; '.join(faults)}")


def is_in_use(database: Path) -> bool:
    """Tell whether a process has the database open. Call it only where this process has not: closing a file drops its locks."""
    try:
        handle = os.open(database, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Misconfigured(f"{database} cannot be opened: {error.strerror}") from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _refuse_version(path: Path, found: int) -> None:
    newest = migrations()[-1][0]
    if found == 0:
        raise Misconfigured(f"{path} is not a database of this program: name a file made by `aegis backup`")
    if found > newest:
        raise Misconfigured(
            f"{path} has schema version {found}, this program knows {newest}: install the version that made it",
            code="schema-too-new",
        )


def _copy_pages(database: Path, target: Path, tell: Callable[[int, int], None]) -> None:
    source = apsw.Connection(str(database), apsw.SQLITE_OPEN_READWRITE)
    with contextlib.closing(source):
        source.set_busy_timeout(10_000)
        source.execute("BEGIN; SELECT count(*) FROM sqlite_schema").fetchall()
        copy = apsw.Connection(str(target), apsw.SQLITE_OPEN_READWRITE)
        with contextlib.closing(copy), copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(STEP_PAGES)
                tell(backup.page_count - backup.remaining, backup.page_count)
    _make_one_file(target)


def _make_one_file(path: Path) -> None:
    """Make a copy complete without a write-ahead log: whoever opens it creates no file beside it. Raises: apsw.Error."""
    with contextlib.closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")


@contextlib.contextmanager
def _fresh(path: Path, *, replacing: bool = False, name: str = ".unfinished") -> Iterator[Path]:
    """Yield an empty private file; at the end of the block it is synced and gets its name, after an error it is removed.

    Raises: Misconfigured when the path exists, unless it is replaced, or the file cannot be made.
    """
    if path.exists() and not replacing:
        raise Misconfigured(f"{path} exists already: name a new file")
    unfinished = path.with_name(f".{path.name}{name}")
    try:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()  # left by a killed process
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _give_to_owner(unfinished)
        yield unfinished
        _sync(unfinished)
        unfinished.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _give_to_owner(path: Path) -> None:
    """Let the owner of the directory own the file: root may restore for a service that is not root's."""
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0 and not folder.st_mode & 0o002:
        os.chown(path, folder.st_uid, folder.st_gid)


def _move(files: list[Path], aside: Path) -> None:
    """Move files to a new directory. The database goes first: a kill in between leaves a log without it, which never starts."""
    aside.mkdir(mode=0o700)
    for one in files:
        one.rename(aside / one.name)
    _sync(aside)


def _files_of(database: Path) -> list[Path]:
    return [database.with_name(database.name + end) for end in ENDS]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
