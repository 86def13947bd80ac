"""The body of a request, piece by piece: of a known length, or in chunks (RFC 9112 sections 6 and 7). Pure."""

import re

CHUNK_LINE_MAX = 256
"""Longest line before a chunk, bytes: a size and an extension, which is ignored."""
TRAILERS_MAX = 8192
"""Most bytes of trailers after the last chunk; they are dropped, because nobody here needs them."""
PIECES_MAX = 1024
"""Pieces that are kept apart; more of them are joined, so that tiny chunks cost no more memory than their bytes."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class BadChunk(Exception):
    """What was sent is not a chunked body; the message says why."""


class Body:
    """A body on its way.

    Args:
        left: bytes still to come, of the whole body or of the chunk under way.
        size: bytes that have come.
        done: the body is complete.
    """

    __slots__ = ("_line", "_pieces", "_trailers", "_wants", "done", "left", "size")

    def __init__(self, length: int | None) -> None:
        self.left = length or 0
        self.size = 0
        self.done = length == 0
        self._pieces: list[bytes] = []
        self._wants = self._take_size if length is None else None
        self._line = b""
        self._trailers = 0

    def feed(self, data: bytes) -> int:
        """Take what is there.

        Returns: how many bytes of `data` were used; fewer than all only when the body is complete.
        Raises: BadChunk.
        """
        at = 0
        while at < len(data) and not self.done:
            if self.left:
                piece = data[at : at + self.left] if at or len(data) > self.left else data
                at += len(piece)
                self._keep(piece)
                continue
            at = self._feed_line(data, at)
        return at

    def whole(self) -> bytes:
        """Return the body."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        self.left -= len(piece)
        if not self.left and self._wants is None:
            self.done = True
        elif not self.left:
            self._wants = self._take_end_of_chunk
        if len(self._pieces) > PIECES_MAX:
            self._pieces = [b"".join(self._pieces)]

    def _feed_line(self, data: bytes, at: int) -> int:
        newline = data.find(b"\n", at)
        end = newline + 1 if newline >= 0 else len(data)
        self._line += data[at : min(end, at + CHUNK_LINE_MAX + TRAILERS_MAX)]
        if len(self._line) > CHUNK_LINE_MAX and self._wants != self._take_trailer:
            raise BadChunk(f"a line between chunks is longer than {CHUNK_LINE_MAX} bytes")
        if len(self._line) + self._trailers > TRAILERS_MAX:
            raise BadChunk(f"the trailers are larger than {TRAILERS_MAX} bytes")
        if newline >= 0:
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise BadChunk("a line between chunks does not end with CR LF")
            assert self._wants is not None, "only a chunked body has lines"
            self._wants(line[:-2])
        return end

    def _take_size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise BadChunk("the size of a chunk is not a hexadecimal number")
        self.left = int(size[1], 16)
        if not self.left:
            self._wants = self._take_trailer

    def _take_end_of_chunk(self, line: bytes) -> None:
        if line:
            raise BadChunk("a chunk is longer than its size")
        self._wants = self._take_size

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if not line:
            self.done = True
        elif _TRAILER.fullmatch(line) is None:
            raise BadChunk("a trailer is not a header")
