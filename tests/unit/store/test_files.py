"""Files that are removed or replaced under an open database: nothing is stored, read or acknowledged from then on."""

import os
from pathlib import Path

import pytest

from aegis_stream.errors import StoreReplaced
from aegis_stream.store.database import Lane
from aegis_stream.store.sqlite import files
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
