"""How many events were acknowledged, noted outside the database: finds a database that was rolled back.

A write-ahead log that was removed or cut, or an older copy put in place by hand, gives a database that is intact and lacks its
newest events. Nothing inside it can tell. This file is written once a second at most, so it may be behind, never ahead.
"""

import os
import zlib
from pathlib import Path

from aegis_stream.errors import Misconfigured

from .database import Unit

NAME = "log.head"
PAUSE_S = 1.0
"""Shortest time between two notes, seconds: as much may be lost unnoticed."""
_LENGTH = 40


def total(unit: Unit) -> int:
    """Return how many events were ever appended: the sum of all organizations' heads, which never goes back."""
    row = unit.row("sum_of_heads")
    return int(row[0]) if row is not None else 0


class RecordedHead:
    """The file of one data directory.

    Args:
        folder: the data directory.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def read(self) -> int:
        """Return the number in the file; 0 when there is none, or it is not whole."""
        try:
            text = self.path.read_bytes()
        except OSError:
            return 0
        number, _, check = text.strip().partition(b" ")
        return int(number) if number.isdigit() and check == _check(number) else 0

    def write(self, events: int) -> None:
        """Note the number durably, in place: one small synced write. Raises: OSError."""
        number = b"%d" % events
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, (number + b" " + _check(number)).ljust(_LENGTH) + b"\n", 0)
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def fault(self, found: int) -> str:
        """Return what is wrong with a database that has so many events; "" when nothing is."""
        recorded = self.read()
        if found >= recorded:
            return ""
        return (
            f"the database lacks {recorded - found} of {recorded} acknowledged events ({self.path} has their number): its "
            "write-ahead log was removed or cut, or an older copy was put in place"
        )

    def refuse_rollback(self, found: int) -> None:
        """Refuse a database that has fewer events than were acknowledged. Raises: Misconfigured."""
        if fault := self.fault(found):
            raise Misconfigured(
                f"{fault}; restore the newest backup with `aegis restore --replace FILE`, or delete {self.path} to start "
                "with what is left",
                code="store-rolled-back",
            )


def _check(number: bytes) -> bytes:
    return b"%08x" % zlib.crc32(number)
