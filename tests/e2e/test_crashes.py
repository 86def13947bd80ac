"""Processes that are killed, stopped and told to end while events pass: nothing is lost, hardly anything is sent twice."""

import os
import signal
import subprocess
import threading
import time

import pytest

from support.processes import (
    by_event_id,
    hanging_receiver,
    integrity_of,
    kill,
    make_client,
    make_events,
    recording_receiver,
    service_group,
)
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WINDOW = 16
KILLS = 20
EVENTS = 5000
BATCH = 10
REPEATS_PER_KILL_MAX = 3 * WINDOW
"""What one kill of a worker may repeat: a window in flight, and what was answered but not settled. A settlement follows an
answer within the settle interval (25 ms) and the commit under way; in those at most 100 ms a slot of the window, at 50 ms an
answer, finishes two events."""


def test_twenty_kills_in_the_middle_of_five_thousand_events_lose_nothing(tmp_path):
    """After kill -9 of worker and service, ten times each, every acknowledged event has arrived as it was sent, few twice."""
    with (
        service_group(
            tmp_path,
            AEGIS_WINDOW_MAX=str(WINDOW),
            AEGIS_REQUEST_TIMEOUT_SECONDS="0.5",
            AEGIS_LEASE_SECONDS="5.5",  # so that a new worker looks for free destinations every two seconds
        ) as group,
        recording_receiver(tmp_path, "--latency", "50ms") as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        events = make_events(client.organization.org_id, 1, EVENTS)
        recorder = _Recorder(client, events)

        for number in range(KILLS):
            recorder.allow(EVENTS * (number + 1) // KILLS)
            before = receiver.counts()["received"]
            wait_until(lambda before=before: receiver.counts()["received"] >= before + WINDOW)
            if number % 2 == 0:
                kill(group.worker_pid())
            else:
                group.kill()
                group.start()
        recorder.finish()
        wait_until(
            lambda: client.stats(dst_id)["backlog"] == client.stats(dst_id)["retrying"] == 0, seconds=90
        )
        stored = _stored_ids(client)
        assert group.terminate() == 0
        arrived, repeats = by_event_id(receiver.bodies())

    assert stored == [*events]
    assert set(arrived) == set(events), "an acknowledged event is missing"
    assert all(bodies == {events[event_id]} for event_id, bodies in arrived.items())
    # Only the worker's kills repeat anything: when the service is killed, its worker sees that and ends in good order.
    assert repeats <= KILLS // 2 * REPEATS_PER_KILL_MAX
    assert integrity_of(group.database) == [("ok",)]


class _Recorder:
    """Two clients that record events in order of their numbers, no further than they are allowed to."""

    def __init__(self, client, events) -> None:
        bodies = list(events.values())
        self._batches = iter([bodies[start : start + BATCH] for start in range(0, len(bodies), BATCH)])
        self._client = client
        self._allowed = threading.Semaphore(0)
        self._allowed_events = 0
        self._lock = threading.Lock()
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def allow(self, through: int) -> None:
        """Let the clients go on to this event."""
        for _ in range((through - self._allowed_events) // BATCH):
            self._allowed.release()
        self._allowed_events = through

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        self._thread.join(90)
        assert not self._thread.is_alive()
        assert self._faults == []

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._allowed.acquire()
                self._client.record(batch)
        except BaseException as fault:  # told to the test by `finish`
            self._faults.append(fault)


def _stored_ids(client) -> list[str]:
    """Return the ids of the whole log in order, by the API."""
    found, after = [], 0
    while True:
        page = client.request("GET", "/events", params={"after_sequence": after, "limit": 200})["data"]
        if not page:
            return found
        found += [one["event"]["event"]["id"] for one in page]
        after = page[-1]["sequence"]
