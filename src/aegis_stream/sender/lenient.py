"""Heads of answers that break the grammar of HTTP/1.1 and are clear nevertheless.

Called by `answer` when its strict parser refuses an answer. The head is written again as the grammar demands, so that a
strict parser can read it and the body after it. The connection of such an answer is always closed: nobody knows what
else its sender does differently. Pure: bytes in, bytes out.
"""

import re

HEADER_LINES_MAX = 100
"""Most header lines, including trailers."""
EMPTY_BYTES_MAX = 8
"""Most bytes of empty lines before a status line: some servers end a body with a line break that its length omits."""

_OPENING = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[01][ \t]+([1-9][0-9]{2})(?:[ \t][^\r\n\0]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\0\r]*)")
_HEAD_END = re.compile(rb"\n\r?\n")
_DOUBTFUL = re.compile(rb"length|encoding|\0|\r", re.IGNORECASE)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_COPIED = frozenset((b"date", b"location", b"retry-after"))


class Unclear(Exception):
    """The head has more than one reading, or none; the argument says why."""


def rewritten(received: bytes | bytearray, searched: int = 0) -> tuple[bytes, bytes] | None:
    """Return the head as the grammar demands, and the bytes after it; None while the head is incomplete.

    Folded lines are joined, a line may end with LF, an empty line may come first, a length may be repeated, chunks count
    more than a length, the coding "identity" counts as none, and lines that are no headers are omitted.

    Args:
        searched: so many first bytes were passed before, without a complete head; makes the work linear.
    Raises: Unclear if status or framing is in doubt: no status line, lengths that differ or are no numbers, a coding
        beside a length, a line that names a length or coding but is no header, NUL, CR without LF.
    Source: RFC 9112 sections 2.2, 5.2 and 6.3, which leave most of this to the recipient.
    """
    begin = _empty_bytes(received)
    found = _HEAD_END.search(received, max(begin, searched - 2))
    if found is None:
        return None
    first, *lines = bytes(received[begin : found.start()]).split(b"\n")
    if len(lines) > HEADER_LINES_MAX:
        raise Unclear(f"it has more than {HEADER_LINES_MAX} headers")
    status_line = first.removesuffix(b"\r")
    if not _STATUS_LINE.fullmatch(status_line):
        raise Unclear("its status line is not clear")
    status = b" ".join(status_line.split(None, 2)[:2]) + b" "
    headers = _headers(_unfolded(lines))
    if status[9:10] == b"1":  # an interim answer: another one follows
        head = [status]
    else:
        head = [status, *_copied(headers), *_framing(headers), b"Connection: close"]
    return b"\r\n".join([*head, b"", b""]), bytes(received[found.end() :])


def begins(received: bytes | bytearray) -> bool:
    """Return whether these first bytes can begin an answer: empty lines, and what follows so far of HTTP/1."""
    begin = _empty_bytes(received)
    return begin <= EMPTY_BYTES_MAX and _OPENING.startswith(received[begin : begin + len(_OPENING)])


def _empty_bytes(received: bytes | bytearray) -> int:
    first = received[: EMPTY_BYTES_MAX + 1]
    return len(first) - len(first.lstrip(b"\r\n"))


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Join each line that begins with a blank to the line before."""
    joined: list[list[bytes]] = []
    for line in lines:
        text = line.removesuffix(b"\r")
        if not text.startswith((b" ", b"\t")):
            joined.append([text])
        elif joined:
            joined[-1].append(text.strip(b" \t"))
        else:
            raise Unclear("its first header line is folded")
    return [b" ".join(parts) for parts in joined]


def _headers(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return names in lower case and values; lines that are no headers and do not concern the framing are omitted."""
    headers = []
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is not None:
            headers.append((header[1].lower(), header[2].strip(b" \t")))
        elif _DOUBTFUL.search(line):
            raise Unclear("a line that may be about its length is not a header")
    return headers


def _copied(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [name + b": " + value for name, value in headers if name in _COPIED and _VALUE.fullmatch(value)]


def _framing(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the one header that frames the body, or none."""
    lengths = set(_listed(headers, b"content-length"))
    if len(lengths) > 1 or not all(_DIGITS.fullmatch(length) for length in lengths):
        raise Unclear("its length is not clear")
    codings = [coding.lower() for coding in _listed(headers, b"transfer-encoding")]
    codings = [coding for coding in codings if coding not in (b"", b"identity")]
    if codings and codings[-1] == b"chunked":
        return [b"Transfer-Encoding: chunked"]
    if codings and lengths:
        raise Unclear("it has a length and an unknown transfer coding")
    return [b"Content-Length: " + length for length in lengths]


def _listed(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [part.strip(b" \t") for name, value in headers if name == wanted for part in value.split(b",")]
