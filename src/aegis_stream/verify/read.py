"""Reads exports line by line: files, standard input, compressed or not, NDJSON or one large document.

An export is read twice, so standard input goes through a temporary file first. A gzip file may have several members. Limits: a
line, or a document that is no NDJSON, has 64 MB at most; a longer one is passed over and reported.
"""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Iterator, NamedTuple

from .content import Unreadable, scan

LINE_BYTES_MAX = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_BUFFER_BYTES = 1024 * 1024


class Line(NamedTuple):
    """A line of an export, or a whole document.

    Args:
        number: of its first line, from 1.
        text: without space at both ends; b"" if it could not be read.
        problem: why it could not be read; "" if it could.
    """

    number: int
    text: bytes
    problem: str = ""


class Export:
    """An export that can be read several times.

    Args:
        name: the file's, or "-" for standard input.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._file: Any = _kept(sys.stdin.buffer) if name == "-" else Path(name).open("rb")  # noqa: SIM115

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def lines(self) -> Iterator[Line]:
        """Yield the lines that are not empty; if the first one is no JSON by itself, the document as a whole.

        An error in the compressed data ends the lines with one that says so.
        """
        number = 0
        try:
            document = _document(self._stream())
            for line in [document] if document else _lines(self._stream()):
                number = line.number
                yield line
        except (OSError, EOFError, zlib.error) as error:
            yield Line(number + 1, b"", f"cannot be read on: {error}")

    def _stream(self) -> Any:
        self._file.seek(0)
        compressed = self._file.read(2) == _GZIP
        self._file.seek(0)
        if not compressed:
            return self._file
        unpacked: Any = gzip.GzipFile(fileobj=self._file)
        return io.BufferedReader(unpacked, _BUFFER_BYTES)


def _kept(stream: BinaryIO) -> BinaryIO:
    kept = tempfile.TemporaryFile(prefix="aegis-verify-")  # noqa: SIM115 - lives as long as the export
    shutil.copyfileobj(stream, kept, _BUFFER_BYTES)
    return kept


def _lines(stream: Any) -> Iterator[Line]:
    number = 0
    while True:
        data = stream.readline(LINE_BYTES_MAX + 1)
        if not data:
            return
        number += 1
        if len(data) > LINE_BYTES_MAX:
            _skip_rest(stream, data)
            yield Line(number, b"", f"is longer than {LINE_BYTES_MAX} bytes: export as NDJSON")
            continue
        text = _bare(data) if number == 1 else data.strip(b" \t\r\n")
        if text:
            yield Line(number, text)


def _skip_rest(stream: Any, data: bytes) -> None:
    while data and not data.endswith(b"\n"):
        data = stream.readline(LINE_BYTES_MAX)


def _document(stream: Any) -> Line | None:
    """Return the document that goes over several lines; None if the first line is JSON by itself, or all of it is none."""
    begin = stream.readline(LINE_BYTES_MAX + 1)
    if not _bare(begin) or _is_json(_bare(begin)):
        return None
    whole = begin + stream.read(LINE_BYTES_MAX + 1 - len(begin))
    if len(whole) > LINE_BYTES_MAX or not _is_json(_bare(whole)):
        return None
    return Line(1, _bare(whole))


def _bare(data: bytes) -> bytes:
    return data.removeprefix(_BOM).strip(b" \t\r\n")


def _is_json(text: bytes) -> bool:
    try:
        scan(text.decode(), 0)
    except (Unreadable, StopIteration, UnicodeDecodeError):
        return False
    return True
