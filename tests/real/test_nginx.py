"""A real nginx in front of the receiver: what it refuses, limits and breaks, and that nothing is lost by it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from real.front import ALLOWED, Front, halt, kill, make_front
from support.arrival import QUICK, audit_events, forward
from support.processes import Client, RecordingReceiver, by_event_id, recording_receiver
from support.service import running_service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RIGHT = "Bearer right"
BODY_KB_MAX = 48
"""What nginx takes in the test of its limit; every event of the tests is shorter."""
RETRY_AFTER_S = 3600
ASKS_FOR_RIGHT = f'if ($http_authorization != "{RIGHT}") {{ return 401; }}'
WRONG = {"auth_header_name": "Authorization", "auth_header_value": "Bearer wrong"}
PATIENT = {"max_attempts": 20, "base_seconds": 0.05, "max_seconds": 1}
"""Attempts enough that no event becomes a dead letter while a test goes on."""


class World:
    """A running service, a receiver, and nginx in between."""

    def __init__(self, client: Client, receiver: RecordingReceiver, front: Front) -> None:
        self.client = client
        self.receiver = receiver
        self.front = front
        self.events = audit_events(client.organization.org_id)

    def add_destination(self, **fields: Any) -> str:
        """Make a destination at nginx that trusts its authority."""
        fields = {"url": self.front.url, "ca_certificate": self.front.ca_certificate} | fields
        return self.client.add_destination(**fields)

    def destination(self, dst_id: str) -> dict[str, Any]:
        return self.client.request("GET", f"/forwarding-destinations/{dst_id}")

    def record(self, events: dict[str, bytes]) -> None:
        """Record events, some at a time."""
        bodies = list(events.values())
        for first in range(0, len(bodies), 200):
            self.client.record(bodies[first : first + 200])

    def delivery(self, event_id: str, dst_id: str, *, state: str | None = None) -> dict[str, Any] | None:
        """Return what became of an event at a destination; None while it is in another state than the one given."""
        found = self.client.request("GET", f"/events/{event_id}")["deliveries"]
        (one,) = [each for each in found if each["destination_id"] == dst_id]
        return one if state in (None, one["state"]) else None

    def change(self, dst_id: str, **fields: Any) -> None:
        """Change a destination."""
        self.client.request("PATCH", f"/forwarding-destinations/{dst_id}", json=fields)

    def wait_for_status(self, dst_id: str, status: str) -> dict[str, Any]:
        """Wait until a destination has a status; returns it as it is read."""
        return wait_until(lambda: read if (read := self.destination(dst_id))["status"] == status else None)

    def wait_for(self, dst_id: str, delivered: int) -> dict[str, int]:
        """Wait until so many events are delivered; returns the counts."""
        wait_until(lambda: self.client.stats(dst_id)["delivered"] >= delivered, seconds=90)
        return self.client.stats(dst_id)

    def logged(self, count: int) -> list[dict[str, Any]]:
        """Return the requests of nginx's log as soon as there are so many: it writes a line after its answer."""
        wait_until(lambda: len(self.front.requests()) >= count)
        return self.front.requests()


@contextmanager
def world(tmp_path: Path, **directives: str) -> Iterator[World]:
    """Run service and receiver, and prepare the nginx between them; the test starts it."""
    settings = QUICK | {"AEGIS_ALLOWED_NETWORKS": ALLOWED}
    with running_service(tmp_path, **settings) as service, recording_receiver(tmp_path) as receiver:
        client = Client(service.url, service.make_organization())
        yield World(client, receiver, make_front(tmp_path, receiver.url, **directives))


def as_sent(events: dict[str, bytes]) -> dict[str, set[bytes]]:
    """Return events as a receiver has them when each came with one body, byte for byte."""
    return {event_id: {body} for event_id, body in events.items()}


def lines_of(bodies: list[bytes]) -> list[bytes]:
    """Return the events of requests, of which each has one a line."""
    return [line for body in bodies for line in body.split(b"\n") if line]


def in_batches_of(events_max: int) -> dict[str, Any]:
    """Return the fields of a destination that gets so many events a request."""
    return {"format": "ndjson", "batch": {"max_events": events_max}} if events_max > 1 else {}


def test_everything_arrives_through_tls_with_a_private_authority(tmp_path):
    """Given the authority's certificate, every event arrives once, byte for byte, in a request of its own."""
    with world(tmp_path) as here, here.front.running():
        read = forward(here.client, here.events, here.front.url, ca_certificate=here.front.ca_certificate)
        requests = here.logged(len(here.events))
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert read["format"] == "json"
    assert (read["stats"]["failed_attempts"], repeats) == (0, 0)
    assert arrived == as_sent(here.events)
    assert [one["status"] for one in requests] == [202] * len(here.events)


def test_a_test_event_tells_whether_nginx_leads_to_the_receiver(tmp_path):
    """It is ok through nginx; a wrong path and a missing authority are not, and each says what to change."""
    with world(tmp_path) as here, here.front.running():
        shown = [
            here.client.request("POST", f"/forwarding-destinations/{here.add_destination(**fields)}/test")
            for fields in ({}, {"url": here.front.at("/missing")}, {"ca_certificate": None})
        ]
        bodies = here.receiver.bodies()

    well, lost, untrusted = shown
    assert (well["ok"], well["status_code"]) == (True, 202)
    assert (lost["ok"], lost["status_code"]) == (False, 404)
    assert lost["error"] == "answered 404: there is nothing at this path: check the URL"
    assert "nginx" in lost["response_excerpt"]
    assert (untrusted["ok"], untrusted["status_code"]) == (False, None)
    assert "ca_certificate" in untrusted["error"]
    assert len(bodies) == 1


def test_a_refused_credential_loses_nothing(tmp_path):
    """At the first 401 the destination is failing and says what to do; given the right credential, all events arrive."""
    with world(tmp_path, location=ASKS_FOR_RIGHT) as here, here.front.running():
        dst_id = here.add_destination(**WRONG, retry=PATIENT)
        first = next(iter(here.events))
        here.client.record([here.events[first]])
        failing = here.wait_for_status(dst_id, "failing")
        here.record(here.events)
        refused = here.front.statuses()

        here.change(dst_id, auth_header_value=RIGHT)
        stats = here.wait_for(dst_id, len(here.events))
        requests = here.logged(len(here.events) + stats["failed_attempts"])
        status = here.destination(dst_id)["status"]
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert failing["last_error"]["status_code"] == 401
    assert failing["last_error"]["event_id"] == first
    assert failing["last_error"]["message"] == (
        "answered 401: the destination does not accept the credential: check auth_header_name and auth_header_value"
    )
    assert set(refused) == {401}
    assert (status, stats["dead_letters"]) == ("active", 0)
    assert (arrived, repeats) == (as_sent(here.events), 0)
    assert (
        sorted(one["status"] for one in requests) == [202] * len(arrived) + [401] * stats["failed_attempts"]
    )


def test_dead_letters_of_a_refused_credential_are_redriven(tmp_path):
    """An event whose attempts all got a 401 arrives by itself once the right credential is given and another event is taken."""
    with world(tmp_path, location=ASKS_FOR_RIGHT) as here, here.front.running():
        dst_id = here.add_destination(**WRONG)
        first, second = list(here.events)[:2]
        here.client.record([here.events[first]])
        wait_until(lambda: here.client.stats(dst_id)["dead_letters"] == 1)

        here.change(dst_id, auth_header_value=RIGHT)
        here.client.record([here.events[second]])
        stats = here.wait_for(dst_id, 2)
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert stats["dead_letters"] == 0
    assert (arrived, repeats) == (as_sent({one: here.events[one] for one in (first, second)}), 0)


def test_a_batch_too_large_for_nginx_is_halved(tmp_path):
    """Of a batch that gets a 413 the event that alone is too large becomes a dead letter, and all others arrive once."""
    with world(tmp_path, http=f"client_max_body_size {BODY_KB_MAX}k;") as here, here.front.running():
        too_long = b"long " + b"x" * BODY_KB_MAX * 1024
        here.events["awkward-5"] = here.events["awkward-5"].replace(b"long ", too_long)
        dst_id = here.add_destination(format="ndjson")
        here.record(here.events)
        wait_until(lambda: here.client.stats(dst_id)["dead_letters"] == 1)
        stats = here.wait_for(dst_id, len(here.events) - 1)
        dead = here.client.request("GET", f"/forwarding-destinations/{dst_id}/dead-letters")["data"]
        requests = here.logged(len(here.receiver.bodies()) + stats["dead_letters"])
        arrived, repeats = by_event_id(lines_of(here.receiver.bodies()))

    assert [(one["event_id"], one["last_status_code"], one["about"]) for one in dead] == [
        ("awkward-5", 413, "event")
    ]
    del here.events["awkward-5"]
    assert (arrived, repeats) == (as_sent(here.events), 0)
    refused = [int(one["bytes"]) for one in requests if one["status"] == 413]
    assert len(refused) > 1, "a batch was halved"
    assert min(refused) > BODY_KB_MAX * 1024, "only what is too large was refused"


def test_a_hold_that_nginx_asks_for_is_kept(tmp_path):
    """After a 429 with Retry-After the event waits that long, and nothing else is sent meanwhile, until the destination is changed."""
    limit = f"add_header Retry-After {RETRY_AFTER_S} always; return 429;"
    with world(tmp_path, location=limit) as here, here.front.running():
        held, well = here.add_destination(), here.add_destination(url=here.front.at("/well"))
        first, second = list(here.events)[:2]
        here.client.record([here.events[first]])
        retrying = wait_until(lambda: here.delivery(first, held, state="retrying"))
        (attempt,) = here.client.request("GET", f"/forwarding-destinations/{held}/deliveries")["data"]

        here.client.record([here.events[second]])
        here.wait_for(well, 2)
        meanwhile, waiting = [one["status"] for one in here.logged(3)], here.delivery(second, held)
        here.change(held, url=here.front.at("/well"))
        here.wait_for(held, 1)
        ends = [here.delivery(one, held)["state"] for one in (first, second)]

    assert attempt["status_code"] == 429
    wait_s = datetime.fromisoformat(retrying["next_attempt_at"]) - datetime.fromisoformat(attempt["at"])
    assert wait_s.total_seconds() >= RETRY_AFTER_S
    assert sorted(meanwhile) == [202, 202, 429]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
    assert ends == ["retrying", "delivered"]


def test_a_rate_limit_loses_nothing(tmp_path):
    """Through nginx's own rate limit every event arrives, and each refused request is tried again until it is let in."""
    rate = "limit_req_zone $binary_remote_addr zone=few:1m rate=5r/s; limit_req_status 429;"
    after = "map $status $after { 429 1; } "
    take = "limit_req zone=few burst=2 nodelay; add_header Retry-After $after always;"
    with world(tmp_path, http=rate + after, location=take) as here, here.front.running():
        dst_id = here.add_destination(
            format="ndjson", batch={"max_events": 100}, retry=PATIENT, enabled=False
        )
        here.record(here.events)
        here.change(dst_id, enabled=True)
        stats = here.wait_for(dst_id, len(here.events))
        bodies = here.receiver.bodies()
        statuses = here.front.statuses()
        arrived, repeats = by_event_id(lines_of(bodies))

    assert (arrived, repeats) == (as_sent(here.events), 0)
    assert stats["dead_letters"] == 0
    assert statuses.count(429) > 0


@pytest.mark.parametrize("events_a_request", [1, 2])
def test_connections_that_nginx_ends_cost_nothing(tmp_path, events_a_request):
    """With seven requests a connection, every request is made once and every event arrives once."""
    with world(tmp_path, http="keepalive_requests 7;") as here, here.front.running():
        dst_id = here.add_destination(**in_batches_of(events_a_request))
        here.record(here.events)
        stats = here.wait_for(dst_id, len(here.events))
        bodies = here.receiver.bodies()
        requests = here.logged(len(bodies))
        arrived, repeats = by_event_id(lines_of(bodies))

    assert (arrived, repeats) == (as_sent(here.events), 0)
    assert stats["failed_attempts"] == 0
    assert [one["status"] for one in requests] == [202] * len(bodies)
    assert max(one["nth"] for one in requests) == 7


def test_connections_that_nginx_cuts_cost_no_attempt(tmp_path):
    """A request that meets a kept connection's sudden end is made again at once, on a fresh one, and no attempt is counted."""
    cut = "if ($connection_requests = 5) { return 444; }"
    with world(tmp_path, location=cut) as here, here.front.running():
        dst_id = here.add_destination()
        here.record(here.events)
        stats = here.wait_for(dst_id, len(here.events))
        cuts = here.front.statuses().count(444)
        requests = here.logged(len(here.events) + cuts)
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert (arrived, repeats) == (as_sent(here.events), 0)
    assert stats["failed_attempts"] == 0
    assert {one["nth"] for one in requests if one["status"] == 444} == {5}
    assert sorted(one["status"] for one in requests) == [202] * len(here.events) + [444] * cuts


@pytest.mark.parametrize("status", [301, 308])
def test_a_redirect_is_not_followed(tmp_path, status):
    """Where it leads gets no request; the destination is failing, says why, and with the final URL all events arrive."""
    where = f"return {status} https://localhost:{{other_port}}/elsewhere;"
    with world(tmp_path, location=where) as here, here.front.running():
        dst_id = here.add_destination(**(WRONG | {"auth_header_value": RIGHT}), retry=PATIENT)
        here.record(here.events)
        failing = here.wait_for_status(dst_id, "failing")
        here.change(dst_id, url=here.front.at("/well"), auth_header_value=RIGHT)
        here.wait_for(dst_id, len(here.events))
        read = here.destination(dst_id)
        requests = here.logged(len(here.events) + read["stats"]["failed_attempts"])
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert failing["last_error"]["status_code"] == status
    assert failing["last_error"]["message"] == (
        f"answered {status}, a redirect to host localhost: redirects are not followed; enter the final URL"
    )
    assert {one["port"] for one in requests} == {here.front.port}
    assert sorted(one["status"] for one in requests) == sorted(
        [202] * len(here.events) + [status] * read["stats"]["failed_attempts"]
    )
    assert (arrived, repeats, read["stats"]["dead_letters"]) == (as_sent(here.events), 0, 0)


def test_events_outlive_an_nginx_that_is_killed(tmp_path):
    """Killed with requests in its hands and started again, nginx lets every event through; what came twice was in flight."""
    with world(tmp_path) as here:
        dst_id = here.add_destination(retry=PATIENT)
        bodies = list(here.events.values())
        with here.front.running() as process:
            here.client.record(bodies[:100])
            here.wait_for(dst_id, 100)
            halt(process)
            here.client.record(bodies[100:200])
            wait_until(here.front.has_unread)
            kill(process)
        here.client.record(bodies[200:])
        failing = here.wait_for_status(dst_id, "failing")
        with here.front.running():
            stats = here.wait_for(dst_id, len(here.events))
            arrived, repeats = by_event_id(here.receiver.bodies())

    assert failing["last_error"]["status_code"] is None
    assert stats["failed_attempts"] > 0
    assert arrived == as_sent(here.events)
    assert stats["dead_letters"] == 0
    assert repeats <= 64, "a window of requests is the most that was in flight"


def test_an_nginx_that_reloads_costs_no_attempt(tmp_path):
    """While nginx reloads its configuration again and again, every event arrives and no attempt fails."""
    with world(tmp_path) as here, here.front.running() as process:
        dst_id = here.add_destination()
        bodies = list(here.events.values())
        for first in range(0, len(bodies), 100):
            here.client.record(bodies[first : first + 100])
            wait_until(lambda first=first: here.client.stats(dst_id)["delivered"] > first)
            process.send_signal(signal.SIGHUP)
        stats = here.wait_for(dst_id, len(here.events))
        arrived, repeats = by_event_id(here.receiver.bodies())

    assert arrived == as_sent(here.events)
    assert (stats["failed_attempts"], repeats) == (0, 0)
