"""What became of each event of a page at each destination, in one read."""

from collections.abc import Sequence as Seq
from typing import Literal, NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.ports import LogEntry
from aegis_stream.store import destinations
from aegis_stream.store.database import Unit
from aegis_stream.store.event_states import EVENTS_MAX, Known, known_about

from .caller import Caller
from .deps import ControlDeps
from .events import DESTINATIONS_SHOWN_MAX

PAGE_MAX = EVENTS_MAX
"""Most events of a page whose states are told."""
State = Literal["dead_letter", "retrying", "paused", "pending", "filtered", "delivered"]
STATES: tuple[State, ...] = ("dead_letter", "retrying", "paused", "pending", "filtered", "delivered")
"""The states, the worst first."""


class EventState(NamedTuple):
    """The state of an event at one destination."""

    dst_id: str
    name: str
    state: State


async def states_of(deps: ControlDeps, caller: Caller, entries: Seq[LogEntry]) -> dict[int, list[EventState]]:
    """Return the states of up to PAGE_MAX events by their sequences. Raises: Unavailable.

    A destination is missing where it was created after the event. A dead letter that was purged counts as delivered: the page
    of the event tells them apart.
    """
    if not entries:
        return {}
    no = caller.organization_no

    def work(unit: Unit) -> dict[int, list[EventState]]:
        known = known_about(unit, no, [one.sequence for one in entries])
        found = destinations.list_of(unit, deps.sealer, no, "", DESTINATIONS_SHOWN_MAX)
        return {
            entry.sequence: [
                EventState(one.dst_id, one.spec.name or one.dst_id, state)
                for one in found
                if (state := state_at(one, entry, known)) is not None
            ]
            for entry in entries
        }

    return await deps.db.read(work)


def state_at(destination: Destination, entry: LogEntry, known: Known) -> State | None:
    """Tell the state of an event at a destination; None where it was recorded before the destination was created."""
    place, key = known.places.get(destination.no), (destination.no, entry.sequence)
    waits: State = "pending" if destination.spec.enabled else "paused"
    if key in known.retries:
        return "retrying" if known.retries[key] and destination.spec.enabled else waits
    if key in known.dead:
        return "dead_letter"
    if place is None:
        return None
    cursor = place.cursor
    for number, first, last, reached in known.replays:
        if number == destination.no and first <= entry.sequence <= last:
            cursor = reached
            break
    else:
        if entry.sequence <= place.start:
            return None
    if not destination.spec.filter.wants(entry.dataset, entry.decision):
        return "filtered"
    return "delivered" if entry.sequence <= cursor else waits
