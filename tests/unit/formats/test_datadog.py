"""Promises of datadog: every log has its texts, no ECS field is lost because of a reserved name, and the body of a 2xx is read."""

import json

import pytest
from hypothesis import given, settings

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats import REGISTRY
from aegis_stream.formats.datadog import encode, interpret
from support.formats import EVENTS, UNHURRIED, make_event, stored

PREFLIGHT = {"decision": "BLOCKED", "summary": "Two card numbers."}


def log_of(event):
    """Return the one log that is sent for an event."""
    (log,) = json.loads(encode([stored(event)]).body)
    return log


def test_texts_stand_beside_the_event():
    """`ddsource`, `service` and `message` are added in front; the event's own bytes follow."""
    body = stored(make_event(aegis=PREFLIGHT))

    request = encode([body, body])

    log = b'{"ddsource":"aegis","service":"aegis-audit-stream","message":"Two card numbers.",' + body[1:]
    assert request.body == b"[" + log + b"," + log + b"]"
    assert request.content_type == "application/json"


@pytest.mark.parametrize(
    "members, message",
    [
        ({"message": "its own"}, "its own"),
        ({"message": "its own", "aegis": PREFLIGHT}, "its own"),
        ({"aegis": PREFLIGHT}, "Two card numbers."),
        ({"aegis": {"summary": None}}, "crm.audit"),
        ({"aegis": {"summary": ""}}, "crm.audit"),
        ({"aegis": "a text"}, "crm.audit"),
        ({"aegis": [PREFLIGHT]}, "crm.audit"),
        ({"event": {"id": "a", "action": "login"}}, "login"),
        ({"event": {"id": "a", "action": "login", "dataset": "crm"}}, "login"),
        ({"event": {"id": "a", "action": ["login"], "dataset": "crm"}}, "crm"),
        ({"event": {"id": "a"}}, "audit event"),
    ],
)
def test_every_log_has_a_line_to_show(members, message):
    """The line is the event's message, or its summary, its action, its dataset, whichever is there first."""
    assert log_of(make_event(**members))["message"] == message


@pytest.mark.parametrize("name", ["service", "host", "source", "status", "hostname", "ddsource", "ddtags"])
@pytest.mark.parametrize("value", [{"name": "crm", "ip": "192.0.2.7"}, "a text", None])
def test_a_reserved_name_gives_way(name, value):
    """A member whose name Datadog reserves is found under ecs_ and its name, with its content."""
    log = log_of(make_event(**{name: value}))

    assert log[f"ecs_{name}"] == value
    assert log["service"] == "aegis-audit-stream"
    assert log["ddsource"] == "aegis"
    assert all(
        isinstance(log.get(one, ""), str) for one in ("service", "host", "source", "status", "message")
    )


@pytest.mark.parametrize("value", [{"text": "x"}, ["x"], None, 7, ""])
def test_a_message_that_is_no_text_gives_way(value):
    """A `message` that is not a text is sent as ecs_message."""
    log = log_of(make_event(message=value))

    assert (log["message"], log["ecs_message"]) == ("crm.audit", value)


def test_no_name_is_taken_twice():
    """If ecs_service exists, too, the next free name is used."""
    log = log_of(make_event(service={"name": "a"}, ecs_service="b", ecs_ecs_service="c"))

    assert (log["ecs_ecs_ecs_service"], log["ecs_service"], log["ecs_ecs_service"]) == (
        {"name": "a"},
        "b",
        "c",
    )


@settings(UNHURRIED, max_examples=40)
@given(batch=EVENTS)
def test_no_member_is_lost(batch):
    """Every member of every event is in its log, under its name or behind ecs_, with the same value."""
    logs = json.loads(encode([stored(one) for one in batch]).body)

    for event, log in zip(batch, logs, strict=True):
        for name, value in event.items():
            assert value in [content for other, content in log.items() if other.endswith(name)]
        assert len(log) <= len(event) + 3


@pytest.mark.parametrize(
    "status, body, delivered",
    [
        (202, b"{}", True),
        (202, b"", True),
        (200, b'{"status":"ok"}', True),
        (202, b'{"errors":[]}', True),
        (202, b'{"errors":[{"status":"400","title":"Bad Request"}]}', False),
        (202, b'{"errors":', False),
        (202, b"accepted", False),
        (204, b"", False),
    ],
)
def test_a_success_has_datadogs_body(status, body, delivered):
    """A 2xx without Datadog's object, or with errors in it, does not count as success."""
    verdict = interpret(Response(status, body, 100), 3)

    assert verdict == Accepted(status) if delivered else isinstance(verdict, Failure)


@pytest.mark.parametrize(
    "status, scope, permanent",
    [
        (400, FailureScope.EVENT, True),
        (401, FailureScope.DESTINATION, False),
        (403, FailureScope.DESTINATION, False),
        (408, FailureScope.DESTINATION, False),
        (413, FailureScope.EVENT, True),
        (429, FailureScope.DESTINATION, False),
        (500, FailureScope.DESTINATION, False),
        (503, FailureScope.DESTINATION, False),
    ],
)
def test_an_error_is_told_apart(status, scope, permanent):
    """400 and 413 are about the events and permanent; everything else is retried."""
    verdict = interpret(Response(status, b'{"errors":[{"detail":"x"}]}', 100), 3)

    assert (verdict.scope, verdict.permanent) == (scope, permanent)


def test_keeps_the_limits_of_the_intake():
    """A request has at most 1,000 logs and 5 MB, an event less than 1 MB; there is a warning about logs older than 18 hours."""
    format_ = REGISTRY["datadog"]

    assert (format_.events_max, format_.body_bytes_max, format_.event_bytes_max) == (
        1000,
        5_000_000,
        1_000_000,
    )
    assert format_.age_max_s == 18 * 3600
