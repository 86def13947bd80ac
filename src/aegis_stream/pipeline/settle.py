"""Outcomes, in whatever order they come → what the store is told, in one transaction (step 8).

Watermark   all up to here is done; what is done above it waits for the gap to close
Findings    what became certain about one destination since the last settlement
Settler     one loop a worker: collects the findings of all its destinations, stores them together
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Protocol, assert_never

from aegis_stream.domain.attempt import Dead, Delivered, Failure, Outcome, Retry
from aegis_stream.domain.delivery import (
    RUN_LENGTH_MAX,
    AttemptRun,
    DeadRow,
    Lease,
    RetryRow,
    Settled,
    Settlement,
)
from aegis_stream.domain.ids import Micros, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Ledger

FEW_EVENTS = 32
"""So many events that were delivered at the first attempt may wait for others: at most so many more are repeated after a crash."""
FEW_WAIT_S = 0.2
"""How long they wait, seconds, unless the interval is longer. At 100 events a second a settlement stores 20 of them, not 3."""
STALL_S = 1.0
"""When a settlement has not been stored after so long, seconds, no attempts begin until the store is back: what was delivered
and not settled is repeated after a crash."""
STORE_RETRY_S = 1.0
"""Pause before a settlement that could not be stored is tried again, seconds."""


@dataclass(slots=True)
class Watermark:
    """The highest sequence up to which everything is done.

    Args:
        value: that sequence.
    """

    value: int
    _above: dict[int, int] = field(default_factory=dict)

    def complete(self, first: int, last: int) -> None:
        """Learn that the sequences first … last are done; stretches never overlap."""
        if first != self.value + 1:
            self._above[first] = last
            return
        self.value = last
        while self._above and (following := self._above.pop(self.value + 1, None)) is not None:
            self.value = following


@dataclass(slots=True)
class Findings:
    """What became certain about one destination since the last settlement."""

    delivered: list[tuple[int, int, int | None, int]] = field(default_factory=list)
    runs: list[AttemptRun] = field(default_factory=list)
    retries: dict[int, RetryRow] = field(default_factory=dict)
    dead: dict[int, DeadRow] = field(default_factory=dict)
    resolved: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed_count: int = 0

    def note_delivered(self, first: int, last: int, status_code: int | None, latency_us: int) -> None:
        """Note first attempts of neighbouring events that succeeded."""
        self.delivered.append((first, last, status_code, latency_us))

    @property
    def are_few(self) -> bool:
        """True when there are nothing but a few first attempts that succeeded."""
        if self.runs or self.retries or self.dead or len(self.delivered) > FEW_EVENTS:
            return False
        return sum([last - first + 1 for first, last, _, _ in self.delivered]) <= FEW_EVENTS

    def latencies_us(self) -> list[int]:
        """Return the latency of every attempt that succeeded, microseconds."""
        return [piece[3] for piece in self.delivered] + [
            run.latency_us for run in self.runs if run.state == "delivered"
        ]

    def note(self, sequence: int, attempt: int, outcome: Outcome, latency_us: int, now: Micros) -> None:
        """Note what one attempt of one event came to, and what follows from it."""
        self.retries.pop(sequence, None)
        match outcome:
            case Delivered(status_code):
                self.runs.append(
                    AttemptRun(sequence, sequence, attempt, "delivered", status_code, None, latency_us, now)
                )
                self.resolved.append(sequence)
            case Retry(at, failure):
                self.retries[sequence] = RetryRow(sequence, attempt, at, failure)
                self._note_failed(sequence, attempt, failure, latency_us, now)
            case Dead(failure):
                self.dead[sequence] = DeadRow(sequence, attempt, now, failure)
                self._note_failed(sequence, attempt, failure, latency_us, now)
            case _:
                assert_never(outcome)

    def note_refused(
        self, sequence: int, attempt: int, failure: Failure, latency_us: int, now: Micros
    ) -> None:
        """Note an event that failed for good and becomes no dead letter: the attempt log tells of it, and the log of events has it."""
        self.retries.pop(sequence, None)
        self.refused.append(sequence)
        self._note_failed(sequence, attempt, failure, latency_us, now)

    def write(self, settlement: Settlement, now: Micros) -> None:
        """Put the findings into a settlement, alike successes of neighbours as one run."""
        for first, last, status_code, latency_us in merge_runs(self.delivered):
            settlement.delivered += last - first + 1
            settlement.runs.append(
                AttemptRun(first, last, 1, "delivered", status_code, None, latency_us, now)
            )
        settlement.delivered += len(self.resolved)
        settlement.runs.extend(self.runs)
        settlement.retries.extend(self.retries.values())
        settlement.dead.extend(self.dead.values())
        settlement.resolved.extend(self.resolved)
        settlement.resolved.extend(self.refused)
        settlement.failed_attempts = self.failed_count

    def _note_failed(
        self, sequence: int, attempt: int, failure: Failure, latency_us: int, now: Micros
    ) -> None:
        self.failed_count += 1
        row = AttemptRun(
            sequence, sequence, attempt, "failed", failure.status_code, failure.message, latency_us, now
        )
        self.runs.append(row)


def merge_runs(pieces: list[tuple[int, int, int | None, int]]) -> Iterable[tuple[int, int, int | None, int]]:
    """Join stretches that touch and have the same status; none becomes longer than RUN_LENGTH_MAX unless it was.

    Args:
        pieces: (first, last, status, latency in microseconds).
    Returns: the same for what was joined, the latency being the mean over the attempts.
    """
    if not pieces:
        return
    pieces.sort(key=itemgetter(0))
    first, last, status_code, latency_sum_us = pieces[0]
    attempts = 1
    for next_first, next_last, next_status, latency_us in pieces[1:]:
        if next_first == last + 1 and next_status == status_code and next_last - first < RUN_LENGTH_MAX:
            last = next_last
            latency_sum_us += latency_us
            attempts += 1
            continue
        yield first, last, status_code, latency_sum_us // attempts
        first, last, status_code, latency_sum_us = next_first, next_last, next_status, latency_us
        attempts = 1
    yield first, last, status_code, latency_sum_us // attempts


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


@dataclass(slots=True)
class Settler:
    """Stores what the forwarders of one worker find out, all of it in one transaction after the other.

    Args:
        interval_s: shortest time between two settlements; everything that becomes certain meanwhile goes together. A few
            successes wait for others for a while: every settlement costs a sync.
        lost: told of forwarders whose lease did not hold.
        resumed: told when attempts may begin again after a stall.

    Attributes:
        stalls_at_s: from then on no attempts begin, seconds of the event loop; a store that fails at once does not stall.
    """

    ledger: Ledger
    worker_id: WorkerId
    interval_s: float
    lost: Callable[[list[Settling]], None]
    resumed: Callable[[], None] = lambda: None
    stalls_at_s: float = math.inf
    _dirty: dict[Settling, None] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _carried: list[tuple[Settling, Settlement]] = field(default_factory=list)
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

    async def _wait_for_others(self) -> None:
        """Wait while there is little to settle; interval by interval, because much may become certain at any time."""
        intervals = int(FEW_WAIT_S / self.interval_s) if self.interval_s else 0
        for _ in range(intervals - 1):
            if self._halted or not all(one.can_wait for one in self._dirty):
                return
            await asyncio.sleep(self.interval_s)

    async def _store(self, settlements: list[Settlement]) -> list[Settled | None] | None:
        """Store settlements, and notice when that takes long; None when the store could not."""
        loop = asyncio.get_running_loop()
        stalls_at_s = loop.time() + STALL_S
        self.stalls_at_s = min(self.stalls_at_s, stalls_at_s)
        try:
            results = await self.ledger.settle(self.worker_id, settlements)
        except Unavailable:
            if loop.time() < stalls_at_s:
                self._go_on()
            return None
        self._go_on()
        return results

    def _go_on(self) -> None:
        """Let attempts begin: the store stores, or says at once that it does not."""
        stalled = asyncio.get_running_loop().time() >= self.stalls_at_s
        self.stalls_at_s = math.inf
        if stalled:
            self.resumed()

    def halt(self) -> None:
        """End `run` after what it is doing; cancelling it could store a settlement twice."""
        self._halted = True
        self._wake.set()

    async def flush(self) -> bool:
        """Settle what there is now; False when the store could not take it, and then it is kept for the next time."""
        async with self._busy:
            self._wake.clear()
            dirty, self._dirty = self._dirty, {}
            held = {settlement.lease for _, settlement in self._carried}
            batch = self._carried
            for forwarder in dirty:
                if forwarder.lease in held:
                    # One settlement of a destination after the other, even if a bug gave it a second forwarder meanwhile.
                    self._dirty[forwarder] = None
                elif (settlement := forwarder.take_settlement()) is not None:
                    held.add(forwarder.lease)
                    self._number += 1
                    settlement.number = self._number
                    batch.append((forwarder, settlement))
            self._carried = batch
            if not batch:
                return True
            results = await self._store([settlement for _, settlement in batch])
            if results is None:
                self._wake.set()
                return False
            self._carried = []
            lost = []
            for (forwarder, settlement), counts in zip(batch, results, strict=True):
                if counts is not None:
                    forwarder.settled(settlement, counts)
                else:
                    lost.append(forwarder)
            if lost:
                self.lost(lost)
            if self._dirty:
                self._wake.set()
            return True
