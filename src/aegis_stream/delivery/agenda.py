"""What goes to a destination next: leftovers of earlier requests, due retries, the log, replays (step 4).

It only hands out what its sources have at hand; `ReadAhead` reads. Attempts that are slow are parked here.
"""

from collections import deque
from collections.abc import Iterable

from aegis_stream.domain.delivery import Claimed, ReplayRange, RetryRow, Settlement
from aegis_stream.domain.destination import Filter
from aegis_stream.domain.ids import SECOND, Micros, ReplayId
from aegis_stream.pipeline.settle import Watermark
from aegis_stream.ports import Ledger

from .attempts import Attempts
from .pages import SharedPages
from .sources import SPAN_MAX, LiveSource, ReplaySource, RetrySource
from .work import Limits, Work

PARK_MARGIN_US = 5 * SECOND
"""A parked attempt is looked at again this long after it must have ended."""
ENDED_REPLAYS_KEPT = 64
"""Replays remembered after their end; more than can be under way at once."""


class Agenda:
    """The work of one destination, in the order in which it goes out.

    Attributes:
        live: the log after the cursor.
        retries: events whose next attempt is due.
        replays: ranges that are sent once more, oldest first.
        limits: how large a request may become.
    """

    __slots__ = (
        "_ended",
        "_filter",
        "_leftovers",
        "_organization_no",
        "_pages",
        "limits",
        "live",
        "replays",
        "retries",
    )

    def __init__(self, pages: SharedPages, ledger: Ledger, claimed: Claimed, wanted: Filter) -> None:
        self._pages = pages
        self._organization_no = claimed.organization_no
        self._filter = wanted
        self._leftovers: deque[Work] = deque()
        self._ended: deque[ReplayId] = deque(maxlen=ENDED_REPLAYS_KEPT)
        self.limits = Limits(1, 1)
        self.live = LiveSource(
            pages, claimed.organization_no, wanted, claimed.head, Watermark(claimed.cursor)
        )
        # It looks once in any case: a redrive may be what woke this destination.
        self.retries = RetrySource(ledger, claimed.key, next_due=Micros(0))
        self.replays: list[ReplaySource] = []

    @property
    def idle(self) -> bool:
        """True when nothing is at hand, unread or handed out; retries that fall due later do not count."""
        live, retries = self.live, self.retries
        return not (
            self._leftovers or live.unread or live.at_hand or retries.at_hand or retries.busy or self.replays
        )

    @property
    def has_beside(self) -> bool:
        """True when retries or replays are there, which have a share of the window."""
        return bool(self.retries.rows or self.replays)

    def next(self, *, share_left: bool, new_allowed: bool) -> Work | None:
        """Return what goes out next, or None: leftovers, retries that are due, the log, replays.

        Args:
            share_left: retries and replays have not used up their share of the window.
            new_allowed: False when only what was sent before may be sent again.
        """
        if self._leftovers:
            return self._leftover()
        retries, limits = self.retries, self.limits
        if share_left and (work := retries.take(limits)) is not None:
            return work
        if not new_allowed:
            return None
        if (work := self.live.take(limits)) is not None or not share_left:
            return work
        for replay in (
            self.replays
        ):  # a loop: it must stop at the first that has work, because what is taken must be sent
            if (work := replay.take(limits)) is not None:
                return work
        return None

    def put_back(self, works: Iterable[Work]) -> None:
        """Take back what must be sent next. It goes before other leftovers: where order matters, nothing overtakes it."""
        self._leftovers.extendleft(reversed(list(works)))

    def refilter(self, wanted: Filter) -> None:
        """Go by another filter from the next event on."""
        self._filter = wanted
        for source in (self.live, *self.replays):
            source.refilter(wanted)

    def set_replays(self, ranges: Iterable[ReplayRange]) -> None:
        """Begin replays that are new, and drop those that are not there any more.

        What was read may be older than the newest settlement: a replay that ended meanwhile does not begin again.
        """
        known = {source.replay_id: source for source in self.replays}
        self.replays = [
            known.get(one.replay_id)
            or ReplaySource(
                self._pages,
                self._organization_no,
                self._filter,
                one.last,
                Watermark(one.cursor),
                replay_id=one.replay_id,
            )
            for one in ranges
            if one.replay_id not in self._ended
        ]

    def watermarks(self) -> list[int]:
        """Return how far the log and each replay have come."""
        return [self.live.watermark.value, *(one.watermark.value for one in self.replays)]

    def settled(self, settlement: Settlement) -> None:
        """Learn that a settlement is stored: rows may be read again, and replays that have come to their end are over."""
        resolved = settlement.resolved + [dead.sequence for dead in settlement.dead]
        self.retries.settled(settlement.retries, resolved)
        # By what is stored, not by what is known since: the end of a replay must reach the store before it is dropped.
        stored = dict(settlement.replays)
        for source in list(self.replays):
            if stored.get(source.replay_id, 0) >= source.last:
                self.replays.remove(source)
                self._ended.append(source.replay_id)
        self._pages.forget(self._organization_no, self.live.watermark.value)

    def park(self, attempts: Attempts, now: Micros) -> dict[Work, list[RetryRow]]:
        """Move the slowest attempts to the retries when one answer holds the watermark for too long.

        If the answer still comes, its outcome replaces the row; after a crash, the row brings the event back.

        Returns: the work that is parked, with the rows to store.
        """
        parked: dict[Work, list[RetryRow]] = {}
        if self.live.span <= SPAN_MAX:
            return parked
        lowest, ends_s = self.live.watermark.value, attempts.longest_s()
        for work in sorted(ends_s, key=lambda one: one.first):
            if work.source is not self.live or work.first > lowest + SPAN_MAX:
                continue
            due_at = Micros(now + int(ends_s[work] * SECOND) + PARK_MARGIN_US)
            parked[work] = [RetryRow(sequence, work.attempt, due_at, None) for sequence in work.sequences]
            self.live.complete(work)
            work.source = self.retries
        return parked

    def _leftover(self) -> Work:
        """Take the first leftover, or as much of it as the format allows, which may have changed since."""
        work = self._leftovers.popleft()
        if len(work.sequences) > self.limits.events_max:
            work, rest = work.split(self.limits.events_max)
            self._leftovers.appendleft(rest)
        return work
