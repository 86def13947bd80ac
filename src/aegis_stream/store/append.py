"""Appends events to logs: functions of a unit of work, in the append lane, and in the control lane for audit events."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo
from aegis_stream.domain.parsing import is_same_submission
from aegis_stream.ports import Appended, AppendEnded

from .database import Duplicate, HeadMoved, Unit, Value

EVENT_VALUES = 5
"""Values of one event that is appended: id, dataset, decision, body, checksum."""
CLOCK_STEP_US = 5 * 60 * SECOND
"""How far ahead of the clock the newest time of receipt may lie before it is taken for wrong, microseconds.

Within that, events get the time of the one before. Clocks of machines that share a store differ by less.
"""


@dataclass(slots=True)
class PendingAppend:
    """One caller's events, waiting for the next commit; `ended` is told where they are once they are durable.

    Not frozen: making a frozen one costs twice as much, for each request.
    """

    organization_no: OrganizationNo
    events: Seq[NewEvent]
    now: Micros
    ended: AppendEnded


def append_batch(unit: Unit, appends: Seq[PendingAppend]) -> list[Appended]:
    """Append everything in a batch, organization by organization, in ascending order: the order in which all lock head rows."""
    by_organization: dict[OrganizationNo, list[int]] = {}
    for index, one in enumerate(appends):
        by_organization.setdefault(one.organization_no, []).append(index)
    if len(by_organization) == 1:
        return _append_to_one(unit, appends)
    results: dict[int, Appended] = {}
    for _, indexes in sorted(by_organization.items()):
        results.update(zip(indexes, _append_to_one(unit, [appends[index] for index in indexes]), strict=True))
    return [results[index] for index in range(len(appends))]


def _append_to_one(unit: Unit, appends: Seq[PendingAppend]) -> list[Appended]:
    """Append to the log of one organization."""
    try:
        with unit.savepoint():
            return _append_new(unit, appends[0].organization_no, appends)
    except Duplicate:
        return [_append_checked(unit, one) for one in appends]


def _append_new(unit: Unit, organization_no: OrganizationNo, appends: Seq[PendingAppend]) -> list[Appended]:
    """Append in the belief that all ids are new: the unique index is the check, and it costs nothing extra. Raises: Duplicate."""
    values: list[Value] = []
    for one in appends:
        for event in one.events:
            values += (event.event_id, event.dataset, event.decision, event.body, event.checksum)
    moved = append_events(unit, organization_no, values, appends[-1].now)
    sequence = moved.head - len(values) // EVENT_VALUES
    results = []
    for one in appends:
        results.append(Appended(sequence + 1, len(one.events), moved.head))
        sequence += len(one.events)
    return results


def append_events(unit: Unit, organization_no: OrganizationNo, values: Seq[Value], now: Micros) -> HeadMoved:
    """Append events to a log.

    Args:
        values: id, dataset, decision, body and checksum of each event, event after event.
    Raises: Duplicate when an event with one of these ids exists; then roll back to a savepoint begun before the call.
    """
    moved = unit.append(organization_no, values, now, CLOCK_STEP_US)
    if moved.step_sequence == moved.head - len(values) // EVENT_VALUES + 1:
        unit.run("insert_clock_step", (organization_no, moved.step_sequence))
    return moved


def _append_checked(unit: Unit, one: PendingAppend) -> Appended:
    """Append where some ids are known already: look each one up, keep the new ones."""
    organization_no = one.organization_no
    seen: dict[str, tuple[int, str]] = {}
    duplicates: dict[int, int] = {}
    conflicts: dict[int, int] = {}
    values: list[Value] = []
    for index, event in enumerate(one.events):
        row = unit.row("event_by_id", (organization_no, event.event_id))
        known = (row[0], row[4].decode("utf-8", "replace")) if row is not None else seen.get(event.event_id)
        if known is None:
            values += (event.event_id, event.dataset, event.decision, event.body, event.checksum)
            seen[event.event_id] = (-len(values) // EVENT_VALUES, event.body)
        else:
            (duplicates if is_same_submission(event, known[1]) else conflicts)[index] = known[0]
    head = append_events(unit, organization_no, values, one.now).head
    added = len(values) // EVENT_VALUES
    base = head - added
    # Repeats within one request were noted by their place among the new ones, before sequences were known.
    for found in (duplicates, conflicts):
        for index, sequence in found.items():
            found[index] = base - sequence if sequence < 0 else sequence
    return Appended(base + 1, added, head, duplicates, conflicts)
