"""Whether the store takes writes: what readiness is judged by; and how large the write-ahead log stays."""

import asyncio

import apsw
import pytest

from aegis_stream.errors import Unavailable
from aegis_stream.store.health import try_write
from aegis_stream.store.sqlite import connect, writer
from aegis_stream.store.sqlite.database import READER_CACHE_KIB, SqliteDatabase
from aegis_stream.store.sqlite.gate import WriteGate
from support.clock import SteadyClock
from support.sql import raw


@pytest.fixture
def db(tmp_path):
    """Make a database as it is at the start."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    yield db
    db.close()


async def test_a_failed_write_is_a_fault_until_one_succeeds(db):
    """After a commit that failed the store says why, and an attempt that succeeds ends that."""
    assert db.write_fault() is None
    db._writer.connection.set_commit_hook(lambda: True)
    with pytest.raises(Unavailable):
        await db.write(lambda unit: unit.row("next_revision"))

    assert db.write_fault().code == "store-unwritable"
    await db.write(try_write)
    assert db.write_fault() is None


async def test_a_unit_that_raises_is_no_fault_of_the_store(db):
    """What a caller gets wrong says nothing about the disk."""

    def fail(_):
        raise Unavailable("the caller's own")

    with pytest.raises(Unavailable, match="own"):
        await db.write(fail)

    assert db.write_fault() is None


async def test_the_attempt_writes(db):
    """Each attempt goes through the log, so that a full disk refuses it."""
    log = db.path.with_name("aegis.db-wal")
    before = log.read_bytes()

    for _ in range(2):
        await db.write(try_write)
        assert log.read_bytes() != before
        before = log.read_bytes()


@pytest.mark.parametrize("threads", [False, True])
def test_every_connection_has_its_settings(tmp_path, threads):
    """Durability and caches rest on settings of each connection, of which SQLite would run the first alone if it was not asked on."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock(), threads=threads)
    db.migrate()
    names = ("journal_mode", "synchronous", "foreign_keys", "temp_store", "journal_size_limit", "cache_size")
    expected = ["wal", 2, 1, 2, connect.WAL_BYTES_KEPT]

    found = [[one.pragma(name) for name in names] for one in (db._writer.connection, db._reader())]

    assert found == [[*expected, -writer.CACHE_KIB], [*expected, -READER_CACHE_KIB]]
    db.close()


async def test_a_write_that_is_held_up_is_a_fault(db, monkeypatch):
    """While another process holds the store for longer than STUCK_S, it is stuck; afterwards it is not."""
    monkeypatch.setattr(writer, "STUCK_S", 0.05)
    gate = WriteGate(db.path.with_name("aegis.db.lock"))
    with gate:
        waiting = db.submit(lambda unit: unit.row("next_revision"), writer.Lane.CONTROL)
        while db.write_fault() is None:
            await asyncio.sleep(0.01)
        assert db.write_fault().code == "store-stuck"
    await waiting
    await db.write(try_write)

    assert db.write_fault() is None
    gate.close()


def test_the_log_shrinks_after_a_long_reader(tmp_path, monkeypatch):
    """A log that grew because a reader kept its snapshot is cut to WAL_BYTES_KEPT once it is written from its start again."""
    monkeypatch.setattr(connect, "WAL_BYTES_KEPT", 1 << 20)
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock(), threads=False)
    db.migrate()
    log = tmp_path / "aegis.db-wal"
    insert = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, 1)"

    def write() -> None:
        names = [(f"{'x' * 3000}{number}",) for number in range(6000)]
        db.write_now(lambda unit: [raw(unit).run(insert, one) for one in names])

    reader = apsw.Connection(str(db.path))
    reader.execute("BEGIN; SELECT count(*) FROM meta").fetchall()
    write()
    grown = log.stat().st_size
    reader.close()
    for _ in range(3):  # copied at one commit, begun anew at the next, cut at the one after
        db.write_now(try_write)

    assert grown > 16 << 20
    assert log.stat().st_size <= 1 << 20
    db.close()
