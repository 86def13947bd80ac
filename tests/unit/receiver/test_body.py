"""Promises of aegis_stream.receiver.body: from bytes to events."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.receiver import MalformedBodyError, TooLargeError, UnsupportedEncodingError, parse_body

EVENT = {"event": {"id": "pflt_1", "dataset": "aegis.preflight"}, "note": "line\u2028separator"}

values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8"), max_size=8)
)
events = st.lists(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), values, max_size=4), max_size=4
)


@given(events, st.booleans())
def test_events_survive_every_form(sent, compressed):
    """Events in an array, in NDJSON or one by one are read unchanged and in order, compressed or not."""
    pack, encoding = (gzip.compress, "gzip") if compressed else (bytes, None)
    array = json.dumps(sent).encode()
    lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in sent).encode()

    assert parse_body(pack(array), "application/json", encoding) == sent
    assert [parse_body(pack(json.dumps(event).encode()), None, encoding)[0] for event in sent] == sent
    assert parse_body(pack(lines), "application/x-ndjson; charset=utf-8", encoding) == sent


def test_ndjson_ends_lines_at_newlines_only():
    """A line separator inside a string does not split an event; blank lines and carriage returns are ignored."""
    line = json.dumps(EVENT, ensure_ascii=False).encode()

    assert parse_body(line + b"\r\n\n" + line, "Application/X-NDJSON") == [EVENT, EVENT]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"1",
        b'"text"',
        b"null",
        b"[1]",
        b"[{}, []]",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_garbage_is_malformed(body):
    """A body that is not a JSON object or an array of objects is rejected, and the message does not quote it."""
    with pytest.raises(MalformedBodyError) as caught:
        parse_body(body, "application/json")

    assert body.decode("latin-1") not in str(caught.value) or not body


def test_a_bad_line_spoils_ndjson():
    """One line that is not an event rejects the whole body."""
    with pytest.raises(MalformedBodyError):
        parse_body(b'{"a": 1}\n[]\n', "application/x-ndjson")


def test_an_empty_array_has_no_events():
    """An empty array is a body without events."""
    assert parse_body(b"[]") == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}") * 2,
        gzip.compress(b"{}") + b"x",
        zlib.compress(b"{}"),
    ],
    ids=["plain", "cut", "two members", "trailing byte", "zlib"],
)
def test_broken_gzip_is_malformed(body):
    """A gzip body must be exactly one complete gzip member."""
    with pytest.raises(MalformedBodyError):
        parse_body(body, content_encoding="gzip")


def test_a_bomb_does_not_go_off():
    """Decompression stops at the limit."""
    bomb = gzip.compress(b" " * 10_000_000)

    with pytest.raises(TooLargeError):
        parse_body(bomb, content_encoding="GZIP", body_bytes_max=100_000)


def test_the_limit_itself_fits():
    """A body of exactly the limit is accepted, one byte more is rejected."""
    body = b'{"a": 1}'

    assert parse_body(body, body_bytes_max=len(body)) == [{"a": 1}]
    with pytest.raises(TooLargeError):
        parse_body(body, body_bytes_max=len(body) - 1)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate"])
def test_other_compressions_are_unsupported(encoding):
    """An unsupported compression has its own error."""
    with pytest.raises(UnsupportedEncodingError):
        parse_body(b"{}", content_encoding=encoding)
