"""What a destination owes the store: promises of delivery/account.py, with its real parts and a settler's fake ledger."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_stream.delivery.account import UNSETTLED_MAX, Account
from aegis_stream.delivery.agenda import PARK_MARGIN_US, Agenda
from aegis_stream.delivery.attempts import Attempts, Outbound
from aegis_stream.delivery.forwarding import Forwarding, Schedule, Term
from aegis_stream.delivery.health import HealthTracker
from aegis_stream.delivery.pages import SharedPages
from aegis_stream.delivery.recovery import Recovery
from aegis_stream.delivery.sources import SPAN_MAX
from aegis_stream.delivery.weigh import Lessons, Weighed
from aegis_stream.delivery.work import Work
from aegis_stream.domain.attempt import Dead, Delivered, Failure, FailureScope, Outcome, Retry
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    AttemptRun,
    Claimed,
    DeadRow,
    Lease,
    ReplayRange,
    RetryRow,
    Settled,
    Settlement,
)
from aegis_stream.domain.destination import Destination, DestinationSpec, Filter, Health
from aegis_stream.domain.ids import (
    SECOND,
    DestinationId,
    DestinationNo,
    Micros,
    OrganizationId,
    OrganizationNo,
    ReplayId,
    WorkerId,
)
from aegis_stream.pipeline.pacing import Pacing
from aegis_stream.pipeline.settler import Settler
from support.clock import T0, SteadyClock
from support.outbound import Owner
from support.said import Said
from support.simulation import SeededRandom

LEASE, ORG = Lease(DestinationNo(7), 3), OrganizationNo(5)
CURSOR, HEAD, RETRYING, DEAD, LIMIT = 100, 150, 4, 2, 10
CLAIMED = Claimed(
    LEASE, ORG, CURSOR, HEAD, RETRYING, DEAD, replaying=True, health=Health(failures_in_row=2, window_size=9)
)
LATER = Micros(T0 + 60 * SECOND)
BLOCKED = Failure(FailureScope.EVENT, "answered 400", 400)
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)
DAMAGED = Failure(FailureScope.EVENT, "the event is damaged", damaged=True)
NO_LESSONS = Lessons(None, None, succeeded=False, overload=False, warnings=())


class FakeLedger:
    """Takes settlements, and says how many retries and dead letters there are then."""

    def __init__(self) -> None:
        self.stored: list[Settlement] = []
        self.counts = Settled(RETRYING, DEAD)

    async def settle(self, worker_id: WorkerId, settlements: Sequence[Settlement]) -> list[Settled | None]:
        self.stored += settlements
        return [self.counts] * len(settlements)


@dataclass
class AccountOwner(Owner):
    """A forwarder, as its account sees it."""

    destination: Destination = field(kw_only=True)
    lease: Lease = LEASE

    def halt(self, failure: Failure) -> None:
        raise AssertionError(failure)


@dataclass
class Bench:
    """An account with its parts."""

    account: Account
    owner: AccountOwner
    ledger: FakeLedger
    settler: Settler
    clock: SteadyClock
    agenda: Agenda
    attempts: Attempts
    recovery: Recovery

    async def settle(self) -> list[Settlement]:
        """Let the settler store what it was told of; return the settlements."""
        before = len(self.ledger.stored)
        await self.settler.flush()
        return self.ledger.stored[before:]

    def work(self, first: int, last: int | None = None, attempt: int = 1, source: Any = None) -> Work:
        """Build a request of neighbouring events, from the log where no other source is given."""
        sequences = range(first, (last or first) + 1)
        return Work(
            source or self.agenda.live, first, last or first, sequences, [b"{}"] * len(sequences), attempt
        )

    def note(self, work: Work, *outcomes: Outcome) -> None:
        """Note what a request came to."""
        self.account.note(Weighed(work, list(outcomes), (), NO_LESSONS), 1500, T0)


def ignore(*_: Any) -> None:
    """Take no notice."""


def make(claimed: Claimed = CLAIMED, *, time_s: Callable[[], float] = lambda: 50.0) -> Bench:
    """Make an account of a destination as a worker claimed it."""
    clock, ledger = SteadyClock(T0, ahead_us=3), FakeLedger()
    settler = Settler(cast(Any, ledger), WorkerId("wrk_1"), 0.0, ignore)
    spec = DestinationSpec(url="https://sink.example.com/in")
    destination = Destination(
        LEASE.destination_no, DestinationId("dst_1"), ORG, OrganizationId("org_1"), spec, 1, T0, T0
    )
    outbound = Outbound(cast(Any, None), cast(Any, None), ignore, cast(Executor, None))
    shared = Forwarding(
        SharedPages(cast(Any, None)), cast(Any, ledger), outbound, clock, Schedule(clock), time_s, Term(), SeededRandom(),
        settler, cast(Any, Said()), ignore, window_max=64, auto_redrive=True, dead_letters_max=LIMIT,
    )  # fmt: skip
    owner = AccountOwner(destination=destination)
    agenda = Agenda(shared.pages, shared.ledger, claimed, Filter())
    attempts = Attempts(outbound, destination, agenda.live, ignore)
    pacing = Pacing(64, claimed.health.window_size, claimed.health.failures_in_row)
    recovery = Recovery(enabled=True, ailing=False)
    tracker = HealthTracker(claimed.health, cast(Any, Said()), {"destination_id": "dst_1", "org_id": "org_1"})
    account = Account(claimed, shared, agenda, attempts, pacing, recovery, tracker, owner)
    return Bench(account, owner, ledger, settler, clock, agenda, attempts, recovery)


# ── what it begins with ──


async def test_a_new_account_owes_nothing():
    """It begins with what the store has, and there is nothing to settle."""
    bench = make()

    assert bench.account.lease == LEASE
    assert bench.account.is_settled
    assert bench.account.can_wait
    assert (bench.account.retrying, bench.account.dead_letters, bench.account.died) == (RETRYING, DEAD, DEAD)
    assert bench.account.stored_position() == CLAIMED
    assert await bench.settle() == []


# ── plain success ──


async def test_delivered_events_are_settled_once():
    """Neighbours that were delivered move the cursor, and the store learns of them in one settlement and no second one."""
    bench = make()
    bench.account.note_delivered(bench.work(101, 104), 202, 3000)
    bench.account.note_delivered(bench.work(105), 202, 3000)
    owes = bench.account.is_settled

    [one] = await bench.settle()

    assert not owes
    assert (one.lease, one.organization_no, one.cursor, one.delivered) == (LEASE, ORG, 105, 5)
    assert one.runs == [AttemptRun(101, 105, 1, "delivered", 202, None, 3000, bench.clock.now())]
    assert (one.health.failures_in_row, one.health.window_size) == (2, 9)
    assert one.health.p50_ms == pytest.approx(3, rel=0.1)
    assert bench.account.is_settled
    assert await bench.settle() == []


async def test_a_gap_holds_the_cursor():
    """The cursor stays before an event without an outcome, and moves over all that follows once it has one."""
    bench = make()
    bench.account.note_delivered(bench.work(102, 104), 202, 1)
    [held] = await bench.settle()
    bench.account.note_delivered(bench.work(101), 202, 1)
    [moved] = await bench.settle()

    assert (held.cursor, moved.cursor) == (CURSOR, 104)


async def test_what_is_found_out_while_a_settlement_is_stored_is_in_the_next_one():
    """An account is settled only when nothing is under way to the store, and nothing was found out meanwhile."""
    bench = make()
    bench.account.note_delivered(bench.work(101), 202, 1)
    taken = bench.account.take_settlement()
    under_way = bench.account.is_settled
    bench.account.note_delivered(bench.work(102), 202, 1)

    bench.account.settled(taken, Settled(0, 0))

    assert not under_way
    assert not bench.account.is_settled
    assert [one.cursor for one in await bench.settle()] == [102]
    assert bench.account.is_settled


async def test_a_few_successes_wait_for_others_and_nothing_else_does():
    """Few first attempts that succeeded can wait; a failure, or a redrive that is under way, cannot."""
    few, failed, recovers = make(), make(), make()
    few.account.note_delivered(few.work(101), 202, 1)
    failed.note(failed.work(101), Retry(LATER, DOWN))
    recovers.recovery.begin(AUTO_REDRIVE_MAX, now=T0, now_s=50.0)

    assert [one.account.can_wait for one in (few, failed, recovers)] == [True, False, False]


async def test_what_is_stored_is_known():
    """A stored settlement tells the counts, moves the stored position, and wakes the forwarder."""
    bench = make()
    bench.ledger.counts = Settled(6, 8)
    bench.account.note_delivered(bench.work(101, 120), 202, 1)
    before = bench.account.stored_position()

    await bench.settle()

    assert before == CLAIMED
    assert (bench.account.retrying, bench.account.dead_letters, bench.owner.woken) == (6, 8, 1)
    assert bench.account.stored_position() == replace(CLAIMED, cursor=120, dead_letters=8)
    assert bench.owner.bugs == []


async def test_an_idle_destination_hands_its_position_on():
    """The next forwarder under the lease begins where this one ended, without retries or replays, and with its health."""
    bench = make()
    bench.ledger.counts = Settled(0, 8)
    bench.account.note_delivered(bench.work(101, 120), 202, 1)
    [one] = await bench.settle()

    assert bench.account.position() == replace(
        CLAIMED, cursor=120, retrying=0, dead_letters=8, replaying=False, health=one.health
    )


# ── outcomes event by event ──


async def test_each_event_of_a_request_has_its_outcome():
    """Of one request, one event is delivered, one is tried again, and one is dead; all three are done for the log."""
    bench = make()
    bench.note(bench.work(101, 103), Delivered(202), Retry(LATER, DOWN), Dead(DOWN))
    owes = not bench.account.is_settled

    [one] = await bench.settle()

    assert owes
    assert (one.cursor, one.delivered, one.failed_attempts, one.resolved) == (103, 1, 2, [])
    assert one.retries == [RetryRow(102, 1, LATER, DOWN)]
    assert one.dead == [DeadRow(103, 1, T0, DOWN)]
    assert sorted(one.runs) == [
        AttemptRun(101, 101, 1, "delivered", 202, None, 1500, bench.clock.now()),
        AttemptRun(102, 102, 1, "failed", 500, "answered 500", 1500, T0),
        AttemptRun(103, 103, 1, "failed", 500, "answered 500", 1500, T0),
    ]


async def test_an_answer_that_judged_nothing_is_no_outcome():
    """Where all of a request is sent again, there is nothing to settle."""
    bench = make()

    bench.account.note(Weighed(None, [], (bench.work(101),), NO_LESSONS), 1500, T0)

    assert bench.account.is_settled


async def test_a_retry_that_is_delivered_is_resolved():
    """An event that was delivered at a later attempt is no retry any more, and its run has the number of the attempt."""
    bench = make()
    bench.note(bench.work(90, attempt=3, source=bench.agenda.retries), Delivered(202))

    [one] = await bench.settle()

    assert (one.resolved, one.delivered, one.cursor) == ([90], 1, CURSOR)
    assert one.runs == [AttemptRun(90, 90, 3, "delivered", 202, None, 1500, T0)]


# ── how much may fail ──


def at_limit(retrying: int, dead_letters: int) -> Bench:
    """Make an account with so many retries and dead letters."""
    return make(replace(CLAIMED, retrying=retrying, dead_letters=dead_letters))


@pytest.mark.parametrize(
    ("failed", "outcome", "kept"),
    [
        ((0, LIMIT - 1), Dead(BLOCKED), "dead"),
        ((0, LIMIT), Dead(BLOCKED), "refused"),
        ((LIMIT, 0), Dead(BLOCKED), "dead"),
        ((0, LIMIT), Dead(DOWN), "dead"),
        ((0, LIMIT), Dead(DAMAGED), "dead"),
        ((0, LIMIT - 1), Retry(LATER, BLOCKED), "retry"),
        ((LIMIT - 1, LIMIT), Retry(LATER, BLOCKED), "retry"),
        ((LIMIT, 0), Retry(LATER, BLOCKED), "refused"),
        ((LIMIT, 0), Retry(LATER, DOWN), "retry"),
    ],
)
async def test_an_event_that_is_rejected_beyond_the_limit_is_only_recorded(failed, outcome, kept):
    """At the most dead letters an event that is rejected for its content becomes none, and at as many retries no retry."""
    bench = at_limit(*failed)
    bench.note(bench.work(101), outcome)

    [one] = await bench.settle()

    assert [row.sequence for row in one.dead] == ([101] if kept == "dead" else [])
    assert [row.sequence for row in one.retries] == ([101] if kept == "retry" else [])
    assert one.resolved == ([101] if kept == "refused" else [])
    assert (one.cursor, one.failed_attempts) == (101, 1)
    assert one.runs == [
        AttemptRun(101, 101, 1, "failed", outcome.failure.status_code, outcome.failure.message, 1500, T0)
    ]


async def test_a_retry_that_is_rejected_again_stays_one():
    """At the limit only a first attempt becomes no retry: an event that is one already keeps its attempts."""
    bench = at_limit(LIMIT, 0)
    bench.note(bench.work(90, attempt=2, source=bench.agenda.retries), Retry(LATER, BLOCKED))

    [one] = await bench.settle()

    assert one.retries == [RetryRow(90, 2, LATER, BLOCKED)]


async def test_failed_events_count_before_they_are_stored():
    """Retries and dead letters count against the limit as soon as they are known, also while a settlement is under way."""
    bench = at_limit(0, LIMIT - 2)
    bench.note(bench.work(101), Dead(BLOCKED))
    bench.account.take_settlement()
    bench.note(bench.work(102), Dead(BLOCKED))
    died = bench.account.died
    bench.note(bench.work(103), Dead(BLOCKED))
    retries = at_limit(LIMIT - 1, 0)
    retries.note(retries.work(101, 102), Retry(LATER, BLOCKED), Retry(LATER, BLOCKED))

    assert died == LIMIT
    assert sorted(bench.account.findings.dead) == [102]
    assert bench.account.findings.refused == [103]
    assert sorted(retries.account.findings.retries) == [101]
    assert retries.account.findings.refused == [102]


@pytest.mark.parametrize(
    ("failed", "is_full", "well", "in_outage"),
    [
        ((0, LIMIT - 1), False, True, True),
        ((LIMIT - 1, 0), False, True, True),
        ((4, LIMIT - 4), True, True, False),
        ((3 * LIMIT, UNSETTLED_MAX - 1), True, True, False),
        ((3 * LIMIT, UNSETTLED_MAX), True, False, False),
    ],
)
async def test_new_events_wait_when_too_many_have_failed(failed, is_full, well, in_outage):
    """In an outage new events wait at the limit; without one only far beyond it, as rejected events hold up no others."""
    account = at_limit(*failed).account

    assert account.is_full == is_full
    assert account.may_begin(in_outage=False) == well
    assert account.may_begin(in_outage=True) == in_outage


async def test_what_waits_is_what_lies_after_the_cursor_and_the_retries():
    """The backlog is the log after the watermark, and the retries: those in the store or, if more, those just found out."""
    bench = make()
    at_first = bench.account.waiting
    bench.account.note_delivered(bench.work(101, 110), 202, 1)
    after_ten = bench.account.waiting
    bench.note(bench.work(111, 116), *[Retry(LATER, DOWN)] * 6)

    assert (at_first, after_ten) == (HEAD - CURSOR + RETRYING, HEAD - 110 + RETRYING)
    assert bench.account.waiting == HEAD - 116 + 6


# ── what moves without an attempt ──


async def test_a_cursor_that_moves_over_filtered_events_is_stored():
    """A cursor that moves without an attempt is settled, once; where it has not moved nothing is."""
    bench = make()
    bench.account.note_delivered(bench.work(101), 202, 1)
    await bench.settle()

    bench.account.mark_if_moved()
    stays = await bench.settle()
    bench.agenda.live.watermark.complete(102, 130)
    bench.account.mark_if_moved()
    owes = not bench.account.is_settled
    moves = await bench.settle()
    bench.account.mark_if_moved()

    assert stays == []
    assert owes
    assert [one.cursor for one in moves] == [130]
    assert bench.account.is_settled


async def test_what_is_to_be_settled_anyhow_is_not_announced_again():
    """While outcomes wait for the settler, a cursor that has moved is settled with them."""
    bench = make()
    bench.account.note_delivered(bench.work(101), 202, 1)
    bench.settler._dirty.clear()

    bench.account.mark_if_moved()

    assert bench.settler._dirty == {}


async def test_replays_are_settled_beside_the_log():
    """A settlement has the cursor of each replay; one that is stored at its end is over, the others go on."""
    bench = make()
    bench.agenda.set_replays(
        [ReplayRange(ReplayId("rpl_1"), 11, 10, 20), ReplayRange(ReplayId("rpl_2"), 31, 30, 40)]
    )
    one, two = bench.agenda.replays
    bench.account.note_delivered(bench.work(11, 20, source=one), 202, 1)
    bench.account.note_delivered(bench.work(31, 35, source=two), 202, 1)

    [settlement] = await bench.settle()

    assert settlement.replays == [("rpl_1", 20), ("rpl_2", 35)]
    assert (settlement.cursor, settlement.delivered) == (CURSOR, 15)
    assert [source.replay_id for source in bench.agenda.replays] == ["rpl_2"]


# ── redrives, slow attempts, bugs ──


async def test_a_redrive_takes_as_many_settlements_as_it_needs():
    """Each settlement carries a part of a redrive until all of it is stored, and the retries are looked at after each."""
    bench = make()
    bench.agenda.retries.next_due = LATER
    bench.recovery.begin(AUTO_REDRIVE_MAX + 1, now=T0, now_s=50.0)
    bench.account.mark()

    [first] = await bench.settle()
    looks = bench.agenda.retries.next_due
    [second] = await bench.settle()
    bench.agenda.retries.next_due = LATER
    bench.account.note_delivered(bench.work(101), 202, 1)
    [third] = await bench.settle()

    assert [one.redrive_died_by for one in (first, second, third)] == [T0, T0, None]
    assert looks == 0
    assert bench.agenda.retries.next_due == LATER, "nothing was redriven"
    assert bench.account.is_settled


async def test_slow_attempts_are_parked_with_the_settlement():
    """An attempt that holds the cursor for long becomes a retry that is due after its end; its outcome is still awaited."""
    bench = make()
    slow = bench.work(101)
    bench.attempts.in_flight[slow] = bench.attempts.format
    bench.agenda.live.covered = CURSOR + SPAN_MAX + 1
    bench.account.mark()

    [one] = await bench.settle()

    due_at = bench.account.shared.schedule.now() + PARK_MARGIN_US
    assert one.retries == [RetryRow(101, 1, due_at, None)]
    assert one.cursor == 101
    assert slow.source is bench.agenda.retries
    assert bench.attempts.beside == 1


async def test_a_bug_in_a_settlement_is_reported_and_stops_no_other():
    """When a settlement cannot be made, the forwarder is told, nothing is stored, and the settler goes on with others."""
    bench, other = make(), make()
    bench.agenda.replays = [cast(Any, object())]
    bench.account.note_delivered(bench.work(101), 202, 1)
    bench.settler.mark(other.account)
    other.account.note_delivered(other.work(101), 202, 1)

    stored = await bench.settle()

    assert [one.cursor for one in stored] == [101]
    assert [isinstance(one, Exception) for one in bench.owner.bugs] == [True]
    assert bench.account.is_settled, "what was found out is found out again"


async def test_a_bug_after_a_settlement_is_reported():
    """When what was stored cannot be noted, the forwarder is told, and the settlement counts as stored."""
    bench = make()
    bench.account.note_delivered(bench.work(101), 202, 1)
    taken = bench.account.take_settlement()

    bench.account.settled(replace(taken, replays=cast(Any, 1)), Settled(0, 0))

    assert [isinstance(one, Exception) for one in bench.owner.bugs] == [True]
    assert bench.account.is_settled


async def test_the_last_success_is_told_by_the_wall_clock():
    """The health of a settlement has the time of the newest success: so many seconds before now."""
    bench = make(time_s=lambda: 53.5)
    bench.account.tracker.succeeded_at_s = 50.0
    bench.account.note_delivered(bench.work(101), 202, 1)

    [one] = await bench.settle()

    assert one.health.last_success_at == bench.clock.now() - 3.5 * SECOND
