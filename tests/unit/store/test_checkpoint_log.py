"""Promises of `store.checkpoint_log`: what was signed is known after any crash, and the file stays small."""

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.store import checkpoint_log
from aegis_stream.store.checkpoint_log import NAME, CheckpointLog, Signed

ROOT = bytes(range(32))


def test_the_newest_checkpoint_of_each_log_is_known_again(tmp_path):
    """A new process knows size and root of what the last one noted, log by log."""
    log = CheckpointLog(tmp_path)
    assert log.last("a") is None
    log.note("a", Signed(5, ROOT))
    log.note("b", Signed(7, ROOT))
    log.note("a", Signed(9, ROOT[::-1]))

    again = CheckpointLog(tmp_path)

    assert (again.last("a"), again.last("b"), again.last("c")) == (
        Signed(9, ROOT[::-1]),
        Signed(7, ROOT),
        None,
    )
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_a_line_that_a_crash_cut_is_ignored_and_spoils_none(tmp_path, cut):
    """The checkpoints before it are known, and the next one is written whole behind it."""
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))
    log.note("a", Signed(6, ROOT))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])

    again = CheckpointLog(tmp_path)
    assert again.last("a") in (Signed(5, ROOT), None)
    assert again.last("a") is not None or cut > 70
    again.note("a", Signed(8, ROOT))

    assert CheckpointLog(tmp_path).last("a") == Signed(8, ROOT)


def test_a_damaged_line_is_not_believed(tmp_path):
    """A changed size or root does not fit the line's checksum."""
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))
    log.path.write_bytes(log.path.read_bytes().replace(b"a 5 ", b"a 9 ") + b"\nx y z\n\xff\xff 1 2 3\n")

    assert CheckpointLog(tmp_path).last("a") is None


def test_the_file_is_written_anew_when_it_is_large(tmp_path, monkeypatch):
    """A file far larger than its last lines is replaced by them, and nothing is forgotten."""
    monkeypatch.setattr(checkpoint_log, "BYTES_MAX", 2000)
    log = CheckpointLog(tmp_path)
    log.note("b", Signed(1, ROOT))

    for size in range(200):
        log.note("a", Signed(size, ROOT))
        assert log.path.stat().st_size <= 2500

    again = CheckpointLog(tmp_path)
    assert (again.last("a"), again.last("b")) == (Signed(199, ROOT), Signed(1, ROOT))


@pytest.mark.parametrize("bytes_max", [1 << 20, 0], ids=["appended", "written anew"])
def test_a_noted_checkpoint_is_durable(tmp_path, monkeypatch, bytes_max):
    """When a note returns, the file was synced with all that is in it."""
    monkeypatch.setattr(checkpoint_log, "BYTES_MAX", bytes_max)
    log, synced = CheckpointLog(tmp_path), []
    sync = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(checkpoint_log.os, "fsync", fsync)
    for size in range(1, 5):
        synced.clear()
        log.note("a", Signed(size, ROOT))
        assert log.path.stat().st_size in synced


def test_the_same_checkpoint_is_noted_once(tmp_path):
    """A log that is signed again without new events adds nothing."""
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))
    before = log.path.read_bytes()

    log.note("a", Signed(5, ROOT))

    assert log.path.read_bytes() == before


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path):
    """Not to know what was signed is no reason to sign."""
    (tmp_path / NAME).mkdir()

    with pytest.raises(Misconfigured, match="cannot be read"):
        CheckpointLog(tmp_path)


def test_two_sealers_on_one_directory_forget_nothing(tmp_path, monkeypatch):
    """What one process has noted is there after another one, which did not know of it, has written the file anew."""
    monkeypatch.setattr(checkpoint_log, "BYTES_MAX", 300)
    one, other = CheckpointLog(tmp_path), CheckpointLog(tmp_path)

    one.note("a", Signed(1, ROOT))
    other.note("b", Signed(1, ROOT[::-1]))
    for size in range(2, 40):
        one.note("a", Signed(size, ROOT))

    again = CheckpointLog(tmp_path)
    assert (again.last("a"), again.last("b")) == (Signed(39, ROOT), Signed(1, ROOT[::-1]))


def test_processes_that_note_at_the_same_time_lose_no_line(tmp_path, monkeypatch):
    """While the file is written anew again and again, no note of another process is lost."""
    monkeypatch.setattr(checkpoint_log, "BYTES_MAX", 200)
    logs = {name: CheckpointLog(tmp_path) for name in "abcd"}

    def work(name: str) -> None:
        for size in range(1, 60):
            logs[name].note(name, Signed(size, ROOT))

    with ThreadPoolExecutor(len(logs)) as pool:
        list(pool.map(work, logs))

    again = CheckpointLog(tmp_path)
    assert [again.last(name) for name in logs] == [Signed(59, ROOT)] * len(logs)


def test_the_larger_checkpoint_counts(tmp_path):
    """A slow sealer that notes its own after that of a faster one does not hide it."""
    slow, fast = CheckpointLog(tmp_path), CheckpointLog(tmp_path)
    slow.note("a", Signed(5, ROOT))
    fast.note("a", Signed(9, ROOT[::-1]))
    slow.note("a", Signed(7, ROOT))

    assert CheckpointLog(tmp_path).last("a") == Signed(9, ROOT[::-1])
    assert fast.last("a") == Signed(9, ROOT[::-1])


def test_what_was_read_is_made_durable_before_it_counts(tmp_path, monkeypatch):
    """A line that a killed process wrote and did not sync is in memory alone: the next process syncs it before it relies on it."""
    CheckpointLog(tmp_path).note("a", Signed(5, ROOT))
    log, synced = CheckpointLog(tmp_path), []
    sync = os.fsync
    monkeypatch.setattr(
        checkpoint_log.os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), sync(handle))
    )

    log.note("a", Signed(5, ROOT))

    assert log.path.stat().st_ino in synced


def test_a_sync_that_failed_is_not_trusted(tmp_path, monkeypatch):
    """After it the file is written anew: the kernel takes pages that it could not write for written."""
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))
    with monkeypatch.context() as failing:
        failing.setattr(checkpoint_log.os, "fsync", _fail)
        with pytest.raises(OSError, match="disk"):
            log.note("a", Signed(6, ROOT))
    before = log.path.stat().st_ino

    log.note("a", Signed(6, ROOT))

    assert log.path.stat().st_ino != before
    assert not list(tmp_path.glob(".new*"))
    assert CheckpointLog(tmp_path).last("a") == Signed(6, ROOT)


def _fail(_: int) -> None:
    raise OSError(errno.EIO, "the disk fails, says a test")


def test_a_file_that_was_removed_is_written_anew_with_all_that_is_known(tmp_path):
    """A process that runs has the newest checkpoint of each log, and writes them again."""
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))
    log.note("b", Signed(7, ROOT))
    log.path.unlink()

    log.note("a", Signed(6, ROOT))

    again = CheckpointLog(tmp_path)
    assert (again.last("a"), again.last("b")) == (Signed(6, ROOT), Signed(7, ROOT))


def test_a_lock_that_another_process_keeps_is_an_error_and_not_a_wait(tmp_path, monkeypatch):
    """Whoever is stopped with the lock stops the seals of others, and they say so."""
    monkeypatch.setattr(checkpoint_log, "LOCK_S", 0.0)
    log = CheckpointLog(tmp_path)
    log.note("a", Signed(5, ROOT))

    with log.path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process holds its lock"):
            log.note("a", Signed(6, ROOT))
    log.note("a", Signed(6, ROOT))

    assert CheckpointLog(tmp_path).last("a") == Signed(6, ROOT)
