"""Promises of `control.sealing` that need no store: its content digests are the verifier's."""

import json

import pytest
from bench.events import event_body
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.control.sealing import content_digest
from aegis_stream.verify.content import digest, loads

PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='\\"'), max_size=6)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES | PLAIN | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(PLAIN | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=500)
@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_a_content_digest_is_the_verifier_s(value, ascii_only, indent):
    """Whatever the event and however it is spelled, both make the same digest."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return

    assert content_digest(body) == expected(text)


def expected(text: str) -> bytes:
    """Return the digest that the verifier makes; zeros for what it does not read."""
    try:
        return digest(loads(text))
    except ValueError:
        return bytes(16)


@pytest.mark.parametrize(
    "text",
    [
        "-0",
        '{"a":-0}',
        "9007199254740993",
        "-9223372036854775809",
        "18446744073709551616",
        "1" * 400,
        "1.0",
        "1e2",
        '{"b":1,"a":"\x7f"}',
        '{"a":"/"}',
        '{"a":{"z":[],"y":{}}}',
        "[" * 63 + "]" * 63,
        "[" * 65 + "]" * 65,
        "[" * 5000 + "]" * 5000,
        "",
        "{",
        "nonsense",
        '{"a":1,"a":2}',
        '{"a":{"b":1,"c":[{"d":1,"d":1}]}}',
        '{"a":1} x',
    ],
)
def test_edges_get_the_verifier_s_digest_too(text):
    """Numbers at the edges, deep nesting and what is no JSON: no difference, and no error."""
    assert content_digest(text.encode()) == expected(text)


def test_an_ordinary_event_takes_the_short_way():
    """The event of the benchmarks is digested alike, and bytes that are no text get zeros."""
    body = event_body("abc", 1)

    assert content_digest(body) == digest(loads(body.decode()))
    assert content_digest(b"\xff") == bytes(16)
    assert content_digest(b"") == bytes(16)
