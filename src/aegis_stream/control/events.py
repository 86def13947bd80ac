"""The log for people: list events, and tell what became of one at every destination."""

from typing import Literal, NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.errors import NotFound
from aegis_stream.ports import EventLabel, LogEntry
from aegis_stream.store import attempts, dead_letters, destinations, replays
from aegis_stream.store.attempts import AttemptQuery
from aegis_stream.store.database import Unit

from . import organizations
from .caller import Caller
from .deps import ControlDeps

SCAN_MAX = 20_000
"""Most events that one listing searches for matches; the next page continues from there."""
SCAN_STEP = 1000
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Most bytes of bodies in one page, unless its first event is larger: the next page continues from there."""
DESTINATIONS_SHOWN_MAX = 200

State = Literal["pending", "retrying", "delivered", "dead_letter", "filtered"]


class EventQuery(NamedTuple):
    """Which events to list.

    Args:
        dataset, decision: only events with these; None for all.
        since, until: only events received in this span, both inclusive; None for no bound.
        after: the list begins after this sequence.
        limit: most events to return.
    """

    dataset: str | None
    decision: str | None
    since: Micros | None
    until: Micros | None
    after: int
    limit: int


class EventPage(NamedTuple):
    """Events in log order, and the sequence after which the next page begins; None after the last page."""

    found: list[LogEntry]
    following: int | None


class DeliveryState(NamedTuple):
    """What became of an event at one destination."""

    dst_id: str
    state: State
    attempts: int = 0
    status_code: int | None = None
    message: str | None = None
    next_attempt_at: Micros | None = None


async def list_of(deps: ControlDeps, caller: Caller, query: EventQuery) -> EventPage:
    """List events as stored, in log order. Raises: Unavailable."""
    organization, oldest = await organizations.find_with_oldest(deps, caller.org_id)
    no, after, last = organization.no, query.after, organization.head
    if query.since is not None:
        after = max(after, await deps.log.sequence_at(no, query.since, oldest, last) - 1)
    if query.until is not None:
        last = await deps.log.last_until(no, query.until, oldest, last)
    chosen, following = await _choose(deps, no, query, after, last)
    return EventPage(await deps.log.entries_at(no, chosen), following)


async def _choose(
    deps: ControlDeps, no: OrganizationNo, query: EventQuery, after: int, last: int
) -> tuple[list[int], int | None]:
    """Choose the events of a page by their labels and sizes.

    Returns: their sequences, and the one after which the next page begins; None after the last page.
    """
    chosen: list[int] = []
    size = scanned = 0
    step_size = SCAN_STEP if query.dataset or query.decision else query.limit + 1
    while after < last and scanned < SCAN_MAX:
        step = await deps.log.labels(no, after, last, step_size)
        for one in step:
            if _matches(one, query):
                if len(chosen) == query.limit or (chosen and size + one.size > PAGE_BYTES_MAX):
                    return chosen, chosen[-1]
                chosen.append(one.sequence)
                size += one.size
        if not step:
            return chosen, None
        after, scanned = step[-1].sequence, scanned + len(step)
    return chosen, after if after < last else None


def _matches(label: EventLabel, query: EventQuery) -> bool:
    return query.dataset in (None, label.dataset) and query.decision in (None, label.decision)


async def read(deps: ControlDeps, caller: Caller, event_id: str) -> tuple[LogEntry, list[DeliveryState]]:
    """Return an event, and what became of it at every destination that it was meant for. Raises: NotFound, Unavailable."""
    entry = await deps.log.entry(caller.organization_no, event_id)
    if entry is None:
        raise NotFound(
            "there is no event with this id in this organization; it may be older than the retention time"
        )

    def work(unit: Unit) -> list[DeliveryState]:
        found = destinations.list_of(unit, deps.sealer, caller.organization_no, "", DESTINATIONS_SHOWN_MAX)
        states = [_delivery_at(unit, one, entry) for one in found]
        return [one for one in states if one is not None]

    return entry, await deps.db.read(work)


def _delivery_at(unit: Unit, destination: Destination, entry: LogEntry) -> DeliveryState | None:
    """Tell what became of an event at one destination; None when it was recorded before the destination was created."""
    sequence, dst_id = entry.sequence, destination.dst_id
    tried = attempts.list_of(unit, destination, AttemptQuery(None, sequence, 2**62, 1))
    newest = tried[0] if tried else None
    status_code, message = (newest.status_code, newest.message) if newest else (None, None)
    if (retry := attempts.find_retry(unit, destination, sequence)) is not None:
        return DeliveryState(
            dst_id,
            "retrying" if retry.attempts else "pending",
            retry.attempts,
            retry.status_code or status_code,
            retry.message or message,
            retry.due_at if retry.attempts else None,
        )
    if (dead := dead_letters.find(unit, destination, sequence)) is not None:
        return DeliveryState(dst_id, "dead_letter", dead.attempts, dead.status_code, dead.message)
    if newest is not None and newest.state == "delivered":
        return DeliveryState(dst_id, "delivered", newest.attempt, status_code)
    progress = destinations.progress(unit, destination)
    replayed_through = replays.cursor_over(unit, destination, sequence)
    if sequence <= progress.start_sequence and replayed_through is None:
        return None
    if not destination.spec.filter.wants(entry.dataset, entry.decision):
        return DeliveryState(dst_id, "filtered")
    failed = (newest.attempt if newest else 0, status_code, message)
    if sequence > (progress.cursor if replayed_through is None else replayed_through):
        return DeliveryState(dst_id, "pending", *failed)
    if newest is not None:  # failed for good, and its dead letter was purged
        return DeliveryState(dst_id, "dead_letter", *failed)
    # Its row in the attempt log is older than the retention time.
    return DeliveryState(dst_id, "delivered", 1)
