"""A real OpenTelemetry Collector: what arrives in it, what it refuses, what it loses, and that we lose nothing meanwhile."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from real.front import ALLOWED
from real.otelcol import (
    ONWARD,
    TRACES,
    Behind,
    Collector,
    destination_behind,
    kill,
    make_collector,
)
from support.arrival import QUICK, audit_events, forward
from support.formats import leaves
from support.otlp import Record
from support.processes import Client
from support.service import running_service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SMALL = {"max_events": 50}
"""A batch of so few events that all take many requests."""
PATIENT = {"max_attempts": 20, "base_seconds": 0.05}
"""Retries of a destination that a test has answer badly for a while."""
SETTINGS = QUICK | {"AEGIS_ALLOWED_NETWORKS": ALLOWED, "AEGIS_TESTS_PER_MINUTE": "10000"}
"""Of the service; test events are sent until the collector answers otherwise."""


class World:
    """A running service, its events, and a collector that the test starts."""

    def __init__(self, client: Client, collector: Collector) -> None:
        self.client = client
        self.collector = collector
        self.events = audit_events(client.organization.org_id)

    def add_destination(self, **fields: Any) -> str:
        """Make a destination at the collector."""
        fields = {"url": self.collector.url, "batch": SMALL} | self.collector.fields | fields
        return self.client.add_destination(fields.pop("url"), **fields)

    def destination(self, dst_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.request("GET", f"/forwarding-destinations/{dst_id}")
        return found

    def test(self, dst_id: str) -> dict[str, Any]:
        """Send a test event; returns what is told of it."""
        told: dict[str, Any] = self.client.request("POST", f"/forwarding-destinations/{dst_id}/test")
        return told

    def record(self, events: dict[str, bytes]) -> None:
        """Record events, some at a time."""
        bodies = list(events.values())
        for first in range(0, len(bodies), 200):
            self.client.record(bodies[first : first + 200])

    def wait_for_failure(self, dst_id: str, status: int | None) -> dict[str, Any]:
        """Wait until the newest failure has this status; returns the destination."""

        def failing() -> dict[str, Any] | None:
            read = self.destination(dst_id)
            error = read["last_error"]
            return read if error is not None and error["status_code"] == status else None

        return wait_until(failing)

    def wait_for(self, dst_id: str, delivered: int) -> dict[str, Any]:
        """Wait until so many events are delivered; returns the destination."""

        def arrived() -> dict[str, Any] | None:
            read = self.destination(dst_id)
            return read if read["stats"]["delivered"] >= delivered else None

        return wait_until(arrived, seconds=90)


@contextmanager
def world(tmp_path: Path) -> Iterator[World]:
    """Prepare a collector, and run a service."""
    collector = make_collector(tmp_path)
    with running_service(tmp_path, **SETTINGS) as service:
        yield World(Client(service.url, service.make_organization()), collector)


def as_sent(events: dict[str, bytes]) -> dict[str, str]:
    """Return by id what a collector must have of each event: every value of it, in the place where it belongs."""
    return {event_id: _text_of(*_parts_of(json.loads(body))) for event_id, body in events.items()}


def as_kept(records: list[Record]) -> dict[str, str]:
    """Return by id what a collector has of each event; the same in every record of it."""
    found: dict[str, str] = {}
    for record in records:
        text = _text_of(record.time_unix_nano, record.body, record.attributes)
        assert found.setdefault(record.attributes["event.id"], text) == text
    return found


def repeats(records: list[Record]) -> int:
    """Return how many records are of an event that another one is of, too."""
    counts = Counter(record.attributes["event.id"] for record in records)
    return len(records) - len(counts)


def _parts_of(event: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """Return an event's time in nanoseconds, its line for a person, and all else by dotted names."""
    attributes = {".".join(path): value for path, value in leaves(event)}
    moment = datetime.fromisoformat(attributes.pop("@timestamp"))
    nanos = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    if attributes.get("message"):
        return nanos, attributes.pop("message"), attributes
    lines = [attributes.get(name) for name in ("aegis.summary", "event.action", "event.dataset")]
    return nanos, next(line for line in lines if line), attributes


def _text_of(*parts: Any) -> str:
    """Return values as text that tells whole numbers, floats and truths apart."""
    return json.dumps(parts, sort_keys=True, ensure_ascii=False)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_value_of_every_event_arrives(tmp_path, compression):
    """Through TLS and its bearer token every event is in the collector's file once, with every value as it was recorded."""
    with world(tmp_path) as here:
        with here.collector.running():
            read = forward(
                here.client, here.events, here.collector.url, compression=compression, **here.collector.fields
            )
        records = here.collector.records()

    assert read["format"] == "otlp_logs"
    assert (read["stats"]["failed_attempts"], read["stats"]["dead_letters"]) == (0, 0)
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) == 0
    assert {(one.service, one.scope, one.severity_number) for one in records} == {
        ("aegis-audit-stream", "aegis", 9)
    }
    assert all(one.pairs == len(one.attributes) for one in records)


def test_a_test_event_tells_whether_the_collector_takes_events(tmp_path):
    """It is ok where it arrives; a wrong path, token, port, authority or format is not, and each says what to change."""
    with world(tmp_path) as here, here.collector.running(TRACES):
        grpc = f"http://127.0.0.1:{here.collector.grpc_port}/v1/logs"
        told = {
            name: here.test(here.add_destination(**fields))
            for name, fields in {
                "right": {},
                "path": {"url": here.collector.at("/v1/log"), "format": "otlp_logs"},
                "no path": {"url": here.collector.at("/")},
                "token": {"auth_header_value": "Bearer wrong"},
                "grpc": {"url": grpc},
                "authority": {"ca_certificate": None},
                "ndjson": {"format": "ndjson"},
                "array": {"format": "json_array"},
            }.items()
        }
    (record,) = here.collector.records()

    assert {name: (one["ok"], one["status_code"]) for name, one in told.items()} == {
        "right": (True, 200),
        "path": (False, 404),
        "no path": (False, 404),
        "token": (False, 401),
        "grpc": (False, None),
        "authority": (False, None),
        "ndjson": (False, 415),
        "array": (False, 400),
    }
    assert record.attributes["event.dataset"] == "aegis.audit_stream.test"
    assert told["path"]["error"] == "answered 404: there is nothing at this path: check the URL"
    assert "check auth_header_name and auth_header_value" in told["token"]["error"]
    assert "ca_certificate" in told["authority"]["error"]
    assert "expect { or , or } or n, but found [" in told["array"]["response_excerpt"]


@pytest.mark.parametrize("path, format_", [("/v1/logs", "json"), ("/v1/traces", "otlp_logs")])
def test_the_collector_says_yes_to_what_it_does_not_keep(tmp_path, path, format_):
    """A bare event, and logs at the path of traces, get a 200 and are not kept; at /v1/logs `auto` never sends so."""
    with world(tmp_path) as here:
        with here.collector.running(TRACES):
            told = here.test(here.add_destination(url=here.collector.at(path), format=format_))
            chosen = here.destination(here.add_destination())["format"]
        records = here.collector.records()

    assert (told["ok"], told["status_code"]) == (True, 200)
    assert records == []
    assert chosen == "otlp_logs"


def test_a_collector_that_is_short_of_memory_costs_no_event(tmp_path):
    """Refused with 503 by its memory_limiter, events wait; with memory again, each arrives once."""
    with world(tmp_path) as here:
        dst_id = here.add_destination(retry=PATIENT)
        with here.collector.running(COLLECTOR_MEMORY_MIB="1"):
            wait_until(lambda: here.test(dst_id)["status_code"] == 503)
            here.record(here.events)
            refused = here.wait_for_failure(dst_id, 503)
        with here.collector.running():
            read = here.wait_for(dst_id, len(here.events))
        records = [
            one
            for one in here.collector.records()
            if one.attributes["event.dataset"] != "aegis.audit_stream.test"
        ]

    assert (refused["status"], refused["stats"]["dead_letters"]) == ("failing", 0)
    assert (read["status"], read["stats"]["dead_letters"]) == ("active", 0)
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) == 0


def test_a_full_disk_of_the_collector_costs_what_it_had_said_yes_to(tmp_path):
    """The first event it takes is lost with its buffer; from then on it answers 503, and every later event arrives once."""
    with world(tmp_path) as here:
        dst_id = here.add_destination(retry=PATIENT)
        with here.collector.running(COLLECTOR_FILE="/dev/full"):
            first = here.test(dst_id)
            wait_until(lambda: here.test(dst_id)["status_code"] == 503)
            here.record(here.events)
            refused = here.wait_for_failure(dst_id, 503)
        with here.collector.running():
            read = here.wait_for(dst_id, len(here.events))
        records = here.collector.records()

    assert (first["ok"], first["status_code"]) == (True, 200)
    assert (refused["stats"]["delivered"], refused["stats"]["dead_letters"]) == (0, 0)
    assert read["stats"]["dead_letters"] == 0
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) == 0


def test_a_collector_that_is_restarted_costs_no_event(tmp_path):
    """Ended while events come, and started again, it has every event; what came twice was in flight."""
    with world(tmp_path) as here:
        dst_id = here.add_destination(batch={"max_events": 1}, retry=PATIENT)
        half = len(here.events) // 2
        with here.collector.running():
            here.record(dict(list(here.events.items())[:half]))
            here.wait_for(dst_id, half // 4)
        here.record(dict(list(here.events.items())[half:]))
        failing = here.wait_for_failure(dst_id, None)
        with here.collector.running():
            read = here.wait_for(dst_id, len(here.events))
        records = here.collector.records()

    assert failing["stats"]["delivered"] <= half
    assert read["stats"]["dead_letters"] == 0
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) <= 64, "a window of requests is the most that was in flight"


@contextmanager
def onward(here: World, behind: Behind, exporter: str) -> Iterator[Any]:
    """Run the collector so that it sends on what it takes."""
    with here.collector.running(
        ONWARD,
        COLLECTOR_NEXT=behind.url,
        COLLECTOR_EXPORTER=f"otlp_http/{exporter}",
        COLLECTOR_QUEUE=str(here.collector.folder / "queue"),
    ) as process:
        yield process


@pytest.mark.parametrize(
    "behind_answers, we_are_answered",
    [(401, 401), (429, 429), (500, 500), (502, 503), (503, 503), (504, 503)],
)
def test_what_the_destination_behind_refuses_is_not_lost(tmp_path, behind_answers, we_are_answered):
    """Without a queue the collector passes a refusal on, as a 500 for good; once events are taken again, each arrives once."""
    with world(tmp_path) as here, destination_behind() as behind, onward(here, behind, "straight"):
        behind.status = behind_answers
        dst_id = here.add_destination(retry=PATIENT)
        *early, late = here.events
        here.record({event_id: here.events[event_id] for event_id in early})
        refused = here.wait_for_failure(dst_id, we_are_answered)
        taken_meanwhile = len(behind.taken)

        behind.status = 200
        here.record(
            {late: here.events[late]}
        )  # where all are dead letters, the next event tells that they are taken again
        here.wait_for(dst_id, len(here.events))
        wait_until(lambda: here.destination(dst_id)["stats"]["dead_letters"] == 0)
        records = behind.records()

    assert (refused["stats"]["delivered"], taken_meanwhile) == (0, 0)
    assert (refused["stats"]["dead_letters"] > 0) == (we_are_answered == 500), (
        "the protocol forbids to retry it"
    )
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) == 0


def test_a_full_queue_of_the_collector_costs_no_event(tmp_path):
    """What its queue has no place for gets a 503 and waits with us; nothing is lost, and nothing arrives twice."""
    with world(tmp_path) as here, destination_behind() as behind, onward(here, behind, "small"):
        behind.status = 503
        few = {"max_events": len(here.events) // 5}  # one is being sent, one waits, and there are more
        dst_id = here.add_destination(batch=few, retry=PATIENT)
        here.record(here.events)
        here.wait_for_failure(dst_id, 503)
        told = here.test(dst_id)
        queued = wait_until(lambda: here.destination(dst_id)["stats"]["delivered"])

        behind.status = 200
        here.wait_for(dst_id, len(here.events))
        wait_until(lambda: len(as_kept(behind.records())) == len(here.events))
        records = behind.records()

    assert (told["ok"], told["status_code"]) == (False, 503)
    assert "sending queue is full" in told["response_excerpt"]
    assert 0 < queued < len(here.events)
    assert as_kept(records) == as_sent(here.events)
    assert repeats(records) == 0


def test_a_queue_on_disk_outlives_a_collector_that_is_killed(tmp_path):
    """What the collector took into its file_storage arrives behind it although it was killed before it could send any."""
    with world(tmp_path) as here, destination_behind() as behind:
        behind.status = 503
        dst_id = here.add_destination()
        with onward(here, behind, "disk") as process:
            here.record(here.events)
            here.wait_for(dst_id, len(here.events))
            kill(process)
        taken_before = len(behind.taken)

        behind.status = 200
        with onward(here, behind, "disk"):
            wait_until(lambda: len(as_kept(behind.records())) == len(here.events), seconds=60)
        records = behind.records()

    assert taken_before == 0
    assert as_kept(records) == as_sent(here.events)


def test_records_that_the_destination_behind_rejects_stay_the_collectors_secret(tmp_path):
    """A partialSuccess behind it the collector answers with a plain 200: only its own log tells, and we count a delivery."""
    with world(tmp_path) as here, destination_behind() as behind, onward(here, behind, "straight"):
        behind.answer = {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old"}}
        told = here.test(here.add_destination())
        log = here.collector.log.read_text()

    assert (told["ok"], told["status_code"]) == (True, 200)
    assert "Partial success" in log
    assert "too old" in log
