"""Promises about bodies: every split of the bytes gives the same body, and nothing behind it is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.front.body import CHUNK_LINE_MAX, TRAILERS_MAX, BadChunk, Body


def feed_by(body: Body, data: bytes, size: int) -> bytes:
    """Feed bytes in pieces; returns what was not used."""
    at = 0
    while at < len(data) and not body.done:
        at += body.feed(data[at : at + size])
    return data[at:]


def chunked(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    """Write a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50))
def test_chunks_in_any_split_are_the_same_body(pieces, size):
    """However the bytes arrive, the body is the chunks in a row, and what follows is left alone."""
    body = Body(None)

    rest = feed_by(body, chunked(pieces) + b"GET /next", size)

    assert body.done
    assert body.whole() == b"".join(pieces)
    assert (rest + b"GET /next").startswith(b"GET /next") or rest in b"GET /next"
    assert body.size == len(b"".join(pieces))


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_a_known_length_in_any_split_is_the_same_body(data, size):
    """A body of a known length ends after so many bytes."""
    body = Body(len(data))

    assert feed_by(body, data, size) == b""
    assert (body.done, body.whole(), body.left) == (True, data, 0)
    assert Body(len(data)).feed(data + b"next") == len(data)


def test_extensions_and_trailers_are_dropped():
    """Whatever a chunk or the end carries beside bytes is read over (RFC 9112 sections 7.1.1, 7.1.2)."""
    body = Body(None)

    body.feed(b'3;a="b"\r\nabc\r\n0 ;x\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n')

    assert (body.done, body.whole()) == (True, b"abc")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1_0\r\n",
        b"1" * 16 + b"\r\n",
        b"1\na",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"0\r\n bad\r\n\r\n",
        b"0\r\nbad\r\n\r\n",
        b"0\r\n\n",
        b"1;" + b"x" * CHUNK_LINE_MAX,
        b"0\r\n" + b"a: b\r\n" * TRAILERS_MAX,
        b"0\r\na: " + b"b" * TRAILERS_MAX,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_is_not_chunked_is_refused(data, size):
    """Sizes of another shape, lines without CR LF, long lines and long trailers end the request, in any split."""
    with pytest.raises(BadChunk):
        feed_by(Body(None), data, size)


def test_tiny_chunks_cost_no_more_than_their_bytes():
    """A hundred thousand chunks of one byte are kept as few pieces."""
    body = Body(None)

    body.feed(b"1\r\nx\r\n" * 100_000)

    assert len(body._pieces) <= 1025
    assert body.size == 100_000
