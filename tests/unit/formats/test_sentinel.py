"""Promises of sentinel: an array of rows with declared columns, with nothing that Sentinel would truncate or drop."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats.sentinel import COLUMN_BYTES_MAX, encode, interpret
from support.formats import UNHURRIED, events, make_event, stored

DECLARED = {"TimeGenerated", "timestamp", "message", "event", "organization", "aegis", "more"}


def rows_of(*some):
    """Return the rows that are sent for these events."""
    return json.loads(encode([stored(one) for one in some]).body)


def event_of(row):
    """Return the event that a row holds, but for the spelling of its time."""
    if "text_1" in row:
        return json.loads(
            "".join(row[f"text_{number}"] for number in range(1, len(row)) if f"text_{number}" in row)
        )
    event = {name: row[name] for name in ("message", "event", "organization", "aegis") if name in row}
    return event | row.get("more", {})


def without_time(event):
    """Return an event as its row holds it."""
    return {name: value for name, value in event.items() if name != "@timestamp"}


def test_one_event_is_an_array_too():
    """A single object would be answered 204 and stored nowhere."""
    (row,) = rows_of(make_event(message="text", aegis={"test": True}, user={"id": "ada"}))

    assert row == {
        "TimeGenerated": "2026-05-15T10:33:21.456789Z",
        "timestamp": "2026-05-15T10:33:21.456789+00:00",
        "event": {"id": "evt_1", "dataset": "crm.audit"},
        "organization": {"id": "org_abc"},
        "message": "text",
        "aegis": {"test": True},
        "more": {"user": {"id": "ada"}},
    }


@settings(UNHURRIED, max_examples=100)
@given(st.lists(events(), min_size=1, max_size=4))
def test_every_member_has_its_place_in_a_declared_column(batch):
    """Whatever members events have, their rows have the same few columns, and all members are in them."""
    rows = rows_of(*batch)

    assert set().union(*rows) <= DECLARED
    assert [event_of(row) for row in rows] == [without_time(one) for one in batch]


@settings(UNHURRIED, max_examples=30)
@given(st.sampled_from(["message", "aegis", "vendor"]), st.text(min_size=1), st.integers(0, 3))
def test_what_is_too_long_for_a_column_travels_in_pieces(name, text, filler):
    """No column is longer than Sentinel keeps, no character is split, and the event can be reassembled."""
    long = "x" * filler + (text + "😀é") * (COLUMN_BYTES_MAX // 2)
    event = make_event(**{name: long[: COLUMN_BYTES_MAX + 10]})

    (row,) = rows_of(event)

    assert event_of(row) == event
    assert set(row) == {"TimeGenerated", "timestamp", "event", "organization"} | {
        one for one in row if one.startswith("text_")
    }
    assert all(len(value.encode()) <= COLUMN_BYTES_MAX for value in row.values() if isinstance(value, str))


def test_a_column_of_the_longest_length_stays():
    """A column of exactly the limit is sent as it is."""
    text = "x" * (COLUMN_BYTES_MAX - 2)

    (fits,), (longer,) = rows_of(make_event(message=text)), rows_of(make_event(message=text + "x"))

    assert fits["message"] == text
    assert "message" not in longer


def test_a_message_that_is_no_text_is_not_lost():
    """The column message is a string; another type goes into the column more."""
    (row,) = rows_of(make_event(message={"text": "object"}))

    assert (row["more"], "message" in row) == ({"message": {"text": "object"}}, False)


def test_204_alone_is_success():
    """Any other 2xx is not from Sentinel."""
    assert interpret(Response(204, b"", 100), 3) == Accepted(204)
    assert isinstance(interpret(Response(200, b"{}", 100), 3), Failure)
    assert isinstance(interpret(Response(202, b"", 100), 3), Failure)


@pytest.mark.parametrize(
    "status, scope, permanent, fix_needed",
    [
        (400, FailureScope.EVENT, True, False),
        (401, FailureScope.DESTINATION, False, True),
        (403, FailureScope.DESTINATION, False, True),
        (404, FailureScope.DESTINATION, False, True),
        (413, FailureScope.EVENT, True, False),
        (429, FailureScope.DESTINATION, False, False),
    ],
)
def test_an_error_is_told_apart(status, scope, permanent, fix_needed):
    """An expired token needs a person; a row that does not fit the columns is about the event."""
    verdict = interpret(Response(status, b"", 100), 3)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent, verdict.fix_needed) == (scope, permanent, fix_needed)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2026-05-15T10:33:21.456789012+05:30",
            "1601-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-05-15 10:33:21Z",
        ),
        "9999-12-31T23:59:59.9999999Z",
    ],
)
def test_the_recorded_time_has_a_column_of_its_own(text):
    """A row has the event's time as recorded, whatever Azure does to TimeGenerated and whatever that cannot express."""
    (row,) = rows_of(make_event() | {"@timestamp": text})

    assert row["timestamp"] == text
