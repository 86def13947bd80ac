"""Promises of cribl: every line has the time that Cribl reads, and nothing else is changed."""

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, Response
from aegis_stream.formats.cribl import encode, interpret
from support.formats import make_event, stored


def test_every_line_has_its_time():
    """`_time` in seconds is inserted before the event's own bytes; line breaks between tokens become spaces."""
    body = (
        b'{\n"@timestamp":"2026-05-15T10:33:21.456789Z","event":{"id":"a"},"organization":{"id":"org_abc"}}'
    )

    request = encode([body, body])

    line = b'{"_time":1778841201.456, ' + body[2:] + b"\n"
    assert request.body == line * 2
    assert request.content_type == "application/x-ndjson"


@pytest.mark.parametrize("value", [1.5, "1.5", None])
def test_a_time_of_its_own_is_kept(value):
    """An event that has a _time is sent as stored: with two of them it would be open which one counts."""
    body = stored(make_event(_time=value))

    assert encode([body]).body == body + b"\n"


@pytest.mark.parametrize(
    "status, body, delivered",
    [(200, b"", True), (200, b"ok", True), (200, b"<html>", False), (403, b"", False), (503, b"", False)],
)
def test_a_success_is_no_page(status, body, delivered):
    """200 delivers unless a web page comes with it."""
    verdict = interpret(Response(status, body, 100), 3)

    assert verdict == Accepted(200) if delivered else isinstance(verdict, Failure)
