"""A real Grafana Loki: what it has after a run is asked of its own query API, and compared with what was recorded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from real.loki_server import running_loki
from support.arrival import QUICK, audit_events, forward
from support.processes import Client, make_events
from support.service import running_service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ANY_AGE = {"reject_old_samples": False}
ANY_ORDER = {"max_chunk_age": "8760h"}
"""Lets lines of a stream be as much as half of it older than the newest one."""
PATIENT = {"max_attempts": 20, "base_seconds": 0.05, "max_seconds": 1}
BY_TIME = {"shard_streams": {"time_sharding_enabled": True}}
"""Makes Loki keep lines of other hours in streams of their own."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def client_of(tmp_path: Path) -> Iterator[Client]:
    """Run the service, with an organization in it."""
    with running_service(tmp_path, **QUICK) as service:
        yield Client(service.url, service.make_organization())


def as_stored(events: dict[str, bytes]) -> list[tuple[int, str]]:
    """Return (time in nanoseconds, line) of events, as Loki must have them, sorted."""
    found = []
    for body in events.values():
        since = datetime.fromisoformat(json.loads(body)["@timestamp"]) - EPOCH
        found.append((since // timedelta(microseconds=1) * 1000, body.decode()))
    return sorted(found)


def around(at: datetime) -> tuple[int, int]:
    """Return a few hours before a time and some minutes after it, in nanoseconds since 1970."""
    at_ns = int(at.timestamp()) * 10**9
    return at_ns - 5 * 3600 * 10**9, at_ns + 300 * 10**9


def ended(client: Client, dst_id: str) -> int:
    """Return how many events are not on their way any more."""
    stats = client.stats(dst_id)
    return stats["delivered"] + stats["dead_letters"]


def dead_letters(client: Client, dst_id: str) -> list[dict[str, Any]]:
    """Return the first dead letters of a destination."""
    return client.request("GET", f"/forwarding-destinations/{dst_id}/dead-letters?limit=200")["data"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_event_is_stored_once_under_its_time(tmp_path, compression):
    """Loki has one line for every event: its very bytes, at its time to the microsecond."""
    with running_loki(tmp_path, limits=ANY_AGE, ingester=ANY_ORDER) as loki, client_of(tmp_path) as client:
        events = audit_events(client.organization.org_id)
        read = forward(client, events, loki.push_url, compression=compression)
        entries = sorted(loki.entries())

    assert read["format"] == "loki"
    assert (read["stats"]["failed_attempts"], read["stats"]["dead_letters"]) == (0, 0)
    assert entries == as_stored(events)


def test_an_event_sent_again_is_there_once(tmp_path):
    """After a replay of everything, Loki has no more lines than before."""
    with running_loki(tmp_path, limits=ANY_AGE, ingester=ANY_ORDER) as loki, client_of(tmp_path) as client:
        events = audit_events(client.organization.org_id)
        dst_id = forward(client, events, loki.push_url)["id"]
        client.request("POST", f"/forwarding-destinations/{dst_id}/replay", json={"from_sequence": 1})
        wait_until(lambda: client.stats(dst_id)["delivered"] == 2 * len(events), seconds=60)
        entries = sorted(loki.entries())

    assert entries == as_stored(events)


def test_a_test_event_tells_whether_the_url_is_lokis(tmp_path):
    """It is ok at the push API of a Loki as it comes, and not at another path."""
    with running_loki(tmp_path) as loki, client_of(tmp_path) as client:
        shown = [
            client.request("POST", f"/forwarding-destinations/{client.add_destination(url, **fields)}/test")
            for url, fields in ((loki.push_url, {}), (loki.url + "/loki/push", {"format": "loki"}))
        ]

    assert [(one["ok"], one["status_code"]) for one in shown] == [(True, 204), (False, 404)]


def test_events_that_are_too_old_for_loki_are_dead_letters(tmp_path):
    """Of a batch with an event older than Loki takes, that one is a dead letter, and the others are stored once."""
    now = datetime.now(UTC)
    with running_loki(tmp_path) as loki, client_of(tmp_path) as client:
        org_id = client.organization.org_id
        fresh = make_events(org_id, 1, 40, **{"@timestamp": now.isoformat()})
        old = make_events(org_id, 41, 1, **{"@timestamp": (now - timedelta(days=8)).isoformat()})
        dst_id = client.add_destination(loki.push_url)
        client.record([*list(fresh.values())[:20], *old.values(), *list(fresh.values())[20:]])
        wait_until(lambda: client.stats(dst_id)["delivered"] == len(fresh))
        dead = wait_until(lambda: dead_letters(client, dst_id))
        entries = sorted(loki.entries(*around(now)))

    assert [(one["event_id"], one["last_status_code"], one["about"]) for one in dead] == [
        ("evt_000041", 400, "event")
    ]
    assert entries == as_stored(fresh)


def test_an_event_far_behind_the_newest_is_a_dead_letter(tmp_path):
    """Loki refuses a line more than an hour older than the newest of its stream: the event is a dead letter, the next arrives."""
    now = datetime.now(UTC)
    with running_loki(tmp_path) as loki, client_of(tmp_path) as client:
        org_id = client.organization.org_id
        dst_id = client.add_destination(loki.push_url)
        for number, age in ((1, timedelta()), (2, timedelta(hours=2)), (3, timedelta())):
            client.record(make_events(org_id, number, 1, **{"@timestamp": (now - age).isoformat()}).values())
            wait_until(lambda number=number: ended(client, dst_id) == number)
        dead = dead_letters(client, dst_id)

    assert [(one["event_id"], one["last_status_code"], one["about"]) for one in dead] == [
        ("evt_000002", 400, "event")
    ]


def test_a_backlog_of_hours_arrives(tmp_path):
    """What has waited for half a day reaches a Loki as it comes, although it refuses a line an hour behind the newest."""
    now = datetime.now(UTC)
    with running_loki(tmp_path) as loki, client_of(tmp_path) as client:
        org_id, events = client.organization.org_id, {}
        for number in range(1400):
            at = now - timedelta(seconds=30 * (1400 - number))
            events |= make_events(org_id, number, 1, **{"@timestamp": at.isoformat()})
        dst_id = client.add_destination(loki.push_url, batch={"max_events": 50}, enabled=False)
        for first in range(0, len(events), 200):
            client.record(list(events.values())[first : first + 200])
        client.request("PATCH", f"/forwarding-destinations/{dst_id}", json={"enabled": True})
        wait_until(lambda: ended(client, dst_id) == len(events), seconds=60)
        stats = client.stats(dst_id)
        httpx.post(loki.url + "/flush", trust_env=False, timeout=60).raise_for_status()
        entries = sorted(loki.entries(around(now - timedelta(hours=12))[0], around(now)[1]))

    assert (stats["delivered"], stats["failed_attempts"]) == (len(events), 0)
    assert entries == as_stored(events)


def test_a_loki_that_shards_by_time_takes_old_events_beside_new_ones(tmp_path):
    """With time sharding, events of long ago arrive although newer ones of the same stream are there: the bytes of each, at its time."""
    now = datetime.now(UTC)
    with running_loki(tmp_path, limits=ANY_AGE | BY_TIME) as loki, client_of(tmp_path) as client:
        live = make_events(client.organization.org_id, 1, 1, **{"@timestamp": now.isoformat()})
        events = audit_events(client.organization.org_id)
        read = forward(client, live | events, loki.push_url)
        # Its queries look for lines of past months in the store alone.
        httpx.post(loki.url + "/flush", trust_env=False, timeout=60).raise_for_status()
        entries, newest = sorted(loki.entries()), loki.entries(*around(now))

    assert (read["stats"]["failed_attempts"], read["stats"]["dead_letters"]) == (0, 0)
    assert entries == as_stored(events)
    assert newest == as_stored(live)


def test_what_loki_refuses_beside_other_datasets_is_not_lost(tmp_path):
    """Of a request with events of many datasets, each one is either stored or a dead letter, whichever Loki refuses."""
    now = datetime.now(UTC)
    with running_loki(tmp_path) as loki, client_of(tmp_path) as client:
        dst_id = client.add_destination(loki.push_url)
        events: dict[str, bytes] = {}
        for number in range(40):
            event = {
                "@timestamp": (now - timedelta(hours=2 if number >= 20 and number % 3 else 0)).isoformat(),
                "event": {"id": f"mixed-{number}", "dataset": f"app.number{number % 4}"},
                "organization": {"id": client.organization.org_id},
            }
            events[event["event"]["id"]] = json.dumps(event).encode()
        bodies = list(events.values())
        for first in (0, 20):
            client.record(bodies[first : first + 20])
            wait_until(lambda first=first: ended(client, dst_id) == first + 20)
        delivered = client.stats(dst_id)["delivered"]
        dead = {one["event_id"] for one in dead_letters(client, dst_id)}
        entries = sorted(loki.entries(*around(now)))

    assert entries == as_stored({one: body for one, body in events.items() if one not in dead})
    assert (delivered, len(dead) > 0) == (len(entries), True)


def test_a_blocked_tenant_loses_nothing(tmp_path):
    """Loki answers 260 while it blocks a tenant: nothing counts as delivered, and all arrives when it takes lines again."""
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with client_of(tmp_path) as client:
        events = audit_events(client.organization.org_id)
        (tmp_path / "blocked").mkdir()
        with running_loki(tmp_path / "blocked", limits=ANY_AGE | {"block_ingestion_until": until}) as blocked:
            dst_id = client.add_destination(blocked.push_url, retry=PATIENT)
            client.record(list(events.values())[:200])
            read = wait_until(
                lambda: (
                    found
                    if (found := client.request("GET", f"/forwarding-destinations/{dst_id}"))["last_error"]
                    else None
                )
            )
        with running_loki(tmp_path, limits=ANY_AGE, ingester=ANY_ORDER) as loki:
            client.request("PATCH", f"/forwarding-destinations/{dst_id}", json={"url": loki.push_url})
            client.record(list(events.values())[200:])
            wait_until(lambda: client.stats(dst_id)["delivered"] == len(events), seconds=60)
            entries = sorted(loki.entries())

    assert (read["status"], read["stats"]["delivered"]) == ("failing", 0)
    assert read["last_error"]["status_code"] == 260
    assert entries == as_stored(events)


def test_a_rate_limit_of_lokis_loses_nothing(tmp_path):
    """Where Loki takes little a second, what it refuses with 429 is sent again until it is stored, once."""
    limits = ANY_AGE | {"ingestion_rate_mb": 0.3, "ingestion_burst_size_mb": 0.3}
    with running_loki(tmp_path, limits=limits, ingester=ANY_ORDER) as loki, client_of(tmp_path) as client:
        events = audit_events(client.organization.org_id)
        batch = {"max_events": 100}
        dst_id = client.add_destination(loki.push_url, retry=PATIENT, batch=batch, enabled=False)
        for first in range(0, len(events), 200):
            client.record(list(events.values())[first : first + 200])
        client.request("PATCH", f"/forwarding-destinations/{dst_id}", json={"enabled": True})
        wait_until(lambda: client.stats(dst_id)["delivered"] == len(events), seconds=60)
        read = client.request("GET", f"/forwarding-destinations/{dst_id}")
        entries = sorted(loki.entries())

    assert read["stats"]["failed_attempts"] > 0
    assert read["last_error"]["status_code"] == 429
    assert read["stats"]["dead_letters"] == 0
    assert entries == as_stored(events)
