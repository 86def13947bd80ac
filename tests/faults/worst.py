"""One organization that does its worst by every means it has, and what that costs another one, in delivered events."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from faults.frame import Fault, Run
from support.processes import (
    Client,
    ServiceGroup,
    free_port,
    hanging_receiver,
    make_client,
    make_events,
    recording_receiver,
    service_group,
)
from support.service import wait_until

SETTINGS = {
    "AEGIS_RETRY_BASE_SECONDS": "0.05",
    "AEGIS_DEAD_LETTERS_MAX": "200",
}
WINDOW_S = 6.0
"""How long is counted, alone and under attack."""
BATCH, PAUSE_S = 20, 0.1
DESTINATIONS = 4
"""Destinations of the honest organization, all to a receiver that is well."""
SHARE_MIN = 0.9
"""Least share of the events delivered alone that must be delivered under attack."""
ATTACKERS = 3
"""Threads of each way of attack."""


def do_its_worst(run: Run) -> None:
    """Count an honest organization's deliveries in a span of time, alone and while another organization does its worst."""
    for number in range(run.rounds):
        folder = run.folder / str(number)
        folder.mkdir()
        _compare(run, folder)


def _compare(run: Run, folder: Path) -> None:
    with service_group(folder, **SETTINGS) as group, recording_receiver(folder) as good:
        group.start()
        honest = make_client(group)
        destinations = [honest.add_destination(good.url) for _ in range(DESTINATIONS)]
        first = _record(honest, 1, 1.0)  # everything is warm
        alone, first = _count(honest, destinations, first)
        with _attack(group, folder) as requests:
            attacked, last = _count(honest, destinations, first)
        wait_until(lambda: _delivered(honest, destinations) == DESTINATIONS * (last - 1))
        failed = sum(honest.stats(one)["failed_attempts"] for one in destinations)
    run.expect(attacked >= SHARE_MIN * alone, f"{attacked} events were delivered under attack, {alone} alone")
    run.expect(failed == 0, f"{failed} attempts of the honest organization failed")
    run.expect(all(requests.values()), f"a way of attack did nothing: {requests}")
    run.add(runs=1, acked=last - 1, delivered=DESTINATIONS * (last - 1))
    run.add(delivered_alone=alone, delivered_attacked=attacked, hostile_requests=sum(requests.values()))


def _count(honest: Client, destinations: list[str], first: int) -> tuple[int, int]:
    """Record at a steady rate for a while; return how many events were delivered by its end, and the next event's number."""
    before = _delivered(honest, destinations)
    following = _record(honest, first, WINDOW_S)
    return _delivered(honest, destinations) - before, following


def _record(honest: Client, first: int, seconds: float) -> int:
    """Record a batch every PAUSE_S; return the next event's number."""
    began_s, number = time.monotonic(), first
    for batch in range(round(seconds / PAUSE_S)):
        time.sleep(max(0.0, began_s + batch * PAUSE_S - time.monotonic()))
        honest.record(make_events(honest.organization.org_id, number, BATCH).values())
        number += BATCH
    return number


def _delivered(honest: Client, destinations: list[str]) -> int:
    return sum(honest.stats(one)["delivered"] for one in destinations)


@contextlib.contextmanager
def _attack(group: ServiceGroup, folder: Path) -> Iterator[dict[str, int]]:
    """Let an organization do its worst until the block ends; yields its requests by kind."""
    requests = dict.fromkeys(("events", "costly events", "unfinished bodies", "replays"), 0)
    stop = threading.Event()
    with (
        hanging_receiver() as hanging,
        recording_receiver(folder, "--fail", "1", name="failing") as failing,
        recording_receiver(folder, "--bearer", "another", name="refusing") as refusing,
        recording_receiver(folder, "--latency", "2s", name="slow") as slow,
    ):
        hostile = make_client(group)
        urls = (
            [hanging.url] * 5
            + [failing.url] * 3
            + [refusing.url] * 3
            + [f"http://127.0.0.1:{free_port()}/"] * 2
        )
        for place, url in enumerate(urls):
            hostile.add_destination(url, format=("json", "ndjson", "otlp_logs")[place % 3])
        dst_id = hostile.add_destination(slow.url, format="json")

        def send_events(thread: int) -> None:
            number = thread * 10**6
            while not stop.is_set():
                hostile.send(make_events(hostile.organization.org_id, number, 100).values())
                number += 100
                requests["events"] += 1

        def send_costly(thread: int) -> None:
            number = thread
            while not stop.is_set():
                hostile.send([_costly(hostile.organization.org_id, number)])
                number += ATTACKERS
                requests["costly events"] += 1

        def leave_unfinished(_: int) -> None:
            host, _, port = group.url.removeprefix("http://").partition(":")
            head = _head(hostile)
            open_: list[socket.socket] = []
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    one = socket.create_connection((host, int(port)), timeout=1)
                    one.sendall(head + b"x" * 100_000)
                    open_.append(one)
                    requests["unfinished bodies"] += 1
                if len(open_) > 100:
                    open_.pop(0).close()
                stop.wait(0.01)
            for one in open_:
                one.close()

        def replay(_: int) -> None:
            while not stop.is_set():
                with contextlib.suppress(AssertionError, httpx.TransportError):  # there is a limit of replays
                    hostile.request(
                        "POST", f"/forwarding-destinations/{dst_id}/replay", json={"from_sequence": 1}
                    )
                requests["replays"] += 1
                stop.wait(0.05)

        threads = [
            threading.Thread(target=work, args=(number,), daemon=True)
            for work in (send_events, send_costly, leave_unfinished, replay)
            for number in range(1, ATTACKERS + 1)
        ]
        for one in threads:
            one.start()
        wait_until(lambda: hanging.requests > 0 and all(requests.values()))
        try:
            yield requests
        finally:
            stop.set()
            for one in threads:
                one.join(40)


def _costly(org_id: str, number: int) -> bytes:
    """Return an event of 30 KB that is dear to flatten: deep, with names that collide."""
    deep: object = 1
    for level in range(20):
        deep = {"a": deep, "a.a": level, "b" * 50: ["x.y"] * 20}
    event = {
        "event": {"id": f"costly_{number}", "dataset": "app.login"},
        "organization": {"id": org_id},
        "deep": deep,
    }
    return json.dumps(event).encode()


def _head(hostile: Client) -> bytes:
    org, key = hostile.organization.org_id, hostile.organization.key
    return (
        f"POST /api/orgs/{org}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    ).encode()


FAULTS = (
    Fault(
        "worst-organization",
        "an organization whose receivers hang, fail, refuse and are slow, and which floods the service with events, costly events, "
        "unfinished bodies and replays, costs another one at most a tenth of its deliveries, and none of its attempts",
        do_its_worst,
        rounds=1,
        seconds=180,
    ),
)
