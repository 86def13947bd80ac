"""Notes in the store how the sealer does, for metrics, doctor and console: they run in other processes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.ports import Clock
from aegis_stream.store import sealing_state
from aegis_stream.store.database import Database

REPORT_S: Final = 10.0
"""Pause between two notes that say the same, seconds: each is a write, also while nothing happens."""


@dataclass(slots=True)
class Reports:
    """What one sealer notes. All of it raises Unavailable.

    Args:
        clock_s: a clock that nobody moves, seconds.
    """

    db: Database
    clock: Clock
    clock_s: Callable[[], float] = time.monotonic
    _refused: dict[OrganizationNo, str] = field(default_factory=dict, init=False, repr=False)
    _is_troubled: bool = field(default=False, init=False, repr=False)
    _reported_s: float = field(default=float("-inf"), init=False, repr=False)
    _was_caught_up: bool | None = field(default=None, init=False, repr=False)

    async def begin_look(self) -> None:
        """Read which logs are refused: another sealer may have found more, or have sealed one."""
        found = await self.db.read(sealing_state.refusals)
        self._refused = {one.organization_no: one.reason for one in found}
        self._is_troubled = False

    async def refused(self, organization_no: OrganizationNo, reason: str) -> None:
        """Note that a log is refused; nothing is written for a reason that is noted."""
        self._is_troubled = True
        if self._refused.get(organization_no) != reason:
            now = self.clock.now()
            await self.db.write(lambda unit: sealing_state.refuse(unit, organization_no, reason, now))
            self._refused[organization_no] = reason

    async def sealed(self, organization_no: OrganizationNo) -> None:
        """Note that a log had its turn; something is written only where it was refused, or the last note is old."""
        if organization_no in self._refused:
            await self.db.write(lambda unit: sealing_state.accept(unit, organization_no))
            del self._refused[organization_no]
        if self._is_old():
            await self._write(None, is_caught_up=False)

    async def looked(self, lag_events: int, *, is_behind: bool) -> None:
        """Note the end of a look at all logs.

        Args:
            lag_events: events that no checkpoint covered when it looked.
            is_behind: whether something is still due.
        """
        is_caught_up = not is_behind and not self._is_troubled
        if self._is_old() or is_caught_up is not self._was_caught_up:
            await self._write(lag_events, is_caught_up=is_caught_up)

    def _is_old(self) -> bool:
        return self.clock_s() - self._reported_s >= REPORT_S

    async def _write(self, lag_events: int | None, *, is_caught_up: bool) -> None:
        now = self.clock.now()
        await self.db.write(
            lambda unit: sealing_state.store_report(unit, now, lag_events, is_caught_up=is_caught_up)
        )
        self._reported_s, self._was_caught_up = self.clock_s(), is_caught_up
