"""New Relic's own client as an oracle: one block of logs in the same envelope, with the types of values that it keeps."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from newrelic_telemetry_sdk import Log, LogClient
from urllib3 import HTTPConnectionPool

from aegis_stream.domain.attempt import Accepted
from aegis_stream.formats import choose
from aegis_stream.formats.new_relic import NEW_RELIC, encode
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, ANY, Row, unexplained
from oracles.material import is_flat, line_of, picked, read
from support.formats import EVENTS, UNHURRIED, leaves, make_event, stored

KEY = "synthetic-license-key-of-the-tests"
AUTH = ours.credential("new_relic", KEY)
PATH = ours.path("new_relic", "/log/v1")
COMMON = {"attributes": {"logtype": "aegis", "service": "aegis-audit-stream"}}
REQUEST = (
    Row("headers.x-request-id", ANY, ABSENT, "for support cases; the answer has a requestId of its own"),
)
RENAMED = frozenset({"eventType", "accountId", "timestamp", "entity"})
"""Members that get another name, since New Relic has them for something else."""
UNCLEAR_SUCCESSES = frozenset({200, 201, 204})
"""Successes to the client; to us the Log API's 202 alone is one: anything else is another service's."""


class PlainClient(LogClient):
    """New Relic's client without TLS."""

    POOL_CLS = HTTPConnectionPool


@pytest.fixture(scope="module")
def client(capture: Capture) -> Iterator[LogClient]:
    """Return New Relic's client of the Log API."""
    host, _, port = capture.url.removeprefix("http://").partition(":")
    one = PlainClient(KEY, host=host, port=int(port))
    yield one
    one.close()


def as_log(event: dict[str, Any]) -> Log:
    """Return what a program passes to the client for an event, flattened by the rules of our page."""
    attributes = {
        ".".join(path): as_attribute(value) for path, value in leaves(event) if value not in (None, {})
    }
    if attributes.get("message"):
        del attributes["message"]
    at = datetime.fromisoformat(event["@timestamp"])
    log = Log(line_of(event), int(at.timestamp()) * 1000 + at.microsecond // 1000)
    return log | {"attributes": attributes}


def as_attribute(value: Any) -> Any:
    """Return a value as New Relic keeps it."""
    if isinstance(value, list):
        plain = all(isinstance(one, str) and one and "," not in one for one in value)
        return ",".join(value) if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    is_exact = isinstance(value, bool | str | float) or abs(value) <= 2**53
    return value if is_exact else str(value)


def is_unnamed(event: dict[str, Any]) -> bool:
    """Tell whether an event keeps its names and its message."""
    message = event.get("message", "text")
    is_kept = bool(message) and not line_of(event).startswith(("{", "["))
    return is_kept and not RENAMED & set(event) and is_flat(event)


def test_the_request_is_the_clients(capture, client):
    """We send what `send_batch` sends for the same logs: path, key, the block, and every attribute with its type."""
    bodies = picked(is_unnamed)
    capture.answer(Said(202, b'{"requestId":"r"}'))

    response = client.send_batch([as_log(event) for event in read(bodies)], common=COMMON)
    verdicts = ours.send(capture.url + PATH, bodies, AUTH, name="new_relic", compression="gzip")

    theirs, own = capture.taken()
    assert unexplained(theirs, own, json.loads, REQUEST) == []
    assert verdicts == [Accepted(response.status)] * len(bodies)


@settings(UNHURRIED, max_examples=60)
@given(drawn=EVENTS)
def test_every_log_is_one_that_the_client_could_have_made(drawn):
    """Every log that we send equals the client's type of a log made from its parts: whole milliseconds, a text, and scalars."""
    ((block),) = json.loads(encode([stored(event) for event in drawn]).body)

    for log in block["logs"]:
        # The client takes a timestamp of 0 for none.
        made = Log(log["message"], log["timestamp"] or 1) | {"timestamp": log["timestamp"]}
        assert made | {"attributes": log["attributes"]} == log
        assert isinstance(log["message"], str)
        assert isinstance(log["timestamp"], int)
        assert all(type(one) in (str, int, float, bool) for one in log["attributes"].values())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 400, 403, 408, 413, 429, 500, 503])
def test_answers_are_judged_as_the_client_judges_them(capture, client, status):
    """The events are delivered exactly if the client's response is ok, except for successes that the Log API never sends."""
    capture.answer(Said(status, b'{"requestId":"r"}'))

    response = client.send_batch([as_log(make_event())])
    (verdict,) = ours.send(capture.url + PATH, [stored(make_event())], AUTH, name="new_relic")
    capture.taken()

    assert isinstance(verdict, Accepted) == (response.ok and status not in UNCLEAR_SUCCESSES)
    assert verdict.status_code == response.status


def test_auto_knows_the_address():
    """`auto` is `new_relic` at the client's own address."""
    assert choose(f"https://{LogClient.HOST}{LogClient.PATH}").format is NEW_RELIC
