"""The short way for compact preflight events: it takes nothing that the long way refuses, alone, as lines or in an array."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.compact import parse_compact, parse_compact_array, parse_compact_lines
from aegis_stream.domain.event import (
    DEFAULT_LIMITS,
    EVENT_ID_CHARACTERS_MAX,
    EventLimits,
    NewEvent,
    Rejection,
)
from aegis_stream.domain.parsing import _parse_thoroughly, parse_event
from support.api import ORG, START, make_preflight
from support.spelling import repeats_a_key

MADE_ID = "pflt_made"
PLAIN = make_preflight(
    "pflt_1",
    preflight_id="pflt_1",
    decision="ALLOWED_WITH_MASKING",
    summary='said "no" \\ \u00e9\U0001f600\t',
    input_size_bytes=200,
    finding_counts_by_type={"SSN": 1, "EMAIL": 20},
    actor_id=None,
)
MEMBERS = [
    b'"id":"other"',
    b'"id" :"x"',
    b'"\\u0069d":"x"',
    b'"decision":"BLOCKED"',
    b'"decision"\n:"BLOCKED"',
    b'"SSN":0',
    b'"dataset":"aegis.preflight"',
    b'"event":{}',
    b'"kind":"event"',
    b'"x":{"y":1.0}',
    b'"organization":{"id":"org_abc"}',
    b'"severity":7',
    b'"severity":1e9',
]


def test_a_compact_preflight_event_goes_the_short_way():
    """A compact event takes the fast path, with the same result as without it."""
    short = parse_compact(PLAIN, ORG)

    assert short is not None
    assert short == _parse_thoroughly(PLAIN, ORG, START, lambda: MADE_ID, reserved=False)


@settings(max_examples=600)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(PLAIN)),
            st.sampled_from(MEMBERS).map(lambda one: b"," + one)
            | st.sampled_from(MEMBERS).map(lambda one: one + b",")
            | st.sampled_from([b" ", b"\t", b"\\u0041", b"\\/", b"0", b"-", b"\x01", b"\xff", b"{", b"}"]),
            st.integers(0, 3),
        ),
        max_size=3,
    )
)
def test_the_short_way_takes_nothing_that_the_long_way_refuses(edits):
    """Whatever is written into a preflight event or cut out of it: the short way takes it only as the long way does,
    and never with a key that stands twice.
    """
    raw = PLAIN
    for at, put, cut in edits:
        raw = raw[:at] + put + raw[at + cut :]

    short = parse_compact(raw, ORG)

    if short is not None:
        assert short == _parse_thoroughly(raw, ORG, START, lambda: MADE_ID, reserved=False)
        assert not repeats_a_key(raw)


OTHER = PLAIN.replace(b'"kind":"event",', b"")


@settings(max_examples=600)
@given(
    st.lists(st.sampled_from([PLAIN, OTHER]), min_size=1, max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 4 * len(PLAIN)),
            st.sampled_from(MEMBERS).map(lambda one: b"," + one)
            | st.sampled_from(
                [b"\n", b" ", b"\t", b"\r", b"\\u0041", b"0", b"-", b"\xff", b"{", b"}", b"}{", b"},{"]
            ),
            st.integers(0, 3),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_lines_go_the_short_way_together_only_as_each_goes_alone(lines, edits, ended):
    """Whatever is written into lines or cut out of them: taken together they are the events that each line is alone."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    for at, put, cut in edits:
        data = data[:at] + put + data[at + cut :]

    together = parse_compact_lines(data, ORG)

    alone = [parse_compact(line, ORG) for line in data.removesuffix(b"\n").split(b"\n")]
    assert together == (alone if all(alone) else None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN[:-1] + b"\n}" + OTHER, id="a line break within an event, none between two"),
        pytest.param(PLAIN + b"\n\n" + PLAIN, id="an empty line"),
        pytest.param(PLAIN + b" " + PLAIN, id="two on a line"),
        pytest.param(PLAIN.replace(b"pflt_", b"pflt_\\n"), id="an id with a line break"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="one empty line"),
    ],
)
def test_lines_that_are_not_an_event_each_go_the_long_way(data):
    """Where lines and events do not correspond, the short way takes none of them."""
    assert parse_compact_lines(data, ORG) is None


def items_of(data: bytes) -> list[bytes] | None:
    """Return the bytes of an array's items; None where it is no array without blanks around it and its items."""
    try:
        items = [bytes(one) for one in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return items if data == b"[" + b",".join(items) + b"]" else None


@settings(max_examples=600)
@given(
    st.lists(st.sampled_from([PLAIN, OTHER]), max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 4 * len(PLAIN)),
            st.sampled_from(MEMBERS).map(lambda one: b"," + one)
            | st.sampled_from(
                [
                    b"\n",
                    b" ",
                    b"\t",
                    b"\r",
                    b"\\u0041",
                    b"0",
                    b"-",
                    b"\xff",
                    b"[",
                    b"]",
                    b"{",
                    b"}",
                    b",",
                    b"},{",
                    b"null",
                ]
            ),
            st.integers(0, 3),
        ),
        max_size=4,
    ),
)
def test_an_array_goes_the_short_way_only_as_each_item_goes_alone(items, edits):
    """Whatever is written into an array or cut out of it: taken together its items are the events that each of them is alone."""
    data = b"[" + b",".join(items) + b"]"
    for at, put, cut in edits:
        data = data[:at] + put + data[at + cut :]

    together = parse_compact_array(data, ORG)

    alone = [parse_compact(one, ORG) for one in items_of(data) or []]
    assert together == (alone if alone and all(alone) else None)


def test_an_array_keeps_the_bytes_of_items_of_different_lengths():
    """Each event of an array has the bytes that were sent for it, whatever the order of its keys and whatever its characters are."""
    texts = ["", "x", "\u00e9\u20ac\U0001f600", 'a "quoted" \\ text', "line\nbreak\rand\ttab", "},{", "],["]
    items = [
        make_preflight(f"pflt_{number}", summary=text).replace(
            b'"kind":"event",', b"" if number % 2 else b'"kind":"event",'
        )
        for number, text in enumerate(texts)
    ]

    events = parse_compact_array(b"[" + b",".join(items) + b"]", ORG)

    assert events is not None
    assert [one.body.encode() for one in events] == items


def test_an_id_that_looks_like_a_card_number_goes_the_short_way():
    """Lines go the short way together though the number in an id looks like a card number, unless another text holds one."""
    number = "6221260000000000001"
    ids = make_preflight("pflt_2", preflight_id=f"req_{number}", actor_id=f"user-{number}")

    assert parse_compact_lines(b"\n".join([PLAIN, ids]), ORG) is not None
    for key in ("summary", "policy_version", "actor_id"):
        value = make_preflight("pflt_3", preflight_id=f"req_{number}", **{key: number})
        assert parse_compact_lines(b"\n".join([PLAIN, ids, value]), ORG) is None


def with_id(event_id: str) -> bytes:
    """Return the plain event with another id."""
    return PLAIN.replace(b'"id":"pflt_1"', b'"id":"' + event_id.encode() + b'"', 1)


def at_time(text: str) -> bytes:
    """Return the plain event with another time."""
    return re.sub(rb'"@timestamp":"[^"]*"', b'"@timestamp":"' + text.encode() + b'"', PLAIN)


def taken(raw: bytes, limits: EventLimits = DEFAULT_LIMITS) -> list[bool]:
    """Tell whether an event goes the short way: alone, before another and after it, as lines and in an array."""
    return [
        parse_compact(raw, ORG, limits) is not None,
        parse_compact_lines(raw + b"\n" + PLAIN, ORG, limits) is not None,
        parse_compact_lines(PLAIN + b"\n" + raw, ORG, limits) is not None,
        parse_compact_array(b"[" + raw + b"," + PLAIN + b"]", ORG, limits) is not None,
        parse_compact_array(b"[" + PLAIN + b"," + raw + b"]", ORG, limits) is not None,
    ]


def time_last(text: str) -> bytes:
    """Return the plain event with its time behind all else."""
    return re.sub(rb'"@timestamp":"[^"]*",', b"", PLAIN)[:-1] + b',"@timestamp":"' + text.encode() + b'"}'


TOO_LONG_ID = "x" * (EVENT_ID_CHARACTERS_MAX + 1)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(PLAIN.replace(b"said", b"4111 1111 1111 1111"), id="a card number in a text"),
        pytest.param(PLAIN.replace(b'"EMAIL":20', b'"4111 1111 1111 1111":20'), id="in a name"),
        pytest.param(PLAIN.replace(b'"actor_id":null', b'"actor_id":"4111 1111 1111 1111"'), id="in an id"),
        pytest.param(with_id(""), id="no id"),
        pytest.param(with_id(TOO_LONG_ID), id="an id too long"),
        pytest.param(with_id("pflt\u200b1"), id="an id that cannot be printed"),
        pytest.param(at_time("2026-02-31T10:00:00Z"), id="a day that does not exist"),
        pytest.param(at_time("2026-02-01T24:00:00Z"), id="an hour that does not exist"),
        pytest.param(at_time("2026-02-01T10:00:00"), id="no zone"),
        pytest.param(
            PLAIN.replace(b'"organization":{"id":"org_', b'"organization":{"id":"other_'),
            id="another organization",
        ),
        pytest.param(PLAIN.replace(b'"aegis.preflight"', b'"aegis.preflighd"'), id="another dataset"),
        pytest.param(PLAIN.replace(b"said", b"x" * DEFAULT_LIMITS.bytes_max), id="too large"),
    ],
)
def test_what_must_not_be_there_never_goes_the_short_way(odd):
    """An event with a value that is rejected takes the long way, alone and with every event beside it."""
    assert odd != PLAIN
    assert taken(PLAIN) == [True] * 5
    assert taken(odd) == [False] * 5


@pytest.mark.parametrize(
    "edge",
    [
        pytest.param(with_id("x"), id="the shortest id"),
        pytest.param(with_id("x" * EVENT_ID_CHARACTERS_MAX), id="the longest id"),
        pytest.param(time_last("2026-01-01T10:00:00Z"), id="a text at the end"),
        pytest.param(at_time("2026-01-31T10:00:00Z"), id="the last day of a month"),
        pytest.param(at_time("2024-02-29T23:59:59.999999+09:00"), id="a leap day"),
        pytest.param(at_time("2016-12-31T23:59:60Z"), id="a leap second"),
    ],
)
def test_what_is_just_allowed_goes_the_short_way(edge):
    """The shortest and the longest id and the days at the end of a month need no long way, alone or beside others."""
    assert taken(edge) == [True] * 5
    assert parse_compact(edge, ORG) == _parse_thoroughly(edge, ORG, START, lambda: MADE_ID, reserved=False)


def test_an_event_of_the_largest_size_goes_the_short_way():
    """An event of exactly as many bytes as the limit is taken, one of a byte more is not."""
    assert taken(PLAIN, EventLimits(bytes_max=len(PLAIN))) == [True] * 5
    assert taken(PLAIN, EventLimits(bytes_max=len(PLAIN) - 1)) == [False] * 5


def test_texts_are_not_searched_where_that_is_switched_off():
    """Without the privacy check a card number in a text is taken as it is."""
    card = PLAIN.replace(b"said", b"4111 1111 1111 1111")

    assert taken(card, EventLimits(privacy_check=False)) == [True] * 5


@pytest.mark.parametrize("member", MEMBERS)
def test_no_member_more_goes_the_short_way(member):
    """An additional member anywhere changes the length, so the fast path rejects it, unless it is an allowed field."""
    for at in [index for index, byte in enumerate(PLAIN) if byte == ord(",")]:
        raw = PLAIN[:at] + b"," + member + PLAIN[at:]
        short = parse_compact(raw, ORG)

        assert short is None or not repeats_a_key(raw)
        assert taken_or_refused(raw) == taken_or_refused(raw, thoroughly=True)


def taken_or_refused(raw: bytes, *, thoroughly: bool = False) -> NewEvent | Rejection:
    """Parse with the fast path, or without it."""
    parse_it = _parse_thoroughly if thoroughly else parse_event
    return parse_it(raw, ORG, START, lambda: MADE_ID, reserved=False)


@pytest.mark.parametrize("control", [bytes([code]) for code in range(0x20)])
def test_bare_control_characters_are_refused(control):
    """A control character in a string must be escaped; the comparison of lengths relies on it."""
    raw = PLAIN.replace(b"said", b"sa" + control + b"id")

    refused = parse_event(raw, ORG, START, lambda: MADE_ID)

    assert parse_compact(raw, ORG) is None
    assert isinstance(refused, Rejection)
    assert refused.kind == "malformed"
