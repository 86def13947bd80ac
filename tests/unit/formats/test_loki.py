"""Promises of loki: few labels, one line per event, and only 204 is success."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats.loki import encode, interpret
from support.formats import make_event, stored


def streams_of(*events):
    """Return the streams that are sent for events."""
    return json.loads(encode([stored(one) for one in events]).body)["streams"]


def test_all_events_are_one_stream():
    """Whatever their datasets, the events of a request are one stream; events of one time keep their order, and a line is the event as it is stored."""
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
                "stream": {"service_name": "aegis-audit-stream"},
                "values": [[time, stored(one).decode()] for one in (first, other, second)],
            }
        ]
    }
    assert request.content_type == "application/json"


def test_the_oldest_line_is_the_first():
    """A much older line is sent before the newer ones of its request, since Loki rejects it after them."""
    times = ["2026-05-15T10:00:00Z", "2026-05-15T07:00:00Z", "2026-05-15T11:00:00+02:00"]

    (stream,) = streams_of(*[{**make_event(), "@timestamp": one} for one in times])

    assert [int(nanos) // 3600 // 10**9 % 24 for nanos, _ in stream["values"]] == [7, 9, 10]


def test_no_label_grows_with_the_events():
    """Neither event.id nor any other value of an event becomes a label."""
    found = streams_of(*[make_event(f"evt_{number}", user={"id": f"user_{number}"}) for number in range(50)])

    assert len(found) == 1
    assert len(found[0]["values"]) == 50


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
    """An event that is sent again in another batch has the same labels, time and line, so Loki stores it once."""
    event, other = make_event("a", message="ä\n"), make_event("b", event={"id": "b", "dataset": "iam"})

    (alone,), (together,) = streams_of(event), streams_of(event, other)

    assert alone["stream"] == together["stream"]
    assert alone["values"] == together["values"][:1]


@pytest.mark.parametrize(
    "status, delivered, scope, permanent, fix_needed",
    [
        (204, True, None, False, False),
        (200, False, FailureScope.DESTINATION, False, True),
        (202, False, FailureScope.DESTINATION, False, True),
        (260, False, FailureScope.DESTINATION, False, True),
        (400, False, FailureScope.EVENT, True, False),
        (413, False, FailureScope.EVENT, True, False),
        (422, False, FailureScope.EVENT, True, False),
        (429, False, FailureScope.DESTINATION, False, False),
        (500, False, FailureScope.DESTINATION, False, False),
        (503, False, FailureScope.DESTINATION, False, False),
    ],
)
def test_204_alone_is_success(status, delivered, scope, permanent, fix_needed):
    """260 means that Loki blocks, 200 is not from Loki; a batch with a 400 is halved, since Loki stores a repeated line once."""
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


def test_a_refused_line_is_told_why():
    """The message about a 400 from Loki names age, order and length of lines, and not the URL."""
    verdict = interpret(Response(400, b"entry too far behind", 100), 1)

    assert verdict.message.startswith("answered 400: Loki rejected the line")
    assert all(
        one in verdict.message for one in ("max_chunk_age", "reject_old_samples_max_age", "max_line_size")
    )
    assert "URL" not in verdict.message
