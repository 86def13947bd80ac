"""Answers: a connection is reused only after an answer that a second parser (h11) reads in the same way.

`AEGIS_FUZZ_STREAMS=100000` makes a long run; the seed of a stream that differs is in the message.
"""

import os
import random

import h11
import pytest

from aegis_stream.sender.answer import AnswerReader
from security.reading import FRAGMENTS

STREAMS = int(os.environ.get("AEGIS_FUZZ_STREAMS", "8000"))
PARTS = 8
BENT = [
    *(b"HTTP/1.1 202 OK\n", b"HTTP/1.1  202 OK\r\n", b"HTTP/1.1 202\r\n", b"HTTP/1.1 100 C\n\n", b"\r\nHTTP/1.1 202 OK\r\n"),
    *(b"Content-Length: 0\n", b"Content-Length: 2\n", b"Content-Length: 2, 2\r\n", b"Content-Length: 2, 3\r\n"),
    *(b"Content-Length : 2\r\n", b"Content-Length: +2\r\n", b"Content-Length:\r\n 2\r\n", b"Content-Length: 0x2\r\n"),
    *(b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding: gzip\r\n"),
    *(b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"A b: c\r\n", b"A: \x01\r\n", b"A\r\n"),
    *(b"\n\n", b"\n\r\n", b"\r\n\n", b"2\nhi\n", b"2 \r\nhi\r\n", b"0\n\n", b"0\r\n\n", b"hi", b"\r\n\r\n"),
]  # fmt: skip
WHOLE = [
    *(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 204 No Content\r\n\r\n"),
    *(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"HTTP/1.1 202 OK\nContent-Length: 0\n\n"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
]  # fmt: skip
STARTS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 202 OK\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"\r\nHTTP/1.1 202 OK\r\n",
]


def stream_of(chance: random.Random) -> bytes:
    """Return bytes that more or less resemble an answer."""
    pieces = [
        chance.choice(FRAGMENTS if chance.random() < 0.5 else BENT) for _ in range(chance.randrange(1, 9))
    ]
    if chance.random() < 0.3:
        return chance.choice(WHOLE) + b"".join(pieces[: chance.randrange(3)])
    return chance.choice([*STARTS, b""]) + b"".join(pieces)


def read_by_us(chance: random.Random, stream: bytes) -> tuple[AnswerReader, int]:
    """Return the reader after one answer, and how many bytes it was given."""
    reader, given = AnswerReader(), 0
    whole = chance.random() < 0.5
    while given < len(stream):
        piece = stream[given:] if whole else stream[given : given + chance.randrange(1, 20)]
        given += len(piece)
        if reader.feed(piece):
            break
    else:
        reader.end()
    return reader, given


def read_by_h11(stream: bytes) -> tuple[int, bytes] | None:
    """Return status and body, if h11 reads one answer to its end, would reuse the connection, and has at most line breaks left."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                done = connection.their_state is h11.DONE and not connection.trailing_data[0].strip(b"\r\n")
                return (status, body) if done else None
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.mark.parametrize("part", range(PARTS))
def test_a_connection_is_reused_only_after_an_answer_without_doubt(part):
    """Of any stream, in any split: if we keep the connection, h11 reads the same status and body from the same bytes, and nothing is left."""
    kept = believed = 0
    for seed in range(part, STREAMS, PARTS):
        chance = random.Random(seed)
        stream = stream_of(chance)

        reader, given = read_by_us(chance, stream)

        if reader.keep:
            kept += 1
            assert read_by_h11(stream[:given]) == (reader.status, reader.body), f"seed {seed}: {stream!r}"
        believed += reader.over and not reader.rejection and not reader.keep
    assert kept > STREAMS // PARTS // 100
    assert believed > STREAMS // PARTS // 20, "most streams must not be junk"
