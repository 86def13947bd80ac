"""Attempts that wait for a connection, and what they are told; with a loop, without connections."""

import asyncio
from collections.abc import Callable

import pytest

from aegis_stream.sender.waiters import Waiters


def wait(waiters: Waiters, *, wait_s: float = 5.0, pass_on: Callable[[object], None] = print) -> asyncio.Task:
    """Let a task wait."""
    loop = asyncio.get_running_loop()
    return loop.create_task(waiters.wait(loop.time() + wait_s, pass_on))


async def test_the_one_that_has_waited_longest_is_told_alone():
    """What is told goes to one waiter, in their order."""
    waiters, connection = Waiters(), object()
    tasks = [wait(waiters) for _ in range(3)]
    await asyncio.sleep(0)

    assert waiters.tell(connection)
    assert waiters.tell(None)

    assert await tasks[0] is connection
    assert await tasks[1] is None
    assert not tasks[2].done()
    tasks[2].cancel()


async def test_nobody_is_told_who_does_not_wait():
    """Without waiters nobody is told; those that gave up, by time or by cancellation, are not counted."""
    waiters = Waiters()
    late, cancelled = wait(waiters, wait_s=0.0), wait(waiters)
    await asyncio.sleep(0)
    assert waiters
    cancelled.cancel()
    with pytest.raises(TimeoutError):
        await late

    assert not waiters.tell(None)
    assert not waiters


async def test_what_a_cancelled_waiter_was_told_is_passed_on():
    """A waiter that is cancelled at the moment it is told passes on what it was told, or a connection would be lost."""
    waiters, connection, passed = Waiters(), object(), []
    task = wait(waiters, pass_on=passed.append)
    await asyncio.sleep(0)
    waiters.tell(connection)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert passed == [connection]


async def test_what_is_told_at_the_last_moment_counts():
    """A waiter that is told before it notices that its time is over takes what it was told."""
    waiters, connection, loop = Waiters(), object(), asyncio.get_running_loop()
    until_s = loop.time() + 0.01
    loop.call_at(until_s - 0.001, waiters.tell, connection)
    task = loop.create_task(waiters.wait(until_s, print))
    await asyncio.sleep(0)
    while loop.time() < until_s:  # so that both times are over before the loop looks
        pass

    assert await task is connection
