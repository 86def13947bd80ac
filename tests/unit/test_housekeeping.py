"""Retention's turns: who takes them, what is removed, what is logged; in simulated time on a fake store."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from aegis_stream.domain.ids import SECOND, Micros, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.housekeeping import CLOCK_JUMP_US, LOOK_S, PART_PAUSE_S, PAUSE_S, Housekeeping
from support.said import Said
from support.simulation import SimClock, VirtualLoop

DAY_US = 86_400 * SECOND


@dataclass
class FakeRetention:
    """A store that keeps retention's clock.

    Args:
        behind_us: how far its clock is behind the wall clock; None while another worker keeps it.
        chunks: how many steps of a turn remove something.
        failing: turns that the store cannot serve.
    """

    behind_us: int | None = 0
    chunks: int = 2
    failing: int = 0
    passed_us: list[int] = field(default_factory=list)
    horizons: list[Micros] = field(default_factory=list)
    rollups_at: list[Micros] = field(default_factory=list)
    _left: int = 0

    async def advance(self, worker_id: WorkerId, now: Micros, passed_us: int) -> Micros | None:
        """Answer where retention's clock stands."""
        self.passed_us.append(passed_us)
        if self.failing:
            self.failing -= 1
            raise Unavailable("the store cannot be reached")
        self._left = self.chunks
        return Micros(now - self.behind_us) if self.behind_us is not None else None

    async def step(self, horizon: Micros) -> int:
        """Remove a chunk while there is one."""
        self.horizons.append(horizon)
        self._left -= 1
        return 1 if self._left >= 0 else 0

    async def remove_rollups(self, now: Micros) -> int:
        """Note when it was called; remove something once a turn."""
        self.rollups_at.append(now)
        return len(self.rollups_at) % 2


@dataclass
class FakeWork:
    """Work on dead letters.

    Args:
        parts: how many steps find something to do.
        failing: steps that the store cannot serve.
    """

    parts: int = 0
    failing: int = 0
    steps_at_s: list[float] = field(default_factory=list)

    async def step(self, _worker_id: WorkerId) -> bool:
        """Do a part while there is one."""
        self.steps_at_s.append(asyncio.get_running_loop().time())
        if self.failing:
            self.failing -= 1
            raise Unavailable("the store cannot be reached")
        self.parts -= 1
        return self.parts >= 0


@pytest.fixture
def loop():
    """Return an event loop whose time passes only when everybody waits."""
    made = VirtualLoop()
    asyncio.set_event_loop(made)
    yield made
    asyncio.set_event_loop(None)
    made.close()


def turns(loop: VirtualLoop, retention: FakeRetention, count: int) -> Said:
    """Let so many turns pass; returns what was logged."""
    said, clock = Said(), SimClock(loop)
    housekeeping = Housekeeping(retention, FakeWork(), clock, said, days=30)

    async def run() -> None:
        task = asyncio.create_task(housekeeping.run(WorkerId("wrk_1")))
        await asyncio.sleep(PAUSE_S * (count - 0.5))
        task.cancel()

    loop.run_until_complete(run())
    return said


def test_each_turn_removes_all_that_is_older_than_its_time(loop):
    """A turn takes steps until one removes nothing, all with the same horizon, as many days back as events are kept."""
    retention = FakeRetention(chunks=2)
    began = SimClock(loop).now()

    turns(loop, retention, 1)

    assert retention.horizons == [began - 30 * DAY_US] * 3


def test_nothing_is_removed_while_another_worker_does_it(loop):
    """A worker that does not keep retention's clock removes nothing, and asks again with each turn."""
    retention = FakeRetention(behind_us=None)

    turns(loop, retention, 3)

    assert (len(retention.passed_us), retention.horizons, retention.rollups_at) == (3, [], [])


def test_the_horizon_follows_the_earlier_of_both_clocks(loop):
    """A wall clock that is ahead of retention's own removes nothing earlier than that one allows."""
    retention = FakeRetention(behind_us=365 * DAY_US, chunks=0)
    began = SimClock(loop).now()

    turns(loop, retention, 1)

    assert retention.horizons == [began - (365 + 30) * DAY_US]


def test_rollups_have_a_time_of_their_own(loop):
    """Each turn removes rollups until none is left to remove, by the earlier clock, however long events are kept."""
    retention = FakeRetention(behind_us=5 * DAY_US, chunks=0)
    began = SimClock(loop).now()

    turns(loop, retention, 1)

    assert retention.rollups_at == [began - 5 * DAY_US] * 2


def test_a_clock_that_jumped_is_logged_once(loop):
    """While the clocks are far apart that is logged once; nothing is logged while they are close."""
    far = turns(loop, FakeRetention(behind_us=CLOCK_JUMP_US + SECOND), 4)
    close = turns(loop, FakeRetention(behind_us=CLOCK_JUMP_US), 4)

    assert [name for name, _ in far.lines] == ["retention.clock_jumped"]
    assert close.lines == []


def test_time_that_the_store_did_not_take_counts_with_the_next_turn(loop):
    """A turn that the store could not serve adds its time to the next one, by the event loop's clock."""
    retention = FakeRetention(failing=2, chunks=0)

    turns(loop, retention, 4)

    assert [round(one / SECOND) for one in retention.passed_us] == [0, PAUSE_S, 2 * PAUSE_S, PAUSE_S]


def test_work_on_dead_letters_is_done_part_by_part(loop):
    """While there is work its parts follow each other after a short pause; without, a look is taken every second."""
    work = FakeWork(parts=3, failing=1)
    housekeeping = Housekeeping(FakeRetention(), work, SimClock(loop), Said(), days=30)

    async def run() -> None:
        task = asyncio.create_task(housekeeping.run(WorkerId("wrk_1")))
        await asyncio.sleep(2.5)
        task.cancel()

    loop.run_until_complete(run())
    gaps = [round(later - at, 3) for at, later in pairwise(work.steps_at_s)]

    assert gaps == [LOOK_S, PART_PAUSE_S, PART_PAUSE_S, PART_PAUSE_S, LOOK_S]
