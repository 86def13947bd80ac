"""What must hold for the answer reader whatever a receiver sends; for random tests and for the fuzzer.

An answer is told by what a Connection would make of it: read piece by piece, ended by the end of the stream if nothing else
ends it. What is checked needs no second opinion about what the right answer would be.
"""

import re
from collections.abc import Callable, Sequence

from aegis_stream.sender.answer import BODY_BYTES_MAX, AnswerReader

Pieces = Sequence[bytes]
FRAGMENTS = [
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    *(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n"),
    *(b"HTTP/1.1 302 Found\r\nLocation: //else.example/\r\n", b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n"),
    *(b"Content-Length: 0\r\n", b"Content-Length: 2\r\n", b"Content-Length: 99999\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"A: b\r\n", b" folded\r\n", b"\r\n", b"\r", b"\n", b"\0"),
    *(b"hi", b"0\r\n\r\n", b"2\r\nhi\r\n", b"ffffffff\r\n", b"1;e=1\r\nx\r\n", b"0\r\nT: t\r\n\r\n"),
    *(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 204 No Content\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
]  # fmt: skip
"""What answers are made of: chance finds the way into the parser by these, and hardly without."""

Told = tuple[str | None, int, bytes, str | None, str | None]


def read(reader: AnswerReader, pieces: Pieces) -> Told | None:
    """Read one answer to its end.

    Returns: (refusal, status, body, retry_after, location); None when the stream ended before an answer was whole.
    """
    reader.begin()
    for piece in pieces:
        if piece and reader.feed(piece):
            break
    else:
        if not reader.end():
            return None
    if reader.rejection is not None:
        return reader.rejection, 0, b"", None, None  # the rest is told to nobody
    return None, reader.status, reader.body, reader.retry_after, reader.location


def check(answers: Sequence[Pieces], make: Callable[[], AnswerReader] = AnswerReader) -> None:
    """Read answers, one after the other over one connection as far as it is kept; AssertionError tells what does not hold.

    Args:
        answers: for each request the bytes that come, cut into pieces.
        make: makes a reader.
    """
    reader = make()
    for pieces in answers:
        told = read(reader, pieces)
        whole = b"".join(pieces)
        assert told == read(make(), pieces), "an earlier answer changed what this one says"
        if told is not None:
            check_told(told, whole)
        kept = reader.keep
        if kept or told is None:
            # Cuts decide what is still unread when an answer is over; they decide nothing about one that is kept.
            assert told == read(make(), [whole]), "it matters how the network cut the answer"
        if not kept:
            return


def check_told(told: Told, whole: bytes) -> None:
    """Check that an answer consists of received bytes and is within its limits."""
    refusal, status, body, retry_after, location = told
    if refusal is not None:
        assert refusal.isprintable()
        return
    assert 100 <= status <= 999
    assert re.search(rb"HTTP/1\.[0-9] *%d" % status, whole), "a status that nobody sent"
    assert len(body) <= BODY_BYTES_MAX
    assert retry_after is None or len(retry_after) <= 128
    assert location is None or location.encode("latin-1") in whole
