"""One destination being served: encode → send → interpret → decide, over and over (steps 5–7).

A forwarder has no task: it begins as many attempts as there is work and room for, and the end of each is a call that
records the outcome and begins the next. An idle forwarder is a few objects. Between an answer and the record of its outcome
nothing is awaited, so nothing can come between them; a crash there means that the event is sent again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Dead,
    Delivered,
    Failure,
    Fault,
    Retry,
    Scope,
    Verdict,
    decide,
)
from aegis_stream.domain.delivery import AUTO_REDRIVE_MAX, Claimed, Lease, Outstanding, RetryRow, Settlement
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.ids import SECOND, Micros, ReplayId
from aegis_stream.errors import AegisError, Unavailable
from aegis_stream.formats import Format, narrowed, overdue, oversize, resolve
from aegis_stream.ports import Channel, Clock, Dice, Ledger, Sender
from aegis_stream.telemetry import Log

from .follow import (
    SPAN_MAX,
    Limits,
    LiveSource,
    RangeSource,
    ReplaySource,
    RetrySource,
    SharedPages,
    Work,
    due_in_seconds,
)
from .health import Checkup, Warnings
from .pacing import Pacing
from .settle import Findings, Settler, Watermark

AUTO_REDRIVE_PAUSE_US = 60 * SECOND
"""Shortest time between two automatic redrives of a destination, so that a flapping one is not flooded."""
PARK_MARGIN_US = 5 * SECOND
"""A parked attempt is looked at again this long after it must have ended."""
STORE_RETRY_S = 1.0
"""Pause before a page that could not be read is tried again, seconds."""
UNSETTLED_MAX = 65_536
"""Attempts whose outcome waits to be stored; at so many, nothing new is begun until the store takes them."""
OVERSIZE_LOOK_BYTES = 64 * 1024
"""Request bodies up to this size are within the limits of every format."""
ENDED_REPLAYS_KEPT = 64
"""Replays remembered after their end; more than can be under way at once."""
BURST_WAIT_S = 0.001
"""Longest wait of a free place in a full window for others, so that attempts begin in bursts; seconds. Each attempt that
begins alone costs us, the network and the receiver a wake-up of its own: measured, a third of all the work."""
CLOCK_CHECK_S = 60.0
"""Longest sleep until a time of the wall clock, seconds: the clock may be set meanwhile."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What forwarders of one worker share.

    Args:
        route_of: destination → where its requests go; raises Invalid when its URL is no longer allowed.
        spawn: starts a task in the worker's task group.
        on_bug: told when serving a destination met an error that must not happen; the others must not feel it.
    """

    pages: SharedPages
    ledger: Ledger
    sender: Sender
    clock: Clock
    dice: Dice
    settler: Settler
    telemetry: Log
    route_of: Callable[[Destination], Route]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    on_bug: "Callable[[Forwarder, Exception], None]"
    window_max: int
    timeout_s: float
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
    format: Format = field(init=False)
    checkup: Checkup = field(init=False)
    stopped: bool = False
    in_flight: int = 0
    _time: Callable[[], float] = field(init=False)
    _channel: Channel | None = None
    _limits: Limits = field(init=False)
    _beside_in_flight: int = 0
    _halves: deque[Work] = field(default_factory=deque)
    _flying: dict[Work, Format] = field(default_factory=dict)
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
        self.checkup = Checkup(claimed.health, shared.telemetry, ids, shared.warnings)
        self.pacing = Pacing(shared.window_max, claimed.health.window_size, claimed.health.failures_in_row)
        self._retrying, self._dead_letters = claimed.retrying, claimed.dead_letters
        self._settled_cursor = claimed.cursor
        self._configure()

    @property
    def lease(self) -> Lease:
        """The lease under which everything here is settled."""
        return self.claimed.lease

    @property
    def idle(self) -> bool:
        """True when nothing is under way, unsettled or known to be due."""
        return not (
            self._flying
            or self._halves
            or self._refilling
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
            if self._channel is not None and not self._flying:
                self._channel.close()
            self._channel = None
            for source in (self.live, *self.replays):
                source.refilter(destination.spec.filter)
            self.pacing.forget_failures()
            self._configure()
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
        self.stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def close(self) -> None:
        """Close the connections: what is under way ends without an answer, and is not recorded."""
        self.stop()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def settled_standing(self) -> Claimed:
        """Return where the store has it: what was found out since is found out again."""
        return replace(self.claimed, cursor=self._settled_cursor, dead_letters=self._dead_letters)

    def standing(self) -> Claimed:
        """Return where an idle forwarder stands, for the next one that serves the destination under this lease."""
        return replace(
            self.claimed,
            cursor=self.live.watermark.value,
            retrying=0,
            dead_letters=self._dead_letters,
            replaying=False,
            health=self.checkup.health,
        )

    # ── work ──

    def wake(self) -> None:
        """Begin as many attempts as there is work and room for."""
        if self.stopped or not self.destination.spec.enabled:
            return
        now_s = self._time()
        self._read_ahead(now_s)
        self._fill(now_s)
        self._set_alarm(now_s)

    def _fill(self, now_s: float) -> None:
        if self._filling:
            return
        self._filling = True
        try:
            while self._has_room(now_s) and (work := self._next(now_s)) is not None:
                self._begin(work)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self.shared.on_bug(self, error)
        finally:
            self._filling = False

    def _has_room(self, now_s: float) -> bool:
        if (
            self.stopped
            or not self.destination.spec.enabled
            or len(self._findings.delivered) >= UNSETTLED_MAX
        ):
            return False
        waiting = self._waiting if self.pacing.in_outage else 0
        return self.pacing.room(self.in_flight, waiting, now_s) > 0

    def _next(self, now_s: float) -> Work | None:
        """Choose what to send: halves of refused batches, due retries in their share, the log, replays in theirs."""
        if self._halves:
            return self._next_half()
        share_left = self._beside_in_flight < self.pacing.share
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
            self.checkup.warned(message, self.shared.clock.now())

    def _next_half(self) -> Work:
        """Take what is left of an earlier request, or as much of it as the format allows, which may be another one now."""
        half = self._halves.popleft()
        if len(half.sequences) > self._limits.events_max:
            half, rest = half.split(self._limits.events_max)
            self._halves.appendleft(rest)
        return half

    def _begin(self, work: Work) -> None:
        """Make one attempt; `_answered` is called with its answer."""
        self._flying[work] = self.format
        self.in_flight += 1
        self._beside_in_flight += work.source is not self.live
        channel = self._channel or self._open_channel()
        if isinstance(channel, Failure):
            self._land(work)
            self._record(work, channel, 0)
            return
        if self.format.age_max_s is not None:
            self._look_at_age(work.bodies[0])
        request = self.format.encode(work.bodies)
        if len(request.body) > OVERSIZE_LOOK_BYTES:
            failure = oversize(self.format, request, len(work.sequences))
            if failure is not None:
                self._land(work)
                if len(work.sequences) > 1:
                    self._halves.extend(work.halves())  # nothing was sent, so nothing has failed yet
                else:
                    self._record(work, failure, 0)
                return
        channel.start(request, self._answered, work)

    def _look_at_age(self, oldest: bytes) -> None:
        """Warn when the destination drops what is sent because of its age, behind a 2xx: from the log, retried or replayed."""
        now = self.shared.clock.now()
        if (warning := overdue(self.format, oldest, now)) is not None:
            self.checkup.warned(warning, now)

    def _answered(self, work: Work, answer: Answer) -> None:
        """Record what an attempt came to, and go on."""
        format_ = self._land(work)
        if self.stopped and isinstance(answer, Fault):
            return  # the connection was closed under it: given back, not failed
        try:
            self._record(work, format_.interpret(answer, len(work.sequences)), answer.latency_us)
        except Exception as error:  # noqa: BLE001 - a bulkhead, as above
            self.shared.on_bug(self, error)
            return
        if self.in_flight > self.pacing.burst_below and self.live.at_hand:
            if self._burst is None:
                self._burst = asyncio.get_running_loop().call_later(BURST_WAIT_S, self._end_wait)
            return
        self._fill(self._time())
        if not self.in_flight:
            self.wake()

    def _end_wait(self) -> None:
        self._burst = None
        self.wake()

    def _land(self, work: Work) -> Format:
        """End an attempt; returns the format it was made in, which may be another one than the destination has now."""
        self.in_flight -= 1
        self._beside_in_flight -= work.source is not self.live
        return self._flying.pop(work)

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
            if isinstance(verdicts, Failure) and verdicts.scope is Scope.EVENT and len(work.sequences) > 1:
                self._halves.extend(work.halves())  # which event it is, only smaller batches can tell
                return
            judged = next((at for at, one in enumerate(each) if _is_unjudged(one)), len(each))
            if judged < len(each):
                work, rest = work.split(judged)
                self._halves.append(rest)
            self._note_each(work, each[:judged], latency_us, now)
        work.source.complete(work)
        if not self._marked:
            self._marked = True
            self.shared.settler.mark(self)

    def _learn(self, work: Work, each: list[Verdict], latency_us: int, now: Micros, now_s: float) -> None:
        """Let pacing and health learn from an answer that was not plain success for all."""
        failures = [(at, one) for at, one in enumerate(each) if isinstance(one, Failure) and not one.unjudged]
        about_us = [found for found in failures if found[1].scope is Scope.DESTINATION]
        accepted = [one for one in each if isinstance(one, Accepted)]
        if about_us:
            self.pacing.failed(about_us[0][1], self._waiting, now_s)
        elif accepted:
            self._succeeded(latency_us, now_s)
        if failures:
            at, worst = (about_us or failures)[0]
            self.checkup.failed(worst, work.sequences[at], now)
        if any(one.overload for one in accepted):
            self.pacing.slow_down(now_s)
        for warning in dict.fromkeys(one.warning for one in accepted if one.warning):
            self.checkup.warned(warning, now)

    def _note_each(self, work: Work, verdicts: list[Verdict], latency_us: int, now: Micros) -> None:
        policy = self.destination.spec.retry
        # Events of one request share one roll of the dice, so that they stay together in the retry as well.
        chance = self.shared.dice.chance()
        for sequence, verdict in zip(work.sequences, verdicts, strict=True):
            outcome = decide(verdict, work.attempt, policy, now=now, chance=chance)
            match outcome:
                case Delivered() if isinstance(work.source, RangeSource):
                    self._findings.note_delivered(sequence, sequence, outcome.status_code, latency_us)
                case Delivered() | Retry() | Dead():
                    self._findings.note(sequence, work.attempt, outcome, latency_us, now)

    def _succeeded(self, latency_us: int, now_s: float) -> None:
        recovered = self.pacing.failures_in_row > 0
        self.pacing.succeeded(latency_us, self.in_flight + 1, now_s)
        self.checkup.succeeded_at_s = now_s
        if recovered and self.shared.auto_redrive and self._dead_letters:
            now = self.shared.clock.now()
            if now - self._redriven_at >= AUTO_REDRIVE_PAUSE_US:
                self._redrive_died_by, self._redrive_left, self._redriven_at = now, self._dead_letters, now

    # ── settlement ──

    def take_settlement(self) -> Settlement | None:
        """Return what became certain since the last call, or None when there is nothing."""
        self._marked = False
        now = self.shared.clock.now()
        if self.live.span > SPAN_MAX:
            self._park(now)
        findings, self._findings = self._findings, Findings()
        pacing = self.pacing
        health = self.checkup.take_stock(
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

    def settled(self, settlement: Settlement) -> None:
        """Learn that a settlement is stored."""
        self._settled_cursor = settlement.cursor
        self._retrying, self._dead_letters = settlement.retrying, settlement.dead_letters
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
        due_at = Micros(now + int(self.shared.timeout_s * SECOND) + PARK_MARGIN_US)
        lowest = self.live.watermark.value
        for work in sorted(self._flying, key=lambda one: one.first):
            if work.source is not self.live or work.first > lowest + SPAN_MAX:
                continue
            for sequence in work.sequences:
                self._findings.retries[sequence] = RetryRow(sequence, work.attempt, due_at, None)
            self.live.complete(work)
            self._beside_in_flight += 1
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
            self.shared.spawn(self._refill(live=live))

    def _waits_for_company(self, now_s: float) -> bool:
        """Tell whether a few fresh events should wait for more, so that they travel together."""
        batch = self.destination.spec.batch
        if not self.format.batches or self.live.unread >= self._limits.events_max:
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

    def _configure(self) -> None:
        spec = self.destination.spec
        self.format = resolve(spec.format, spec.url)
        batch = narrowed(spec.batch, self.format)
        self._limits = Limits.of(batch, batches=self.format.batches, frame_bytes=self.format.frame_bytes)

    def _open_channel(self) -> Channel | Failure:
        if self._channel is None:
            try:
                self._channel = self.shared.sender.open(self.shared.route_of(self.destination))
            except AegisError as error:
                return Failure(Scope.DESTINATION, error.message, fix_needed=True)
        return self._channel


def _is_whole(work: Work) -> bool:
    """Tell whether the events of a request are a first attempt of neighbours, nothing left out between them."""
    return isinstance(work.source, RangeSource) and len(work.sequences) == work.last - work.first + 1


def _is_unjudged(verdict: Verdict) -> bool:
    return isinstance(verdict, Failure) and verdict.unjudged
