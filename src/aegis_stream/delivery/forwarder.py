"""One destination being served: choose what to send, record what it came to, over and over (steps 4 to 7).

A forwarder has no task: it begins as many attempts as there is work and room for, and the end of each is a call that
records the outcome and begins the next. An idle forwarder is a few objects. Between an answer and the record of its outcome
nothing is awaited, so nothing can come between them; a crash there means that the event is sent again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from aegis_stream.domain.attempt import (
    Accepted,
    Dead,
    Delivered,
    Failure,
    FailureScope,
    Retry,
    Verdict,
    decide,
)
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    Claimed,
    Lease,
    Outstanding,
    RetryRow,
    Settled,
    Settlement,
)
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import SECOND, Micros, ReplayId
from aegis_stream.errors import Unavailable
from aegis_stream.formats import narrowed, overdue
from aegis_stream.pipeline.pacing import Pacing
from aegis_stream.pipeline.settle import Findings, Settler, Watermark
from aegis_stream.ports import Clock, Ledger, Random
from aegis_stream.telemetry import Log

from .attempts import Attempts, Outbound
from .health import HealthTracker, Warnings, is_ailing
from .pages import SharedPages
from .sources import SPAN_MAX, LiveSource, RangeSource, ReplaySource, RetrySource, due_in_seconds
from .work import Limits, Work

AUTO_REDRIVE_PAUSE_US = 60 * SECOND
"""Shortest time between two automatic redrives of a destination, so that a flapping one is not flooded."""
PARK_MARGIN_US = 5 * SECOND
"""A parked attempt is looked at again this long after it must have ended."""
STORE_RETRY_S = 1.0
"""Pause before a page that could not be read is tried again, seconds."""
UNSETTLED_MAX = 65_536
"""Attempts whose outcome waits to be stored; at so many, nothing new is begun until the store takes them."""
ENDED_REPLAYS_KEPT = 64
"""Replays remembered after their end; more than can be under way at once."""
BURST_WAIT_S = 0.001
"""Longest wait of a free place in a full window for others, so that attempts begin in bursts; seconds. Each attempt that
begins alone costs us, the network and the receiver a wake-up of its own: measured, a third of all the work."""
STATUS_TOO_LARGE = 413
STATUS_FAILED_INSIDE = 500
BATCH_BYTES_MIN = 1000
"""A batch that is found too large is not made smaller than this; the limit of `batch.max_bytes` is the same."""
CLOCK_CHECK_S = 60.0
"""Longest sleep until a time of the wall clock, seconds: the clock may be set meanwhile."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What forwarders of one worker share.

    Args:
        outbound: what their attempts share.
        on_bug: told when serving a destination met an error that must not happen; the others must not feel it.
    """

    pages: SharedPages
    ledger: Ledger
    outbound: Outbound
    clock: Clock
    random: Random
    settler: Settler
    telemetry: Log
    on_bug: "Callable[[Forwarder, Exception], None]"
    window_max: int
    auto_redrive: bool
    dead_letters_max: int
    warnings: Warnings = field(default_factory=Warnings)


@dataclass(slots=True, eq=False)
class Forwarder:
    """Serves one destination under one lease."""

    shared: Forwarding
    claimed: Claimed
    destination: Destination
    live: LiveSource = field(init=False)
    retries: RetrySource = field(init=False)
    replays: list[ReplaySource] = field(default_factory=list)
    pacing: Pacing = field(init=False)
    attempts: Attempts = field(init=False)
    tracker: HealthTracker = field(init=False)
    stopped: bool = False
    _time: Callable[[], float] = field(init=False)
    _limits: Limits = field(init=False)
    _in_order: bool = False
    _halves: deque[Work] = field(default_factory=deque)
    _findings: Findings = field(default_factory=Findings)
    _alarm: asyncio.TimerHandle | None = None
    _alarm_at_s: float = 0.0
    _batch_since_s: float | None = None
    _retrying: int = 0
    _dead_letters: int = 0
    _settled_cursor: int = 0
    _redrive_died_by: Micros | None = None
    _redrive_left: int = 0
    _redriven_at: Micros = Micros(0)
    _ailing: bool = False
    _owes_redrive: bool = False
    _refilling: bool = False
    _filling: bool = False
    _burst: asyncio.TimerHandle | None = None
    _marked: bool = False
    _told: list[int] = field(default_factory=list)
    _ended_replays: deque[ReplayId] = field(default_factory=lambda: deque(maxlen=ENDED_REPLAYS_KEPT))

    def __post_init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        claimed, shared = self.claimed, self.shared
        self.live = LiveSource(
            shared.pages,
            claimed.organization_no,
            self.destination.spec.filter,
            claimed.head,
            Watermark(claimed.cursor),
        )
        # It looks once in any case: a redrive may be what woke this destination.
        self.retries = RetrySource(shared.ledger, claimed.lease.destination_no, next_due=Micros(0))
        ids = {"destination_id": self.destination.dst_id, "org_id": self.destination.org_id}
        self.tracker = HealthTracker(claimed.health, shared.telemetry, ids, shared.warnings)
        self.pacing = Pacing(shared.window_max, claimed.health.window_size, claimed.health.failures_in_row)
        self._retrying, self._dead_letters = claimed.retrying, claimed.dead_letters
        self._settled_cursor = claimed.cursor
        self._ailing = is_ailing(claimed.health)
        self.attempts = Attempts(shared.outbound, self.destination, self.live, self)
        self._set_limits()

    @property
    def lease(self) -> Lease:
        """The lease under which everything here is settled."""
        return self.claimed.lease

    @property
    def in_flight(self) -> int:
        """How many attempts have no answer yet."""
        return len(self.attempts.flying)

    @property
    def idle(self) -> bool:
        """True when nothing is under way, unsettled or known to be due."""
        return not (
            not self.attempts.idle
            or self._halves
            or self._refilling
            or self._owes_redrive
            or self.live.unread
            or self.live.at_hand
            or self.retries.at_hand
            or self.retries.busy
            or self.replays
        )

    # ── what the worker tells ──

    def grown(self, head: int) -> None:
        """The organization's log has grown to `head`."""
        if head > self.live.last:
            self.live.last = head
            self.wake()

    def reconfigure(self, destination: Destination) -> None:
        """The destination was changed: new attempts go by the new configuration, those under way end by the old one."""
        changed = destination.spec != self.destination.spec
        self.destination = destination
        if changed:
            self.attempts.reconfigure(destination)
            for source in (self.live, *self.replays):
                source.refilter(destination.spec.filter)
            self._ailing = self._ailing or self.pacing.failures_in_row > 0
            self.pacing.forget_failures()
            self.tracker.health = replace(self.tracker.health, batch_bytes_max=None)
            self._set_limits()
        self.retries.give_back()
        self.wake()

    def set_outstanding(self, outstanding: Outstanding) -> None:
        """Begin replays that are new, drop those that were cancelled; learn how many events have failed.

        What was read may be older than the newest settlement: a replay that ended meanwhile must not begin again.
        """
        self._retrying, self._dead_letters = outstanding.retrying, outstanding.dead_letters
        known = {source.replay.replay_id: source for source in self.replays if source.replay is not None}
        self.replays = [
            known.get(one.replay_id)
            or ReplaySource(
                self.shared.pages,
                self.claimed.organization_no,
                self.destination.spec.filter,
                one.last,
                Watermark(one.cursor),
                replay=one,
            )
            for one in outstanding.replays
            if one.replay_id not in self._ended_replays
        ]
        self.wake()

    def stop(self) -> None:
        """Begin nothing new; what is under way goes on."""
        self.stopped = self.attempts.stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def close(self) -> None:
        """Close the connections: what is under way ends without an answer, and is not recorded."""
        self.stop()
        self.attempts.close()

    def halt(self, failure: Failure) -> None:
        """Stop because of a bug: settle what is certain, and let people see why nothing is sent."""
        self.close()
        self.pacing.failures_in_row = max(1, self.pacing.failures_in_row)
        self.tracker.failed(failure, None, self.shared.clock.now())
        self.shared.settler.mark(self)

    def settled_position(self) -> Claimed:
        """Return where the store has it: what was found out since is found out again."""
        return replace(self.claimed, cursor=self._settled_cursor, dead_letters=self._dead_letters)

    def position(self) -> Claimed:
        """Return where an idle forwarder stands, for the next one that serves the destination under this lease."""
        return replace(
            self.claimed,
            cursor=self.live.watermark.value,
            retrying=0,
            dead_letters=self._dead_letters,
            replaying=False,
            health=self.tracker.health,
        )

    # ── work ──

    def wake(self) -> None:
        """Begin as many attempts as there is work and room for."""
        if self.stopped or not self.destination.spec.enabled:
            return
        now_s = self._time()
        self._read_ahead(now_s)
        self._fill(now_s)
        if self._owes_redrive and not self.pacing.failures_in_row:
            self._redrive()
        self._set_alarm(now_s)

    def _fill(self, now_s: float) -> None:
        if self._filling:
            return
        self._filling = True
        try:
            while self._has_room(now_s) and (work := self._next(now_s)) is not None:
                self.attempts.begin(work)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self.shared.on_bug(self, error)
        finally:
            self._filling = False

    def _has_room(self, now_s: float) -> bool:
        if (
            self.stopped
            or not self.destination.spec.enabled
            or len(self._findings.delivered) >= UNSETTLED_MAX
            or self.attempts.full
            or (self._in_order and self.attempts.flying)
        ):
            return False
        waiting = self._waiting if self.pacing.in_outage else 0
        return self.pacing.room(len(self.attempts.flying), waiting, now_s) > 0

    def _next(self, now_s: float) -> Work | None:
        """Choose what to send: halves of refused batches, due retries in their share, the log, replays in theirs."""
        if self._halves:
            return self._next_half()
        share_left = self.attempts.beside < self.pacing.share
        if share_left and (work := self.retries.take(self._limits)) is not None:
            return work
        if self._retrying + self._dead_letters >= self.shared.dead_letters_max:
            self._say_full(now_s)
            return None
        if (work := self.live.take(self._limits)) is None and share_left:
            work = next(
                (taken for replay in self.replays if (taken := replay.take(self._limits)) is not None), None
            )
        if work is None or self.live.wants_page:
            self._read_ahead(now_s)
        if work is None and self._told != self._watermarks():
            # Events that the filter left out move the cursor without an attempt.
            self.shared.settler.mark(self)
        return work

    def _say_full(self, now_s: float) -> None:
        """So many events have failed that what follows waits in the log, where it is safe."""
        if self.live.wants_page:
            self._read_ahead(now_s)
        elif self.live.at_hand:
            message = (
                f"{self._dead_letters} dead letters and {self._retrying} retries are as many as AEGIS_DEAD_LETTERS_MAX allows: "
                "redrive or purge dead letters; until then its events wait in the log"
            )
            self.tracker.warned(message, self.shared.clock.now())

    def _next_half(self) -> Work:
        """Take what is left of an earlier request, or as much of it as the format allows, which may be another one now."""
        half = self._halves.popleft()
        if len(half.sequences) > self._limits.events_max:
            half, rest = half.split(self._limits.events_max)
            self._halves.appendleft(rest)
        return half

    # ── what attempts tell ──

    def ended(self, work: Work, verdicts: Verdict | list[Verdict], latency_us: int) -> None:
        """Record what an attempt came to, and go on."""
        self._record(work, verdicts, latency_us)
        flying = self.attempts.flying
        if len(flying) > self.pacing.burst_below and self.live.at_hand:
            if self._burst is None:
                self._burst = asyncio.get_running_loop().call_later(BURST_WAIT_S, self._end_wait)
            return
        self._fill(self._time())
        if not flying:
            self.wake()

    def unsent(self, works: Iterable[Work]) -> None:
        """Take back what was not sent, or of which nothing is known: nothing has failed, and it is to be sent next.

        It goes in front of what else is left over: where a destination needs the order, nothing overtakes it.
        """
        self._halves.extendleft(reversed(list(works)))

    def look_at_age(self, oldest: bytes) -> None:
        """Warn when the destination drops what is sent because of its age, behind a 2xx: from the log, retried or replayed."""
        now = self.shared.clock.now()
        if (warning := overdue(self.attempts.format, oldest, now)) is not None:
            self.tracker.warned(warning, now)

    def met_bug(self, error: Exception) -> None:
        """Hand over an error that must not happen."""
        self.shared.on_bug(self, error)

    def _end_wait(self) -> None:
        self._burst = None
        self.wake()

    def _record(self, work: Work, verdicts: Verdict | list[Verdict], latency_us: int) -> None:
        """Note what the attempt came to. Not a single await: nothing comes between an answer and its record."""
        now_s = self._time()
        if (
            isinstance(verdicts, Accepted)
            and not verdicts.overload
            and not verdicts.warning
            and _is_whole(work)
        ):
            self._succeeded(latency_us, now_s)
            self._findings.note_delivered(work.first, work.last, verdicts.status_code, latency_us)
        else:
            now = self.shared.clock.now()
            each = verdicts if isinstance(verdicts, list) else [verdicts] * len(work.sequences)
            self._learn(work, each, latency_us, now, now_s)
            if isinstance(verdicts, Failure) and len(work.sequences) > 1 and self._may_be_one(verdicts, work):
                if verdicts.status_code == STATUS_TOO_LARGE:
                    self._send_less(work, now)
                self.unsent(work.halves())  # which event it is, only smaller batches can tell
                return
            judged = next((at for at, one in enumerate(each) if _is_unjudged(one)), len(each))
            # An answer that judged nobody is a failed attempt of all, or it would never end.
            if 0 < judged < len(each):
                work, rest = work.split(judged)
                self._halves.appendleft(rest)
                each = each[:judged]
            self._note_each(work, each, latency_us, now)
        work.source.complete(work)
        if not self._marked:
            self._marked = True
            self.shared.settler.mark(self)

    def _may_be_one(self, failure: Failure, work: Work) -> bool:
        """Tell whether one event of a request may be to blame, so that the others must not share its fate.

        Some receivers answer 500 to a batch because of one event in it. That is found out when it would be the end of all.
        """
        if failure.scope is FailureScope.EVENT:
            return True
        last = work.attempt >= self.destination.spec.retry.max_attempts
        return failure.status_code == STATUS_FAILED_INSIDE and last and not failure.permanent

    def _send_less(self, work: Work, now: Micros) -> None:
        """Remember, for good, that a request of this size was too large."""
        size = sum(map(len, work.bodies)) + len(work.bodies) * self.attempts.format.frame_bytes
        bytes_max = max(BATCH_BYTES_MIN, size // 2)
        if bytes_max < self._limits.bytes_max:
            self._limits = replace(self._limits, bytes_max=bytes_max)
            self.tracker.health = replace(self.tracker.health, batch_bytes_max=bytes_max)
            message = f"a request with {size} bytes of events was too large: from now on it gets {bytes_max} at most, until it is changed"
            self.tracker.warned(message, now)

    def _learn(self, work: Work, each: list[Verdict], latency_us: int, now: Micros, now_s: float) -> None:
        """Let pacing and health learn from an answer that was not plain success for all."""
        failures = [(at, one) for at, one in enumerate(each) if isinstance(one, Failure) and not one.unjudged]
        about_us = [found for found in failures if found[1].scope is FailureScope.DESTINATION]
        accepted = [one for one in each if isinstance(one, Accepted)]
        if about_us:
            self.pacing.failed(about_us[0][1], self._waiting, now_s)
        elif accepted:
            self._succeeded(latency_us, now_s)
        if failures:
            at, worst = (about_us or failures)[0]
            self.tracker.failed(worst, work.sequences[at], now)
        if any(one.overload for one in accepted):
            self.pacing.slow_down(now_s)
        for warning in dict.fromkeys(one.warning for one in accepted if one.warning):
            self.tracker.warned(warning, now)

    def _note_each(self, work: Work, verdicts: list[Verdict], latency_us: int, now: Micros) -> None:
        policy = self.destination.spec.retry
        # Events of one request share one random number, so that they stay together in the retry as well.
        chance = self.shared.random.chance()
        for sequence, verdict in zip(work.sequences, verdicts, strict=True):
            outcome = decide(verdict, work.attempt, policy, now=now, chance=chance)
            match outcome:
                case Delivered() if isinstance(work.source, RangeSource):
                    self._findings.note_delivered(sequence, sequence, outcome.status_code, latency_us)
                case Delivered() | Retry() | Dead():
                    self._findings.note(sequence, work.attempt, outcome, latency_us, now)

    def _succeeded(self, latency_us: int, now_s: float) -> None:
        recovered = self._ailing or self.pacing.failures_in_row > 0
        self.pacing.succeeded(latency_us, len(self.attempts.flying) + 1, now_s)
        self.tracker.succeeded_at_s = now_s
        self._ailing = False
        if recovered or self._owes_redrive:
            self._redrive()

    def _redrive(self) -> None:
        """Let what died because of the destination become pending again, now or when the pause since the last time is over."""
        died = self._dead_letters + len(self._findings.dead)
        now = self.shared.clock.now()
        self._owes_redrive = now - self._redriven_at < AUTO_REDRIVE_PAUSE_US
        if self.shared.auto_redrive and died and not self._owes_redrive:
            self._redrive_left, self._redrive_died_by, self._redriven_at = died, now, now
            self.shared.settler.mark(self)

    # ── settlement ──

    def take_settlement(self) -> Settlement | None:
        """Return what became certain since the last call, or None when there is nothing."""
        self._marked = False
        now = self.shared.clock.now()
        if self.live.span > SPAN_MAX:
            self._park(now)
        findings, self._findings = self._findings, Findings()
        pacing = self.pacing
        health = self.tracker.take_stock(
            findings.latencies_us(), pacing.failures_in_row, pacing.window, now, self._time()
        )
        self._told = self._watermarks()
        settlement = Settlement(self.lease, self.claimed.organization_no, self.live.watermark.value, health)
        findings.write(settlement, now)
        settlement.replays = [
            (source.replay.replay_id, source.watermark.value)
            for source in self.replays
            if source.replay is not None
        ]
        if self._redrive_died_by is not None:
            settlement.redrive_died_by = self._redrive_died_by
            self._redrive_left -= AUTO_REDRIVE_MAX
            if self._redrive_left <= 0:
                self._redrive_died_by = None
        return settlement

    def settled(self, settlement: Settlement, counts: Settled) -> None:
        """Learn that a settlement is stored, and what the destination has now."""
        self._settled_cursor = settlement.cursor
        self._retrying, self._dead_letters = counts
        resolved = settlement.resolved + [dead.sequence for dead in settlement.dead]
        self.retries.settled(settlement.retries, resolved)
        if settlement.redrive_died_by is not None:
            self.retries.look_by(self.shared.clock.now())
            if self._redrive_died_by is not None:
                self.shared.settler.mark(self)
        # By what is stored, not by what is known since: the end of a replay must reach the store before it is let go.
        stored = dict(settlement.replays)
        for source in list(self.replays):
            if source.replay is not None and stored.get(source.replay.replay_id, 0) >= source.last:
                self.replays.remove(source)
                self._ended_replays.append(source.replay.replay_id)
        self.shared.pages.forget(self.claimed.organization_no, self.live.watermark.value)
        self.wake()

    def _park(self, now: Micros) -> None:
        """Move the slowest attempts to retries, so that one answer that takes its time does not hold the watermark.

        If the answer comes after all, its outcome replaces the row; if a crash comes, the row brings the event back.
        """
        ends_s = self.attempts.longest_s()
        lowest = self.live.watermark.value
        for work in sorted(ends_s, key=lambda one: one.first):
            if work.source is not self.live or work.first > lowest + SPAN_MAX:
                continue
            due_at = Micros(now + int(ends_s[work] * SECOND) + PARK_MARGIN_US)
            for sequence in work.sequences:
                self._findings.retries[sequence] = RetryRow(sequence, work.attempt, due_at, None)
            self.live.complete(work)
            self.attempts.beside += work in self.attempts.flying
            work.source = self.retries

    # ── the rest ──

    def _watermarks(self) -> list[int]:
        return [self.live.watermark.value, *(one.watermark.value for one in self.replays)]

    @property
    def _waiting(self) -> int:
        """Events not yet delivered, as far as is known without asking; only an outage makes it matter."""
        return self.live.last - self.live.watermark.value + len(self.retries.busy)

    def _read_ahead(self, now_s: float) -> None:
        """Begin to read what will be wanted next, while the last page is still being sent."""
        if self._refilling:
            return
        live = self.live.wants_page and not self._waits_for_company(now_s)
        if (
            live
            or self.retries.wants_rows(self.shared.clock.now())
            or any(one.wants_page for one in self.replays)
        ):
            self._refilling = True
            self.shared.outbound.spawn(self._refill(live=live))

    def _waits_for_company(self, now_s: float) -> bool:
        """Tell whether a few fresh events should wait for more, so that they travel together."""
        batch = self.destination.spec.batch
        if not self.attempts.format.batches or self.live.unread >= self._limits.events_max:
            self._batch_since_s = None
            return False
        if self._batch_since_s is None:
            self._batch_since_s = now_s
        if now_s - self._batch_since_s >= batch.max_wait_ms / 1000:
            self._batch_since_s = None
            return False
        return True

    async def _refill(self, *, live: bool) -> None:
        """Read what is wanted, then wake the slots."""
        try:
            now = self.shared.clock.now()
            await self.retries.refill(now)
            if live:
                await self.live.refill(now)
            for replay in self.replays:
                await replay.refill(now)
        except Unavailable as error:
            self.shared.telemetry.warning("worker.store_unavailable", reason=error.message)
            await asyncio.sleep(STORE_RETRY_S)
        finally:
            self._refilling = False
        self.wake()

    def _set_alarm(self, now_s: float) -> None:
        """Wake up when something falls due that nobody will tell of."""
        times = [resumes] if (resumes := self.pacing.resumes_at_s(now_s)) is not None else []
        if self.retries.next_due is not None and not self.retries.at_hand:
            times.append(now_s + min(CLOCK_CHECK_S, due_in_seconds(self.retries.next_due, self.shared.clock)))
        if self._owes_redrive:
            due_at = Micros(self._redriven_at + AUTO_REDRIVE_PAUSE_US)
            times.append(now_s + due_in_seconds(due_at, self.shared.clock))
        if self._batch_since_s is not None:
            times.append(self._batch_since_s + self.destination.spec.batch.max_wait_ms / 1000)
        if not times or (self._refilling and min(times) <= now_s):
            return
        at_s = min(times)
        if self._alarm is not None:
            if now_s < self._alarm_at_s <= at_s:
                return
            self._alarm.cancel()
        self._alarm_at_s = max(at_s, now_s + 0.001)
        self._alarm = asyncio.get_running_loop().call_at(self._alarm_at_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.wake()

    def _set_limits(self) -> None:
        format_ = self.attempts.format
        batch = narrowed(self.destination.spec.batch, format_)
        if (learned := self.tracker.health.batch_bytes_max) is not None:
            batch = replace(batch, max_bytes=min(batch.max_bytes, learned))
        self._in_order = format_.in_order
        self._limits = Limits.of(batch, batches=format_.batches, frame_bytes=format_.frame_bytes)


def _is_whole(work: Work) -> bool:
    """Tell whether the events of a request are a first attempt of neighbours, nothing left out between them."""
    return isinstance(work.source, RangeSource) and len(work.sequences) == work.last - work.first + 1


def _is_unjudged(verdict: Verdict) -> bool:
    return isinstance(verdict, Failure) and verdict.unjudged
