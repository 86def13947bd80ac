"""Promises about the files that options name."""

import os
import threading
from pathlib import Path

import click
import pytest

from aegis_stream.cli.files import whole_file


def test_a_file_has_its_name_when_it_is_complete(tmp_path: Path):
    """Until then, and when writing it fails, an older one stays, and nothing is left beside it."""
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def fail() -> None:
        with whole_file(target, "--output") as file:
            file.write(b"part")
            raise OSError(28, "No space left on device")

    with pytest.raises(click.ClickException, match=r"out cannot be written .*--output"):
        fail()
    before = target.read_bytes()
    with whole_file(target, "--output") as file:
        file.write(b"new")

    assert (before, target.read_bytes()) == (b"old", b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_a_link(tmp_path: Path):
    """The file that it leads to is written."""
    link, target = tmp_path / "link", tmp_path / "out"
    link.symlink_to(target)

    with whole_file(link, "--output") as file:
        file.write(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_what_is_no_file_is_not_replaced(tmp_path: Path):
    """A pipe, or a device such as /dev/null, is written to: who runs as root must not lose it."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()

    with whole_file(pipe, "--output") as file:
        file.write(b"new")
    reader.join(10)

    assert read == [b"new"]
    assert pipe.is_fifo()
