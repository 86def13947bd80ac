"""Looks again and again for logs that are due, and seals them. Several sealers may run: a log is sealed by the faster one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aegis_stream.control.sealing import SealingDeps, forget_retired_keys, seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.seal import Pace, SealProgress, is_due
from aegis_stream.store.database import Unit
from aegis_stream.store.tree import SealState, asked_states, refuse_seal, seal_state, seal_states
from aegis_stream.telemetry import Log

from .reports import Reports
from .yielding import Yielding

LOOK_S: Final = 1.0
"""Shortest pause between two looks, seconds."""
SHARE: Final = 20
"""A look takes at most one part in so many of the time, however many organizations there are,"""
LOOK_LONGEST_S: Final = 10.0
"""unless the pause would be longer than this, seconds."""
TIDY_S: Final = 60.0
"""Pause between two looks for keys that sign no more, seconds."""
FAILURES_MAX: Final = 3
"""After so many logs that cannot be read or stored a look ends: each may have cost the time that a store is waited for. The next look
begins behind the last of them."""
REASONS_MAX: Final = 100
"""Most reasons of an outage that are remembered, so that each is told once."""
SEALS_IN_A_ROW: Final = 16
"""Most seals of one log before the others have their turn."""


@dataclass(slots=True)
class Sealer:
    """Seals what is due.

    Args:
        ready: called before the first look.
        yielding: says when to leave the processors to others.
    """

    deps: SealingDeps
    pace: Pace
    telemetry: Log
    ready: Callable[[], None] = lambda: None
    yielding: Yielding = field(default_factory=Yielding)
    _refused: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _unavailable: set[str] = field(default_factory=set, init=False, repr=False)
    _failures: int = field(default=0, init=False, repr=False)
    _after: int = field(default=0, init=False, repr=False)
    _reports: Reports = field(init=False, repr=False)
    _tidied_s: float = field(default=float("-inf"), init=False, repr=False)

    def __post_init__(self) -> None:
        self._reports = Reports(self.deps.db, self.deps.clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until asked to stop; a seal that has begun is finished."""
        self.telemetry.info("sealer.started")
        self.ready()
        while not stop.is_set():
            began_s, is_behind = time.perf_counter(), False
            try:
                is_behind = await self._look(stop)
            except Unavailable as error:
                self._tell(error)
            took_s = time.perf_counter() - began_s
            if not is_behind:
                self.yielding.caught_up()
                await self._pause(stop, max(LOOK_S, min(took_s * SHARE, LOOK_LONGEST_S)))
        self.telemetry.info("sealer.stopped")

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until the next look; what somebody wants to have sealed meanwhile is sealed."""
        end_s = time.perf_counter() + seconds
        while not stop.is_set():
            rest_s = end_s - time.perf_counter()
            await _wait(stop, min(rest_s, LOOK_S))
            if rest_s <= LOOK_S:
                return
            try:
                if await self._seal_asked(stop):
                    return
            except Unavailable:
                return  # the next look tells it

    async def _look(self, stop: asyncio.Event) -> bool:
        """Seal everything that is due, log by log.

        Returns: whether a log has more than was its turn.
        Raises: Unavailable.
        """
        await self._reports.begin_look()
        await self._forget_retired_keys()
        is_behind, lag_events = await self._seal_asked(stop), 0
        began_after, self._after, self._failures = self._after, 0, 0
        async for state in self._states(began_after):
            if stop.is_set():
                return False
            lag_events += max(0, state.unsealed - (state.own or 0))
            if self._is_due(state):
                is_behind |= await self._seal_alone(state, stop)
            if self._failures >= FAILURES_MAX:
                self._after = state.organization_no
                return False
        if not began_after:
            if not self._failures:
                self._unavailable.clear()
            await self._reports.looked(lag_events, is_behind=is_behind)
        return is_behind

    async def _seal_alone(self, state: SealState, stop: asyncio.Event, up_to: int = 0) -> bool:
        """Seal one log, as `_seal` does; one that cannot be read or stored costs the others nothing."""
        try:
            return await self._seal(state, stop, up_to)
        except Unavailable as error:
            self._failures += 1
            self._tell(error)
            return False

    def _tell(self, error: Unavailable) -> None:
        """Tell once why nothing can be sealed."""
        if error.message not in self._unavailable and len(self._unavailable) < REASONS_MAX:
            self._unavailable.add(error.message)
            self.telemetry.warning("sealer.store_unavailable", reason=error.explained)

    async def _forget_retired_keys(self) -> None:
        """Forget keys that sign no more, once a minute at most. Raises: Unavailable."""
        if time.monotonic() - self._tidied_s >= TIDY_S:
            while await forget_retired_keys(self.deps):
                pass
            self._tidied_s = time.monotonic()

    async def _seal_asked(self, stop: asyncio.Event) -> bool:
        """Seal what somebody wants to have sealed now, due or not.

        Returns: whether a log has more than was its turn.
        Raises: Unavailable.
        """
        is_behind, self._failures = False, 0
        for up_to, state in await self.deps.db.read(asked_states):
            if stop.is_set() or self._failures >= FAILURES_MAX:
                break
            is_behind |= await self._seal_alone(state, stop, up_to)
        return is_behind and not stop.is_set()

    async def _states(self, after: int) -> AsyncIterator[SealState]:
        while states := await self.deps.db.read(partial(_page, after)):
            for one in states:
                yield one
            after = states[-1].organization_no

    def _is_due(self, state: SealState) -> bool:
        progress = SealProgress(state.unsealed, state.own or 0, state.sealed_at, state.beats)
        return is_due(progress, self.pace, self.deps.clock.now())

    async def _seal(self, state: SealState, stop: asyncio.Event, up_to: int = 0) -> bool:
        """Seal one log until nothing of it is due, or the others must have their turn.

        Args:
            up_to: the sequence up to which somebody wants it to be sealed, due or not; 0 for nobody.
        Returns: whether it has more than that.
        Raises: Unavailable.
        """
        left = end = covered = 0
        try:
            for _ in range(SEALS_IN_A_ROW):
                self.yielding.begin()
                state = await self._fresh(state)
                if up_to and state.end >= up_to:
                    return False
                covered = await seal(self.deps, state)
                left, end = state.unsealed - covered, state.end + covered
                if not up_to and (rest_s := self.yielding.rest_s()):  # somebody waits for what was asked for
                    await _wait(stop, rest_s)
                if stop.is_set() or not covered or (left < self.pace.events_max and end >= up_to):
                    break
        except Refused as error:
            await self._refuse(state, str(error), asked=up_to > 0)
            return False
        self._refused.pop(state.org_id, None)
        await self._reports.sealed(state.organization_no)
        return covered > 0 and (left >= self.pace.events_max or end < up_to)

    async def _refuse(self, state: SealState, reason: str, *, asked: bool) -> None:
        """Tell that a log is not sealed; the others go on. The log tells it once, and again when the reason is another one."""
        if self._refused.get(state.org_id) != reason:
            self._refused[state.org_id] = reason
            self.telemetry.error("proof.refused", org_id=state.org_id, reason=reason)
        await self._reports.refused(state.organization_no, reason)
        if asked:
            await self.deps.db.write(lambda unit: refuse_seal(unit, state.organization_no, reason))

    async def _fresh(self, state: SealState) -> SealState:
        """Return how far a log is sealed now; as it was for an organization that was switched off meanwhile."""
        return await self.deps.db.read(lambda unit: seal_state(unit, state.organization_no)) or state


def _page(after: int, unit: Unit) -> list[SealState]:
    return seal_states(unit, after)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
