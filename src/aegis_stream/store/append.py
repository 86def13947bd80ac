"""Appends events to logs: functions of a unit of work, in the append lane, and in the control lane for audit events."""

from collections.abc import Sequence as Seq

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo
from aegis_stream.domain.parsing import is_same_submission
from aegis_stream.errors import OutOfRoom
from aegis_stream.ports import Appended, AppendEnded

from .database import Duplicate, HeadMoved, Unit, Value

EVENT_VALUES = 5
"""Values of one event that is appended: id, dataset, decision, body, checksum."""
CLOCK_STEP_US = 5 * 60 * SECOND
"""How far ahead of the clock the newest time of receipt may lie before it is taken for wrong, microseconds.

Within that, events get the time of the one before. Clocks of machines that share a store differ by less.
"""


class PendingAppend:
    """One caller's events, waiting for the next commit; `ended` is told where they are once they are durable."""

    __slots__ = ("ended", "events", "now", "organization_no")

    def __init__(
        self, organization_no: OrganizationNo, events: Seq[NewEvent], now: Micros, ended: AppendEnded
    ) -> None:
        self.organization_no = organization_no
        self.events = events
        self.now = now
        self.ended = ended


def append_batch(
    unit: Unit, appends: Seq[PendingAppend], stored_bytes_max: int
) -> list[Appended | OutOfRoom]:
    """Append everything in a batch, organization by organization, in ascending order: the order in which all lock head rows.

    Args:
        stored_bytes_max: quota of an organization that has none of its own; 0 for no limit.
    Returns: for each append where its events are, or that the organization's quota has no room for them.
    """
    by_organization: dict[OrganizationNo, list[int]] = {}
    for index, one in enumerate(appends):
        by_organization.setdefault(one.organization_no, []).append(index)
    if len(by_organization) == 1:
        return _append_to_one(unit, appends, stored_bytes_max)
    results: dict[int, Appended | OutOfRoom] = {}
    for _, indexes in sorted(by_organization.items()):
        appended = _append_to_one(unit, [appends[index] for index in indexes], stored_bytes_max)
        results.update(zip(indexes, appended, strict=True))
    return [results[index] for index in range(len(appends))]


def _append_to_one(
    unit: Unit, appends: Seq[PendingAppend], stored_bytes_max: int
) -> list[Appended | OutOfRoom]:
    """Append to the log of one organization."""
    try:
        with unit.savepoint():
            return _append_new(unit, appends[0].organization_no, appends, stored_bytes_max)
    except Duplicate:
        return [_append_alone(unit, one, stored_bytes_max) for one in appends]
    except OutOfRoom as error:
        return _append_what_fits(unit, appends, error, stored_bytes_max)


def _append_what_fits(
    unit: Unit, appends: Seq[PendingAppend], error: OutOfRoom, stored_bytes_max: int
) -> list[Appended | OutOfRoom]:
    """Append those for which the quota has room, one by one.

    One that does not fit as a whole is not even searched for events that are stored already: that would cost the others more than
    the events themselves.

    Args:
        error: what the quota had room for before.
    """
    results: list[Appended | OutOfRoom] = []
    stored_bytes, quota = error.stored_bytes, error.stored_bytes_max
    for one in appends:
        size = sum([event.size for event in one.events])
        if stored_bytes + size > quota:
            results.append(OutOfRoom(size, stored_bytes, quota))
            continue
        result = _append_alone(unit, one, stored_bytes_max)
        results.append(result)
        if isinstance(result, Appended):
            stored_bytes += size  # at most: repeated events take no room
    return results


def _append_alone(unit: Unit, one: PendingAppend, stored_bytes_max: int) -> Appended | OutOfRoom:
    """Append the events of one caller, looking each one up."""
    try:
        with unit.savepoint():
            return _append_checked(unit, one, stored_bytes_max)
    except OutOfRoom as error:
        return error


def _append_new(
    unit: Unit, organization_no: OrganizationNo, appends: Seq[PendingAppend], stored_bytes_max: int
) -> list[Appended | OutOfRoom]:
    """Append in the belief that all ids are new: the unique index is the check, and it costs nothing extra.

    Raises: Duplicate, OutOfRoom; then roll back.
    """
    values: list[Value] = []
    size = 0
    for one in appends:
        for event in one.events:
            values += (event.event_id, event.dataset, event.decision, event.body, event.checksum)
            size += event.size
    moved = append_events(unit, organization_no, values, size, appends[-1].now)
    _check_room(moved, size, stored_bytes_max)
    sequence = moved.head - len(values) // EVENT_VALUES
    results: list[Appended | OutOfRoom] = []
    for one in appends:
        results.append(Appended(sequence + 1, len(one.events), moved.head))
        sequence += len(one.events)
    return results


def append_events(
    unit: Unit, organization_no: OrganizationNo, values: Seq[Value], size: int, now: Micros
) -> HeadMoved:
    """Append events to a log, whatever the organization's quota.

    Args:
        values: id, dataset, decision, body and checksum of each event, event after event.
        size: bytes of all bodies.
    Raises: Duplicate when an event with one of these ids exists; then roll back to a savepoint begun before the call.
    """
    moved = unit.append(organization_no, values, size, now, CLOCK_STEP_US)
    if moved.step_sequence == moved.head - len(values) // EVENT_VALUES + 1:
        unit.run("insert_clock_step", (organization_no, moved.step_sequence))
    return moved


def _check_room(moved: HeadMoved, size: int, stored_bytes_max: int) -> None:
    """Check the organization's quota after an append; one that adds nothing always has room. Raises: OutOfRoom."""
    quota = stored_bytes_max if moved.stored_bytes_max is None else moved.stored_bytes_max
    if quota and moved.stored_bytes > quota and size:
        raise OutOfRoom(size, moved.stored_bytes - size, quota)


def _append_checked(unit: Unit, one: PendingAppend, stored_bytes_max: int) -> Appended:
    """Append where some ids are known already: look each one up, keep the new ones. Raises: OutOfRoom; then roll back."""
    organization_no = one.organization_no
    seen: dict[str, tuple[int, str]] = {}
    duplicates: dict[int, int] = {}
    conflicts: dict[int, int] = {}
    values: list[Value] = []
    size = 0
    for index, event in enumerate(one.events):
        row = unit.row("event_by_id", (organization_no, event.event_id))
        known = (row[0], row[4].decode("utf-8", "replace")) if row is not None else seen.get(event.event_id)
        if known is None:
            values += (event.event_id, event.dataset, event.decision, event.body, event.checksum)
            size += event.size
            seen[event.event_id] = (-len(values) // EVENT_VALUES, event.body)
        else:
            (duplicates if is_same_submission(event, known[1]) else conflicts)[index] = known[0]
    moved = append_events(unit, organization_no, values, size, one.now)
    _check_room(moved, size, stored_bytes_max)
    head = moved.head
    added = len(values) // EVENT_VALUES
    base = head - added
    # Repeats within one request were noted by their place among the new ones, before sequences were known.
    for found in (duplicates, conflicts):
        for index, sequence in found.items():
            found[index] = base - sequence if sequence < 0 else sequence
    return Appended(base + 1, added, head, duplicates, conflicts)
