"""A machine that has no thread or descriptor to give for a moment: the store says so, and goes on by itself."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from aegis_stream.errors import Unavailable
from aegis_stream.store.local_wakeups import LOOK_AGAIN_S, WakeListener, WakeNotifier
from aegis_stream.store.sqlite import checkpoint
from aegis_stream.store.sqlite.checkpoint import Checkpointer
from aegis_stream.store.sqlite.connect import PAGE_BYTES, connect, create_private
from aegis_stream.store.sqlite.database import SqliteDatabase
from support.clock import SteadyClock
from support.sql import raw


@pytest.fixture
def no_threads(monkeypatch):
    """Let so many starts of a thread fail."""
    left = [0]
    start = threading.Thread.start

    def fail_first(thread):
        if left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_first)
    return left


@pytest.fixture
def db(tmp_path):
    """Make a database that has no thread yet."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    yield db
    db.close()


def revision(unit):
    """Read something."""
    return raw(unit).row("SELECT count(*) FROM meta WHERE name = 'revision'")


async def test_a_write_without_a_thread_is_unavailable(db, no_threads):
    """A write that finds no thread says so at once, and the next one that finds one is made."""
    no_threads[0] = 2
    for _ in range(2):
        with pytest.raises(Unavailable, match="thread"):
            await db.write(revision)

    assert await db.write(revision) == (1,)


async def test_a_read_without_a_thread_is_unavailable(db, no_threads):
    """A read that finds no thread says so at once, and the next one that finds one is made."""
    no_threads[0] = 2
    for _ in range(2):
        with pytest.raises(Unavailable, match="thread"):
            await db.read(revision)

    assert await db.read(revision) == (1,)


def test_a_commit_is_stored_whether_or_not_the_log_can_be_copied(tmp_path, monkeypatch, no_threads):
    """Where no thread copies the write-ahead log a commit succeeds all the same, and a later one has the log copied."""
    monkeypatch.setattr(checkpoint, "WAL_BYTES_MAX", 5 * PAGE_BYTES)
    path, asked = tmp_path / "t.db", threading.Event()
    create_private(path)
    keeper = Checkpointer(lambda: connect(path, 100, 0), asked.set)
    writer = connect(path, 100, 0)
    writer.execute("CREATE TABLE t (x)")
    keeper.watch(writer)
    no_threads[0] = 3
    for _ in range(3):
        writer.execute("INSERT INTO t VALUES (randomblob(40000))")
    copied_before = asked.is_set()
    for _ in range(100):
        writer.execute("INSERT INTO t VALUES (randomblob(4000))")
        if asked.wait(0.05):
            break
    keeper.close()

    assert not copied_before
    assert asked.is_set()
    writer.close()


def fail_with(number):
    """Return a function that fails for want of something."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


async def test_wake_ups_go_on_after_a_moment_without_descriptors(tmp_path, monkeypatch):
    """A notifier that cannot list the workers keeps the list that it had, and every later wake-up is sent."""
    heard = []
    notifier = WakeNotifier(tmp_path)
    listener = WakeListener(tmp_path, "wrk_1", lambda no, head: heard.append((no, head)))
    try:
        notifier.notify_changes()
        await asyncio.sleep(0.01)
        monkeypatch.setattr(notifier._folder, "sockets", fail_with(errno.EMFILE))
        notifier._looked_at_s -= LOOK_AGAIN_S
        notifier.notify(1, 5)
        await asyncio.sleep(0.01)
        monkeypatch.undo()
        notifier.notify(1, 6)
        await asyncio.sleep(0.01)
    finally:
        listener.close()
        notifier.close()

    assert heard == [(0, 0), (1, 5), (1, 6)]


@pytest.mark.parametrize("call", ["os.open", "socket.socket"])
async def test_a_worker_without_a_descriptor_for_its_socket_is_told_so(tmp_path, monkeypatch, call):
    """What cannot listen now is Unavailable, which a worker waits out, and leaves nothing open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(f"aegis_stream.store.local_wakeups.{call}", fail_with(errno.EMFILE))
        with pytest.raises(Unavailable, match="open files"):
            WakeListener(tmp_path, "wrk_1", print)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
