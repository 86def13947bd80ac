"""Collects what the forwarders of one worker find out, and stores it together, in one transaction after the other (step 8).

What the store cannot take is kept and tried again. If it takes nothing at all, everything waits together. If it takes a part, only
the destinations that it refuses wait: their part of the store may be damaged, and that must not concern the others.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aegis_stream.domain.delivery import Lease, Settled, Settlement
from aegis_stream.domain.ids import WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Ledger

FEW_WAIT_S = 0.2
"""How long a few outcomes wait for others, seconds, unless the interval is longer. At 100 events a second a settlement stores 20 of
them, not 3."""
STALL_S = 1.0
"""When a settlement has not been stored after so long, seconds, no attempts begin until the store is back: what was delivered
and not settled is repeated after a crash."""
STORE_RETRY_S = 1.0
"""Pause before a settlement that could not be stored is tried again, seconds."""
FAILURES_MAX = 12
"""Most failures in the search for those that the store refuses, before the rest waits for the next turn: halving finds one of
4,096 with so many."""
REFUSED_TRIED_MAX = 8
"""Most settlements that the store has refused which are tried again in one turn."""


class Settling(Protocol):
    """Someone who finds things out: a forwarder."""

    @property
    def lease(self) -> Lease:
        """The lease under which it settles."""
        ...

    @property
    def can_wait(self) -> bool:
        """True when little is lost by settling later: a few first attempts that succeeded."""
        ...

    def take_settlement(self) -> Settlement | None:
        """Return what became certain since the last call, or None."""
        ...

    def settled(self, settlement: Settlement, counts: Settled) -> None:
        """Learn that a settlement is stored, and what the destination has now."""
        ...


_Batch = list[tuple[Settling, Settlement]]


@dataclass(slots=True)
class Settler:
    """Stores what the forwarders of one worker find out.

    Args:
        interval_s: shortest time between two settlements; everything that becomes certain meanwhile goes together. A few
            successes wait for others for a while: every settlement costs a sync.
        lost: told of forwarders whose lease did not hold.
        resumed: told when attempts may begin again after a stall.
        refused: told once of a lease whose settlement the store refuses while it takes others, and why.

    Attributes:
        stalls_at_s: from then on no attempts begin, seconds of the event loop; a store that fails at once does not stall.
    """

    ledger: Ledger
    worker_id: WorkerId
    interval_s: float
    lost: Callable[[list[Settling]], None]
    resumed: Callable[[], None] = lambda: None
    refused: Callable[[Lease, str], None] = lambda _, __: None
    stalls_at_s: float = math.inf
    _dirty: dict[Settling, None] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _carried: _Batch = field(default_factory=list)  # the store took none of them
    _refused: _Batch = field(default_factory=list)  # the store took others
    _refused_due_s: float = 0.0
    _failed_slowly: bool = False
    _reason: str = ""  # of the newest failure
    _halted: bool = False
    _number: int = 0  # of the newest settlement; one row of numbers serves all destinations

    def mark(self, forwarder: Settling) -> None:
        """Learn that a forwarder has something to settle."""
        self._dirty[forwarder] = None
        self._wake.set()

    async def run(self) -> None:
        """Settle until `halt`."""
        while not self._halted:
            await self._wake.wait()
            stored = await self.flush()
            await asyncio.sleep(self.interval_s if stored else STORE_RETRY_S)
            if stored:
                await self._wait_for_others()

    def halt(self) -> None:
        """End `run` after what it is doing; cancelling it could store a settlement twice."""
        self._halted = True
        self._wake.set()

    async def flush(self) -> bool:
        """Settle what there is now; False when the store took nothing, and then it is kept for the next time."""
        async with self._busy:
            self._wake.clear()
            batch = self._take()
            if batch and not await self._store(batch):
                self._carried = batch
                if len(batch) > 1 and not self._failed_slowly:
                    await self._store_parts(batch)
            if self._refused and not self._carried:
                await self._try_refused()
            if self._carried:
                self._wake.set()
            return not self._carried

    def _take(self) -> _Batch:
        """Return what is to be stored together: what was carried over, and what is new."""
        dirty, self._dirty = self._dirty, {}
        batch, self._carried = self._carried, []
        held = {settlement.lease for _, settlement in batch}
        refused = {settlement.lease for _, settlement in self._refused}
        for forwarder in dirty:
            if forwarder.lease in refused:
                self._dirty[forwarder] = None  # until that is stored
            elif forwarder.lease in held:
                # One settlement of a destination after the other, even if a bug gave it a second forwarder meanwhile.
                self.mark(forwarder)
            elif (settlement := forwarder.take_settlement()) is not None:
                held.add(forwarder.lease)
                self._number += 1
                settlement.number = self._number
                batch.append((forwarder, settlement))
        return batch

    async def _wait_for_others(self) -> None:
        """Wait while there is little to settle; interval by interval, because much may become certain at any time."""
        intervals = int(FEW_WAIT_S / self.interval_s) if self.interval_s else 0
        for _ in range(intervals - 1):
            if self._halted or not all(one.can_wait for one in self._dirty):
                return
            await asyncio.sleep(self.interval_s)

    async def _store(self, batch: _Batch) -> bool:
        """Store settlements in one transaction, and tell their forwarders; False when the store could not. Notices a stall."""
        loop = asyncio.get_running_loop()
        stalls_at_s = loop.time() + STALL_S
        self.stalls_at_s = min(self.stalls_at_s, stalls_at_s)
        try:
            results = await self.ledger.settle(self.worker_id, [settlement for _, settlement in batch])
        except Unavailable as error:
            self._reason = error.explained
            self._failed_slowly = loop.time() >= stalls_at_s
            if not self._failed_slowly:
                self._go_on()
            return False
        self._failed_slowly = False
        self._go_on()
        lost = []
        for (forwarder, settlement), counts in zip(batch, results, strict=True):
            if counts is not None:
                forwarder.settled(settlement, counts)
            else:
                lost.append(forwarder)
        if lost:
            self.lost(lost)
        return True

    def _go_on(self) -> None:
        """Let attempts begin: the store stores, or says at once that it does not."""
        stalled = asyncio.get_running_loop().time() >= self.stalls_at_s
        self.stalls_at_s = math.inf
        if stalled:
            self.resumed()

    async def _store_parts(self, batch: _Batch) -> None:
        """Store what the store takes of settlements that failed together, by halving; the rest is carried over, or refused."""
        parts = _halves(batch)
        untried: _Batch = []
        failed: _Batch = []
        stored, failures = False, 0
        while parts:
            part = parts.pop()
            if failures == FAILURES_MAX or self._failed_slowly:
                untried += part
            elif await self._store(part):
                stored = True
            else:
                failures += 1
                if len(part) == 1:
                    failed += part
                else:
                    parts += _halves(part)
        # Those that were not tried come first the next time, so that each has its turn.
        self._carried = untried if stored else untried + failed
        if stored and failed:
            self._refused += failed
            self._put_off_refused()
            for _, settlement in failed:
                self.refused(settlement.lease, self._reason)

    async def _try_refused(self) -> None:
        """Try some of those again that the store has refused, each alone."""
        if asyncio.get_running_loop().time() < self._refused_due_s:
            return
        self._failed_slowly = False
        trying, self._refused = self._refused[:REFUSED_TRIED_MAX], self._refused[REFUSED_TRIED_MAX:]
        for one in trying:
            if self._failed_slowly or not await self._store([one]):
                self._refused.append(one)
            else:
                self._wake.set()  # it may have found out more meanwhile
        if self._refused:
            self._put_off_refused()

    def _put_off_refused(self) -> None:
        loop = asyncio.get_running_loop()
        self._refused_due_s = loop.time() + STORE_RETRY_S
        loop.call_at(self._refused_due_s, self._wake.set)


def _halves(batch: _Batch) -> list[_Batch]:
    """Return the second half and the first, which is taken first."""
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]]
