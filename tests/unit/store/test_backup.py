"""Copies of a database that is in use, and what it takes to put one back."""

import contextlib
import subprocess
import sys

import apsw
import pytest

from aegis_stream.errors import AegisError, Conflict, Misconfigured, Unavailable
from aegis_stream.store.sqlite import backup
from aegis_stream.store.sqlite.backup import back_up, check_copy, restore
from aegis_stream.store.sqlite.connect import PAGE_BYTES
from aegis_stream.store.sqlite.database import SqliteDatabase
from support.clock import SteadyClock

HOLD = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL; SELECT count(*) FROM meta").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def db(tmp_path):
    """Open a database of several hundred pages."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    with contextlib.closing(apsw.Connection(str(db.path))) as raw:
        raw.execute("CREATE TABLE ballast (body TEXT)")
        raw.executemany("INSERT INTO ballast VALUES (?)", [("x" * 3000,)] * 500)
    yield db
    db.close()


def bump(db) -> int:
    """Commit a change; return how many there were."""
    return db.write_now(lambda unit: unit.row("next_revision"))[0]


def revision_of(path) -> int:
    """Read how many changes a copy holds."""
    with contextlib.closing(apsw.Connection(str(path))) as raw:
        return raw.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]


def nobody(_: int, __: int) -> None:
    """Take no notice of progress."""


def test_a_backup_ends_under_constant_writes_and_holds_one_moment(db, tmp_path, monkeypatch):
    """A commit between any two steps does not start the copy again; it holds what was committed before it began, and no more."""
    monkeypatch.setattr(backup, "STEP_PAGES", 10)
    before, steps = bump(db), []

    def write_meanwhile(done: int, total: int) -> None:
        bump(db)
        steps.append((done, total))

    back_up(db.path, tmp_path / "copy.db", write_meanwhile)

    assert len(steps) > 30
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]
    assert revision_of(tmp_path / "copy.db") == before


def test_a_backup_is_one_private_file(db, tmp_path):
    """Nobody else can read it, nothing lies beside it, and opening it creates nothing."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "copy.db"

    back_up(db.path, target, nobody)
    check_copy(target)
    revision_of(target)

    assert [one.name for one in target.parent.iterdir()] == ["copy.db"]
    assert oct(target.stat().st_mode & 0o777) == "0o600"


def test_a_backup_never_replaces_a_file(db, tmp_path):
    """The last good backup stays when a script uses its name twice."""
    target = tmp_path / "copy.db"
    target.write_text("the last one")

    with pytest.raises(Misconfigured, match="exists already"):
        back_up(db.path, target, nobody)

    assert target.read_text() == "the last one"


def test_a_backup_that_fails_leaves_nothing(db, tmp_path):
    """An error in the middle, here by whoever shows the progress, leaves no file that could be taken for a backup."""

    def stop(_: int, __: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        back_up(db.path, tmp_path / "out" / "copy.db", stop)

    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_backup_is_in_nobodys_way(db, tmp_path):
    """What a killed backup left behind is overwritten by the next one."""
    (tmp_path / ".copy.db.unfinished").write_text("half")

    back_up(db.path, tmp_path / "copy.db", nobody)

    check_copy(tmp_path / "copy.db")
    assert not (tmp_path / ".copy.db.unfinished").exists()


def test_no_database_is_no_backup(tmp_path):
    """A wrong directory is named; no empty database is made there."""
    with pytest.raises(Misconfigured, match="there is no database at"):
        back_up(tmp_path / "aegis.db", tmp_path / "copy.db", nobody)

    assert list(tmp_path.iterdir()) == []


# ── restore ──


@pytest.fixture
def copy(db, tmp_path):
    """Make a backup."""
    back_up(db.path, tmp_path / "copy.db", nobody)
    return tmp_path / "copy.db"


def test_a_restored_database_is_the_backup(db, copy, tmp_path):
    """In an empty directory the backup becomes the database, private, and works."""
    (tmp_path / "new").mkdir()
    target = tmp_path / "new" / "aegis.db"

    restore(copy, target, beside=[], aside=None)
    again = SqliteDatabase(target, SteadyClock())

    assert bump(again) == bump(db)
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    again.close()


@pytest.mark.parametrize("left", ["aegis.db", "aegis.db-wal", "log.head"])
def test_a_database_is_replaced_only_when_asked(copy, tmp_path, left):
    """Whatever is left of a database stops the restore; when it may be replaced it is moved aside, not deleted."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / left).write_bytes(b"old")
    target, beside, aside = tmp_path / "new" / "aegis.db", [tmp_path / "new" / "log.head"], tmp_path / "aside"

    with pytest.raises(Conflict, match=left):
        restore(copy, target, beside=beside, aside=None)
    unchanged = [one.name for one in target.parent.iterdir()]
    restore(copy, target, beside=beside, aside=aside)

    assert unchanged == [left]
    assert [one.name for one in target.parent.iterdir()] == ["aegis.db"]
    assert (aside / left).read_bytes() == b"old"
    check_copy(target)


def test_a_database_in_use_is_not_replaced(copy, tmp_path):
    """While any process has the database open, restore refuses, whatever it is told."""
    used, aside = tmp_path / "used.db", tmp_path / "aside"
    restore(copy, used, beside=[], aside=None)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, used], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Conflict, match="stop the service"):
            restore(copy, used, beside=[], aside=aside)
        holder.communicate()

    restore(copy, used, beside=[], aside=aside)
    assert (aside / "used.db").exists()


def truncated(text: bytes) -> bytes:
    """Lose the second half, as a full disk does."""
    return text[: len(text) // 2 // PAGE_BYTES * PAGE_BYTES]


def flipped(text: bytes) -> bytes:
    """Damage the head of a page in the middle."""
    at = len(text) // 2 // PAGE_BYTES * PAGE_BYTES
    return text[:at] + bytes(byte ^ 0xFF for byte in text[at : at + 64]) + text[at + 64 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda _: b"", lambda _: b"no database" * 1000])
def test_a_damaged_backup_changes_nothing(copy, tmp_path, damage):
    """A file that is cut off, damaged, empty or no database is refused before anything is moved."""
    bad = tmp_path / "bad.db"
    bad.write_bytes(damage(copy.read_bytes()))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "aegis.db").write_bytes(b"old")

    with pytest.raises(AegisError) as error:
        restore(bad, tmp_path / "new" / "aegis.db", beside=[], aside=tmp_path / "aside")

    assert isinstance(error.value, Misconfigured | Unavailable)
    assert not (tmp_path / "aside").exists()
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["aegis.db"]


def test_a_copied_database_with_its_log_is_no_backup(copy, tmp_path):
    """A file with a write-ahead log beside it lacks what is in that log: restore says so instead of losing it."""
    copy.with_name("copy.db-wal").write_bytes(b"log")

    with pytest.raises(Misconfigured, match="write-ahead log"):
        restore(copy, tmp_path / "new.db", beside=[], aside=None)


@pytest.mark.parametrize(
    ("version", "says"), [(0, "not a database of this program"), (999, "schema version 999")]
)
def test_a_foreign_database_is_not_restored(copy, tmp_path, version, says):
    """A database of another program, or of a newer version of this one, is refused."""
    with contextlib.closing(apsw.Connection(str(copy))) as raw:
        raw.pragma("user_version", version)

    with pytest.raises(Misconfigured, match=says):
        restore(copy, tmp_path / "new.db", beside=[], aside=None)
