"""The checkpoints that were signed here, noted outside the database: finds a database that was put back to an earlier state.

An old backup put in place is intact, and nothing in it tells that more was signed since. If its log were sealed again from there, two
histories of one log would be signed by honest mistake. Each checkpoint is noted here before it is stored, durably: so this file may be
ahead of the database by one seal that was never stored, and never behind it.
"""

import os
import zlib
from pathlib import Path
from typing import Final, NamedTuple

from aegis_stream.errors import Misconfigured

NAME: Final = "checkpoints.log"
BYTES_MAX: Final = 16 << 20
"""Above this size, and twice what it needs, the file is written anew with the last line of each log."""
_FIELDS: Final = 4


class Signed(NamedTuple):
    """The size and root of the newest checkpoint of a log."""

    size: int
    root: bytes


class CheckpointLog:
    """The file of one data directory; one process writes it.

    Args:
        folder: the data directory.
    Raises: Misconfigured when it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._last: dict[str, Signed] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read ({error.strerror}): it tells which checkpoints were signed; let the service read it"
            ) from error
        for line in lines:
            # A line that is not whole was cut by a crash: its checkpoint was never stored.
            if (found := _parsed(line)) is not None:
                self._last[found[0]] = found[1]
        self._size = sum(len(line) + 1 for line in lines)

    def last(self, origin: str) -> Signed | None:
        """Return the newest checkpoint of a log that was noted; None for none."""
        return self._last.get(origin)

    def note(self, origin: str, signed: Signed) -> None:
        """Note a checkpoint durably, before it is stored. Raises: OSError; then it must not be stored."""
        if self._last.get(origin) == signed:
            return
        line = _line(origin, signed)
        if self._size > BYTES_MAX and self._size > 2 * len(line) * len(self._last):
            self._write_anew(origin, signed)
        else:
            # A newline first: the line before may have been cut by a crash.
            _append(self.path, b"\n" + line)
            self._size += len(line) + 1
        self._last[origin] = signed

    def _write_anew(self, origin: str, signed: Signed) -> None:
        kept = b"\n".join(_line(*one) for one in (self._last | {origin: signed}).items())
        fresh = self.path.with_name(f".new.{NAME}")
        fresh.unlink(missing_ok=True)
        _append(fresh, kept)
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._size = len(kept)


def _line(origin: str, signed: Signed) -> bytes:
    text = f"{origin} {signed.size} {signed.root.hex()}".encode()
    return text + b" %08x" % zlib.crc32(text)


def _parsed(line: bytes) -> tuple[str, Signed] | None:
    text, _, check = line.rpartition(b" ")
    fields = line.split(b" ")
    if len(fields) != _FIELDS or check != b"%08x" % zlib.crc32(text):
        return None
    return fields[0].decode(), Signed(int(fields[1]), bytes.fromhex(fields[2].decode()))


def _append(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    finally:
        os.close(handle)
