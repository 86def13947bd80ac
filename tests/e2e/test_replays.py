"""Promises of replays when the service is killed in the middle."""

import pytest

from support.picky import picky_receiver
from support.processes import kill, make_client, make_events, service_group
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WINDOW = 16
EVENTS = 3000
REPEATS_PER_KILL_MAX = 3 * WINDOW
"""Most events that one kill of a worker may repeat: see test_crashes.py."""
ANSWER_SECONDS = 0.05
"""As in test_crashes.py: an answer that takes less lets more events be answered before a commit settles them."""


def test_a_replay_goes_on_after_kills_of_worker_and_service(tmp_path):
    """A replay covers what its preview said, goes on from where it was, and shows its progress all the time."""
    with (
        service_group(
            tmp_path,
            AEGIS_WINDOW_MAX=str(WINDOW),
            # A request that times out repeats an event too; only the kills are to be counted.
            AEGIS_REQUEST_TIMEOUT_SECONDS="5",
            AEGIS_LEASE_SECONDS="10",
            AEGIS_RETRY_MAX_ATTEMPTS="20",
        ) as group,
        picky_receiver(lambda _: 202) as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url, format="json")
        events = make_events(client.organization.org_id, 1, EVENTS)
        bodies = list(events.values())
        for start in range(0, EVENTS, 500):
            client.record(bodies[start : start + 500])
        wait_until(lambda: len(receiver.accepted) == EVENTS, seconds=90)
        wait_until(lambda: client.stats(dst_id)["backlog"] == 0)
        path, whole = f"/forwarding-destinations/{dst_id}", {"from_sequence": 1}
        receiver.accepted.clear()
        receiver.delay_s = ANSWER_SECONDS

        preview = client.request("POST", f"{path}/replay", json=whole, params={"preview": "true"})
        client.request("POST", f"{path}/replay", json=whole)

        def replay():
            return client.request("GET", f"{path}/replays")["data"][0]

        wait_until(lambda: replay()["events_done"] >= 200, seconds=120)
        under_way = replay()
        kill(group.worker_pid())
        wait_until(lambda: replay()["events_done"] >= 1000, seconds=120)
        group.kill()
        group.start()
        done = wait_until(lambda: (one := replay())["state"] == "done" and one, seconds=120)
        assert group.terminate() == 0
        arrived = dict(receiver.accepted)

    assert preview["events"] == under_way["events_total"] == done["events_done"] == EVENTS
    assert under_way["rate"] > 0
    assert under_way["eta_seconds"] > 0
    assert done["eta_seconds"] is None
    assert set(arrived) == set(events), "an event of the replay is missing"
    assert sum(arrived.values()) - len(arrived) <= 2 * REPEATS_PER_KILL_MAX
