"""Compact tables for many millions of rows: columns of fixed width, which move to a temporary file, and an index over one.

A dictionary of 20 million hashes would take 3 GB; a column and its index take 44 bytes a row, of which 32 are in the file.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from typing import Any, Iterator, List

IN_MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""A column up to this size stays in memory."""
PROBES_MAX = 512
"""Occupied places that are passed over for a new row."""
_CHUNK_ROWS = 65_536


class Column:
    """Rows of bytes of one width, by number from 0. Appended first, read afterwards.

    Args:
        width: bytes of a row.
        in_memory_bytes_max: from this size on it lies in a temporary file.
    """

    def __init__(self, width: int, in_memory_bytes_max: int = IN_MEMORY_BYTES_MAX) -> None:
        self.width = width
        self._in_memory_bytes_max = in_memory_bytes_max
        self._tail = bytearray()
        self._file: Any = None
        self._in_file = 0

    def __len__(self) -> int:
        return (self._in_file + len(self._tail)) // self.width

    def append(self, rows: bytes) -> None:
        """Append one or more whole rows."""
        self._tail += rows
        if len(self._tail) > self._in_memory_bytes_max:
            self._flush()

    def __getitem__(self, number: int) -> bytes:
        return self.rows(number, 1)

    def rows(self, first: int, count: int) -> bytes:
        """Return neighbouring rows, joined together; fewer at the end."""
        at, length = first * self.width, count * self.width
        if self._file is None or at >= self._in_file:
            at -= self._in_file
            return bytes(self._tail[at : at + length])
        self._flush()
        return _read(self._file, at, length)

    def __iter__(self) -> Iterator[bytes]:
        width = self.width
        for first in range(0, len(self), _CHUNK_ROWS):
            rows = self.rows(first, _CHUNK_ROWS)
            for at in range(0, len(rows), width):
                yield rows[at : at + width]

    def close(self) -> None:
        """Remove its file."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if not self._tail:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="aegis-verify-")  # noqa: SIM115 - lives as long as the column
        self._file.seek(self._in_file)
        self._file.write(self._tail)
        self._file.flush()
        self._in_file += len(self._tail)
        self._tail = bytearray()


def _read(file: Any, at: int, length: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, at)
    file.seek(at)
    data: bytes = file.read(length)
    return data


class Index:
    """Finds rows of a column by their content. Built once, when the column is complete.

    Its hash is the row's own first bytes, which are those of a hash: only for such columns. Rows of zeros stand for nothing and are
    not found. Neither are equal rows beyond PROBES_MAX: an honest log has none, and a hostile one costs no more time.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        bits = max(4, (len(column) * 3 // 2).bit_length())
        self._mask = (1 << bits) - 1
        self._slots = slots = array("I", bytes(4 << bits))
        mask, nothing = self._mask, bytes(column.width)
        for number, row in enumerate(column, 1):
            at = first = int.from_bytes(row[:8], "little") & mask
            while slots[at]:
                at = (at + 1) & mask
            if row != nothing and (at - first) & mask < PROBES_MAX:
                slots[at] = number

    def find(self, key: bytes) -> int:
        """Return the number of the first row that is `key`, or -1."""
        slots, mask, column = self._slots, self._mask, self._column
        at = int.from_bytes(key[:8], "little") & mask
        while True:
            number = slots[at]
            if not number:
                return -1
            if column[number - 1] == key:
                return number - 1
            at = (at + 1) & mask

    def find_all(self, key: bytes) -> List[int]:
        """Return the numbers of all rows that are `key`, in order."""
        slots, mask, column = self._slots, self._mask, self._column
        at = int.from_bytes(key[:8], "little") & mask
        found: List[int] = []
        while slots[at]:
            number = slots[at]
            if column[number - 1] == key:
                found.append(number - 1)
            at = (at + 1) & mask
        return found


class Marks:
    """One bit for each row, to tick off."""

    def __init__(self, count: int) -> None:
        self._bits = bytearray((count + 7) // 8)
        self.count = count

    def __getitem__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] & (1 << (number & 7)))

    def set(self, number: int) -> bool:
        """Tick a row off and return whether it was not ticked off before."""
        bit = 1 << (number & 7)
        before = self._bits[number >> 3]
        self._bits[number >> 3] = before | bit
        return not before & bit

    def unset(self) -> Iterator[int]:
        """Yield the rows that are not ticked off, in order."""
        for place, byte in enumerate(self._bits):
            if byte != 255:
                for bit in range(8):
                    number = place * 8 + bit
                    if number < self.count and not byte & (1 << bit):
                        yield number
