"""The last while of a service: how long it answers, and what ends it."""

import asyncio
import os

import pytest

from aegis_stream.api.counts import open_counts, share_counts
from aegis_stream.serving.draining import drain, follow_drain


@pytest.fixture
def standing():
    """Make the memory that the processes of a service share."""
    fd = share_counts(2)
    yield open_counts(fd, 0).standing, open_counts(fd, 1).standing
    os.close(fd)


async def test_a_drain_is_seen_by_all_processes_until_it_ends(standing):
    """While the first process drains, the others answer as well, and all say so; then all end."""
    first, further = standing
    draining = asyncio.create_task(drain(first, 0.3, asyncio.Event()))
    following = asyncio.create_task(follow_drain(further, 60, asyncio.Event()))
    await asyncio.sleep(0.05)
    during = further.draining, further.drained, following.done()

    await asyncio.wait_for(asyncio.gather(draining, following), 30)

    assert during == (True, False, False)
    assert (further.draining, further.drained) == (True, True)


async def test_a_second_signal_ends_a_drain(standing):
    """Nobody has to wait for the end."""
    first, further = standing
    at_once = asyncio.Event()
    both = asyncio.gather(drain(first, 3600, at_once), follow_drain(further, 3600, at_once))
    await asyncio.sleep(0)
    at_once.set()

    await asyncio.wait_for(both, 30)

    assert first.drained


async def test_a_process_that_is_ended_after_the_drain_ends_at_once(standing):
    """The signal of the first process comes when the drain is over: a further process does not begin one of its own."""
    first, further = standing
    await drain(first, 0, asyncio.Event())

    await asyncio.wait_for(follow_drain(further, 3600, asyncio.Event()), 30)


async def test_a_further_process_drains_no_longer_than_the_first_one_would(standing):
    """If the first process is stuck, the others end when their time is over."""
    _, further = standing

    await asyncio.wait_for(follow_drain(further, 0.2, asyncio.Event()), 30)

    assert not further.drained
