"""Promises of bulkheads: a receiver that hangs and one that rejects do not affect a healthy one."""

import pytest

from support.processes import (
    by_event_id,
    free_port,
    hanging_receiver,
    make_client,
    make_events,
    recording_receiver,
    service_group,
)
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_hanging_and_a_refusing_destination_do_not_slow_a_good_one(tmp_path):
    """The healthy receiver has all 500 events before the first attempt at the hanging one ends."""
    with (
        service_group(tmp_path, AEGIS_REQUEST_TIMEOUT_SECONDS="60", AEGIS_LEASE_SECONDS="65") as group,
        hanging_receiver() as hanging,
        recording_receiver(tmp_path) as good,
    ):
        group.start()
        client = make_client(group)
        stuck = client.add_destination(hanging.url)
        refusing = client.add_destination(f"http://127.0.0.1:{free_port()}/")
        well = client.add_destination(good.url)
        bodies = list(make_events(client.organization.org_id, 1, 500).values())
        client.record(bodies[:50])
        wait_until(lambda: hanging.requests > 0 and client.stats(refusing)["failed_attempts"] > 0)

        for start in range(50, 500, 50):
            client.record(bodies[start : start + 50])
        wait_until(
            lambda: client.stats(well)["delivered"] == 500 or client.stats(stuck)["failed_attempts"] > 0
        )
        stats = [client.stats(one) for one in (stuck, refusing, well)]
        arrived, repeats = by_event_id(good.bodies())

    assert [one["delivered"] for one in stats] == [0, 0, 500]
    assert stats[0]["failed_attempts"] == 0, "no attempt at the hanging one had ended"
    assert stats[1]["failed_attempts"] > 0
    assert (len(arrived), repeats) == (500, 0)
    assert 0 < hanging.requests <= 64, "its window bounds what a hanging destination holds"
