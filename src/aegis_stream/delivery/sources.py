"""Where the events for a destination come from: the log after its cursor, replayed ranges, due retries (step 4).

Every source hands out Work from what it has read ahead. Only `refill` reads; `take` returns what is there.
"""

from collections import deque
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from aegis_stream.domain.delivery import DestinationKey, DueRetry, Page, RetryRow
from aegis_stream.domain.destination import Filter
from aegis_stream.domain.ids import Micros, OrganizationNo, ReplayId
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.settle import Watermark
from aegis_stream.ports import Ledger

from .pages import SharedPages
from .work import Limits, Work

SPAN_MAX = 8192
"""How far events are handed out above the watermark before slow attempts are parked, so that it can move on; sequences."""
DUE_MAX = 256
"""Retries read at once."""


@dataclass(slots=True, eq=False)
class RangeSource:
    """A range of the log, in order.

    Args:
        last: newest sequence that may be handed out; grows for the live source.
        watermark: every event up to it is done.
        covered: the newest sequence that was handed out or filtered out.
    """

    pages: SharedPages
    organization_no: OrganizationNo
    filter: Filter
    last: int
    watermark: Watermark
    covered: int = 0
    _sequences: Seq[int] = ()
    _bodies: list[bytes] = field(default_factory=list)
    _at: int = 0
    _page_last: int = 0
    _reserve: deque[Page] = field(default_factory=deque)
    _reading: bool = False

    def __post_init__(self) -> None:
        self.covered = self._page_last = self.watermark.value

    @property
    def at_hand(self) -> bool:
        """True when `take` has something."""
        return self._at < len(self._sequences) or (bool(self._reserve) and self.span <= 2 * SPAN_MAX)

    @property
    def unread(self) -> int:
        """How many sequences have not been read yet."""
        return self.last - self._read_through

    @property
    def wants_page(self) -> bool:
        """True when a page should be read ahead."""
        return not self._reserve and not self._reading and self.unread > 0

    @property
    def span(self) -> int:
        """How far the newest event that was handed out is above the watermark, sequences."""
        return self.covered - self.watermark.value

    @property
    def _read_through(self) -> int:
        if self._reserve:
            page = self._reserve[-1]
            return page.first + len(page.bodies) - 1
        return self._page_last

    async def refill(self, now: Micros) -> None:  # noqa: ARG002 - retries need the time, ranges do not
        """Read the next page. Raises: Unavailable."""
        if not self.wants_page:
            return
        self._reading = True
        try:
            first, asked_with = self._read_through + 1, self.filter
            page = await self.pages.read(
                self.organization_no, first, self.last, labels=not self.filter.wants_all
            )
            if self.filter is not asked_with:
                return
            if not page.bodies:
                raise Unavailable(
                    f"event {first} is not in the log, and nothing after it", code="log-damaged"
                )
            self._reserve.append(self._within(page))
        finally:
            self._reading = False

    def peek(self) -> bool:
        """Read what was appended a moment ago, at once; False where it must be read by `refill`."""
        labels = not self.filter.wants_all
        page = self.pages.peek(self.organization_no, self._read_through + 1, self.last, labels=labels)
        if page is None:
            return False
        self._reserve.append(self._within(page))
        return True

    def _within(self, page: Page) -> Page:
        """Cut a page off at `last`: a shared page may have been read for a destination that wants more."""
        count = self.last - page.first + 1
        if count >= len(page.bodies):
            return page
        return Page(page.first, page.bodies[:count], page.labels[:count] if page.labels is not None else None)

    def refilter(self, filter_: Filter) -> None:
        """Apply another filter from the next event on; what was read ahead is read again, with the labels that the filter needs."""
        self.filter = filter_
        self._reserve.clear()
        self._sequences, self._bodies, self._at, self._page_last = (), [], 0, self.covered

    def take(self, limits: Limits) -> Work | None:
        """Return the next events for one request; skips what the filter leaves out."""
        sequences, start = self._sequences, self._at
        while start >= len(sequences):
            if not self._reserve or self.span > 2 * SPAN_MAX:
                return None
            self._open(self._reserve.popleft())
            sequences, start = self._sequences, self._at
        first = self.covered + 1
        end = start + 1 if limits.events_max == 1 else self._end_of_request(start, limits)
        self._at = end
        self.covered = last = self._page_last if end == len(sequences) else sequences[end - 1]
        return Work(self, first, last, sequences[start:end], self._bodies[start:end], 1)

    def _end_of_request(self, start: int, limits: Limits) -> int:
        most = min(len(self._sequences), start + limits.events_max)
        whole = self._bodies[start:most]
        if sum(map(len, whole)) + len(whole) * limits.frame_bytes <= limits.bytes_max:
            return most
        end, size = start, 0
        while end < most:
            size += len(self._bodies[end]) + limits.frame_bytes
            if size > limits.bytes_max and end > start:
                break
            end += 1
        return end

    def complete(self, work: Work) -> None:
        """Move the watermark if it can be moved."""
        self.watermark.complete(work.first, work.last)

    def _open(self, page: Page) -> None:
        count = len(page.bodies)
        sequences: Seq[int] = range(page.first, page.first + count)
        bodies = page.bodies
        if page.labels is not None and not self.filter.wants_all:
            wanted = [
                index
                for index, label in enumerate(page.labels)
                if self.filter.wants(*label) or not bodies[index]
            ]
            sequences, bodies = [page.first + index for index in wanted], [bodies[index] for index in wanted]
        self._sequences, self._bodies, self._at = sequences, bodies, 0
        self._page_last = page.first + count - 1
        if not sequences:  # all filtered out: done without a request
            self.watermark.complete(self.covered + 1, self._page_last)
            self.covered = self._page_last


@dataclass(slots=True, eq=False)
class LiveSource(RangeSource):
    """The log after the destination's cursor."""


@dataclass(slots=True, eq=False)
class ReplaySource(RangeSource):
    """A range of the log that is sent once more, beside new events."""

    replay_id: ReplayId = field(kw_only=True)

    def take(self, limits: Limits) -> Work | None:
        """Return the next events for one request: the destination may have them already."""
        work = RangeSource.take(self, limits)
        if work is not None:
            work.may_be_stored = True
        return work


@dataclass(slots=True, eq=False)
class RetrySource:
    """Events beyond the cursor whose next attempt is due.

    Args:
        next_due: when to look again; None when no retry is known.
        busy: sequences that were handed out and are not settled yet; their rows are out of date until then.
        rows: what was read and not handed out yet.
    """

    ledger: Ledger
    key: DestinationKey
    next_due: Micros | None = None
    busy: set[int] = field(default_factory=set)
    rows: deque[DueRetry] = field(default_factory=deque)
    _reading: bool = False
    _settled_meanwhile: set[int] = field(default_factory=set)

    @property
    def at_hand(self) -> bool:
        """True when `take` has something."""
        return bool(self.rows)

    def wants_rows(self, now: Micros) -> bool:
        """True when something has fallen due that was not read."""
        return not self._reading and not self.rows and self.next_due is not None and self.next_due <= now

    async def refill(self, now: Micros) -> None:
        """Read what is due. Raises: Unavailable."""
        if not self.wants_rows(now):
            return
        self._reading = True
        self._settled_meanwhile.clear()
        due_before, self.next_due = self.next_due, None
        try:
            limit = DUE_MAX + len(self.busy)
            rows, following = await self.ledger.due(self.key, now, limit)
        except BaseException:
            self.look_by(due_before or now)
            raise
        finally:
            self._reading = False
        # Rows that were settled while they were read may be out of date.
        known = {retry.sequence for retry in self.rows} | self.busy | self._settled_meanwhile
        self.rows.extend(row for row in rows if row.sequence not in known)
        if len(rows) == limit:
            self.look_by(now)
        if following is not None:
            self.look_by(following)

    def look_by(self, at: Micros) -> None:
        """Read the rows again at a time, or earlier if an earlier time was set before."""
        self.next_due = at if self.next_due is None else min(self.next_due, at)

    def take(self, limits: Limits) -> Work | None:
        """Return retries with the same attempt number, for one request; apart from others those that may be stored already."""
        if not self.rows:
            return None
        attempts, may_be_stored, size = self.rows[0].attempts, self.rows[0].may_be_stored, 0
        taken: list[DueRetry] = []
        while (
            self.rows
            and self.rows[0].attempts == attempts
            and self.rows[0].may_be_stored == may_be_stored
            and len(taken) < limits.events_max
        ):
            size += len(self.rows[0].body) + limits.frame_bytes
            if size > limits.bytes_max and taken:
                break
            taken.append(self.rows.popleft())
        taken.sort()
        sequences = [retry.sequence for retry in taken]
        self.busy.update(sequences)
        bodies = [retry.body for retry in taken]
        return Work(
            self, sequences[0], sequences[-1], sequences, bodies, attempts + 1, may_be_stored=may_be_stored
        )

    def complete(self, work: Work) -> None:
        """Nothing to do: the rows change when the outcome is settled."""

    def settled(self, rows: Seq[RetryRow], resolved: Seq[int]) -> None:
        """Learn that rows are stored: they may be read again when they fall due."""
        if self._reading:
            self._settled_meanwhile.update(resolved)
            self._settled_meanwhile.update(row.sequence for row in rows)
        for row in rows:
            self.busy.discard(row.sequence)
            self.look_by(row.due_at)
        self.busy.difference_update(resolved)

    def give_back(self) -> None:
        """Discard what was read, and read again at once: somebody else changed the rows."""
        self.rows.clear()
        self.next_due = Micros(0)


def due_in_seconds(at: Micros, now: Micros) -> float:
    """Return how long until a time, seconds, never negative."""
    return max(0.0, (at - now) / 1e6)
