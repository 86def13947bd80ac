"""The delivery to one destination: begin attempts, record what they came to, over and over.

    wake   → agenda (what goes next) → attempts.begin
    ended  → weigh → account, agenda, pacing, recovery, health

A forwarder has no task: it begins as many attempts as there is work and room for, and the end of each is a call that records
the outcome and begins the next. An idle forwarder is a few objects. Between an answer and the record of its outcome nothing is
awaited, so nothing can come between them; after a crash there the event is sent again.
"""

from dataclasses import InitVar, dataclass, field

from aegis_stream.domain.attempt import Accepted, Failure
from aegis_stream.domain.delivery import Claimed, Lease, Outstanding
from aegis_stream.domain.destination import Destination
from aegis_stream.pipeline.pacing import Pacing

from .account import UNSETTLED_MAX, Account
from .agenda import Agenda
from .alarm import Alarm
from .attempts import Attempts
from .ended import Ended, Judged, Unsent
from .forwarding import Forwarding
from .health import HealthTracker, is_ailing
from .learning import Learning
from .read_ahead import ReadAhead
from .recovery import Recovery
from .sources import RangeSource, due_in_seconds
from .weigh import may_be_one_of, weigh
from .work import Limits, Work

BURST_WAIT_S = 0.001
"""How long a freed slot in a full window waits for more slots to free up, so that attempts start in batches; seconds. Each
attempt that starts alone costs us, the network and the receiver a wake-up of its own: measured, a third of all the work."""


@dataclass(slots=True, eq=False)
class Forwarder:
    """Serves one destination under one lease. All calls come from the event loop."""

    shared: Forwarding
    claimed: InitVar[Claimed]
    destination: Destination
    agenda: Agenda = field(init=False)
    attempts: Attempts = field(init=False)
    account: Account = field(init=False)
    pacing: Pacing = field(init=False)
    learning: Learning = field(init=False)
    reading: ReadAhead = field(init=False)
    alarm: Alarm = field(init=False)  # rings when something falls due
    burst: Alarm = field(init=False)  # rings when freed slots have waited for others
    overdue: Alarm = field(
        init=False
    )  # rings when the window has been full for so long that answers are overdue
    stopped: bool = False
    _filling: bool = False  # an attempt can end while it is begun; its end must not begin others in between

    def __post_init__(self, claimed: Claimed) -> None:
        shared, destination, health = self.shared, self.destination, claimed.health
        ids = {"destination_id": destination.dst_id, "org_id": destination.org_id}
        tracker = HealthTracker(health, shared.telemetry, ids, shared.warnings)
        recovery = Recovery(shared.auto_redrive, is_ailing(health))
        self.pacing = pacing = Pacing(shared.window_max, health.window_size, health.failures_in_row)
        self.agenda = agenda = Agenda(shared.pages, shared.ledger, claimed, destination.spec.filter)
        self.attempts = attempts = Attempts(shared.outbound, destination, agenda.live, self.ended)
        self.account = Account(claimed, shared, agenda, attempts, pacing, recovery, tracker, self)
        self.learning = Learning(self.account)
        self.reading = ReadAhead(agenda, shared, self)
        self.alarm, self.burst, self.overdue = Alarm(self.wake), Alarm(self.wake), Alarm(self._set_aside)
        self._set_limits()

    @property
    def lease(self) -> Lease:
        """The lease under which everything here is settled."""
        return self.account.lease

    @property
    def in_flight(self) -> int:
        """How many attempts have no answer yet."""
        return len(self.attempts.in_flight) + len(self.attempts.overdue)

    @property
    def idle(self) -> bool:
        """True when nothing is in flight, unsettled or known to be due."""
        busy = not self.attempts.idle or self.reading.busy or self.learning.recovery.is_owed
        return not busy and self.agenda.idle and self.account.is_settled

    # ── what the worker tells ──

    def grown(self, head: int) -> None:
        """The organization's log has grown to `head`."""
        if head > self.agenda.live.last:
            self.agenda.live.last = head
            self.wake()

    def reconfigure(self, destination: Destination) -> None:
        """The destination was changed: new attempts go by the new configuration, those in flight end by the old one."""
        changed = destination.spec != self.destination.spec
        self.destination = destination
        if changed:
            self.agenda.put_back(self.attempts.reconfigure(destination))
            self.agenda.refilter(destination.spec.filter)
            self.learning.forget()
            self._set_limits()
        self.agenda.retries.give_back()
        self.wake()

    def set_outstanding(self, outstanding: Outstanding) -> None:
        """Learn which replays there are, and how many events have failed."""
        self.account.retrying, self.account.dead_letters = outstanding.retrying, outstanding.dead_letters
        self.agenda.set_replays(outstanding.replays)
        self.wake()

    def stop(self) -> None:
        """Begin nothing new; what is in flight goes on."""
        self.stopped = self.attempts.stopped = True
        self.alarm.cancel()

    def close(self) -> None:
        """Close the connections: what is in flight ends without an answer, and is not recorded."""
        self.stop()
        self.attempts.close()

    def halt(self, failure: Failure) -> None:
        """Stop because of a bug: settle what is certain, and let people see why nothing is sent."""
        self.close()
        self.learning.halted(failure)

    def wake(self) -> None:
        """Begin as many attempts as there is work and room for."""
        if self.stopped or not self.destination.spec.enabled:
            return
        now_s = self.shared.time()
        try:
            self.reading.begin(now_s)
            self._fill(now_s)
            self.learning.redrive_if_owed(now_s)
            self._set_alarm(now_s)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self.bug(error)

    def ended(self, ended: Ended) -> None:
        """Record what an attempt came to, and go on. Nothing is awaited: nothing comes between an answer and its record."""
        if isinstance(ended, Judged):
            now_s = self.shared.time()
            work, verdicts = ended.work, ended.verdicts
            if (
                isinstance(verdicts, Accepted)
                and not verdicts.overload
                and not verdicts.warning
                and isinstance(work.source, RangeSource)
                and len(work.sequences) == work.last - work.first + 1
            ):  # the hot path: first attempts of neighbours, and all of them succeeded
                self.learning.succeeded(ended.latency_us, now_s)
                self.account.note_delivered(work, verdicts.status_code, ended.latency_us)
            else:
                self._weigh(ended, now_s)
            in_flight = self.attempts.in_flight
            if len(in_flight) > self.pacing.burst_below and self.agenda.live.at_hand:
                if not self.burst.is_set:
                    self.burst.ring_at(now_s + BURST_WAIT_S)
                return
            if in_flight:
                self._fill(now_s)
            else:
                self.wake()
        elif isinstance(ended, Unsent):
            self.agenda.put_back(ended.works)
            if ended.reason is not None:
                self.learning.tracker.warned(f"nothing was sent: {ended.reason}", self.shared.clock.now())
            if not self._filling:
                self.wake()
        else:
            self.bug(ended.error)

    def bug(self, error: Exception) -> None:
        """Report an error that must not happen; the worker halts this destination alone."""
        self.shared.on_bug(self, error)

    def _fill(self, now_s: float) -> None:
        if self._filling:
            return
        self._filling = True
        try:
            while self._has_room(now_s) and (work := self._next(now_s)) is not None:
                if self.attempts.format.age_max_s is not None:
                    self.learning.warn_of_age(self.attempts.format, work.bodies[0])
                self.attempts.begin(work, now_s)
        finally:
            self._filling = False

    def _has_room(self, now_s: float) -> bool:
        attempts = self.attempts
        if (
            self.stopped
            or attempts.full
            or not self.destination.spec.enabled
            or now_s >= self.shared.term.until_s
            or now_s >= self.shared.settler.stalls_at_s
            or len(self.account.findings.delivered) >= UNSETTLED_MAX
            or (attempts.format.in_order and (attempts.in_flight or attempts.overdue))
        ):
            return False
        waiting = self.account.waiting if self.pacing.in_outage else 0
        if self.pacing.room(len(attempts.in_flight), waiting, now_s, len(attempts.overdue)) > 0:
            return True
        if attempts.in_flight and not self.overdue.is_set:
            self.overdue.ring_at(now_s + self.pacing.overdue_s)
        return False

    def _set_aside(self) -> None:
        """Let what has had no answer for long stop counting against the window, so that the others need not wait for it."""
        pacing = self.pacing
        self.attempts.set_aside(self.shared.time() - pacing.overdue_s, pacing.answered_at_s)
        self.wake()

    def _next(self, now_s: float) -> Work | None:
        """Choose what to send; retries and replays have a share of the window, and nothing new is sent when too much has failed."""
        agenda, account = self.agenda, self.account
        share_left = agenda.has_beside and self.attempts.beside < self.pacing.share
        new_allowed = account.may_begin(in_outage=self.pacing.in_outage)
        work = agenda.next(share_left=share_left, new_allowed=new_allowed)
        if account.is_full and agenda.live.at_hand:
            self.learning.say_full(holds=not new_allowed)
        while (work is None or agenda.live.wants_page) and self.reading.begin(now_s) and work is None:
            # A page was read at once; the filter may leave out all of it.
            work = agenda.next(share_left=share_left, new_allowed=new_allowed)
        if work is None:
            account.mark_if_moved()
        return work

    def _weigh(self, ended: Judged, now_s: float) -> None:
        """Note what an attempt came to that was not plain success for all."""
        now, due_from = self.shared.clock.now(), self.shared.schedule.now()
        chance, policy = self.shared.random.chance(), self.destination.spec.retry
        work, latency_us = ended.work, ended.latency_us
        retried = work.source is self.agenda.retries
        suspect = may_be_one_of(work, policy, self.pacing.answered_at_s, retried=retried)
        weighed = weigh(work, ended.verdicts, policy, chance=chance, now=due_from, suspect=suspect)
        if self.learning.weighed(weighed, work, latency_us, now_s):
            self._set_limits()
        self.account.note(weighed, latency_us, now)
        keeper, shown, done = self.shared.answers, weighed.lessons.shown, weighed.done
        if keeper is not None and ended.answer is not None and shown is not None and done is not None:
            keeper.failed(self.destination, done.sequences, shown[1], ended.answer, now, self.account)
        self.agenda.put_back(weighed.rest)

    def _set_limits(self) -> None:
        format_, batch = self.attempts.format, self.destination.spec.batch
        self.agenda.limits = Limits.of(batch, format_, self.learning.tracker.health.batch_bytes_max)
        self.reading.batches, self.reading.wait_s = format_.batches, batch.max_wait_ms / 1000

    def _set_alarm(self, now_s: float) -> None:
        """Wake up when something falls due that nobody will tell of."""
        retries = self.agenda.retries
        times = [self.pacing.resumes_at_s(now_s), self.learning.redrive_at_s, self.reading.due_at_s]
        if retries.next_due is not None and not retries.at_hand:
            times.append(now_s + due_in_seconds(retries.next_due, self.shared.schedule.now()))
        at_s = min((one for one in times if one is not None), default=None)
        if at_s is not None and not (self.reading.busy and at_s <= now_s):
            self.alarm.ring_at(at_s)
