"""Promises of a file with a secret: it is replaced as a whole, and nobody but its owner ever reads it."""

import os
import stat

import pytest

from aegis_stream.vault.durable import replace_file


@pytest.fixture
def path(tmp_path):
    """Make a file with a secret."""
    path = tmp_path / "secret"
    replace_file(path, "old\n")
    return path


def test_nobody_else_can_open_the_file_at_any_time(tmp_path, monkeypatch):
    """The file has mode 0600 as soon as it exists, whatever the umask of the process is."""
    modes, fchmod = [], os.fchmod

    def look(handle: int, mode: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        fchmod(handle, mode)

    monkeypatch.setattr(os, "fchmod", look)
    before = os.umask(0)
    try:
        replace_file(tmp_path / "secret", "new\n")
    finally:
        os.umask(before)

    assert modes == [0o600]


def test_a_longer_file_that_a_kill_left_behind_is_overwritten(path):
    """Nothing of a temporary file of an earlier attempt is in the new file, however long it was."""
    path.with_name(".new.secret").write_text("left behind " * 100)

    replace_file(path, "new\n")

    assert path.read_text() == "new\n"


def test_no_file_is_written_where_a_link_of_the_temporary_name_leads(path, tmp_path):
    """A link that somebody put there is not followed: the file that it leads to and the old file stay as they were."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.with_name(".new.secret").symlink_to(victim)

    with pytest.raises(OSError, match="symbolic links"):
        replace_file(path, "new\n")
    assert (victim.read_text(), path.read_text()) == ("untouched", "old\n")

    replace_file(path, "new\n")
    assert (victim.read_text(), path.read_text()) == ("untouched", "new\n")


@pytest.mark.parametrize("is_own", [True, False])
def test_a_file_of_another_user_stays_that_user_s(path, monkeypatch, is_own):
    """Root replaces a file of the service's user, and it stays that user's and group's; one's own file is given to nobody."""
    given, owner = [], (path.stat().st_uid, path.stat().st_gid)

    def give(handle: int, user: int, group: int) -> None:
        assert stat.S_ISREG(os.fstat(handle).st_mode)
        given.append((user, group))

    monkeypatch.setattr(os, "fchown", give)
    if not is_own:
        monkeypatch.setattr(os, "geteuid", lambda: owner[0] + 1)

    replace_file(path, "new\n")

    assert given == ([] if is_own else [owner])


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    """A file in a missing folder cannot be written, and the error says why, not that there was nothing to clean up."""
    with pytest.raises(FileNotFoundError, match=r"\.new\.secret"):
        replace_file(tmp_path / "nowhere" / "secret", "new\n")
