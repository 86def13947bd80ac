"""Files that are removed or replaced under an open database: nothing is stored, read or acknowledged from then on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_stream.errors import StoreReplaced
from aegis_stream.store.database import Lane
from aegis_stream.store.sqlite import database, files
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.store.sqlite.files import LOOK_S, DatabaseFiles
from support.clock import SteadyClock

ENDS = ("", "-wal", "-shm")


class Seconds:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def db(tmp_path, monkeypatch):
    """Open a database whose files are looked at with every call."""
    monkeypatch.setattr(files, "LOOK_S", 0.0)
    (tmp_path / "data").mkdir()
    db = SqliteDatabase(tmp_path / "data" / "aegis.db", SteadyClock())
    db.migrate()
    db.read_now(lambda unit: unit.rows("heads"))
    yield db
    db.close()


def bump(unit) -> int:
    """Write something."""
    return unit.row("next_revision")[0]


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def replace(path: Path) -> None:
    """Put a copy in a file's place, as a restore by hand does."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.mark.parametrize("change", [remove, replace])
@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_stored_once_a_file_is_gone(db, end, change):
    """Whichever file is removed or replaced, in each lane, in each way of writing and reading, the store refuses."""
    path = db.path.with_name(db.path.name + end)
    change(path)

    for lane in Lane:
        with pytest.raises(StoreReplaced, match=f"{path.name} was re"):
            await db.submit(bump, lane)
    for call in (db.write_now, db.read_now):
        with pytest.raises(StoreReplaced, match=f"{path.name} was re"):
            call(bump)
    with pytest.raises(StoreReplaced):
        await db.write(bump)
    with pytest.raises(StoreReplaced):
        await db.read(bump)
    with pytest.raises(StoreReplaced):
        db.changed()


async def test_a_directory_that_is_moved_away_and_back_is_accepted_again(db):
    """While the directory has another name nothing is stored; when it is back, the same service goes on with the same data."""
    folder = db.path.parent
    before = await db.write(bump)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StoreReplaced):
        await db.write(bump)
    folder.with_name("elsewhere").rename(folder)

    assert await db.write(bump) == before + 1


def test_a_log_that_the_last_other_process_removes_during_a_start_is_no_fault(tmp_path, monkeypatch):
    """A process that ends closes the database while another one starts: the log goes, a new one comes, and all is well."""
    monkeypatch.setattr(files, "LOOK_S", 0.0)
    path = tmp_path / "aegis.db"
    first = SqliteDatabase(path, SteadyClock())
    first.migrate()
    connect = database.connect

    def close_first(*arguments):
        if path.with_name("aegis.db-wal").exists():
            first.close()
            for number in range(4):  # takes the numbers of the files that are gone
                path.with_name(f"other-{number}").touch()
        return connect(*arguments)

    monkeypatch.setattr(database, "connect", close_first)
    second = SqliteDatabase(path, SteadyClock())
    second.migrate()
    revision = second.write_now(bump)
    path.with_name("aegis.db-wal").unlink()

    assert revision
    with pytest.raises(StoreReplaced):
        second.write_now(bump)
    second.close()


def test_the_lock_that_keeps_the_log_is_held_as_soon_as_a_connection_is_open(tmp_path):
    """While one process has just opened the database, another one that closes does not remove the log."""
    path = tmp_path / "aegis.db"
    first = SqliteDatabase(path, SteadyClock())
    first.migrate()
    code = (
        "import sys; from pathlib import Path; from aegis_stream.store.sqlite import connect\n"
        "kept = connect.connect(Path(sys.argv[1]), 256, 0); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        inode = path.with_name("aegis.db-wal").stat().st_ino
        first.close()
        kept = path.with_name("aegis.db-wal").stat().st_ino
        other.stdin.close()

    assert kept == inode


def test_the_files_are_looked_at_four_times_a_second(tmp_path):
    """Between two looks a check costs no call of the system; after LOOK_S the next check looks again."""
    path, seconds = tmp_path / "aegis.db", Seconds()
    path.touch()
    watched = DatabaseFiles(path, seconds)
    path.unlink()

    watched.check()
    seconds.now_s += LOOK_S
    with pytest.raises(StoreReplaced):
        watched.check()
    assert LOOK_S <= 0.25


def test_a_file_that_cannot_be_looked_at_is_no_replaced_file(tmp_path, monkeypatch):
    """An error of the disk at a look is left to the reads and writes to report: the file may be there."""
    path, seconds = tmp_path / "aegis.db", Seconds()
    path.touch()
    watched = DatabaseFiles(path, seconds)

    def fail(*_: object, **__: object) -> os.stat_result:
        raise OSError(5, "Input/output error")

    seconds.now_s += LOOK_S
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fail)
        watched.check()
