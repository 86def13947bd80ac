"""The write-ahead log stays short beside the commits."""

import threading

import apsw
import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.store.sqlite import checkpoint
from aegis_stream.store.sqlite.checkpoint import Checkpointer

PAGE_BYTES = 4096
"""Page size of the databases here, which SQLite chooses."""


@pytest.fixture
def database(tmp_path):
    """Open connections to one database that end with the test."""
    made: list[apsw.Connection] = []

    def connect() -> apsw.Connection:
        connection = apsw.Connection(str(tmp_path / "log.db"))
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
        made.append(connection)
        return connection

    yield connect
    for one in made:
        one.close()


def fill(connection: apsw.Connection, commits: int) -> None:
    """Commit this often, a page and more each time."""
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    for _ in range(commits):
        connection.execute("INSERT INTO t VALUES (randomblob(8000))")


def test_a_long_log_is_copied_and_begun_again(database, monkeypatch):
    """Once the log is long, its pages reach the file and the writer is asked for the rest, so that it begins anew."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 50 * PAGE_BYTES)
    asked = threading.Event()
    keeper = Checkpointer(database, asked.set)
    writer = database()
    keeper.watch(writer)
    fill(writer, 40)

    assert asked.wait(10)
    keeper.close()
    checkpoint.copy(writer)
    pages, copied = writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    fill(writer, 1)

    assert pages == copied > 50
    assert writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[0] < 20


@pytest.mark.parametrize("page_bytes", [4096, 8192])
def test_a_log_is_long_by_its_bytes(tmp_path, monkeypatch, page_bytes):
    """Whatever the page size, copying begins at the same length of the log."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 40 * 4096)
    writer = apsw.Connection(str(tmp_path / "log.db"))
    writer.execute(f"PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
    keeper = Checkpointer(lambda: pytest.fail("nothing is copied yet"), lambda: None)
    keeper.watch(writer)
    monkeypatch.setattr(keeper, "_start", lambda: None)
    pages = 0
    while not keeper._wanted.is_set():
        fill(writer, 1)
        pages = writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]
    writer.close()

    assert 40 * 4096 <= pages * page_bytes < 48 * 4096


def test_a_short_log_is_left_alone(database):
    """Few commits start no thread and copy nothing."""
    keeper = Checkpointer(database, lambda: pytest.fail("nobody should be asked"))
    writer = database()
    keeper.watch(writer)
    before = threading.active_count()

    fill(writer, 10)

    assert threading.active_count() == before
    assert writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[0] > 10
    keeper.close()


def test_closing_never_waits_for_the_next_commit(database, monkeypatch):
    """However soon after a copy it is closed, the thread ends."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 5 * PAGE_BYTES)
    writer = database()
    for _ in range(20):
        asked = threading.Event()
        keeper = Checkpointer(database, asked.set)
        keeper.watch(writer)
        fill(writer, 8)
        assert asked.wait(10)

        keeper.close()

        assert keeper._thread is not None
        assert not keeper._thread.is_alive()


def test_a_copy_that_fails_is_tried_again(database, monkeypatch):
    """A full disk or a busy neighbour ends nothing: the next commit asks again."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 5 * PAGE_BYTES)
    asked = threading.Event()
    failures = iter([apsw.FullError("full"), apsw.BusyError("busy")])

    def copy(_: apsw.Connection) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    monkeypatch.setattr(checkpoint, "copy", copy)
    keeper = Checkpointer(database, asked.set)
    writer = database()
    keeper.watch(writer)
    for _ in range(200):
        fill(writer, 8)
        if asked.wait(0.05):
            break

    assert asked.is_set()
    keeper.close()


@pytest.mark.parametrize("error", [apsw.IOError("disk I/O error"), Misconfigured("cannot open the database")])
def test_a_connection_that_cannot_be_opened_is_tried_again(database, monkeypatch, error):
    """For want of a descriptor the log is not copied now; the thread lives on, and the next commit asks again."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 5 * PAGE_BYTES)
    asked = threading.Event()
    failures = iter([error, error])

    def connect() -> apsw.Connection:
        if (failure := next(failures, None)) is not None:
            raise failure
        return database()

    keeper = Checkpointer(connect, asked.set)
    writer = database()
    keeper.watch(writer)
    for _ in range(200):
        fill(writer, 8)
        if asked.wait(0.05):
            break

    assert asked.is_set()
    keeper.close()
