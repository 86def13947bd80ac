"""Promises of jobs on many dead letters when processes are killed in the middle."""

import pytest

from support.picky import picky_receiver
from support.processes import integrity_of, kill, make_client, make_events, service_group
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WINDOW = 16
EVENTS = 6000
REPEATS_PER_KILL_MAX = 3 * WINDOW
"""Most events that one kill of a worker may repeat: see test_crashes.py."""
ANSWER_SECONDS = 0.05
"""As in test_crashes.py: an answer that takes less lets more events be answered before a commit settles them."""


def test_kills_in_the_middle_of_a_redrive_lose_nothing_and_repeat_no_part(tmp_path):
    """After kill -9 of worker and service while a redrive of 5,000 runs, each has arrived, few twice; those of other causes stay."""

    def rejects(event_id):
        return 422 if int(event_id[4:]) % 6 == 0 else 400

    with (
        service_group(
            tmp_path,
            AEGIS_WINDOW_MAX=str(WINDOW),
            # A request that times out repeats an event too; only the kills are to be counted.
            AEGIS_REQUEST_TIMEOUT_SECONDS="5",
            AEGIS_LEASE_SECONDS="10",
            AEGIS_RETRY_MAX_ATTEMPTS="20",
        ) as group,
        picky_receiver(rejects) as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url, retry={"max_attempts": 1}, format="json")
        events = make_events(client.organization.org_id, 1, EVENTS)
        bodies = list(events.values())
        for start in range(0, EVENTS, 500):
            client.record(bodies[start : start + 500])
        wait_until(lambda: client.stats(dst_id)["dead_letters"] == EVENTS, seconds=120)
        path = f"/forwarding-destinations/{dst_id}/dead-letters"
        groups = client.request("GET", f"{path}/groups")["data"]
        [wanted] = [one for one in groups if one["status_code"] == 400]

        # Its attempts are made by this machine, which may be busy: one that takes too long is made again.
        client.request("PATCH", f"/forwarding-destinations/{dst_id}", json={"retry": {"max_attempts": 20}})
        receiver.judge, receiver.delay_s = lambda _: 202, ANSWER_SECONDS
        job = client.request("POST", f"{path}/redrive", json={"error": wanted["id"]})

        def moved(least):
            return client.request("GET", f"{path}/jobs/{job['job_id']}")["done"] >= least

        wait_until(lambda: moved(1000), seconds=120)
        kill(group.worker_pid())
        wait_until(lambda: moved(2000), seconds=120)
        group.kill()
        group.start()
        wait_until(lambda: moved(5000), seconds=120)
        done = wait_until(
            lambda: next(
                (one for one in client.request("GET", f"{path}/jobs")["data"] if one["state"] != "running"),
                None,
            ),
            seconds=120,
        )
        wait_until(lambda: client.stats(dst_id)["retrying"] == 0, seconds=90)
        left = client.request("GET", f"{path}/groups")
        assert group.terminate() == 0
        arrived = dict(receiver.accepted)

    expected = {event_id for number, event_id in enumerate(events, 1) if number % 6}
    assert (done["state"], done["done"], job["total"], wanted["count"]) == ("done", 5000, 5000, 5000)
    assert set(arrived) == expected, "a redriven event is missing, or one of another cause was sent"
    assert sum(arrived.values()) - len(arrived) <= 2 * REPEATS_PER_KILL_MAX
    assert [(one["status_code"], one["count"]) for one in left["data"]] == [(422, 1000)]
    assert integrity_of(group.database) == [("ok",)]
