"""What is done for the whole store, by one worker at a time: retention, and redrives and purges of many dead letters.

The store decides which worker does it. Another one takes over when that one is gone.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from .domain.ids import SECOND, Micros, WorkerId
from .errors import Unavailable
from .ports import Clock, DeadLetterWork, Retention
from .telemetry import Log

PAUSE_S = 60.0
"""Pause between two turns, seconds."""
STEP_PAUSE_S = 0.01
"""Pause between two steps of a turn, seconds, so that ingest and settlements come in between."""
LOOK_S = 1.0
"""Pause between two looks for work on dead letters, seconds."""
PART_PAUSE_S = 0.05
"""Pause between two parts of that work, seconds, so that settlements come in between and the new retries are sent."""
CLOCK_JUMP_US = 3600 * SECOND
"""How far the wall clock may be from retention's own before that is logged, microseconds."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Removes from the store what is older than its time, and works on dead letters.

    Args:
        days: how long events are kept.
    """

    retention: Retention
    dead_letters: DeadLetterWork
    clock: Clock
    telemetry: Log
    days: float

    async def run(self, worker_id: WorkerId) -> None:
        """Take a turn again and again, until cancelled; a turn that the store cannot serve is taken up by the next one."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_on_dead_letters(worker_id))
            group.create_task(self._retain(worker_id))

    async def _work_on_dead_letters(self, worker_id: WorkerId) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                while await self.dead_letters.step(worker_id):  # noqa: ASYNC110 - a pause between parts of work
                    await asyncio.sleep(PART_PAUSE_S)
            await asyncio.sleep(LOOK_S)

    async def _retain(self, worker_id: WorkerId) -> None:
        loop = asyncio.get_running_loop()
        kept_us = int(self.days * 86_400 * SECOND)
        since_s, told = loop.time(), False
        while True:
            now, now_s = self.clock.now(), loop.time()
            with contextlib.suppress(Unavailable):
                passed_us = int((now_s - since_s) * SECOND)
                counted_at = await self.retention.advance(worker_id, now, passed_us)
                since_s = now_s
                if counted_at is not None:
                    told = self._tell_of_jump(now - counted_at, told=told)
                    await self._remove_before(Micros(min(now, counted_at) - kept_us))
                    await self._remove_rollups(Micros(min(now, counted_at)))
            await asyncio.sleep(PAUSE_S)

    async def _remove_before(self, horizon: Micros) -> None:
        while await self.retention.step(horizon):  # noqa: ASYNC110 - a pause between steps of work
            await asyncio.sleep(STEP_PAUSE_S)

    async def _remove_rollups(self, now: Micros) -> None:
        while await self.retention.remove_rollups(now):  # noqa: ASYNC110 - a pause between steps of work
            await asyncio.sleep(STEP_PAUSE_S)

    def _tell_of_jump(self, ahead_us: int, *, told: bool) -> bool:
        """Log once when retention does not follow the wall clock; return whether that has been told."""
        if abs(ahead_us) <= CLOCK_JUMP_US:
            return False
        if not told:
            self.telemetry.warning("retention.clock_jumped", ahead_s=ahead_us // SECOND)
        return True
