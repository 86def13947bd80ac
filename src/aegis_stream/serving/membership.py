"""Registers a running `aegis serve` in the database, and learns how many API processes there are on all machines.

Their number divides the limits of calls and the quotas of bytes a second. The `aegis serve` that has been registered longest
reports the sums over the whole store, so that whoever adds up the metrics of all machines counts nothing twice.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial

from aegis_stream.api.counts import IngestCounts
from aegis_stream.api.standing import FOREVER_US, ServiceStanding
from aegis_stream.control.access import Access
from aegis_stream.domain.ids import SECOND
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Clock
from aegis_stream.store import processes
from aegis_stream.store.database import Database, Unit
from aegis_stream.store.nodes import is_of_node
from aegis_stream.store.opening import Location, is_alive, open_presence
from aegis_stream.telemetry import Log

RENEW_S = 2.5
"""Pause between two renewals, seconds."""
LEASE_S = 6.0
"""How long a silent `aegis serve` counts, seconds. With a renewal and FOLLOW_S, shares are right 10 seconds after one is lost."""
FOLLOW_S = 0.5
"""Pause between two looks of an API process at its share, seconds."""
LEAVE_S = 2.0
"""How long the end of a process may wait for its removal, seconds; if it fails, the registration expires."""


@dataclass(slots=True)
class Membership:
    """The registration of one `aegis serve`.

    Where several machines use the database it is renewed, and judged by the database's clock. On one machine the socket of a
    process shows that it lives, so nothing is written but at its start and its end.

    Args:
        api_processes: how many answer requests here.
        standing: what is learned goes there.
        clock: this machine's; what is reported ends by its steady time.
        telemetry: told when the store cannot be reached, and why: answers of the API do not say why.
    """

    db: Database
    location: Location
    node: str
    process_id: str
    api_processes: int
    standing: ServiceStanding
    clock: Clock
    telemetry: Log
    _fault: str = ""
    _renewed_us: int | None = None
    _judges_from_us: int = 0
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        if not self.location.shared:
            self.standing.report_until(FOREVER_US)  # unless another process here was first
        with contextlib.suppress(OSError):  # no descriptor: others on this machine take it for dead
            self._open.callback(open_presence(self.location, self.process_id).close)

    async def keep(self) -> None:
        """Renew the registration again and again, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(RENEW_S)

    async def renew(self) -> None:
        """Renew the registration, and learn who else is registered. A process that cannot keeps the share it has."""
        try:
            await self._renew()
        except Unavailable as error:
            if error.explained != self._fault:
                self._fault = error.explained
                self.telemetry.warning("service.store_unavailable", reason=self._fault)
        else:
            self._fault = ""

    async def _renew(self) -> None:
        began_us = self.clock.steady()
        known = self.db.peek(processes.registered)
        if known is None:
            known = await self.db.read(processes.registered)
        dead = [one.process_id for one in known if self._is_dead(one.process_id)]
        if dead or self.location.shared or all(one.process_id != self.process_id for one in known):
            known = await self.db.write(partial(self._register, dead, self._judges(began_us)))
            self._renewed_us = began_us
        self._note(known, began_us)

    async def leave(self) -> None:
        """End the registration, so that the others have its share at once."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.db.write(lambda unit: processes.remove(unit, [self.process_id]))
        self.close()

    def close(self) -> None:
        """Show no more that this process lives; its registration stays."""
        self._open.close()

    def _register(self, dead: list[str], judges: bool, unit: Unit) -> list[processes.Registered]:  # noqa: FBT001 - bound by partial
        processes.remove(unit, dead)
        lease_us = int(LEASE_S * SECOND)
        return processes.register(unit, self.process_id, self.api_processes, lease_us, judges=judges)

    def _is_dead(self, process_id: str) -> bool:
        """Tell whether a process of this machine is gone; those of other machines are judged by their leases."""
        if process_id == self.process_id or not is_of_node(process_id, self.node):
            return False
        try:
            return not is_alive(self.location, process_id)
        except OSError:
            return False  # no descriptor is free: the next turn finds out

    def _judges(self, now_us: int) -> bool:
        """Tell whether to remove those whose time is over.

        Not for one lease after the start, and after an outage that was longer than a lease: then the time of all is over, and
        the first to return would remove those that are about to.
        """
        lease_us = int(LEASE_S * SECOND)
        if self._renewed_us is None or now_us - self._renewed_us > lease_us:
            self._judges_from_us = now_us + lease_us
        return self.location.shared and now_us >= self._judges_from_us

    def _note(self, known: list[processes.Registered], began_us: int) -> None:
        self.standing.api_processes = sum(one.api_processes for one in known)
        if not known or known[0].process_id != self.process_id:
            self.standing.report_until(0)
        elif self.location.shared:
            # Nobody else is first before this time is over in the database, which counts it from later.
            self.standing.report_until(began_us + int(LEASE_S * SECOND))
        else:
            self.standing.report_until(FOREVER_US)


async def follow_others(counts: IngestCounts, access: Access) -> None:
    """Keep an API process to its share of the limits, and learn which keys somebody looks at in another one, until cancelled."""
    share = 0
    while True:
        if counts.standing.api_processes != share:
            share = counts.standing.api_processes
            access.share(share)
        counts.recent.refresh(access.clock.steady())
        await asyncio.sleep(FOLLOW_S)
