"""A small file with a secret: written as a whole, durable, and readable by its owner alone."""

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Create or replace a file; durable when this returns, and after a kill or a power cut it is the old one or the new one.

    The mode is 0600; the owner of an old file stays the owner, so that root can replace it for the service.
    Raises: OSError, and then the old file is unchanged.
    """
    target = path.resolve()  # a symbolic link must stay a link
    fresh = target.with_name(f".new.{target.name}")
    try:
        _write(fresh, text, _owner_of(target))
        fresh.replace(target)
        _sync_folder(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _owner_of(path: Path) -> tuple[int, int] | None:
    """Return user and group of an existing file that is not ours: root may rotate the keys of a service that is not root's."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_uid, found.st_gid) if found.st_uid != os.geteuid() else None


def _write(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)  # also if a killed process left a file of this name
        if owner is not None:
            os.fchown(handle, *owner)
        file.write(text)
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
