"""What goes back to a client: status line, headers and body, ready to be written."""

import http
from collections.abc import Iterable
from typing import NamedTuple

_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in http.HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(NamedTuple):
    """One whole answer.

    Args:
        head: status line and headers, without the empty line.
        closes: the connection ends with it.
    """

    status: int
    head: bytes
    body: bytes
    closes: bool = False


def head_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return status line and headers, without the empty line."""
    line = _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return line + b"".join([b"%b: %b\r\n" % one for one in headers])


def make_answer(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, closes: bool = False
) -> Answer:
    """Return an answer with its length; one without a body by its status has none (RFC 9110 section 8.6)."""
    head = head_of(status, headers)
    if status not in (204, 304):
        head += b"content-length: %d\r\n" % len(body)
    return Answer(status, head, body, closes)
