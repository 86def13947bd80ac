"""Dead letters as they are stored, listed, redriven and purged: functions of a unit of work."""

from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros

from .database import Unit
from .destinations import touch
from .ledger import redrive_these
from .records import key_of


class DeadLetter(NamedTuple):
    """A dead letter as people see it."""

    sequence: int
    event_id: str
    attempts: int
    scope: str
    status_code: int | None
    message: str
    dead_at: Micros


def list_of(unit: Unit, destination: Destination, after: int, limit: int) -> list[DeadLetter]:
    """Return dead letters of a destination with a sequence above `after`, in log order."""
    rows = unit.rows("dead_letters_of", (*key_of(destination), after, limit))
    return [DeadLetter(*row) for row in rows]


def find(unit: Unit, destination: Destination, sequence: int) -> DeadLetter | None:
    """Return the dead letter of one event, or None."""
    found = list_of(unit, destination, sequence - 1, 1)
    return found[0] if found and found[0].sequence == sequence else None


def redrive(unit: Unit, destination: Destination, event_ids: Seq[str] | None) -> int:
    """Make dead letters pending again: all, or those of these events; each gets all its attempts again.

    Returns: how many dead letters were redriven.
    """
    key = key_of(destination)
    if event_ids is None:
        counts = unit.row("count_redrivable", key)
        assert counts is not None, "a count has one row"
        moved, retrying_already = counts
        unit.run("insert_redriven", key)
        unit.run("delete_dead_letters_of", key)
        made = moved - retrying_already
    else:
        sequences = _sequences(unit, destination, event_ids)
        moved, made = redrive_these(unit, key, sequences)
    unit.run("count_redriven", (moved, made, *key))
    touch(unit, destination)
    return int(moved)


def purge(unit: Unit, destination: Destination, event_id: str | None) -> int:
    """Delete dead letters for good: all, or that of one event. Returns how many."""
    if event_id is None:
        purged = unit.run("delete_dead_letters_of", key_of(destination))
    else:
        sequences = _sequences(unit, destination, [event_id])
        purged = sum(unit.run("delete_dead_letter", (*key_of(destination), one)) for one in sequences)
    unit.run("count_purged", (purged, *key_of(destination)))
    touch(unit, destination)
    return purged


def _sequences(unit: Unit, destination: Destination, event_ids: Seq[str]) -> list[int]:
    rows = [unit.row("dead_letter_by_event", (*key_of(destination), event_id)) for event_id in event_ids]
    return [row[0] for row in rows if row is not None]
