"""One timer: promises of delivery/alarm.py, in simulated time."""

import asyncio

import pytest

from aegis_stream.delivery.alarm import DELAY_MIN_S, Alarm
from support.simulation import VirtualLoop


@pytest.fixture
def loop():
    """Return an event loop whose time passes only when everybody waits."""
    made = VirtualLoop()
    asyncio.set_event_loop(made)
    yield made
    asyncio.set_event_loop(None)
    made.close()


def rung(loop: VirtualLoop, *times_s: float, cancelled: bool = False) -> list[float]:
    """Set an alarm to these times from now, one after the other; return when it rang, seconds from now."""
    rings: list[float] = []
    began_s = loop.time()

    async def run() -> None:
        alarm = Alarm(lambda: rings.append(loop.time() - began_s))
        assert not alarm.is_set
        for one in times_s:
            alarm.ring_at(began_s + one)
        assert alarm.is_set
        if cancelled:
            alarm.cancel()
        await asyncio.sleep(100)
        assert not alarm.is_set

    loop.run_until_complete(run())
    return rings


@pytest.mark.parametrize("times_s", [(5.0,), (5.0, 9.0), (9.0, 5.0), (5.0, 5.0)])
def test_it_rings_once_at_the_earliest_time(loop, times_s):
    """However often it is set, it rings once, at the earliest time."""
    assert rung(loop, *times_s) == [pytest.approx(5.0)]


def test_what_is_due_at_once_rings_a_little_later(loop):
    """A time that is over rings after the shortest delay, and not within the call."""
    assert rung(loop, -3.0) == [pytest.approx(DELAY_MIN_S)]


def test_a_cancelled_alarm_does_not_ring(loop):
    """After `cancel` nothing is called."""
    assert rung(loop, 5.0, cancelled=True) == []
