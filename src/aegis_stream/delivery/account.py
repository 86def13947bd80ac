"""What a destination owes the store: outcomes that are not stored yet, its cursor, its health. The settler talks to it."""

from dataclasses import dataclass, field, replace

from aegis_stream.domain.attempt import Dead, Delivered, FailureScope, Retry
from aegis_stream.domain.delivery import Claimed, KeptAnswer, Lease, Settled, Settlement
from aegis_stream.domain.ids import Micros
from aegis_stream.pipeline.pacing import Pacing
from aegis_stream.pipeline.settle import Findings

from .agenda import Agenda
from .attempts import Attempts
from .forwarding import Forwarding, Serving
from .health import HealthTracker
from .recovery import Recovery
from .sources import RangeSource
from .weigh import Weighed
from .work import Work

UNSETTLED_MAX = 65_536
"""Attempts whose outcome waits to be stored; at so many, nothing new is begun until the store takes them."""


@dataclass(slots=True, eq=False)
class Account:
    """The outcomes of one destination; implements pipeline.settler.Settling.

    Args:
        owner: woken when a settlement is stored; told of bugs, which the settlements of other destinations must not feel.

    Attributes:
        retrying, dead_letters: how many there are in the store.
        findings: what is not in the store yet.
    """

    claimed: Claimed
    shared: Forwarding
    agenda: Agenda
    attempts: Attempts
    pacing: Pacing
    recovery: Recovery
    tracker: HealthTracker
    owner: Serving
    retrying: int = field(init=False)
    dead_letters: int = field(init=False)
    _cursor: int = field(init=False)
    findings: Findings = field(default_factory=Findings)
    _is_marked: bool = False  # the settler knows already; so that an event costs one look, not a call
    _owed: Settlement | None = None  # was taken, and is not stored yet
    _watermarks: list[int] = field(default_factory=list)  # as of the last settlement

    def __post_init__(self) -> None:
        self.retrying, self.dead_letters = self.claimed.retrying, self.claimed.dead_letters
        self._cursor = self.claimed.cursor

    @property
    def lease(self) -> Lease:
        """The lease under which everything here is settled."""
        return self.claimed.lease

    @property
    def can_wait(self) -> bool:
        """True when little is lost by settling later: a few first attempts that succeeded."""
        return self.findings.are_few and not self.recovery.under_way

    @property
    def is_settled(self) -> bool:
        """True when the store has everything that is known here."""
        return not self._is_marked and self._owed is None

    @property
    def died(self) -> int:
        """Dead letters, those included that are not stored yet."""
        owed = len(self._owed.dead) if self._owed is not None else 0
        return self.dead_letters + owed + len(self.findings.dead)

    @property
    def is_full(self) -> bool:
        """True when as many events have failed as may become dead letters."""
        return self.retrying + self.dead_letters >= self.shared.dead_letters_max

    @property
    def waiting(self) -> int:
        """Events not delivered yet, retries included, as far as is known without asking the store."""
        live = self.agenda.live
        return live.last - live.watermark.value + max(self.retrying, len(self.findings.retries))

    def note_delivered(self, work: Work, status_code: int | None, latency_us: int) -> None:
        """Note first attempts of neighbouring events that all succeeded: the hot path."""
        self.findings.delivered.append((work.first, work.last, status_code, latency_us))
        work.source.complete(work)
        if not self._is_marked:
            self.mark()

    def note(self, weighed: Weighed, latency_us: int, now: Micros) -> None:
        """Note the outcome of every event that has one."""
        work = weighed.done
        if work is None:
            return
        findings, is_range = self.findings, isinstance(work.source, RangeSource)
        for sequence, outcome in zip(work.sequences, weighed.outcomes, strict=True):
            if is_range and isinstance(outcome, Delivered):
                findings.note_delivered(sequence, sequence, outcome.status_code, latency_us)
            elif isinstance(outcome, Dead | Retry) and self._is_beyond_limit(outcome, work.attempt):
                findings.note_refused(sequence, work.attempt, outcome.failure, latency_us, now)
            else:
                findings.note(sequence, work.attempt, outcome, latency_us, now)
        work.source.complete(work)
        self.mark()

    def may_begin(self, *, in_outage: bool) -> bool:
        """Tell whether new events are sent; False when too many have failed already.

        What the destination rejects for its content never holds up the others: beyond the limits it becomes neither retry
        nor dead letter. So what is beyond them are failures about the destination, few unless there is an outage.
        """
        failed, limit = self.retrying + self.dead_letters, self.shared.dead_letters_max
        return failed < limit or (not in_outage and failed < 3 * limit + UNSETTLED_MAX)

    def _is_beyond_limit(self, outcome: Dead | Retry, attempt: int) -> bool:
        """Tell whether an event that failed for its content becomes neither retry nor dead letter: there are enough."""
        failure, limit = outcome.failure, self.shared.dead_letters_max
        if failure.scope is not FailureScope.EVENT or failure.damaged:
            return False
        if isinstance(outcome, Dead):
            return self.died >= limit
        return attempt == 1 and self.retrying + len(self.findings.retries) >= limit

    def mark(self) -> None:
        """Tell the settler that there is something to store."""
        self._is_marked = True
        self.shared.settler.mark(self)

    def keep(self, answer: KeptAnswer) -> None:
        """Have an answer stored with the next settlement, while this destination is served."""
        if not self.attempts.stopped:
            self.findings.answers.append(answer)
            self.mark()

    def mark_if_moved(self) -> None:
        """Have the cursor stored when it moved without an attempt, over events that the filter leaves out."""
        if not self._is_marked and self._watermarks != self.agenda.watermarks():
            self.mark()

    def take_settlement(self) -> Settlement | None:
        """Return what became certain since the last call; None after a bug, and then the events in question are sent again."""
        self._is_marked = False
        try:
            settlement = self._make_settlement()
        except Exception as error:  # noqa: BLE001 - a bulkhead
            self.owner.bug(error)
            return None
        self._owed = settlement
        return settlement

    def _make_settlement(self) -> Settlement:
        now = self.shared.clock.now()
        self._park(self.shared.schedule.now())
        waiting = self.waiting
        findings, self.findings = self.findings, Findings()
        health = self.tracker.take_stock(
            findings.latencies_us(), self.pacing.failures_in_row, self.pacing.window, now, self.shared.time()
        )
        self._watermarks = self.agenda.watermarks()
        settlement = Settlement(
            self.lease, self.claimed.organization_no, self.agenda.live.watermark.value, health
        )
        findings.write(settlement, now, waiting)
        settlement.replays = [(one.replay_id, one.watermark.value) for one in self.agenda.replays]
        settlement.redrive_died_by = self.recovery.take()
        return settlement

    def settled(self, settlement: Settlement, counts: Settled) -> None:
        """Learn that a settlement is stored, and what the destination has now."""
        self._owed = None
        try:
            self._note_settled(settlement, counts)
        except Exception as error:  # noqa: BLE001 - a bulkhead
            self.owner.bug(error)

    def _note_settled(self, settlement: Settlement, counts: Settled) -> None:
        self._cursor = settlement.cursor
        self.retrying, self.dead_letters = counts
        self.agenda.settled(settlement)
        if settlement.redrive_died_by is not None:
            self.agenda.retries.look_by(Micros(0))
            if self.recovery.under_way:
                self.mark()
        self.owner.wake()

    def stored_position(self) -> Claimed:
        """Return the position as the store has it: what was found out since is found out again."""
        return replace(self.claimed, cursor=self._cursor, dead_letters=self.dead_letters)

    def position(self) -> Claimed:
        """Return the position of an idle destination, for the next forwarder under this lease."""
        return replace(
            self.claimed,
            cursor=self.agenda.live.watermark.value,
            retrying=0,
            dead_letters=self.dead_letters,
            replaying=False,
            health=self.tracker.health,
        )

    def _park(self, now: Micros) -> None:
        """Store slow attempts as retries when they hold the cursor."""
        for work, rows in self.agenda.park(self.attempts, now).items():
            self.attempts.parked(work)
            self.findings.retries.update((row.sequence, row) for row in rows)
