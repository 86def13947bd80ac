"""The event log of every organization: reads it, and groups appends that wait (port EventLog)."""

import asyncio
import json
import threading
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Final

from aegis_stream.domain.delivery import Page
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationNo, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Appended, AppendEnded, EventLabel, LogEntry

from .append import PendingAppend, append_batch
from .database import Database, Lane, Row, Unit
from .pages import intact, read_page

GATHER_S: Final = 0.002
"""Longest time between the beginnings of two commits while callers are expected who have not come yet, seconds.

One commit for many callers costs a fraction of one for each. A caller that is alone never waits.
"""
GATHER_MANY_S: Final = 0.004
"""The same while `MANY` callers or more are expected."""
MANY: Final = 32


class _Batch:
    """Appends that go into one transaction: all that wait when it begins.

    Attributes:
        timer: begins the transaction; None from then on.
    """

    __slots__ = ("_appends", "_closed", "_lock", "timer")

    def __init__(self, first: PendingAppend) -> None:
        self._lock = threading.Lock()  # added to on the event loop, closed on the writer's thread
        self._appends = [first]
        self._closed = False
        self.timer: asyncio.TimerHandle | None = None

    def add(self, one: PendingAppend) -> int:
        """Add an append. Returns: how many there are; 0 when it is too late."""
        with self._lock:
            if self._closed:
                return 0
            self._appends.append(one)
            return len(self._appends)

    @property
    def waiting(self) -> int:
        """How many appends wait for the timer."""
        return len(self._appends) if self.timer is not None else 0

    def close(self) -> list[PendingAppend]:
        """Take no more; return the same appends however often it is called."""
        with self._lock:
            self._closed = True
        return self._appends


@dataclass(slots=True)
class StoredLog:
    """Port EventLog on the database.

    Args:
        stored_bytes_max: quota of an organization that has none of its own; 0 for no limit.
    """

    db: Database
    stored_bytes_max: int = 0
    _batch: _Batch | None = None
    _begun_at_s: float = 0.0
    _expected: int = 1

    def append(
        self, organization_no: OrganizationNo, events: Seq[NewEvent], now: Micros, ended: AppendEnded
    ) -> None:
        """Append events of one organization: see the port. Called on the event loop.

        Callers that wait at the same time share one transaction, one sync and one wake-up of the event loop.
        """
        one = PendingAppend(organization_no, events, now, ended)
        batch = self._batch
        if batch is not None and (count := batch.add(one)):
            if count >= self._expected and batch.timer is not None:
                batch.timer.cancel()
                self._begin_soon(batch)
            return
        batch = self._batch = _Batch(one)
        loop = asyncio.get_running_loop()
        wait_s = self._begun_at_s + self._gather_s() - loop.time() if self._expected > 1 else 0.0
        if wait_s > 0:
            batch.timer = loop.call_later(wait_s, self._begin, batch)
        else:
            self._begin_soon(batch)

    def _gather_s(self) -> float:
        return GATHER_MANY_S if self._expected >= MANY else GATHER_S

    def _begin_soon(self, batch: _Batch) -> None:
        """Begin a commit after the other requests that arrived in this turn of the loop."""
        batch.timer = None
        asyncio.get_running_loop().call_soon(self._begin, batch)

    def _begin(self, batch: _Batch) -> None:
        batch.timer = None
        self._begun_at_s = asyncio.get_running_loop().time()
        quota = self.stored_bytes_max
        commit = self.db.submit(lambda unit: append_batch(unit, batch.close(), quota), Lane.APPEND)
        if commit.done():  # without threads a write is over when it begins
            self._tell(commit, batch)
        else:
            commit.add_done_callback(lambda commit: self._tell(commit, batch))

    def _expected_after(self, told: int) -> int:
        """Return how many callers may append soon, when a commit for so many has ended: those, and the ones who wait already.

        Callers who come at random are fewer at times, so that the number falls by no more than a quarter.
        """
        if told == 1 or self._batch is None:
            return told
        return max(told + self._batch.waiting, self._expected * 3 // 4)

    def _tell(self, commit: "asyncio.Future[list[Appended | Unavailable]]", batch: _Batch) -> None:
        """Tell everyone in a batch how its commit ended."""
        appends = batch.close()
        self._expected = self._expected_after(len(appends))
        results: Seq[Appended | Exception]
        if commit.cancelled():
            results = [Unavailable("the store is closing", code="store-unwritable")] * len(appends)
        elif (error := commit.exception()) is not None:
            failure = error if isinstance(error, Exception) else Unavailable(str(error))
            results = [failure] * len(appends)
        else:
            results = commit.result()
        for one, result in zip(appends, results, strict=True):
            try:
                one.ended(result)
            except Exception as bug:  # noqa: BLE001 - the others in the batch must be told too
                context = {"message": "a caller of append failed", "exception": bug}
                asyncio.get_running_loop().call_exception_handler(context)

    async def page(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page:
        """Read neighbouring events.

        Args:
            first: sequence of the first event wanted.
            last: sequence of the last one wanted; must be committed.
            bytes_max: stop before the bodies exceed this, but read at least one event.
            labels: read dataset and decision too.
        Returns: a page that begins at `first`; empty when there is nothing there. A damaged or missing event has an empty body.
        Raises: Unavailable.
        """
        return await self.db.read(
            lambda unit: read_page(unit, organization_no, (first, last), bytes_max, labels=labels)
        )

    def peek(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page | None:
        """Read a few neighbouring events at once, on the event loop.

        Returns: a page that begins at `first`, with all of them or those before a hole; None where the caller must read in
            the usual way: the read would wait, failed, or several events are larger than `bytes_max` together.
        """
        page = self.db.peek(
            lambda unit: read_page(unit, organization_no, (first, last), bytes_max, labels=labels)
        )
        return page if page is not None and page.bodies else None

    async def heads(self, served_by: WorkerId | None = None) -> dict[OrganizationNo, int]:
        """Return the newest sequence of every organization that has events, or of those that a worker serves: see the port."""
        name, values = ("heads", ()) if served_by is None else ("heads_served", (served_by,))
        rows = await self.db.read(lambda unit: unit.rows(name, values))
        return {OrganizationNo(no): head for no, head in rows}

    def changed(self) -> int:
        """Return a number that changes when another process has committed; cheap enough to ask every few milliseconds."""
        return self.db.changed()

    async def entry(self, organization_no: OrganizationNo, event_id: str) -> LogEntry | None:
        """Return one event by its own id, or None."""
        row = await self.db.read(lambda unit: unit.row("event_by_id", (organization_no, event_id)))
        if row is None:
            return None
        sequence, *rest = row
        return _entry((sequence, event_id, *rest))

    async def labels(
        self, organization_no: OrganizationNo, after: int, last: int, limit: int, *, of_admin: bool = False
    ) -> list[EventLabel]:
        """Return labels and sizes of events with after < sequence <= last in log order, at most `limit`; reads no body.

        Args:
            of_admin: only of the events of administrative actions, by an index.
        """
        name = "admin_labels_after" if of_admin else "labels_after"
        values = (organization_no, after, last, limit)
        return [EventLabel(*row) for row in await self.db.read(lambda unit: unit.rows(name, values))]

    async def labels_before(
        self, organization_no: OrganizationNo, after: int, before: int, limit: int, *, of_admin: bool = False
    ) -> list[EventLabel]:
        """Return the same of events with after < sequence < before, the newest first."""
        name = "admin_labels_before" if of_admin else "labels_before"
        values = (organization_no, after, before, limit)
        return [EventLabel(*row) for row in await self.db.read(lambda unit: unit.rows(name, values))]

    async def matching(
        self, organization_no: OrganizationNo, first: int, last: int, accepts: Callable[[bytes], bool]
    ) -> set[int]:
        """Return the sequences of a range whose bodies are accepted; a damaged event never is. `accepts` runs on a reader's thread."""

        def work(unit: Unit) -> set[int]:
            rows = unit.rows("page_rows", (organization_no, first, last))
            return {sequence for sequence, body, recorded, *_ in rows if accepts(intact(body, recorded))}

        return await self.db.read(work)

    async def matching_among(
        self, organization_no: OrganizationNo, sequences: Seq[int], accepts: Callable[[bytes], bool]
    ) -> set[int]:
        """Return which of some sequences, far from each other, have bodies that are accepted: see `matching`."""

        def work(unit: Unit) -> set[int]:
            rows = unit.each([("event_at", (organization_no, one)) for one in sequences])
            return {row[0] for row in rows if row is not None and accepts(intact(row[5], row[6]))}

        return await self.db.read(work)

    async def received_at(self, organization_no: OrganizationNo, sequence: int) -> Micros | None:
        """Return when an event was received; None when it is not in the log."""
        return await self.db.read(lambda unit: received_at(unit, organization_no, sequence))

    async def entries_at(self, organization_no: OrganizationNo, sequences: Seq[int]) -> list[LogEntry]:
        """Return events by their sequences; those that retention removed are missing."""

        def work(unit: Unit) -> list[LogEntry]:
            rows = [unit.row("event_at", (organization_no, sequence)) for sequence in sequences]
            return [_entry(row) for row in rows if row is not None]

        return await self.db.read(work)

    async def event_ids(self, organization_no: OrganizationNo, first: int, last: int) -> dict[int, str]:
        """Return the ids of the events in a range, by sequence; those that retention removed are missing."""
        return dict(await self.db.read(lambda unit: unit.rows("event_ids", (organization_no, first, last))))

    async def sequence_at(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the first event received at or after a time; head + 1 when there is none.

        Where the clock was set back, events after the one returned may have an earlier time.
        """
        return await self.db.read(lambda unit: sequence_at(unit, organization_no, at, oldest, head))

    async def last_until(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the last event received at or before a time; oldest - 1 when there is none.

        Where the clock was set back, events before the one returned may have a later time.
        """
        return await self.db.read(lambda unit: last_until(unit, organization_no, at, oldest, head))


def _entry(row: Row) -> LogEntry:
    """Return a row of the log for people to read; in place of a damaged event, JSON that says so."""
    sequence, event_id, received_at, dataset, decision, body, recorded = row
    text = intact(body, recorded).decode("utf-8", "replace")
    return LogEntry(sequence, event_id, received_at, dataset, decision, text or _damaged_text(event_id))


def _damaged_text(event_id: str) -> str:
    message = "the stored event is damaged: its bytes have changed since it was recorded"
    return json.dumps({"event": {"id": event_id}, "error": {"code": "event-damaged", "message": message}})


def sequence_at(unit: Unit, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
    """Return the sequence of the first event received at or after a time; head + 1 when there is none."""
    for first, last in _stretches(unit, organization_no, oldest, head):
        found = _first_at(unit, organization_no, (first, last), at)
        if found <= last:
            return found
    return head + 1


def last_until(unit: Unit, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
    """Return the sequence of the last event received at or before a time; oldest - 1 when there is none."""
    for first, last in reversed(_stretches(unit, organization_no, oldest, head)):
        found = _first_at(unit, organization_no, (first, last), Micros(at + 1)) - 1
        if found >= first:
            return found
    return oldest - 1


def received_at(unit: Unit, organization_no: OrganizationNo, sequence: int) -> Micros | None:
    """Return when an event was received; None when it is not in the log."""
    row = unit.row("received_at", (organization_no, sequence))
    return Micros(row[0]) if row is not None else None


def sequence_of(unit: Unit, organization_no: OrganizationNo, event_id: str) -> int | None:
    """Return the sequence of an event by its own id; None when it is not in the log."""
    row = unit.row("sequence_of_event", (organization_no, event_id))
    return row[0] if row is not None else None


def datasets(unit: Unit, organization_no: OrganizationNo, last: int) -> list[str]:
    """Return the datasets of the events up to a sequence that are still in the log, in log order; reads no body."""
    return [row[0] for row in unit.rows("page_labels", (organization_no, 1, last))]


def _stretches(unit: Unit, organization_no: OrganizationNo, oldest: int, head: int) -> list[tuple[int, int]]:
    """Cut a range of a log where its times go back; they never do within a stretch."""
    steps = [row[0] for row in unit.rows("clock_steps", (organization_no, oldest, head))]
    return list(zip([oldest, *steps], [*(step - 1 for step in steps), head], strict=True))


def _first_at(unit: Unit, organization_no: OrganizationNo, stretch: tuple[int, int], at: Micros) -> int:
    """Return the first sequence of a stretch that was received at or after a time; its end + 1 when there is none."""
    low, high = stretch[0], stretch[1] + 1
    while low < high:
        middle = (low + high) // 2
        row = unit.row("received_at", (organization_no, middle))
        if row is not None and row[0] < at:
            low = middle + 1
        else:
            high = middle
    return low
