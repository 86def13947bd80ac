"""Promises of loki: few labels, one line an event, and 204 alone is success."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, Response, Scope
from aegis_stream.formats.loki import encode, interpret
from support.formats import make_event, stored


def streams_of(*events):
    """Return the streams that are sent for events."""
    return json.loads(encode([stored(one) for one in events]).body)["streams"]


def test_a_stream_for_each_dataset():
    """Events of one dataset are a stream, in their order; the line is the event as it is stored."""
    first, second, other = (
        make_event("a"),
        make_event("b"),
        make_event("c", event={"id": "c", "dataset": "iam"}),
    )

    request = encode([stored(one) for one in (first, other, second)])

    time = "1778841201456789000"
    assert json.loads(request.body) == {
        "streams": [
            {
                "stream": {"service_name": "aegis-audit-stream", "dataset": "crm.audit"},
                "values": [[time, stored(first).decode()], [time, stored(second).decode()]],
            },
            {
                "stream": {"service_name": "aegis-audit-stream", "dataset": "iam"},
                "values": [[time, stored(other).decode()]],
            },
        ]
    }
    assert request.content_type == "application/json"


def test_no_label_grows_with_the_events():
    """Neither event.id nor any other value of its own makes a label."""
    found = streams_of(*[make_event(f"evt_{number}", user={"id": f"user_{number}"}) for number in range(50)])

    assert len(found) == 1
    assert len(found[0]["values"]) == 50


@pytest.mark.parametrize("dataset", [None, 7, ["a"], {"a": 1}])
def test_a_dataset_that_is_no_text_is_no_label(dataset):
    """Labels are texts; an event without a usable dataset has the service's name alone."""
    (stream,) = streams_of(make_event(event={"id": "a", "dataset": dataset}))

    assert stream["stream"] == {"service_name": "aegis-audit-stream"}


@pytest.mark.parametrize(
    "timestamp, nanos",
    [
        ("1970-01-01T00:00:00.000001Z", "1000"),
        ("1969-01-01T00:00:00Z", "0"),
        ("2262-04-11T23:47:16.854775Z", "9223372036854775000"),
        ("9999-12-31T23:59:59Z", "9223372036854775807"),
    ],
)
def test_a_time_is_a_text_of_nanoseconds(timestamp, nanos):
    """The time is a text within 64 bits, whatever the year."""
    (stream,) = streams_of({**make_event(), "@timestamp": timestamp})

    assert stream["values"][0][0] == nanos


def test_an_event_is_always_the_same_line():
    """Sent again in another batch, an event has the same labels, time and line, so that Loki keeps it once."""
    event, other = make_event("a", message="ä\n"), make_event("b", event={"id": "b", "dataset": "iam"})

    (alone,) = streams_of(event)

    assert alone in streams_of(event, other)


@pytest.mark.parametrize(
    "status, delivered, scope, permanent, fix_needed",
    [
        (204, True, None, False, False),
        (200, False, Scope.DESTINATION, False, True),
        (202, False, Scope.DESTINATION, False, True),
        (260, False, Scope.DESTINATION, False, True),
        (400, False, Scope.EVENT, True, False),
        (413, False, Scope.EVENT, True, False),
        (422, False, Scope.EVENT, True, False),
        (429, False, Scope.DESTINATION, False, False),
        (500, False, Scope.DESTINATION, False, False),
        (503, False, Scope.DESTINATION, False, False),
    ],
)
def test_204_alone_is_success(status, delivered, scope, permanent, fix_needed):
    """260 is Loki's way to block, 200 is somebody else; a 400 is halved, since a repeated line is kept once."""
    verdict = interpret(Response(status, b"", 100), 3)

    if delivered:
        assert verdict == Accepted(204)
        return
    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent, verdict.fix_needed) == (scope, permanent, fix_needed)
    assert str(status) in verdict.message


def test_a_blocked_tenant_is_told_so():
    """260 says that it is Loki that blocks."""
    assert "blocks" in interpret(Response(260, b"", 100), 1).message
