"""Promises of better_stack: every event has the time that Better Stack reads."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats.better_stack import encode, interpret
from support.formats import make_event, stored


@pytest.mark.parametrize(
    "timestamp, dt",
    [
        ("2026-05-15T12:33:21.456789+02:00", "2026-05-15T10:33:21.456789Z"),
        ("2026-05-15t10:33:21z", "2026-05-15T10:33:21.000000Z"),
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_every_event_has_its_time(timestamp, dt):
    """`dt` is inserted before the event's own bytes, in a format that Better Stack certainly reads."""
    body = stored({**make_event(), "@timestamp": timestamp})

    request = encode([body, body])

    log = b'{"dt":"%s",' % dt.encode() + body[1:]
    assert request.body == b"[" + log + b"," + log + b"]"
    assert request.content_type == "application/json"


def test_a_time_of_its_own_is_kept():
    """An event that has a dt is sent as stored."""
    event = make_event(dt="2026-05-15T10:00:00Z")

    assert json.loads(encode([stored(event)]).body) == [event]


@pytest.mark.parametrize(
    "status, scope, permanent, fix_needed",
    [
        (200, FailureScope.DESTINATION, False, True),
        (402, FailureScope.DESTINATION, False, True),
        (403, FailureScope.DESTINATION, False, True),
        (406, FailureScope.EVENT, True, False),
        (413, FailureScope.EVENT, True, False),
        (429, FailureScope.DESTINATION, False, False),
        (500, FailureScope.DESTINATION, False, False),
    ],
)
def test_an_error_is_told_apart(status, scope, permanent, fix_needed):
    """406 is about an event, 402 and 403 need a person, and a 200 is not from Better Stack."""
    verdict = interpret(Response(status, b"", 100), 3)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent, verdict.fix_needed) == (scope, permanent, fix_needed)


def test_202_is_success():
    """A 202 delivers."""
    assert interpret(Response(202, b"", 100), 3) == Accepted(202)
