"""Sending one event again: it becomes a retry with no attempt made, like a dead letter that is redriven. Functions of a unit of work."""

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import OrganizationNo

from . import attempts
from .attempts import AttemptQuery
from .database import Unit
from .dead_letter_rows import redrive_these
from .destinations import progress, touch
from .records import key_of


def sequence_of(unit: Unit, organization_no: OrganizationNo, event_id: str) -> int | None:
    """Return the sequence of an event; None when it is not in the log."""
    row = unit.row("event_by_id", (organization_no, event_id))
    return int(row[0]) if row is not None else None


def send_again(unit: Unit, destination: Destination, sequence: int) -> bool:
    """Make an event pending at a destination, with all its attempts; its dead letter there goes.

    Returns: False when it waits in the log for its first attempt, and so nothing was to be done.
    """
    key = key_of(destination)
    unit.row("lock_cursor", key)
    if _waits(unit, destination, sequence):
        return False
    moved, made = redrive_these(unit, key, [sequence])
    if not moved:
        fresh = (0, 0, None, None, *key, sequence)
        made = 0 if unit.run("update_retry", fresh) else unit.run("insert_retry", fresh)
    unit.run("count_redriven", (moved, made, *key))
    touch(unit, destination)
    return True


def _waits(unit: Unit, destination: Destination, sequence: int) -> bool:
    if sequence <= progress(unit, destination).cursor:
        return False
    return not attempts.list_of(unit, destination, AttemptQuery(None, sequence, 2**62, 1))
