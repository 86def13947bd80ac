"""Reads of one organization go one after the other: promises of control/turns.py."""

import asyncio

import pytest

from aegis_stream.control.turns import WAIT_S, WAITING_MAX, Turns
from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.errors import Limited
from support.simulation import VirtualLoop

OURS, THEIRS = OrganizationNo(1), OrganizationNo(2)


def run(work):
    """Run a coroutine in simulated time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


async def test_one_read_of_an_organization_at_a_time_in_order():
    """Reads of one organization begin in the order of arrival, each after the end of the one before it."""
    turns, begun = Turns(), []

    async def read(number: int) -> None:
        await turns.enter(OURS)
        begun.append(number)
        await asyncio.sleep(0)
        assert begun[-1] == number, "no other has begun"
        turns.leave(OURS)

    await asyncio.gather(*[read(number) for number in range(20)])

    assert begun == list(range(20))
    assert turns._waiting == {}, "an organization that reads nothing costs nothing"


async def test_another_organization_does_not_wait():
    """However many reads of one organization wait, the first of another one begins at once."""
    turns = Turns()
    await turns.enter(OURS)
    waiting = [asyncio.ensure_future(turns.enter(OURS)) for _ in range(10)]
    await asyncio.sleep(0)

    await asyncio.wait_for(turns.enter(THEIRS), 0.001)

    assert not any(one.done() for one in waiting)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_no_more_reads_wait_than_agreed():
    """A read beyond the limit is refused at once, with the time after which to try again."""
    turns = Turns()
    await turns.enter(OURS)
    waiting = [asyncio.ensure_future(turns.enter(OURS)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)

    with pytest.raises(Limited, match="one is answered at a time") as refused:
        await turns.enter(OURS)

    assert refused.value.retry_after_s == 1
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    turns.leave(OURS)
    assert turns._waiting == {}


def test_a_read_waits_no_longer_than_agreed():
    """A read whose turn does not come in time is refused, and leaves the line."""

    async def work() -> float:
        turns, loop = Turns(), asyncio.get_running_loop()
        await turns.enter(OURS)
        began_s = loop.time()
        with pytest.raises(Limited):
            await turns.enter(OURS)
        turns.leave(OURS)
        assert turns._waiting == {}
        return loop.time() - began_s

    assert run(work()) == pytest.approx(WAIT_S)


async def test_a_turn_that_nobody_uses_goes_to_the_next():
    """A read that is cancelled while it waits, or in the moment when its turn comes, does not stop those behind it."""
    turns = Turns()
    await turns.enter(OURS)
    first, second, third = (asyncio.ensure_future(turns.enter(OURS)) for _ in range(3))
    await asyncio.sleep(0)

    first.cancel()
    turns.leave(OURS)  # the turn is the second's
    second.cancel()
    await asyncio.wait_for(third, 1)
    turns.leave(OURS)

    assert turns._waiting == {}
