"""Promises of `decode_errors`: the field, what is wrong with it and what is right, in our words and without a value."""

import msgspec
import pytest

from aegis_stream.domain.decode_errors import TIME_NEEDED, describe
from aegis_stream.domain.event import EventLimits, Rejection
from aegis_stream.domain.parsing import parse_event
from support.api import ORG, START, make_event, make_preflight

TRUNCATED = (
    "the event is not valid JSON: it ends too early, or has half of a surrogate pair"
    r" (\ud800 to \udfff): send it whole, on one line"
)
OWN_KEY = ": put another product's document under a key of its own"


def refused(raw: bytes, limits: EventLimits | None = None) -> Rejection:
    """Return the rejection; fail if the event is accepted."""
    rejection = parse_event(raw, ORG, START, lambda: "made", limits=limits or EventLimits())
    assert isinstance(rejection, Rejection), rejection
    return rejection


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", TRUNCATED),
        (b'{"a":"\\ud800"}', TRUNCATED),
        (
            b'{"a":"\\udc00x"}',
            "the event is not valid JSON: invalid utf-16 surrogate pair (byte 12): send both halves, or \\ufffd instead",
        ),
        (
            b"{} x",
            "the event is not valid JSON: more text follows its end (byte 4): send one object per line, without commas between them",
        ),
        (b'{"a":01}', "the event is not valid JSON: invalid number (byte 6)"),
        (b'{"a":"\\q"}', "the event is not valid JSON: invalid escape character in string (byte 8)"),
        (b'{"a":"\xff"}', "the event is not UTF-8 (byte 6): send JSON in UTF-8"),
        (b'{"event":{"id":"\xff"}}', "the event is not UTF-8 (byte 16): send JSON in UTF-8"),
    ],
    ids=ascii,
)
def test_what_is_no_json_is_wrong_as_a_whole(raw, message):
    """The message says where the text stops being JSON, and how to send it."""
    assert refused(raw) == Rejection(None, "", message, "malformed")


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (b"[]", "", "the event must be an object, not an array"),
        (b"1", "", "the event must be an object, not an integer"),
        (b'{"event":null}', "event", f"must be an object, not null{OWN_KEY}"),
        (b'{"organization":"x"}', "organization", f"must be an object, not a string{OWN_KEY}"),
        (b'{"event":{"id":1}}', "event.id", "must be a string, not an integer"),
        (b'{"event":{"dataset":1.5}}', "event.dataset", "must be a string, not a decimal number"),
        (
            make_preflight(input_size_bytes=0).replace(b'bytes":0', b'bytes":1e999'),
            "aegis.input_size_bytes",
            "is a number out of range: send a smaller one",
        ),
        (b'{"@timestamp":true}', "@timestamp", TIME_NEEDED),
        (
            make_preflight(decision="x"),
            "aegis.decision",
            "must be ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
        ),
        (make_preflight(destination="x"), "aegis.destination", "must be AI_TOOL, VENDOR or CUSTOMER"),
        (make_preflight(summary=5), "aegis.summary", "must be a string or null, not an integer"),
        (make_preflight(input_size_bytes=-1), "aegis.input_size_bytes", "must be an integer of at least 0"),
        (
            make_preflight(input_size_bytes=2**63),
            "aegis.input_size_bytes",
            "must be an integer of at most 9223372036854775807",
        ),
        (
            make_preflight(finding_counts_by_type={"SSN": True}),
            "aegis.finding_counts_by_type[...]",
            "must be an integer, not true or false",
        ),
        (
            make_preflight(finding_counts_by_type=[1]),
            "aegis.finding_counts_by_type",
            "must be an object, not an array",
        ),
        (
            make_preflight(findings=[1]),
            "aegis",
            "has the unknown key findings: send the documented keys only, counts and no values",
        ),
        (make_event(dataset="aegis.preflight", aegis={}), "aegis", "lacks the key decision: add it"),
        (
            make_event(dataset="aegis.preflight"),
            "aegis",
            "is missing: an event of dataset aegis.preflight needs it, with aegis.decision",
        ),
    ],
    ids=lambda value: ascii(value)[-60:],
)
def test_a_wrong_value_is_told_by_its_field_and_what_is_right(raw, field, message):
    """The message names the type or the range that is right, and the type that was sent."""
    rejection = refused(raw)

    assert (rejection.field, rejection.message, rejection.kind) == (field, message, "invalid")


@pytest.mark.parametrize(
    ("raw", "limits", "kind", "message"),
    [
        (
            b'{"a":1}',
            EventLimits(6),
            "too-large",
            "the event has 7 bytes; the limit is 6: shorten it or split it",
        ),
        (
            b'{"a":[[[[1]]]]}',
            EventLimits(depth_max=4),
            "invalid",
            "the event is nested deeper than 4 levels: flatten it",
        ),
        (
            b'{"a":123456789012345678901}',
            EventLimits(number_digits_max=20),
            "invalid",
            "the event has a number of more than 20 characters: send it as a string",
        ),
        (
            b'{"a":{"b":1,"b":2}}',
            None,
            "malformed",
            "appears twice in the same object, and receivers could read either value: send it once",
        ),
    ],
    ids=["size", "depth", "number", "key twice"],
)
def test_a_limit_is_told_with_its_value(raw, limits, kind, message):
    """What is wrong with the event's shape is told with the limit, and with the way out."""
    rejection = refused(raw, limits)

    field = "b" if kind == "malformed" else ""
    assert rejection == Rejection(None, field, message, kind)


@pytest.mark.parametrize(
    ("error", "parent", "rejection"),
    [
        (
            RecursionError(),
            "aegis",
            Rejection(None, "aegis", "the event is nested too deeply to be read: flatten it"),
        ),
        (
            msgspec.ValidationError("Something new - at `$.x.y`"),
            "aegis",
            Rejection(None, "aegis.x.y", "cannot be read: Something new"),
        ),
        (
            msgspec.ValidationError("Expected `str` of length <= 5"),
            "",
            Rejection(None, "", "the event cannot be read: Expected str of length <= 5"),
        ),
        (
            msgspec.ValidationError("Expected `something`, got `float`"),
            "event",
            Rejection(None, "event", "must be something, not a decimal number"),
        ),
        (
            msgspec.ValidationError("Expected `something` >= 1"),
            "event",
            Rejection(None, "event", "must be something of at least 1"),
        ),
        (
            msgspec.ValidationError("Expected `str`, got `int` - at `$.X.tagX`"),
            "",
            Rejection(None, "X.tagX", "must be a string, not an integer"),
        ),
    ],
    ids=["too deep", "unknown", "unknown bound", "unknown type", "bound of an unknown type", "capitals"],
)
def test_an_error_that_nobody_expected_is_told_as_well(error, parent, rejection):
    """An error that the decoder may raise one day has a message that can be read."""
    assert describe(error, parent) == rejection
