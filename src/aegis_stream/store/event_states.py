"""What became of the events of a page at all destinations, in a few reads whatever their number: functions of a unit of work."""

from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.ids import DestinationNo, OrganizationNo

from .database import Unit

EVENTS_MAX = 50
"""Most events asked about at once: the statements have so many places."""
REPLAYS_MAX = 200
"""Most replays that are looked at, the newest: they tell what became of events from before a destination was created."""


class Place(NamedTuple):
    """How far a destination has come: it began after `start`, and what is not above `cursor` is settled or an exception."""

    start: int
    cursor: int


class Known(NamedTuple):
    """What is stored about a page of events.

    Args:
        places: of all destinations.
        retries: attempts made for an event that waits for its next one, by destination and sequence.
        dead: dead letters.
        replays: destination, first and last sequence, and cursor, the newest first.
    """

    places: dict[DestinationNo, Place]
    retries: dict[tuple[DestinationNo, int], int]
    dead: set[tuple[DestinationNo, int]]
    replays: list[tuple[DestinationNo, int, int, int]]


def known_about(unit: Unit, organization_no: OrganizationNo, sequences: Seq[int]) -> Known:
    """Return what is stored about events, 1 to EVENTS_MAX of them."""
    padded = [*sequences, *[sequences[-1]] * (EVENTS_MAX - len(sequences))]
    first, last = min(sequences), max(sequences)
    places = {row[0]: Place(row[1], row[2]) for row in unit.rows("places_of", (organization_no,))}
    replays = []
    if any(one.start >= first for one in places.values()):
        found = unit.rows("replays_between", (organization_no, last, first, REPLAYS_MAX))
        replays = [(row[0], row[1], row[2], row[3]) for row in found]
    return Known(
        places,
        {(row[0], row[1]): row[2] for row in unit.rows("retries_at", (organization_no, *padded))},
        {(row[0], row[1]) for row in unit.rows("dead_letters_at", (organization_no, *padded))},
        replays,
    )
