"""Promises of the ring: what a master key is, and a key file that is complete at any moment."""

import base64
import fcntl
import os
import stat
import subprocess
import sys
import threading
import tracemalloc

import pytest

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.vault.ring import KEYS_MAX, KeyFile, MasterKey, locked, new_key, parse_ring
from support.api import FakeRandom

KEY, OTHER_KEY = MasterKey(bytes(range(32))), MasterKey(bytes(range(1, 33)))


def text_of(*keys: MasterKey, between: str = ",") -> str:
    """Write keys as an operator would."""
    return between.join(base64.b64encode(one.secret).decode() for one in keys)


@pytest.fixture
def file(tmp_path) -> KeyFile:
    """Make a key file with one key."""
    made = KeyFile(tmp_path / "master.key")
    made.write((KEY,))
    return made


# ── text ──


BOTH_SIGNS = b"\xfb\xff" * 16
"""A key whose base64 has both characters that differ between the alphabets."""


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(BOTH_SIGNS).decode(),
        base64.b64encode(BOTH_SIGNS).decode().rstrip("="),
        base64.b64encode(BOTH_SIGNS).decode() + "=",
        base64.urlsafe_b64encode(BOTH_SIGNS).decode(),
        "  " + base64.b64encode(BOTH_SIGNS).decode() + "\n",
    ],
    ids=["plain", "unpadded", "padded too much", "URL-safe", "blanks around"],
)
def test_reads_a_master_key(text):
    """A key is 32 bytes in base64 of either alphabet, whatever its padding."""
    assert parse_ring(text, "AEGIS_MASTER_KEY") == (MasterKey(BOTH_SIGNS),)


@pytest.mark.parametrize("between", [",", ", ", "\n", "\r\n", " "], ids=ascii)
def test_reads_several_keys_in_their_order(between):
    """Keys are separated by commas, blanks or line breaks, the newest first; a repeated key counts once."""
    assert parse_ring(text_of(KEY, OTHER_KEY, KEY, between=between), "X") == (KEY, OTHER_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        ",",
        "c4n4ry",
        "c4n4ry-é",
        base64.b64encode(b"x" * 31).decode(),
        base64.b64encode(b"x" * 33).decode(),
        "c4" * 32,
        text_of(KEY) + ",c4n4ry",
    ],
    ids=ascii,
)
def test_refuses_what_is_no_master_key(text):
    """Anything else is rejected with the setting's name and the command that makes a key; the message does not repeat it."""
    with pytest.raises(Misconfigured, match="AEGIS_MASTER_KEY") as caught:
        parse_ring(text, "AEGIS_MASTER_KEY")
    assert "openssl rand -base64 32" in str(caught.value)
    assert not [word for word in text.replace(",", " ").split() if word in str(caught.value)]


def test_says_which_of_several_keys_is_wrong():
    """A wrong key among several is named by its position, a single one by its setting alone."""
    with pytest.raises(Misconfigured, match=r"^key 2 of AEGIS_MASTER_KEY"):
        parse_ring(text_of(KEY) + ",c4n4ry", "AEGIS_MASTER_KEY")
    with pytest.raises(Misconfigured, match=r"^AEGIS_MASTER_KEY"):
        parse_ring("c4n4ry", "AEGIS_MASTER_KEY")


def test_refuses_a_master_key_with_stray_characters():
    """A key with characters outside base64 is rejected: a lenient decoder would drop them and use another key."""
    text = text_of(KEY)

    with pytest.raises(Misconfigured):
        parse_ring(text[:10] + "!*?" + text[10:], "AEGIS_MASTER_KEY")


def test_takes_a_bounded_number_of_keys():
    """A ring has a limit, and the message says what to remove."""
    keys = [MasterKey(bytes([number]) * 32) for number in range(KEYS_MAX + 1)]

    assert len(parse_ring(text_of(*keys[:-1]), "X")) == KEYS_MAX
    with pytest.raises(Misconfigured, match="remove the oldest"):
        parse_ring(text_of(*keys), "X")


def test_a_new_key_has_an_id_of_its_own():
    """A random source that returns a known key again is an error."""

    class Stuck(FakeRandom):
        def random_bytes(self, count: int) -> bytes:
            return KEY.secret

    assert new_key(FakeRandom(), (KEY,)).key_id != KEY.key_id
    with pytest.raises(Unavailable, match="random"):
        new_key(Stuck(), (KEY,))


def test_a_key_does_not_show_itself():
    """Neither repr nor id of a key say anything about its bytes."""
    assert repr(KEY) == "MasterKey()"
    assert KEY.key_id not in KEY.secret


# ── file ──


def test_makes_the_master_key_file_once(tmp_path):
    """The file is made for its owner alone, and read from then on."""
    file = KeyFile(tmp_path / "master.key")

    made, again = file.make(FakeRandom()), file.make(FakeRandom())

    assert (made, again, len(file.read())) == (True, False, 1)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_processes_that_start_at_once_make_one_key(tmp_path):
    """Of two processes that create the file, the second reads the first one's key: never half a file, never a second key."""
    program = (
        "import secrets, sys; from pathlib import Path; from aegis_stream.vault import KeyFile\n"
        "class Random:\n random_bytes = staticmethod(secrets.token_bytes)\n"
        "file = KeyFile(Path(sys.argv[1])); file.make(Random()); print([one.key_id.hex() for one in file.read()])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "master.key")]

    all_ = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = {one.communicate(timeout=60)[0] for one in all_}

    assert len(outputs) == 1
    assert len(outputs.pop()) == len("['12345678']\n")


def test_whoever_starts_while_another_makes_the_key_waits_for_it(tmp_path, monkeypatch):
    """A start waits while another process creates the key, and then uses that key."""
    asked, ways, made, flock = threading.Event(), [], [], fcntl.flock

    def ask(handle: int, how: int) -> None:
        ways.append(how)
        asked.set()
        flock(handle, how)

    file = KeyFile(tmp_path / "master.key")
    second = threading.Thread(target=lambda: made.append(file.make(FakeRandom())))
    with locked(tmp_path, wait=True):
        monkeypatch.setattr(fcntl, "flock", ask)
        second.start()
        assert asked.wait(30)
        file.write((KEY,))
    second.join(30)

    # It may ask so late that the lock is free again, and then nothing but the way it asks tells that it would have waited.
    assert ways == [fcntl.LOCK_EX]
    assert made == [False]
    assert file.read() == (KEY,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_refuses_a_master_key_file_that_others_can_touch(file, mode):
    """A file that others may read or write is rejected with the command that fixes it."""
    file.path.chmod(mode)

    with pytest.raises(Misconfigured, match="chmod 600"):
        file.read()


@pytest.mark.parametrize("content", [b"", b"\n", b"c4n4ry\n", b"\xff\xfe\0"])
def test_refuses_a_master_key_file_without_a_key(file, content):
    """A file without a key is rejected with its path; the message does not repeat its content."""
    file.path.write_bytes(content)

    with pytest.raises(Misconfigured, match=r"master\.key") as caught:
        file.read()
    assert "c4n4ry" not in str(caught.value)


def test_a_file_that_is_no_key_file_is_not_read_whole(file):
    """A large file in the place of the key file costs little memory: only its beginning is read."""
    file.path.write_bytes(b" " * (8 << 20))

    tracemalloc.start()
    try:
        with pytest.raises(Misconfigured, match="contains no master key"):
            file.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def test_a_missing_file_is_named(tmp_path):
    """The message about a missing key file has its path."""
    with pytest.raises(Misconfigured, match=r"gone\.key cannot be read: No such file"):
        KeyFile(tmp_path / "gone.key").read()


def test_reads_what_it_wrote(file):
    """A ring comes back in its order, from a file of mode 0600."""
    file.write((OTHER_KEY, KEY))

    assert file.read() == (OTHER_KEY, KEY)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [one.name for one in file.path.parent.iterdir()] == ["master.key"]


def test_a_reader_never_sees_half_a_file(file):
    """While the ring is replaced again and again, every read gets a complete one."""
    rings = [(KEY,), (OTHER_KEY, KEY)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for ring in rings:
                file.write(ring)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {file.read() for _ in range(2000)}
    finally:
        stop.set()
        writer.join()

    assert seen <= set(rings)


def test_what_a_kill_left_behind_does_not_stop_the_next_write(file):
    """A temporary file of an earlier attempt, of any mode, is overwritten and gets mode 0600."""
    left = file.path.with_name(".new.master.key")
    left.write_text("half a k")
    left.chmod(0o644)

    file.write((OTHER_KEY,))

    assert file.read() == (OTHER_KEY,)
    assert not left.exists()


def test_writes_where_a_link_leads(tmp_path, file):
    """A symbolic link stays a link: its target is replaced."""
    link = KeyFile(tmp_path / "link.key")
    link.path.symlink_to(file.path)

    link.write((OTHER_KEY,))

    assert link.path.is_symlink()
    assert file.read() == link.read() == (OTHER_KEY,)


def test_a_file_that_cannot_be_written_stays_as_it_was(file, monkeypatch):
    """If writing fails, the old ring stays, no file is left, and the message says how to do it by hand."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(Misconfigured, match=r"No space left on device.*before the others"):
        file.write((OTHER_KEY,))
    assert file.read() == (KEY,)
    assert [one.name for one in file.path.parent.iterdir()] == ["master.key"]


def test_one_at_a_time_changes_keys(tmp_path):
    """While one process changes keys in a folder, another gets an error; afterwards it succeeds."""
    with (
        locked(tmp_path, wait=False),
        pytest.raises(Unavailable, match="another process"),
        locked(tmp_path, wait=False),
    ):
        pass

    with locked(tmp_path, wait=False):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """The message about a missing folder names it."""
    with pytest.raises(Misconfigured, match="nowhere"), locked(tmp_path / "nowhere", wait=False):
        pass
