"""Another SQLite at the database file while the service runs: a backup, a shell, a script of the operator's."""

import subprocess
import sys
from pathlib import Path

import pytest

from aegis_stream.errors import StoreReplaced
from aegis_stream.store.sqlite.database import SqliteDatabase
from support.clock import SteadyClock

LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except OSError:
        print("held")
"""
"""Tries to lock SQLite's SHARED bytes exclusively, as a connection does that believes to be the last one.
Source: sqlite.org/src/file/src/os.h, SHARED_FIRST and SHARED_SIZE."""

BACKUP = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1])) as source, contextlib.closing(sqlite3.connect(sys.argv[2])) as copy:
    source.backup(copy)
"""

READ = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1])) as db:
    print(db.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0])
"""


@pytest.fixture
def db(tmp_path):
    """Open a database with several connections: the writer's and two readers'."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    db.read_now(lambda unit: unit.rows("heads"))
    db._connect(256).close()
    yield db
    db.close()


def bump(db) -> None:
    """Commit a change."""
    db.write_now(lambda unit: unit.row("next_revision"))


def run(program: str, *paths: Path) -> str:
    """Run a program in a process of its own; return what it printed."""
    command = [sys.executable, "-c", program, *map(str, paths)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def open_files() -> list[str]:
    """Return what the descriptors of this process stand for; a deleted file says so."""
    return [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]


def test_the_shared_lock_is_held_while_the_store_is_open(db):
    """However many connections were opened and closed, other processes can see that the database is in use."""
    assert run(LOCK, db.path) == "held"


async def test_the_shared_lock_survives_a_failed_commit(db):
    """A commit that fails opens the writer's connection anew, and the database is still seen to be in use."""
    db._writer.connection.set_commit_hook(lambda: True)
    with pytest.raises(Exception, match="cannot be written"):
        await db.write(lambda unit: unit.row("next_revision"))

    assert run(LOCK, db.path) == "held"


def test_a_backup_by_another_sqlite_loses_nothing(db, tmp_path):
    """Another SQLite opens, backs up and closes; what is committed afterwards is in the file that everybody else opens."""
    bump(db)

    run(BACKUP, db.path, tmp_path / "backup.db")
    bump(db)

    assert run(READ, db.path) == "2"
    assert run(READ, tmp_path / "backup.db") == "1"
    assert [one for one in open_files() if str(tmp_path) in one and one.endswith("(deleted)")] == []


def test_a_database_that_was_removed_is_not_made_anew(db):
    """A file removed under the running service is an error at the next connection, never a fresh, empty database."""
    db.path.unlink()

    with pytest.raises(StoreReplaced, match=r"aegis\.db was removed"):
        db._connect(256)

    assert not db.path.exists()


def test_the_files_are_readable_by_their_owner_only(db):
    """The database and SQLite's files beside it hold sealed credentials and events: nobody else may read them."""
    bump(db)
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in db.path.parent.iterdir()}

    assert modes == dict.fromkeys(("aegis.db", "aegis.db-wal", "aegis.db-shm", "aegis.db.lock"), "0o600")
