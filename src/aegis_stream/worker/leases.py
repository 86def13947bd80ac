"""Which destinations are this worker's, and for how long: enlist, renew, claim, hand over.

The store judges leases by its own clock. A worker judges itself by its monotonic clock, counted from before it asked, so it
stops before the store lets another worker take over: it starts no attempts while its lease could be over.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aegis_stream.delivery.forwarding import Term
from aegis_stream.domain.delivery import Lease
from aegis_stream.domain.ids import SECOND, DestinationNo, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Ledger
from aegis_stream.telemetry import Log

from .roster import Roster, Served

MOVED_PART = 10
"""A worker hands over at most one part in so many of what it serves between two renewals, so that a node that comes and goes does
not cut the connections to many destinations."""

RENEWALS, REPEATS = 3, 15
"""How often within a lease it is renewed, and how often that is tried while the store fails."""


@dataclass(slots=True)
class Leases:
    """The leases of one worker, under one name.

    Args:
        lease_s: how long they are good without a renewal, seconds.
        load: called with a claimed destination that has something to send.
        tell: called with a destination, its record and how long its log is, when that is news.
        flush: settles what is known, before destinations are handed over.

    Attributes:
        lost: set when the store has given up this worker: everything it does settles nothing any more.
    """

    worker_id: WorkerId
    ledger: Ledger
    telemetry: Log
    roster: Roster
    lease_s: float
    load: Callable[[DestinationNo], None]
    tell: Callable[[DestinationNo, Served, int], None]
    flush: Callable[[], Awaitable[object]]
    term: Term = field(default_factory=lambda: Term(0.0))
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: int = 0  # destinations handed over since the newest renewal
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def enlist(self) -> None:
        """Register the worker. Raises: Unavailable."""
        began_s = self._loop.time()
        await self.ledger.enlist(self.worker_id, self._lease_us)
        self.term.until_s = began_s + self.lease_s

    async def keep(self, after: Callable[[], None]) -> None:
        """Renew every third of the lease, and share the destinations with the other workers; ends when they are lost.

        What the store could not take is repeated sooner: several short outages must not add up to the loss of a lease.

        Args:
            after: called after each turn.
        """
        pause_s = self.lease_s / RENEWALS
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self.lease_s / RENEWALS
            try:
                if not await self._renew():
                    self._lose()
                    return
                self._moved = 0
                await self.claim()
            except Unavailable as error:
                self.telemetry.warning("worker.store_unavailable", reason=error.explained)
                pause_s = self.lease_s / REPEATS
            after()

    def suspend(self) -> None:
        """Start no attempts until a renewal succeeds."""
        self.term.until_s = -math.inf

    async def claim(self) -> None:
        """Take over free destinations, let go of those that are not ours any more. Raises: Unavailable."""
        positions, surplus = await self.ledger.claim(self.worker_id)
        ours = {one.lease.destination_no: one for one in positions}
        for no, known in self.roster:
            if no not in ours or known.position.lease != ours[no].lease:
                self.roster.remove(no)
        for no, position in ours.items():
            if no in self.roster:
                continue
            for other, one in self.roster.add(position):
                self.tell(other, one, position.head)
            if self.roster.head(position.organization_no) > position.cursor or (
                position.retrying or position.replaying
            ):
                self.load(no)
        movable = max(1, len(self.roster) // MOVED_PART) - self._moved
        if surplus and movable > 0:
            await self._hand_over(min(surplus, movable))

    async def check(self, leases: Sequence[Lease]) -> None:
        """Find out whether the worker itself is given up, after settlements were rejected under these leases."""
        with contextlib.suppress(Unavailable):
            if not await self._renew():
                self._lose()
                return
        self.telemetry.warning("worker.leases_lost", count=len(leases))

    @property
    def _lease_us(self) -> int:
        return int(self.lease_s * SECOND)

    async def _renew(self) -> bool:
        began_s = self._loop.time()
        lapsed = began_s >= self.term.until_s
        if not await self.ledger.renew(self.worker_id, self._lease_us):
            return False
        self.term.until_s = began_s + self.lease_s
        if lapsed:
            for forwarder in self.roster.forwarders():
                forwarder.wake()
        return True

    async def _hand_over(self, count: int) -> None:
        """Give destinations to a worker that has fewer: those that are idle here, and whose outcomes are all stored.

        What the store could not take would be found out again by the other worker, so such a destination stays.
        Raises: Unavailable.
        """
        self._moved += count  # at once: another claim may end while this one waits
        await self.flush()
        # Nothing is awaited between this look and the removal: an event that comes in between would be sent twice.
        idle = [one.position.lease for _, one in self.roster if one.forwarder is None or one.forwarder.idle]
        given = idle[:count]
        for lease in given:
            self.roster.remove(lease.destination_no)
        self._moved -= count - len(given)
        if given:
            await self.ledger.release(self.worker_id, given)

    def _lose(self) -> None:
        self.telemetry.warning("worker.lease_lost", worker_id=self.worker_id, reason="expired")
        self.lost.set()
