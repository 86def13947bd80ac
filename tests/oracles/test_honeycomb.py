"""Honeycomb's own client as an oracle: the same array, and the same verdict on every event."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libhoney.client import Client
from libhoney.transmission import Transmission

from aegis_stream.domain.attempt import Accepted
from aegis_stream.formats import choose
from aegis_stream.formats.honeycomb import HONEYCOMB
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, ANY, Row, times_of, unexplained
from oracles.material import is_flat, picked, read
from support.formats import UNHURRIED, leaves, make_event, stored

# From Python 3.12 on: the client asks for the time without a zone.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:libhoney")

KEY = "hcaik_synthetic_key_of_the_tests"
AUTH = ours.credential("honeycomb", KEY)
DATASET = "audit"
PATH = ours.path("honeycomb", "/1/batch/<dataset>", dataset=DATASET)
REQUEST = (
    Row("headers.accept", "*/*", ABSENT, "JSON is what the API answers unasked"),
    Row("body[].samplerate", 1, ABSENT, "one for one is what its absence says"),
    Row("body[].time", ANY, ANY, "the same time, with six decimals always"),
)


@contextlib.contextmanager
def opened(capture: Capture) -> Iterator[Client]:
    """Return Honeycomb's client, which sends when it is closed."""
    transmission = Transmission(max_batch_size=10_000, max_pending=10_000, send_frequency=60)
    client = Client(KEY, DATASET, api_host=capture.url, transmission_impl=transmission)
    try:
        yield client
    finally:
        client.close()
        transmission.session.close()
        transmission.sd.close()


def send_theirs(capture: Capture, events: Sequence[dict[str, Any]]) -> list[int]:
    """Send events by the client; return the status that it reports for each."""
    with opened(capture) as client:
        for event in events:
            one = client.new_event(as_fields(event))
            one.created_at = datetime.fromisoformat(event["@timestamp"]).astimezone(UTC).replace(tzinfo=None)
            one.add_metadata(event["event"]["id"])
            one.send()
        reported = client.responses()
    statuses = {one["metadata"]: one["status_code"] for one in iter(reported.get_nowait, None)}
    return [statuses[event["event"]["id"]] for event in events]


def as_fields(event: dict[str, Any]) -> dict[str, Any]:
    """Return what a program passes to the client for an event, flattened by the rules of our page."""
    return {".".join(path): as_field(value) for path, value in leaves(event)}


def as_field(value: Any) -> Any:
    """Return a value as a column has it."""
    is_scalar = not isinstance(value, list | dict)
    return value if is_scalar else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def answered(statuses: Sequence[int]) -> Said:
    """Return Honeycomb's answer to a batch."""
    return Said(200, json.dumps([{"status": one} for one in statuses]).encode())


def test_the_request_is_the_clients(capture):
    """We send what the client sends for the same fields: path, key, times, and every field with its type."""
    bodies = picked(is_flat)[: HONEYCOMB.events_max]
    capture.answer(answered([202] * len(bodies)))

    reported = send_theirs(capture, read(bodies))
    verdicts = ours.send(capture.url + PATH, bodies, AUTH, compression="gzip")

    theirs, own = capture.taken()
    assert unexplained(theirs, own, json.loads, REQUEST) == []
    assert times_of(theirs.body, "time") == times_of(own.body, "time")
    assert verdicts == [Accepted(one) for one in reported]


@settings(UNHURRIED, max_examples=25)
@given(statuses=st.lists(st.sampled_from([200, 201, 202, 400, 413, 429, 500]), min_size=1, max_size=5))
def test_every_event_is_judged_as_the_client_judges_it(capture, statuses):
    """Each event has the status that the client reports for it, and is delivered if that is a 2xx."""
    events = [make_event(f"evt_{number}") for number in range(len(statuses))]
    capture.answer(answered(statuses))

    reported = send_theirs(capture, events)
    verdicts = ours.send(capture.url + PATH, [stored(event) for event in events], AUTH)
    capture.taken()

    assert [one.status_code for one in verdicts] == reported
    assert [isinstance(one, Accepted) for one in verdicts] == [200 <= one < 300 for one in reported]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_errors_are_errors_to_both(capture, status):
    """An error to the whole request is the client's status for every event, and ours."""
    events = [make_event("evt_1"), make_event("evt_2")]
    capture.answer(Said(status, b'{"error":"refused"}'))

    reported = send_theirs(capture, events)
    verdicts = ours.send(capture.url + PATH, [stored(event) for event in events], AUTH)
    capture.taken()

    assert not any(isinstance(one, Accepted) for one in verdicts)
    assert [one.status_code for one in verdicts] == [status] * 2
    assert all(one in (0, status) for one in reported)


def test_auto_knows_the_address():
    """`auto` is `honeycomb` at the client's own address."""
    address = signature(Client).parameters["api_host"].default

    assert choose(address + PATH).format is HONEYCOMB
