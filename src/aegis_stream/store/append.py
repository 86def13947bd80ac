"""Appends events to logs: functions of a unit of work, in the append lane, and in the control lane for audit events."""

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from typing import Final

from msgspec.structs import astuple

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo
from aegis_stream.domain.parsing import is_same_submission
from aegis_stream.errors import OutOfRoom, Unavailable
from aegis_stream.ports import Appended, AppendEnded

from .database import EVENT_VALUES, HeadMoved, LogAppend, NotAppended, Row, Unit, Value

_fields: Final = astuple
"""The first EVENT_VALUES fields of an event are the values that are stored; five reads of one field each take five times as long."""
LOOKED_UP_AT_ONCE = 64
"""Events looked up at once: 16 MiB of the largest."""
_UNREACHABLE = (
    "the part of the database that has this organization's events cannot be reached: nothing was stored"
)
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
) -> list[Appended | Unavailable]:
    """Append everything in a batch, organization by organization, in ascending order: the order in which all lock head rows.

    Args:
        stored_bytes_max: quota of an organization that has none of its own; 0 for no limit.
    Returns: for each append where its events are, or that the organization's quota has no room for them.
    """
    by_organization: dict[OrganizationNo, list[int]] = {}
    for index, one in enumerate(appends):
        by_organization.setdefault(one.organization_no, []).append(index)
    groups = [[appends[index] for index in indexes] for _, indexes in sorted(by_organization.items())]
    whole = [_whole(group) for group in groups]
    moved = unit.append_each(whole, CLOCK_STEP_US, stored_bytes_max)
    results: dict[int, Appended | Unavailable] = {}
    for group, found in zip(groups, moved, strict=True):
        appended = _appended(unit, group, found, stored_bytes_max)
        results.update(zip(by_organization[group[0].organization_no], appended, strict=True))
    return [results[index] for index in range(len(appends))]


def _whole(group: Seq[PendingAppend]) -> LogAppend:
    """Return the events of all callers of one organization, in the belief that all ids are new.

    The unique index is the check, and it costs nothing extra.
    """
    values: list[Value] = []
    size = 0
    for one in group:
        for event in one.events:
            values += _fields(event)[:EVENT_VALUES]
            size += event.size
    return LogAppend(group[0].organization_no, values, size, group[-1].now)


def _appended(
    unit: Unit, group: Seq[PendingAppend], found: HeadMoved | NotAppended, stored_bytes_max: int
) -> list[Appended | Unavailable]:
    """Return where the events of each caller of one organization are; append them one by one if that could not be done at once."""
    if found is NotAppended.KNOWN_ID:
        return [_append_alone(unit, one, stored_bytes_max) for one in group]
    if found is NotAppended.NO_ROOM:
        return _append_what_fits(unit, group, stored_bytes_max)
    if found is NotAppended.UNREACHABLE:
        return [Unavailable(_UNREACHABLE, code="store-unwritable")] * len(group)
    assert isinstance(found, HeadMoved), "it is one of the four"
    sequence = found.head - sum([len(one.events) for one in group])
    results: list[Appended | Unavailable] = []
    for one in group:
        results.append(Appended(sequence + 1, len(one.events), found.head))
        sequence += len(one.events)
    return results


def _append_what_fits(
    unit: Unit, appends: Seq[PendingAppend], stored_bytes_max: int
) -> list[Appended | Unavailable]:
    """Append those for which the quota has room, one by one.

    One that does not fit as a whole is not even searched for events that are stored already: that would cost the others more than
    the events themselves.
    """
    results: list[Appended | Unavailable] = []
    stored_bytes, quota = _lock_log(unit, appends[0].organization_no)
    if quota is None:
        quota = stored_bytes_max
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


def _append_alone(unit: Unit, one: PendingAppend, stored_bytes_max: int) -> Appended | Unavailable:
    """Append the events of one caller, looking each one up."""
    try:
        with unit.savepoint():
            return _append_checked(unit, one, stored_bytes_max)
    except OutOfRoom as error:
        return error


def append_events(
    unit: Unit, organization_no: OrganizationNo, values: Seq[Value], size: int, now: Micros
) -> HeadMoved:
    """Append events to a log, whatever the organization's quota.

    Args:
        values: id, dataset, decision, body and checksum of each event, event after event.
        size: bytes of all bodies.
    Raises: Duplicate when an event with one of these ids exists; then roll back to a savepoint begun before the call.
    """
    return unit.append(LogAppend(organization_no, values, size, now), CLOCK_STEP_US)


def _lock_log(unit: Unit, organization_no: OrganizationNo) -> tuple[int, int | None]:
    """Lock a log until the end of the transaction, so that what is looked up in it afterwards stays true.

    Returns: its stored bytes, and the organization's own quota of them; None where it has the default.
    """
    row = unit.row("lock_log", (organization_no,))
    return (row[0], row[1]) if row is not None else (0, None)


def _check_room(moved: HeadMoved, size: int, stored_bytes_max: int) -> None:
    """Check the organization's quota after an append; one that adds nothing always has room. Raises: OutOfRoom."""
    if size and moved.is_over(stored_bytes_max):
        quota = stored_bytes_max if moved.stored_bytes_max is None else moved.stored_bytes_max
        raise OutOfRoom(size, moved.stored_bytes - size, quota)


def _looked_up(unit: Unit, one: PendingAppend) -> Iterator[tuple[NewEvent, Row | None]]:
    """Yield the events of one caller, each with the stored event of the same id, if there is one."""
    for start in range(0, len(one.events), LOOKED_UP_AT_ONCE):
        events = one.events[start : start + LOOKED_UP_AT_ONCE]
        rows = unit.each([("event_by_id", (one.organization_no, event.event_id)) for event in events])
        yield from zip(events, rows, strict=True)


def _append_checked(unit: Unit, one: PendingAppend, stored_bytes_max: int) -> Appended:
    """Append where some ids are known already: look each one up, keep the new ones. Raises: OutOfRoom; then roll back."""
    organization_no = one.organization_no
    seen: dict[str, tuple[int, str]] = {}
    duplicates: dict[int, int] = {}
    conflicts: dict[int, int] = {}
    values: list[Value] = []
    size = 0
    _lock_log(unit, organization_no)
    for index, (event, row) in enumerate(_looked_up(unit, one)):
        known = (row[0], row[4].decode("utf-8", "replace")) if row is not None else seen.get(event.event_id)
        if known is None:
            values += _fields(event)[:EVENT_VALUES]
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
