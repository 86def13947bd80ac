"""The event log in the database: append, and read on from a place (port EventLog).

Positions: one number holds organization and sequence, org_no · 2^40 + sequence, so that one organization's events lie
next to each other in the table, in order, and a page is one walk along it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from aegis_stream.domain.delivery import Page
from aegis_stream.domain.event import NewEvent, is_same_submission
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Appended, LogEntry

from .database import Database, Duplicate, Unit, Value

SEQUENCE_BITS = 40
"""Room for 10^12 events in each of four million organizations: 35 years at 1,000 events a second for one of them."""
RECORD_SEPARATOR = b"\x1e"
CLOCK_STEP_US = 5 * 60 * SECOND
"""How far ahead of the clock the newest time of receipt may lie before it is taken for wrong, microseconds.

Within that, events get the time of the one before. Clocks of machines that share a store differ by less.
"""


def position(organization_no: int, sequence: int) -> int:
    """Return where an event lies in the log table."""
    return organization_no << SEQUENCE_BITS | sequence


def sequence_of(place: int) -> int:
    """Return the sequence of a position."""
    return place & ((1 << SEQUENCE_BITS) - 1)


@dataclass(slots=True)
class _Append:
    """One caller's events, waiting for the next commit.

    Args:
        done: told when the commit that took them has ended.
        result: where they are in the log; true only once `done` says so.
    """

    organization_no: OrganizationNo
    events: Seq[NewEvent]
    now: Micros
    done: "asyncio.Future[Appended]"
    result: Appended | None = None


@dataclass(slots=True)
class StoredLog:
    """Port EventLog on the database."""

    db: Database
    _waiting: deque[_Append] = field(default_factory=deque)
    _asked: bool = False

    async def append(self, organization_no: OrganizationNo, events: Seq[NewEvent], now: Micros) -> Appended:
        """Append events of one organization; durable when this returns.

        Callers that wait at the same time share one transaction, one sync and one wake-up of the event loop.
        Raises: Unavailable, and then nothing is stored. After cancellation the events may or may not be stored.
        """
        waiting = _Append(organization_no, events, now, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._asked:
            self._asked = True
            taken: list[_Append] = []
            commit = self.db.submit(lambda unit: self._append_waiting(unit, taken))
            if commit.done():  # without threads a write is over when it begins
                self._ended(commit, taken)
            else:
                commit.add_done_callback(lambda commit: self._ended(commit, taken))
        return await waiting.done

    def _ended(self, commit: "asyncio.Future[None]", taken: list[_Append]) -> None:
        """Tell everyone how the commit ended that took them."""
        error = (
            commit.exception()
            if not commit.cancelled()
            else Unavailable("the store is closing", code="store-unwritable")
        )
        if error is not None and not taken:
            # It failed before it took anybody: so it is over for all who wait, and the next one asks anew.
            self._asked = False
            while self._waiting:
                taken.append(self._waiting.popleft())
        for one in taken:
            if one.done.done():
                continue
            if error is not None:
                one.done.set_exception(error)
            else:
                assert one.result is not None, "what is stored is somewhere"
                one.done.set_result(one.result)

    async def page(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page:
        """Read neighbouring events.

        Args:
            first: sequence of the first event wanted.
            last: sequence of the last one wanted; must be committed.
            bytes_max: stop before the bodies exceed this, but read at least one event.
            labels: read dataset and decision too.
        Returns: a page that begins at `first`; empty when there is nothing there.
        Raises: Unavailable.
        """
        return await self.db.read(
            lambda unit: _read_page(unit, organization_no, (first, last), bytes_max, labels=labels)
        )

    async def heads(self) -> dict[OrganizationNo, int]:
        """Return the newest sequence of every organization that has events."""
        rows = await self.db.read(lambda unit: unit.rows("heads"))
        return {OrganizationNo(no): head for no, head in rows}

    def changed(self) -> int:
        """Return a number that changes when another process has committed; cheap enough to ask every few milliseconds."""
        return self.db.changed()

    async def entry(self, organization_no: OrganizationNo, event_id: str) -> LogEntry | None:
        """Return one event by its own id, or None."""
        row = await self.db.read(lambda unit: unit.row("event_by_id", (organization_no, event_id)))
        if row is None:
            return None
        place, received_at, dataset, decision, body = row
        return LogEntry(sequence_of(place), event_id, Micros(received_at), dataset, decision, body)

    async def entries(
        self, organization_no: OrganizationNo, after: int, last: int, limit: int
    ) -> list[LogEntry]:
        """Return events with after < sequence <= last in log order, at most `limit`."""
        low, high = position(organization_no, after), position(organization_no, last)
        rows = await self.db.read(lambda unit: unit.rows("events_after", (low, high, limit)))
        return [LogEntry(sequence_of(place), *rest) for place, *rest in rows]

    async def event_ids(self, organization_no: OrganizationNo, first: int, last: int) -> dict[int, str]:
        """Return the ids of the events in a range, by sequence; those that retention removed are missing."""
        low, high = position(organization_no, first), position(organization_no, last)
        rows = await self.db.read(lambda unit: unit.rows("event_ids", (low, high)))
        return {sequence_of(place): event_id for place, event_id in rows}

    async def sequence_at(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the first event received at or after a time; head + 1 when there is none.

        Where the clock was set back, events after the one returned may have an earlier time.
        """

        def search(unit: Unit) -> int:
            for first, last in _stretches(unit, organization_no, oldest, head):
                found = _first_at(unit, organization_no, (first, last), at)
                if found <= last:
                    return found
            return head + 1

        return await self.db.read(search)

    async def last_until(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the last event received at or before a time; oldest - 1 when there is none.

        Where the clock was set back, events before the one returned may have a later time.
        """

        def search(unit: Unit) -> int:
            for first, last in reversed(_stretches(unit, organization_no, oldest, head)):
                found = _first_at(unit, organization_no, (first, last), Micros(at + 1)) - 1
                if found >= first:
                    return found
            return oldest - 1

        return await self.db.read(search)

    def _append_waiting(self, unit: Unit, taken: list[_Append]) -> None:
        """Append all that waits, organization by organization; runs on the writer's thread, inside its transaction."""
        # From here on a new caller must ask for another commit; only then is the queue emptied, so none is missed.
        self._asked = False
        while self._waiting:
            taken.append(self._waiting.popleft())
        by_organization: dict[OrganizationNo, list[_Append]] = {}
        for waiting in taken:
            by_organization.setdefault(waiting.organization_no, []).append(waiting)
        for organization_no, appends in by_organization.items():
            try:
                with unit.savepoint():
                    _append_new(unit, organization_no, appends)
            except Duplicate:
                _append_checked(unit, organization_no, appends)


def _append_new(unit: Unit, organization_no: OrganizationNo, appends: list[_Append]) -> None:
    """Append in the belief that all ids are new: the unique index is the check, and it costs nothing extra."""
    count = sum(len(one.events) for one in appends)
    head, received_at = advance_head(unit, organization_no, count, appends[-1].now)
    sequence = head - count
    values: list[Value] = []
    for one in appends:
        one.result = Appended(sequence + 1, len(one.events), head)
        sequence += len(one.events)
        for event in one.events:
            values += (event.event_id, event.dataset, event.decision, event.body)
    insert_events(unit, organization_no, head - count, received_at, values)


def insert_events(
    unit: Unit, organization_no: OrganizationNo, after: int, received_at: int, values: Seq[Value]
) -> None:
    """Write events behind a sequence; `values` are id, dataset, decision and body of each."""
    shared = (position(organization_no, after), organization_no, received_at)
    unit.insert("insert_event", shared, values, 4)


def _append_checked(unit: Unit, organization_no: OrganizationNo, appends: list[_Append]) -> None:
    """Append where some ids are known already: look each one up, keep the new ones."""
    for one in appends:
        seen: dict[str, tuple[int, str]] = {}
        duplicates: dict[int, int] = {}
        conflicts: dict[int, int] = {}
        fresh: list[tuple[int, NewEvent]] = []
        for index, event in enumerate(one.events):
            row = unit.row("event_by_id", (organization_no, event.event_id))
            known = (sequence_of(row[0]), row[4]) if row is not None else seen.get(event.event_id)
            if known is None:
                fresh.append((index, event))
                seen[event.event_id] = (-len(fresh), event.body)
            else:
                (duplicates if is_same_submission(event, known[1]) else conflicts)[index] = known[0]
        head, received_at = advance_head(unit, organization_no, len(fresh), one.now)
        base = head - len(fresh)
        values: list[Value] = []
        for _, event in fresh:
            values += (event.event_id, event.dataset, event.decision, event.body)
        insert_events(unit, organization_no, base, received_at, values)
        # Repeats within one request were noted by their place among the fresh ones, before sequences were known.
        for found in (duplicates, conflicts):
            for index, sequence in found.items():
                found[index] = base - sequence if sequence < 0 else sequence
        one.result = Appended(base + 1, len(fresh), head, duplicates, conflicts)


def advance_head(unit: Unit, organization_no: OrganizationNo, count: int, now: Micros) -> tuple[int, int]:
    """Reserve the next sequences of an organization; returns its new head, and the time that their events get."""
    row = unit.row("advance_head", (count, now, CLOCK_STEP_US, organization_no))
    assert row is not None, "the caller has looked the organization up, and organizations are never deleted"
    head, received_at, step = row
    if step == head - count + 1:
        unit.run("insert_clock_step", (organization_no, step))
    return head, received_at


def _stretches(unit: Unit, organization_no: OrganizationNo, oldest: int, head: int) -> list[tuple[int, int]]:
    """Cut a range of a log where its times go back; they never do within a stretch."""
    steps = [row[0] for row in unit.rows("clock_steps", (organization_no, oldest, head))]
    return list(zip([oldest, *steps], [*(step - 1 for step in steps), head], strict=True))


def _first_at(unit: Unit, organization_no: OrganizationNo, stretch: tuple[int, int], at: Micros) -> int:
    """Return the first sequence of a stretch that was received at or after a time; its end + 1 when there is none."""
    low, high = stretch[0], stretch[1] + 1
    while low < high:
        middle = (low + high) // 2
        row = unit.row("received_at", (position(organization_no, middle),))
        if row is not None and row[0] < at:
            low = middle + 1
        else:
            high = middle
    return low


def _read_page(
    unit: Unit, organization_no: int, span: tuple[int, int], bytes_max: int, *, labels: bool
) -> Page:
    first, last = span
    low, high = position(organization_no, first), position(organization_no, last)
    while True:
        row = unit.row("page_size", (low, high))
        count, size = row if row is not None else (0, 0)
        if size <= bytes_max or low == high:
            break
        high = low + (high - low) // 2  # large events: half as many, as often as it takes
    if count == 0:
        return Page(first, [], [] if labels else None)
    if count != high - low + 1:
        high = _before_hole(unit, low, high)
    row = unit.row("page_bodies", (low, high))
    assert row is not None, "an aggregate without grouping has one row"
    bodies = row[0].split(RECORD_SEPARATOR)
    if not labels:
        return Page(first, bodies, None)
    return Page(first, bodies, [(one[0], one[1]) for one in unit.rows("page_labels", (low, high))])


def _before_hole(unit: Unit, low: int, high: int) -> int:
    """Return the last position before a hole. A page's bodies are counted off, so one with a hole would be misread.

    Raises: Unavailable when the first event itself is missing: somebody has removed rows by hand, or the file is damaged.
    """
    expected = low
    for place, _ in unit.rows("event_ids", (low, high)):
        if place != expected:
            break
        expected += 1
    if expected == low:
        raise Unavailable(
            f"event {sequence_of(low)} is missing in the log: restore the database from a backup",
            code="log-damaged",
        )
    return expected - 1
