"""The journey of one event: where it came in, every attempt at every destination, and where it stands."""

from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.ports import LogEntry
from aegis_stream.store import attempts, destinations
from aegis_stream.store.attempts import AttemptQuery, AttemptRow
from aegis_stream.store.database import Unit

from .caller import Caller
from .deps import ControlDeps
from .events import DESTINATIONS_SHOWN_MAX, DeliveryState, delivery_at, find

Attempt = AttemptRow
ATTEMPTS_MAX = 20
"""Most attempts that a lane shows, the newest."""


class Lane(NamedTuple):
    """An event at one destination.

    Args:
        state: None where the destination was created after the event, and never got it.
        attempts: the oldest first. One that was a run of events answered alike has the run's time and mean latency.
    """

    destination: Destination
    state: DeliveryState | None
    attempts: list[Attempt]


@dataclass(frozen=True, slots=True)
class Journey:
    """One event, a lane for each destination, and the ids of its neighbours in the log, None where there are none."""

    entry: LogEntry
    lanes: list[Lane]
    previous_id: str | None
    next_id: str | None


async def read(deps: ControlDeps, caller: Caller, event_id: str) -> Journey:
    """Return the journey of an event. Raises: NotFound, Unavailable."""
    entry = await find(deps, caller, event_id)
    no, sequence = caller.organization_no, entry.sequence
    neighbours = await deps.log.event_ids(no, sequence - 1, sequence + 1)

    def work(unit: Unit) -> list[Lane]:
        found = destinations.list_of(unit, deps.sealer, no, "", DESTINATIONS_SHOWN_MAX)
        return [_lane(unit, one, entry) for one in found]

    lanes = await deps.db.read(work)
    return Journey(entry, lanes, neighbours.get(sequence - 1), neighbours.get(sequence + 1))


def _lane(unit: Unit, destination: Destination, entry: LogEntry) -> Lane:
    tried = attempts.list_of(unit, destination, AttemptQuery(None, entry.sequence, 2**62, ATTEMPTS_MAX))
    return Lane(destination, delivery_at(unit, destination, entry), tried[::-1])
