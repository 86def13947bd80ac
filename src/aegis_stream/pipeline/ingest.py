"""Raw items in, durable events out: check → fill in → append (steps 2 and 3).

`record` returns only after the transaction with the events is committed and synced; then the caller may answer 202.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aegis_stream.domain.compact import parse_compact_array, parse_compact_lines
from aegis_stream.domain.event import DEFAULT_LIMITS, EventLimits, NewEvent, Rejection
from aegis_stream.domain.ids import RANDOM_BYTES, EventId, OrganizationId, OrganizationNo, new_id
from aegis_stream.domain.parsing import parse_event
from aegis_stream.domain.wrappers import Wrapped, wrapped
from aegis_stream.errors import OutOfRoom, Unavailable
from aegis_stream.ports import Appended, Clock, EventLog, Notifier, Random

from .quotas import IngestQuotas

EVENT_PREFIX = "pflt"
T = TypeVar("T")
WARNINGS_MAX: Final = 100
"""Most items of a request that are warned about."""


class Recorded:
    """The result for the items of a request; a plain class, because a dataclass costs more for each request.

    Args:
        accepted: how many events are new in the log.
        duplicates: how many events were already in the log, byte for byte.
        rejected: (index in the request, rejection) of the others, by index.
        events: the valid events, in the order of the request.
        appended: where they are in the log; None if no event was valid.
        wrappers: (index in the request, what it holds) of events that look like many, at most WARNINGS_MAX.
    """

    __slots__ = ("accepted", "appended", "duplicates", "events", "rejected", "wrappers")

    def __init__(self, check: "Check", appended: Appended | None) -> None:
        self.accepted = appended.added if appended is not None else 0
        self.duplicates = len(appended.duplicates) if appended is not None else 0
        self.rejected: list[tuple[int, Rejection]] = check.rejected
        self.events: list[NewEvent] = check.events
        self.appended = appended
        self.wrappers: list[tuple[int, Wrapped]] = check.wrappers


class Check:
    """Items on their way from bytes to events, one after the other, so that a caller may pause between two of them."""

    __slots__ = (
        "_limits",
        "_make_id",
        "_reserved",
        "events",
        "indexes",
        "now",
        "org_id",
        "rejected",
        "wrappers",
    )

    def __init__(self, ingest: "Ingest", org_id: OrganizationId, *, reserved: bool, relayed: bool) -> None:
        self.events: list[NewEvent] = []
        self.indexes: list[int] = []
        self.rejected: list[tuple[int, Rejection]] = []
        self.wrappers: list[tuple[int, Wrapped]] = []
        self._limits, self.org_id, self._reserved = ingest.limits, org_id, reserved
        self.now = ingest.clock.now()
        self._make_id = None if relayed else ingest.make_id

    def take(self, index: int, item: bytes) -> None:
        """Check one item; `index` is its place in the request."""
        parsed = parse_event(
            item, self.org_id, self.now, self._make_id, reserved=self._reserved, limits=self._limits
        )
        if isinstance(parsed, NewEvent):
            self.events.append(parsed)
            self.indexes.append(index)
            if parsed.raw is not None and len(self.wrappers) < WARNINGS_MAX:
                found = wrapped(item)
                if found is not None:
                    self.wrappers.append((index, found))
        else:
            self.rejected.append((index, parsed))

    def take_all(self, data: bytes, count_max: int, *, lines: bool) -> bool:
        """Check whole lines, or an array, as the next items, in one pass; False when they need a look one by one: then none is taken.

        Args:
            count_max: most events of a request.
        """
        parse = parse_compact_lines if lines else parse_compact_array
        events = parse(data, self.org_id, self._limits)
        count = len(self.events)
        if events is None or count + len(events) > count_max:
            return False
        self.events += events
        self.indexes += range(count, count + len(events))
        return True

    def recorded(self, appended: Appended | None) -> Recorded:
        """Return what became of the items; None when none was valid."""
        if appended is not None and appended.conflicts:
            for place, sequence in appended.conflicts.items():
                message = (
                    f"belongs to event {sequence}, which has another body: send this event with a new id"
                )
                rejection = Rejection(self.events[place].event_id, "event.id", message, "conflict")
                self.rejected.append((self.indexes[place], rejection))
            self.rejected.sort(key=lambda one: one[0])
        return Recorded(self, appended)


async def outcome_of(begin: Callable[[Callable[[T | Exception], None]], None]) -> T:
    """Wait for what tells its outcome by a call.

    Args:
        begin: begins it; is given what must be called with the result, or with the exception that is raised here.
    """
    done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def ended(result: T | Exception) -> None:
        if done.done():
            return
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

    begin(ended)
    return await done


@dataclass(slots=True)
class Ingest:
    """Records events of all organizations; one instance per process.

    Args:
        queue_bytes_max: most bytes of events that wait for their commit.
        limits: limits of an event.
        quotas: of the organizations.
    """

    log: EventLog
    clock: Clock
    random: Random
    notifier: Notifier
    queue_bytes_max: int
    limits: EventLimits = DEFAULT_LIMITS
    quotas: IngestQuotas = field(default_factory=IngestQuotas)
    _queued_bytes: int = field(default=0)

    async def record(
        self,
        organization_no: OrganizationNo,
        org_id: OrganizationId,
        items: Seq[bytes],
        *,
        reserved: bool = False,
    ) -> Recorded:
        """Check items, append the valid ones and wake the workers.

        Args:
            items: one JSON document each.
            reserved: the items come from the service itself.
        Raises: Unavailable, and Limited and OutOfRoom for a quota; then nothing is stored.
        """
        check = self.check(org_id, reserved=reserved)
        for index, item in enumerate(items):
            check.take(index, item)
        if not check.events:
            return check.recorded(None)
        return await outcome_of(lambda ended: self.append(organization_no, check, ended))

    def check(self, org_id: OrganizationId, *, reserved: bool = False, relayed: bool = False) -> Check:
        """Begin to check the items of a request.

        Args:
            reserved: the items come from the service itself.
            relayed: the items come from a delivery of this product. They must have ids, which a loop runs into as
                duplicates; with new ids it would never end.
        """
        return Check(self, org_id, reserved=reserved, relayed=relayed)

    def append(
        self, organization_no: OrganizationNo, check: Check, ended: Callable[[Recorded | Exception], None]
    ) -> None:
        """Append the events that passed a check, at least one, and wake the workers.

        Args:
            ended: called once with what became of the items, or with why nothing is stored (Unavailable; Limited and OutOfRoom
                for a quota).
        """
        events = check.events
        size = sum([event.size for event in events])
        if self._queued_bytes + size > self.queue_bytes_max and self._queued_bytes:
            message = "too many events are waiting to be stored: send them again later"
            ended(Unavailable(message, code="ingest-queue-full"))
            return
        if self.quotas.active:
            refusal = self.quotas.refusal(organization_no, check.org_id, size, self.clock.steady())
            if refusal is not None:
                ended(refusal)
                return
        self._queued_bytes += size

        def appended(result: Appended | Exception) -> None:
            self._queued_bytes -= size
            if isinstance(result, Exception):
                if isinstance(result, OutOfRoom):
                    self.quotas.out_of_room(organization_no, check.org_id, result, self.clock.steady())
                ended(result)
                return
            if result.added:
                self.notifier.notify(organization_no, result.head)
            ended(check.recorded(result))

        self.log.append(organization_no, events, check.now, appended)

    def make_id(self) -> EventId:
        """Return an id for an event that has none."""
        return EventId(new_id(EVENT_PREFIX, self.clock.now(), self.random.random_bytes(RANDOM_BYTES)))
