"""Raw items in, durable events out: validate → stamp → append (steps 2 and 3).

`record` returns only after the transaction with the events is committed and synced: whoever answers 202 may do so now.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from aegis_stream.domain.event import DEFAULT_LIMITS, EventLimits, NewEvent, Rejection
from aegis_stream.domain.ids import RANDOM_BYTES, EventId, OrganizationId, OrganizationNo, new_id
from aegis_stream.domain.parsing import parse_event
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Appended, Clock, EventLog, Notifier, Random

EVENT_PREFIX = "pflt"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a request's items.

    Args:
        accepted: how many are new in the log.
        duplicates: how many were there already, to the byte.
        rejected: (index in the request, why) of the others, in order.
        events: the valid ones, in order of the request.
        appended: where they are in the log; None when none was valid.
    """

    accepted: int
    duplicates: int
    rejected: list[tuple[int, Rejection]]
    events: list[NewEvent]
    appended: Appended | None


@dataclass(slots=True)
class Ingest:
    """Takes events for any organization; one instance a process.

    Args:
        queue_bytes_max: event bytes that may wait for their commit.
        limits: how large and how odd an event may be.
    """

    log: EventLog
    clock: Clock
    random: Random
    notifier: Notifier
    queue_bytes_max: int
    limits: EventLimits = DEFAULT_LIMITS
    _queued_bytes: int = field(default=0)

    async def record(
        self,
        organization_no: OrganizationNo,
        org_id: OrganizationId,
        items: Seq[bytes],
        *,
        reserved: bool = False,
        relayed: bool = False,
    ) -> Recorded:
        """Check items, append the valid ones, wake the workers.

        Args:
            items: one JSON document each.
            reserved: the items come from the service itself.
            relayed: the items come from a delivery of this product. They must have ids, which a loop runs into as
                duplicates; with new ids it would never end.
        Raises: Unavailable, and then nothing is stored.
        """
        now = self.clock.now()
        events: list[NewEvent] = []
        indexes: list[int] = []
        rejected: list[tuple[int, Rejection]] = []
        make_id = None if relayed else self._make_id
        for index, item in enumerate(items):
            parsed = parse_event(item, org_id, now, make_id, reserved=reserved, limits=self.limits)
            if isinstance(parsed, NewEvent):
                events.append(parsed)
                indexes.append(index)
            else:
                rejected.append((index, parsed))
        if not events:
            return Recorded(0, 0, rejected, events, None)
        appended = await self._append(organization_no, events)
        if appended.added:
            self.notifier.notify(organization_no, appended.head)
        for place, sequence in appended.conflicts.items():
            message = f"belongs to event {sequence}, which has another body: send this event with a new id"
            rejected.append(
                (indexes[place], Rejection(events[place].event_id, "event.id", message, "conflict"))
            )
        rejected.sort(key=lambda one: one[0])
        return Recorded(appended.added, len(appended.duplicates), rejected, events, appended)

    async def _append(self, organization_no: OrganizationNo, events: list[NewEvent]) -> Appended:
        size = sum([len(event.body) for event in events])
        if self._queued_bytes + size > self.queue_bytes_max and self._queued_bytes:
            raise Unavailable(
                "too many events are waiting to be stored: send them again later",
                code="ingest-queue-full",
            )
        self._queued_bytes += size
        try:
            return await self.log.append(organization_no, events, self.clock.now())
        finally:
            self._queued_bytes -= size

    def _make_id(self) -> EventId:
        return EventId(new_id(EVENT_PREFIX, self.clock.now(), self.random.random_bytes(RANDOM_BYTES)))
