"""Promises of new_relic: nothing is sent in a form that New Relic drops silently."""

import json

import pytest
from hypothesis import given, settings

from aegis_stream.domain.attempt import Accepted, Failure, Response
from aegis_stream.formats import REGISTRY
from aegis_stream.formats.new_relic import ATTRIBUTES_MAX, encode, interpret
from support.formats import UNHURRIED, events, leaves, make_event, stored


def log_of(event):
    """Return the one log that is sent for an event."""
    ((block),) = json.loads(encode([stored(event)]).body)
    (log,) = block["logs"]
    return log


def test_a_block_of_logs():
    """One block with common attributes, and a log for each event: milliseconds, a line of text, flat attributes."""
    event = make_event(
        message="Signed in.",
        event={"id": "evt_1", "category": ["iam", "session"], "dataset": "crm.audit"},
        user={"id": "alice", "roles": ["admin"], "group": {"id": 7}},
    )

    request = encode([stored(event)])

    assert json.loads(request.body) == [
        {
            "common": {"attributes": {"logtype": "aegis", "service": "aegis-audit-stream"}},
            "logs": [
                {
                    "timestamp": 1778841201456,
                    "message": "Signed in.",
                    "attributes": {
                        "@timestamp": "2026-05-15T10:33:21.456789+00:00",
                        "event.id": "evt_1",
                        "event.category": "iam,session",
                        "event.dataset": "crm.audit",
                        "organization.id": "org_abc",
                        "user.id": "alice",
                        "user.roles": "admin",
                        "user.group.id": 7,
                    },
                }
            ],
        }
    ]
    assert request.content_type == "application/json"


@pytest.mark.parametrize(
    "value, sent",
    [
        (["a", "b"], "a,b"),
        (["a"], "a"),
        ([], ""),
        (["a,b", "c"], '["a,b","c"]'),
        (["a", ""], '["a",""]'),
        ([1, 2], "[1,2]"),
        ([{"a": 1}], '[{"a":1}]'),
        (True, True),
        (1.5, 1.5),
        (2**53, 2**53),
        (2**53 + 1, str(2**53 + 1)),
        (-(10**30), str(-(10**30))),
    ],
)
def test_a_value_takes_a_shape_that_is_kept(value, sent):
    """Arrays are joined, so that they can be told apart again; whole numbers that no double can hold are texts."""
    assert log_of(make_event(mine={"x": value}))["attributes"]["mine.x"] == sent


@pytest.mark.parametrize("value", [None, {}])
def test_nothing_is_left_out(value):
    """Null and an empty object are attributes that are not there."""
    assert "mine.x" not in log_of(make_event(mine={"x": value}))["attributes"]


@pytest.mark.parametrize("name", ["eventType", "accountId", "entity.guid", "timestamp"])
def test_a_reserved_name_gives_way(name):
    """Members with names that New Relic reserves are prefixed with ecs."""
    attributes = log_of(make_event(**{name: "mine"}))["attributes"]

    assert attributes[f"ecs.{name}"] == "mine"
    assert name not in attributes


def test_an_entity_object_gives_way():
    """An ECS entity is found behind ecs. with all its fields."""
    attributes = log_of(make_event(entity={"id": "x", "type": "host"}))["attributes"]

    assert (attributes["ecs.entity.id"], attributes["ecs.entity.type"]) == ("x", "host")


def test_what_has_no_place_travels_as_one_text():
    """More attributes than New Relic keeps, and names that are too long, are JSON text in aegis.more."""
    event = make_event(mine={f"f{number}": number for number in range(400)}, **{"n" * 256: "long"})

    attributes = log_of(event)["attributes"]

    assert len(attributes) == ATTRIBUTES_MAX + 1
    more = json.loads(attributes["aegis.more"])
    sent = {name: value for name, value in (attributes | more).items() if name.startswith("mine.")}
    assert sent == {f"mine.f{number}": number for number in range(400)}
    assert more["n" * 256] == "long"


@pytest.mark.parametrize(
    "name, kept",
    [("n" * 255, True), ("n" * 256, False), ("é" * 127, True), ("é" * 128, False)],
    ids=["255", "256", "254 in 127", "256 in 128"],
)
def test_a_name_that_is_too_long_travels_in_a_text(name, kept):
    """A name of more than 255 bytes is no attribute; its value stands in aegis.more."""
    attributes = log_of(make_event(**{name: "x"}))["attributes"]

    assert (name in attributes) == kept
    assert kept or json.loads(attributes["aegis.more"]) == {name: "x"}


@pytest.mark.parametrize("message", ['{"a": 1}', ' ["x"]'])
def test_a_message_that_is_json_stays_a_line(message):
    """A message that is JSON gets a prefix: New Relic would parse it, and its members would replace ours."""
    assert log_of(make_event(message=message))["message"] == f"message: {message}"


@settings(UNHURRIED, max_examples=60)
@given(event=events())
def test_every_value_travels(event):
    """Every leaf of an event is in its log, once: as its line, as attribute, or in aegis.more; null and {} are left out."""
    log = log_of(event)
    attributes = log["attributes"]
    more = json.loads(attributes.pop("aegis.more", "{}"))

    kept = [(path, value) for path, value in leaves(event) if value is not None and value != {}]
    line = event.get("message")
    if isinstance(line, str) and line:
        assert log["message"].endswith(line)
        kept.remove((("message",), line))
    assert len(attributes) + len(more) == len(kept)
    assert all(isinstance(one, str | int | float | bool) for one in attributes.values())


@pytest.mark.parametrize(
    "status, body, delivered",
    [
        (202, b'{"requestId":"1f"}', True),
        (202, b"", True),
        (202, b"{}", True),
        (202, b'{"requestId":', False),
        (200, b'{"requestId":"1f"}', False),
        (204, b"", False),
    ],
)
def test_only_new_relics_202_is_a_success(status, body, delivered):
    """A 202 with New Relic's object, or without a body, delivers; any other 2xx is from another service."""
    verdict = interpret(Response(status, body, 100), 3)

    assert verdict == Accepted(202) if delivered else isinstance(verdict, Failure)


def test_keeps_the_limits_of_the_api():
    """A request is at most 10^6 bytes; logs older than 48 hours are warned about."""
    assert (REGISTRY["new_relic"].body_bytes_max, REGISTRY["new_relic"].age_max_s) == (1_000_000, 48 * 3600)
