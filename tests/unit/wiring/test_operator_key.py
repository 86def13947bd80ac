"""Promises about the operator key: generated once, shown where only its reader sees it, replaced when its digest is lost."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.wiring.operator_key import operator_digest


def start(folder, given=None):
    """Ask as a start does; returns the digest, whether a key was generated, and what the person is told."""
    notes = []
    digest, generated = operator_digest(folder, given, notes.append)
    return digest, generated, notes


def test_the_first_start_generates_a_key_and_the_next_ones_know_it(tmp_path):
    """Without a terminal the key is in a file that only its owner reads; no note holds it."""
    digest, generated, (note,) = start(tmp_path)
    shown = tmp_path / "operator.key"
    key = shown.read_text().strip()

    assert generated
    assert digest == hashlib.sha256(key.encode()).digest()
    assert key.startswith("aegis_op_")
    assert key not in note
    assert str(shown) in note
    assert [stat.S_IMODE(path.stat().st_mode) for path in (shown, tmp_path / "operator.sha256")] == [
        0o600
    ] * 2
    assert start(tmp_path) == (digest, False, [])


def test_a_terminal_shows_it_and_no_file_holds_it(tmp_path, monkeypatch):
    """On a terminal the key is shown once and stored nowhere."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    digest, _, (note,) = start(tmp_path)

    assert hashlib.sha256(note.rpartition(" ")[2].encode()).digest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["operator.sha256"]


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_digest_is_replaced(tmp_path, text):
    """What a power cut left empty opens nothing: the start generates another key and says so."""
    (tmp_path / "operator.sha256").write_text(text)

    assert start(tmp_path)[1]
    assert not start(tmp_path)[1]


@pytest.mark.parametrize("text", ["x", "ab", "g" * 64, "0" * 63])
def test_a_damaged_digest_stops_the_start(tmp_path, text):
    """Anything else in the file is named, with the way out."""
    (tmp_path / "operator.sha256").write_text(text)

    with pytest.raises(Misconfigured, match="delete it to get a new operator key"):
        start(tmp_path)


def test_a_given_key_needs_no_file(tmp_path):
    """AEGIS_OPERATOR_KEY wins, and nothing is written."""
    assert start(tmp_path, "aegis_op_given") == (hashlib.sha256(b"aegis_op_given").digest(), False, [])
    assert list(tmp_path.iterdir()) == []


def test_digest_and_name_are_synced(tmp_path, monkeypatch):
    """Both the file and its directory are synced before anybody is told the key."""
    synced = []
    real = os.fsync

    def fsync(handle):
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr("os.fsync", fsync)
    start(tmp_path)

    assert str(tmp_path / ".new.operator.sha256") in synced
    assert synced[-1] == str(tmp_path)
