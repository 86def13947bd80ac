"""The checkpoints that were signed here, noted outside the database: finds a database that was put back to an earlier state.

An old backup put in place is intact, and nothing in it tells that more was signed since. If its log were sealed again from there, two
histories of one log would be signed by honest mistake. Each checkpoint is noted here before it is stored, durably: so this file may be
ahead of the database by one seal that was never stored, and never behind it.
"""

import contextlib
import errno
import fcntl
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from aegis_stream.errors import Misconfigured

NAME: Final = "checkpoints.log"
BYTES_MAX: Final = 16 << 20
"""Above this size, and twice what it needs, the file is written anew with the last line of each log."""
LOCK_S: Final = 10.0
"""Longest wait for another sealer on the same directory, seconds: a note takes milliseconds."""
_LOOK_S: Final = 0.005
_FIELDS: Final = 4


class Signed(NamedTuple):
    """The size and root of the newest checkpoint of a log."""

    size: int
    root: bytes


class CheckpointLog:
    """The file of one data directory; each process that seals there has an object of its own.

    Args:
        folder: the data directory.
    Raises: Misconfigured when it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._last: dict[str, Signed] = {}
        # What was read may be in memory alone: a process that was killed has written it and not synced it, or its sync has failed.
        self._is_durable = False
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read ({error.strerror}): it tells which checkpoints were signed; let the service read it"
            ) from error
        self._learn(content)

    def last(self, origin: str) -> Signed | None:
        """Return the newest checkpoint of a log that was noted; None for none."""
        return self._last.get(origin)

    def note(self, origin: str, signed: Signed) -> None:
        """Note a checkpoint durably, before it is stored. Raises: OSError; then it must not be stored."""
        if self._is_durable and self._last.get(origin) == signed:
            return
        line = _line(origin, signed)
        with self._held() as handle:
            size = os.fstat(handle).st_size
            is_large = size > BYTES_MAX and size > 2 * len(line) * len(self._last)
            # A file that is empty was removed or emptied while this process ran.
            is_whole = self._is_durable and (size > 0 or not self._last)
            self._is_durable = False  # until it is synced
            if is_whole and not is_large:
                # A newline first: the line before may have been cut by a crash.
                _write_synced(handle, b"\n" + line)
            else:
                self._learn(os.pread(handle, size, 0))  # another process may have noted more
                self._keep(origin, signed)
                self._write_anew()
        self._keep(origin, signed)
        self._is_durable = True

    def _learn(self, content: bytes) -> None:
        for line in content.split(b"\n"):
            # A line that is not whole was cut by a crash: its checkpoint was never stored.
            if (found := _parsed(line)) is not None:
                self._keep(*found)

    def _keep(self, origin: str, signed: Signed) -> None:
        """Keep the larger checkpoint: a slow sealer notes its own after that of a faster one."""
        known = self._last.get(origin)
        if known is None or signed.size >= known.size:
            self._last[origin] = signed

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """Open the file, and hold its lock, so that no other process replaces it. Raises: OSError."""
        until_s = time.monotonic() + LOCK_S
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _lock(handle, until_s)
                if _is_at(handle, self.path):
                    yield handle
                    return
            finally:
                os.close(handle)

    def _write_anew(self) -> None:
        """Put a file with the last line of each log in the place of the file. Raises: OSError; then the old one is unchanged."""
        fresh = self.path.with_name(f".new.{NAME}")
        fresh.unlink(missing_ok=True)
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_synced(handle, _lines(self._last.items()))
            finally:
                os.close(handle)
            fresh.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lines(noted: Iterable[tuple[str, Signed]]) -> bytes:
    return b"\n".join([_line(*one) for one in noted])


def _line(origin: str, signed: Signed) -> bytes:
    text = f"{origin} {signed.size} {signed.root.hex()}".encode()
    return text + b" %08x" % zlib.crc32(text)


def _parsed(line: bytes) -> tuple[str, Signed] | None:
    text, _, check = line.rpartition(b" ")
    fields = line.split(b" ")
    if len(fields) != _FIELDS or check != b"%08x" % zlib.crc32(text):
        return None
    return fields[0].decode(), Signed(int(fields[1]), bytes.fromhex(fields[2].decode()))


def _lock(handle: int, until_s: float) -> None:
    """Take the lock of a file, as soon as it is free. Raises: OSError when it is not in time."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"another process holds its lock for more than {LOCK_S:g} s"
                ) from None
            time.sleep(_LOOK_S)
        else:
            return


def _is_at(handle: int, path: Path) -> bool:
    """Tell whether an open file is still the one that the path names."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _write_synced(handle: int, data: bytes) -> None:
    _write(handle, data)
    os.fsync(handle)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
