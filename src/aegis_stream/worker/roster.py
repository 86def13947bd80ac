"""The destinations of a worker: one record for each, found by number or by organization."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from aegis_stream.delivery.forwarder import Forwarder
from aegis_stream.domain.delivery import Claimed
from aegis_stream.domain.ids import DestinationNo, OrganizationNo


@dataclass(slots=True, eq=False)
class Served:
    """One destination of this worker.

    Args:
        position: where its delivery stands, as far as no forwarder knows better.
        forwarder: None while there is nothing to send.
        halted: the forwarder that met a bug; none is made before the pause is over.
        reading: its configuration is being read.
        changed: it changed while it was being read, so what was read may be old.
        retry_s: pause before the next read after one that failed, seconds; 0 after one that did not.
        retry: the timer of that read.
        idle_since_s: since when the forwarder has had nothing to do, seconds of the event loop.
    """

    position: Claimed
    forwarder: Forwarder | None = None
    halted: Forwarder | None = None
    reading: bool = False
    changed: bool = False
    retry_s: float = 0.0
    retry: asyncio.TimerHandle | None = None
    idle_since_s: float | None = None

    @property
    def is_free(self) -> bool:
        """Tell whether nothing is in flight, and all outcomes are stored: then another worker can go on at once."""
        if self.halted is not None:
            return False
        return self.forwarder is None or (self.forwarder.attempts.idle and self.forwarder.account.is_settled)


@dataclass(slots=True)
class Roster:
    """Which destinations a worker serves, and how long the log of each organization is."""

    _served: dict[DestinationNo, Served] = field(default_factory=dict)
    _by_organization: dict[OrganizationNo, set[DestinationNo]] = field(default_factory=dict)
    _heads: dict[OrganizationNo, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._served)

    def __contains__(self, no: DestinationNo) -> bool:
        return no in self._served

    def __iter__(self) -> Iterator[tuple[DestinationNo, Served]]:
        return iter(list(self._served.items()))

    def get(self, no: DestinationNo) -> Served | None:
        """Return the record of a destination, or None when it is not ours."""
        return self._served.get(no)

    def add(self, position: Claimed) -> list[tuple[DestinationNo, Served]]:
        """Add a destination that was claimed.

        Returns: the others of its organization that may have something new to send. The claim may be the first to see that the log
            has grown, and a wake-up that comes behind it is no news to anybody.
        """
        no, organization_no = position.lease.destination_no, position.organization_no
        others = self.grown(organization_no, position.head)
        self._served[no] = Served(position)
        self._by_organization.setdefault(organization_no, set()).add(no)
        return others

    def remove(self, no: DestinationNo) -> None:
        """Remove a destination, which is deleted or another worker's, and close its connections."""
        one = self._served.pop(no, None)
        if one is None:
            return
        self._by_organization[one.position.organization_no].discard(no)
        if one.forwarder is not None:
            one.forwarder.close()

    def clear(self) -> None:
        """Remove everything."""
        for no, _ in self:
            self.remove(no)
        self._heads.clear()

    def forwarders(self) -> list[Forwarder]:
        """Return the forwarders at work."""
        return [one.forwarder for one in self._served.values() if one.forwarder is not None]

    def head(self, organization_no: OrganizationNo) -> int:
        """Return the newest sequence that is known of an organization."""
        return self._heads.get(organization_no, 0)

    def grown(self, organization_no: OrganizationNo, head: int) -> list[tuple[DestinationNo, Served]]:
        """Learn how long a log is; returns the destinations that may have something new to send."""
        if head <= self.head(organization_no):
            return []
        self._heads[organization_no] = head
        return [(no, self._served[no]) for no in self._by_organization.get(organization_no, ())]
