"""The log for people: list events that meet conditions, in log order or the newest first. The search is bounded, and says how far it came."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo
from aegis_stream.ports import EventLabel, LogEntry
from aegis_stream.store.log import StoredLog

from . import organizations
from .caller import Caller
from .deps import ControlDeps

SCAN_MAX = 20_000
"""Most events that one listing searches for matches; the next page continues from there."""
SCAN_BYTES_MAX = 32 * 1024 * 1024
"""Most bytes of bodies that one listing searches."""
SCAN_US = 2 * SECOND
"""A listing ends its search after so long."""
SCAN_STEP = 1000
"""Labels read at once."""
STEP_BYTES = 1024 * 1024
"""Bytes of bodies searched at once, unless one event is larger: other reads go on in between."""
BODIES_STEP = 250
"""Bodies searched first: what matches is often among the first ones."""
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Most bytes of bodies in one page, unless its first event is larger: the next page continues from there."""


class EventQuery(NamedTuple):
    """Which events to list.

    Args:
        filter: what they must meet.
        since, until: only events received in this span, both inclusive; None for no bound.
        after, before: only sequences between these, both exclusive; None for no bound.
        limit: most events to return.
        newest_first: the other way than log order.
    """

    filter: EventFilter
    since: Micros | None = None
    until: Micros | None = None
    after: int = 0
    before: int | None = None
    limit: int = 50
    newest_first: bool = False


class Scanned(NamedTuple):
    """How far a search came that ended before its page was full: how many events it looked at, and the last of them."""

    events: int
    sequence: int
    received_at: Micros


class EventPage(NamedTuple):
    """Events, and where the list goes on.

    Args:
        following: the sequence after which (newest first: before which) the next page begins; None after the last page.
        scanned: None unless the search ended early.
    """

    found: list[LogEntry]
    following: int | None
    scanned: Scanned | None = None


async def list_of(deps: ControlDeps, caller: Caller, query: EventQuery) -> EventPage:
    """List events as stored. Raises: NotFound, Unavailable."""
    organization, oldest = await organizations.find_with_oldest(deps, caller.org_id)
    no, after, last = organization.no, query.after, organization.head
    if query.before is not None:
        last = min(last, query.before - 1)
    if query.since is not None:
        after = max(after, await deps.log.sequence_at(no, query.since, oldest, organization.head) - 1)
    if query.until is not None:
        last = min(last, await deps.log.last_until(no, query.until, oldest, organization.head))
    search = _Search(deps.log, no, query, deps.clock.steady)
    following = await search.run(after, last)
    found = await deps.log.entries_at(no, search.chosen)
    if following is None or search.is_full:
        return EventPage(found, following)
    reached_at = await deps.log.received_at(no, following)
    return EventPage(found, following, Scanned(search.scanned, following, reached_at or Micros(0)))


@dataclass(slots=True)
class _Search:
    """Chooses the events of a page by their labels, sizes and bodies.

    Args:
        last: the event looked at last; None before the first.
        is_full: whether the page has no room for the next match.
    """

    log: StoredLog
    no: OrganizationNo
    query: EventQuery
    now: Callable[[], Micros]
    chosen: list[int] = field(default_factory=list)
    scanned: int = 0
    last: int | None = None
    is_full: bool = False
    _size: int = 0
    _searched_bytes: int = 0

    @property
    def _of_admin(self) -> bool:
        """Whether an index leads from one possible match to the next, past all other events."""
        return self.query.filter.dataset == ADMIN_DATASET

    async def run(self, after: int, last: int) -> int | None:
        """Search the sequences after < sequence <= last.

        Returns: where the next page begins; None after the last page.
        """
        begun, wanted = self.now(), self.query.filter
        accepts = wanted.body_test() if wanted.reads_bodies else None
        while after < last and self._may_go_on(begun):
            step = await self._step(after, last)
            if not step:
                return None
            matched = await self._matched(step, accepts)
            for one in step:
                if one.sequence in matched and not self._choose(one):
                    self.is_full = True
                    return self.chosen[-1]
                self.scanned, self.last = self.scanned + 1, one.sequence
            if self.query.newest_first:
                last = step[-1].sequence - 1
            else:
                after = step[-1].sequence
        return self.last if after < last else None

    def _may_go_on(self, begun: Micros) -> bool:
        return (
            self.scanned < SCAN_MAX
            and self._searched_bytes < SCAN_BYTES_MAX
            and (self.scanned == 0 or self.now() - begun < SCAN_US)
        )

    async def _step(self, after: int, last: int) -> list[EventLabel]:
        """Return the next labels; where bodies are searched, of so many events as may be read at once."""
        wanted = self.query.filter
        count = self.query.limit + 1 if wanted.is_empty else SCAN_STEP
        if wanted.reads_bodies and not self.scanned:
            count = BODIES_STEP
        count = min(count, SCAN_MAX - self.scanned)
        if self.query.newest_first:
            step = await self.log.labels_before(self.no, after, last + 1, count, of_admin=self._of_admin)
        else:
            step = await self.log.labels(self.no, after, last, count, of_admin=self._of_admin)
        if not wanted.reads_bodies:
            return step
        size = 0
        for number, one in enumerate(step):
            size += one.size
            if number and size > STEP_BYTES:
                return step[:number]
        return step

    async def _matched(self, step: list[EventLabel], accepts: Callable[[bytes], bool] | None) -> set[int]:
        """Return which events of a step meet the conditions."""
        wanted = self.query.filter
        labelled = [one for one in step if wanted.accepts_label(one.dataset, one.decision)]
        sequences = {one.sequence for one in labelled}
        if accepts is None or not sequences:
            return sequences
        self._searched_bytes += sum(one.size for one in step)
        if self._of_admin:
            return await self.log.matching_among(self.no, sorted(sequences), accepts)
        return sequences & await self.log.matching(self.no, min(sequences), max(sequences), accepts)

    def _choose(self, one: EventLabel) -> bool:
        """Take an event into the page; False when it is full."""
        if self.chosen and (len(self.chosen) == self.query.limit or self._size + one.size > PAGE_BYTES_MAX):
            return False
        self.chosen.append(one.sequence)
        self._size += one.size
        return True
