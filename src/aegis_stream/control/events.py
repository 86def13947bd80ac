"""One event for people, and what became of it at every destination."""

from collections import Counter
from typing import Literal, NamedTuple

from aegis_stream.domain.destination import Destination, Filter
from aegis_stream.domain.ids import Micros
from aegis_stream.errors import NotFound
from aegis_stream.ports import LogEntry
from aegis_stream.store import attempts, dead_letters, destinations, replays
from aegis_stream.store.attempts import AttemptQuery
from aegis_stream.store.database import Unit

from . import organizations
from .caller import Caller
from .deps import ControlDeps

DESTINATIONS_SHOWN_MAX = 200
DATASETS_SHOWN_MAX = 20

State = Literal["pending", "retrying", "delivered", "dead_letter", "filtered"]


class DeliveryState(NamedTuple):
    """What became of an event at one destination."""

    dst_id: str
    state: State
    attempts: int = 0
    status_code: int | None = None
    message: str | None = None
    next_attempt_at: Micros | None = None


async def count_wanted(
    deps: ControlDeps, caller: Caller, wanted: Filter, looked_at_max: int
) -> tuple[int, int, list[str]]:
    """Count which of the newest events a filter lets pass.

    Args:
        looked_at_max: how many of the newest events to look at.
    Returns: how many pass, how many were looked at, and the datasets among these, the most frequent first.
    Raises: NotFound. Unavailable.
    """
    organization = await organizations.find(deps, caller.org_id)
    first = max(0, organization.head - looked_at_max)
    found = await deps.log.labels(organization.no, first, organization.head, looked_at_max)
    datasets = Counter(one.dataset for one in found)
    passing = sum(wanted.wants(one.dataset, one.decision) for one in found)
    return passing, len(found), [name for name, _ in datasets.most_common(DATASETS_SHOWN_MAX)]


async def find(deps: ControlDeps, caller: Caller, event_id: str) -> LogEntry:
    """Return an event. Raises: NotFound, Unavailable."""
    entry = await deps.log.entry(caller.organization_no, event_id)
    if entry is None:
        raise NotFound(
            "there is no event with this id in this organization; it may be older than the retention time"
        )
    return entry


async def read(deps: ControlDeps, caller: Caller, event_id: str) -> tuple[LogEntry, list[DeliveryState]]:
    """Return an event, and what became of it at every destination that it was meant for. Raises: NotFound, Unavailable."""
    entry = await find(deps, caller, event_id)

    def work(unit: Unit) -> list[DeliveryState]:
        found = destinations.list_of(unit, deps.sealer, caller.organization_no, "", DESTINATIONS_SHOWN_MAX)
        states = [delivery_at(unit, one, entry) for one in found]
        return [one for one in states if one is not None]

    return entry, await deps.db.read(work)


def delivery_at(unit: Unit, destination: Destination, entry: LogEntry) -> DeliveryState | None:
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
