"""Promises of crashes: when processes are killed, stopped and terminated under load, nothing is lost and little is repeated."""

import fcntl
import os
import signal
import threading
from pathlib import Path

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
"""Most events that one kill of a worker may repeat: a window in flight, and answered events that are not settled. An answer is
settled within the settle interval (25 ms) and the running commit; in these at most 100 ms a slot of the window finishes two
events, at 50 ms per answer."""


def test_twenty_kills_in_the_middle_of_five_thousand_events_lose_nothing(tmp_path):
    """After kill -9 of worker and service, ten times each, every acknowledged event has arrived unchanged, few of them twice."""
    with (
        service_group(
            tmp_path,
            AEGIS_WINDOW_MAX=str(WINDOW),
            AEGIS_REQUEST_TIMEOUT_SECONDS="2",  # one that a busy machine does not reach: it would repeat events, too
            AEGIS_LEASE_SECONDS="7",  # a new worker looks for free destinations every two seconds
            AEGIS_RETRY_MAX_ATTEMPTS="20",
        ) as group,
        # Requests in flight still reach the receiver when their worker is killed; only if it rejects some of them can a cursor
        # that is ahead of the answers lose events.
        recording_receiver(tmp_path, "--latency", "50ms", "--fail", "0.05") as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        events = make_events(client.organization.org_id, 1, EVENTS)
        recorder = _Recorder(client, events)

        for number in range(KILLS):
            recorder.allow(EVENTS * (number + 1) // KILLS)
            wait_until(
                lambda goal=EVENTS * (number + 1) // (KILLS + 1): receiver.counts()["received"] >= goal
            )
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
    # Only kills of the worker repeat events: when the service is killed, its worker notices and stops in order.
    assert repeats <= KILLS // 2 * REPEATS_PER_KILL_MAX
    assert integrity_of(group.database) == [("ok",)]


class _Recorder:
    """Two clients that record numbered events in order, up to an allowed number."""

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
        """Let the clients continue to this event."""
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
        except BaseException as fault:  # `finish` reports it to the test
            self._faults.append(fault)


def stop_between_commits(pid: int, data_dir: Path) -> bool:
    """Stop a process (SIGSTOP), but not while it holds the write lock: then every writer of the file would stop too."""
    os.kill(pid, signal.SIGSTOP)
    gate = os.open(data_dir / "aegis.db.lock", os.O_RDWR)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # The stopped process holds it, or another one for a moment: continue it, and try again.
        os.kill(pid, signal.SIGCONT)
        return False
    finally:
        os.close(gate)
    return True


def test_a_worker_stopped_past_its_lease_settles_nothing_when_it_wakes(tmp_path):
    """A second worker takes over from a stopped one; when the first continues, it settles nothing and starts again under a new id."""
    with (
        service_group(
            tmp_path,
            AEGIS_WINDOW_MAX=str(WINDOW),
            AEGIS_REQUEST_TIMEOUT_SECONDS="0.5",
            AEGIS_LEASE_SECONDS="5.5",
        ) as group,
        # Slow enough that requests are under way whenever the worker is stopped, however long a busy machine takes to stop it.
        recording_receiver(tmp_path, "--latency", "150ms") as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        events = make_events(client.organization.org_id, 1, 400)
        later = make_events(client.organization.org_id, 401, 50)
        wait_until(lambda: group.rows("SELECT 1 FROM cursors WHERE lease_owner IS NOT NULL"))
        holder = group.worker_pid()  # it is the only one so far, so it serves the destination
        with group.extra_worker():
            wait_until(lambda: len(group.rows("SELECT * FROM workers")) == 2)
            client.record(events.values())
            wait_until(lambda: receiver.counts()["received"] >= 50)
            [(held_by, epoch)] = group.rows("SELECT lease_owner, lease_epoch FROM cursors")

            wait_until(lambda: stop_between_commits(holder, tmp_path / "data"))
            try:
                wait_until(lambda: client.stats(dst_id)["delivered"] == len(events))
                [(now_held_by, next_epoch)] = group.rows("SELECT lease_owner, lease_epoch FROM cursors")
            finally:
                os.kill(holder, signal.SIGCONT)
            wait_until(lambda: [one for one in group.log_lines("worker.stopped") if one["lease_lost"]])
            wait_until(lambda: len(group.log_lines("worker.started")) == 3)
            after_waking = client.stats(dst_id)
            client.record(later.values())
            wait_until(lambda: client.stats(dst_id)["delivered"] == len(events) + len(later))
            workers = {one for (one,) in group.rows("SELECT worker_id FROM workers")}
            settled = group.rows(
                "SELECT sum(last_sequence - first_sequence + 1), count(DISTINCT state) FROM attempts"
            )
        arrived, repeats = by_event_id(receiver.bodies())

    assert (now_held_by != held_by, next_epoch) == (True, epoch + 1)
    assert (after_waking["delivered"], after_waking["failed_attempts"]) == (len(events), 0)
    assert settled == [(len(events) + len(later), 1)]
    assert held_by not in workers
    assert len(workers) == 2
    assert set(arrived) == {*events, *later}
    assert 1 <= repeats <= REPEATS_PER_KILL_MAX, (
        "something was in flight or unsettled when the worker was stopped"
    )


def test_sigterm_finishes_what_is_in_flight(tmp_path):
    """On SIGTERM under load, the service ends within ten seconds with status 0, and nothing is lost or repeated."""
    with (
        service_group(tmp_path, AEGIS_WINDOW_MAX=str(WINDOW)) as group,
        recording_receiver(tmp_path, "--latency", "300ms") as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        events = make_events(client.organization.org_id, 1, 100)
        client.record(events.values())
        wait_until(lambda: receiver.counts()["received"] >= 20)

        status = group.terminate(10)
        [(cursor, delivered, retrying)] = group.rows("SELECT cursor, delivered, retrying FROM cursors")
        received = receiver.counts()["received"]
        group.start()
        wait_until(lambda: client.stats(dst_id)["delivered"] == len(events))
        arrived, repeats = by_event_id(receiver.bodies())

    assert status == 0
    assert received < len(events), "the service ended before all was delivered"
    assert (cursor, delivered, retrying) == (received, received, 0), (
        "what was in flight was finished and settled"
    )
    assert repeats == 0
    assert arrived == {event_id: {body} for event_id, body in events.items()}


def test_sigterm_gives_back_what_hangs(tmp_path):
    """Attempts that outlast the grace period are given back: status 0 within ten seconds, no attempt counted, nothing lost."""
    with (
        service_group(tmp_path, AEGIS_REQUEST_TIMEOUT_SECONDS="60", AEGIS_LEASE_SECONDS="65") as group,
        hanging_receiver() as hanging,
        recording_receiver(tmp_path) as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(hanging.url)
        events = make_events(client.organization.org_id, 1, 50)
        client.record(events.values())
        wait_until(lambda: hanging.requests >= 10)
        # So that the next start sends nothing to the old URL; what is in flight goes on.
        client.request("POST", f"/forwarding-destinations/{dst_id}/pause")

        status = group.terminate(10)
        left = group.rows("SELECT cursor, delivered, failed_attempts, retrying, dead_letters FROM cursors")
        attempts = group.rows("SELECT count(*) FROM attempts")
        group.start()
        client.request("PATCH", f"/forwarding-destinations/{dst_id}", json={"url": receiver.url})
        client.request("POST", f"/forwarding-destinations/{dst_id}/resume")
        wait_until(lambda: client.stats(dst_id)["delivered"] == len(events))
        arrived, _ = by_event_id(receiver.bodies())

    assert status == 0
    assert (left, attempts) == ([(0, 0, 0, 0, 0)], [(0,)])
    assert arrived == {event_id: {body} for event_id, body in events.items()}


def _stored_ids(client) -> list[str]:
    """Return the ids of the whole log in order, from the API."""
    found, after = [], 0
    while True:
        page = client.request("GET", "/events", params={"after_sequence": after, "limit": 200})["data"]
        if not page:
            return found
        found += [one["event"]["event"]["id"] for one in page]
        after = page[-1]["sequence"]
