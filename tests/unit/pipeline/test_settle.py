"""What is done up to where, what was found out, and when it is stored: promises of pipeline/settle.py."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Dead, Delivered, Failure, FailureScope, Retry
from aegis_stream.domain.delivery import AttemptRun, DeadRow, Lease, RetryRow, Settled, Settlement
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.settle import (
    FEW_EVENTS,
    RUN_LENGTH_MAX,
    STORE_RETRY_S,
    Findings,
    Settler,
    Watermark,
    merge_runs,
)
from support.simulation import VirtualLoop

NOW = Micros(1_000_000)
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)


# ── the watermark ──


@st.composite
def stretches(draw):
    """Draw a start, and the log after it cut into stretches, in any order of completion."""
    start = draw(st.integers(0, 2**40))
    lengths = draw(st.lists(st.integers(1, 5), max_size=40))
    pieces, first = [], start + 1
    for length in lengths:
        pieces.append((first, first + length - 1))
        first += length
    return start, draw(st.permutations(pieces))


@given(stretches())
def test_the_watermark_is_what_a_set_would_say(drawn):
    """In whatever order stretches are done, the watermark is the end of the unbroken beginning, at every moment."""
    start, order = drawn
    watermark, done = Watermark(start), set()

    for first, last in order:
        watermark.complete(first, last)
        done |= set(range(first, last + 1))
        expected = start
        while expected + 1 in done:
            expected += 1
        assert watermark.value == expected

    assert watermark._above == {}, "nothing is remembered once the gap is closed"


# ── runs ──


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from([200, 202, None])), max_size=30),
    st.randoms(use_true_random=False),
)
def test_runs_say_what_their_pieces_said(drawn, chance):
    """Merged or not, in whatever order: every sequence has one status, the one it had, and neighbours alike are one run."""
    pieces, first = [], 1
    for length, gap, status in drawn:
        first += gap
        pieces.append((first, first + length - 1, status, 100))
        first += length
    expected = {sequence: status for a, b, status, _ in pieces for sequence in range(a, b + 1)}
    chance.shuffle(pieces)

    runs = list(merge_runs(pieces))

    assert {sequence: status for a, b, status, _ in runs for sequence in range(a, b + 1)} == expected
    assert sum(b - a + 1 for a, b, *_ in runs) == len(expected)
    for (_, last, status, _), (following, _, status_then, _) in pairwise(runs):
        assert following > last + 1 or status_then != status


def test_no_run_becomes_longer_than_a_search_can_look():
    """However many neighbours succeed alike, a run stops at its longest, and the next one goes on."""
    runs = list(merge_runs([(n, n, 202, 5) for n in range(1, 2 * RUN_LENGTH_MAX + 11)]))

    assert runs[0] == (1, RUN_LENGTH_MAX, 202, 5)
    assert [last - first + 1 for first, last, *_ in runs] == [RUN_LENGTH_MAX, RUN_LENGTH_MAX, 10]


# ── findings ──


def written(findings: Findings) -> Settlement:
    """Return the settlement that these findings make."""
    settlement = Settlement(Lease(DestinationNo(1), 1), OrganizationNo(1), 0, Health())
    findings.write(settlement, NOW)
    return settlement


def test_nothing_found_writes_nothing():
    """Findings without an attempt leave the settlement empty."""
    settlement = written(Findings())

    assert (settlement.runs, settlement.retries, settlement.dead, settlement.resolved) == ([], [], [], [])
    assert (settlement.delivered, settlement.failed_attempts) == (0, 0)


def test_neighbouring_successes_are_one_run():
    """First attempts that succeeded alike are one row with their mean latency."""
    findings = Findings()
    findings.note_delivered(3, 4, 202, 300)
    findings.note_delivered(1, 2, 202, 100)

    settlement = written(findings)

    assert settlement.runs == [AttemptRun(1, 4, 1, "delivered", 202, None, 200, NOW)]
    assert settlement.delivered == 4


def test_outcomes_become_rows():
    """A retry that succeeded leaves its row, one that failed gets a new time, one that is dead becomes a dead letter."""
    findings = Findings()
    findings.note(1, 2, Delivered(204), 10, NOW)
    findings.note(2, 2, Retry(Micros(NOW + 5), DOWN), 20, NOW)
    findings.note(3, 3, Dead(DOWN), 30, NOW)

    settlement = written(findings)

    assert settlement.resolved == [1]
    assert settlement.retries == [RetryRow(2, 2, Micros(NOW + 5), DOWN)]
    assert settlement.dead == [DeadRow(3, 3, NOW, DOWN)]
    assert settlement.runs == [
        AttemptRun(1, 1, 2, "delivered", 204, None, 10, NOW),
        AttemptRun(2, 2, 2, "failed", 500, "answered 500", 20, NOW),
        AttemptRun(3, 3, 3, "failed", 500, "answered 500", 30, NOW),
    ]
    assert (settlement.delivered, settlement.failed_attempts) == (1, 2)


def test_runs_have_whole_mean_latencies_and_every_event_counts():
    """Each run has the mean latency of its own attempts in whole microseconds; deliveries of all runs are added up."""
    findings = Findings()
    for first, status_code, latency_us in [
        (1, 202, 100),
        (2, 202, 101),
        (3, 200, 7),
        (4, 200, 8),
        (9, 200, 5),
    ]:
        findings.note_delivered(first, first, status_code, latency_us)

    settlement = written(findings)

    latencies = [run.latency_us for run in settlement.runs]
    assert latencies == [100, 7, 5]
    assert all(isinstance(one, int) for one in latencies)
    assert settlement.delivered == 5


def test_latencies_are_those_of_attempts_that_succeeded():
    """First attempts and retries that succeeded have their latency counted; a failure has none."""
    findings = Findings()
    findings.note_delivered(1, 1, 202, 11)
    findings.note(2, 2, Delivered(202), 22, NOW)
    findings.note(3, 3, Dead(DOWN), 33, NOW)

    assert findings.latencies_us() == [11, 22]


@pytest.mark.parametrize("outcome", [Delivered(202), Dead(DOWN)])
def test_an_outcome_replaces_what_was_parked(outcome):
    """An attempt that was parked in retries and then came to an end leaves no retry behind."""
    findings = Findings()
    findings.retries[7] = RetryRow(7, 1, Micros(NOW + 99), None)

    findings.note(7, 1, outcome, 10, NOW)

    assert written(findings).retries == []


# ── the settler ──


class FakeLedger:
    """Takes settlements; refuses while it is `broken`, and those of leases that are `gone`."""

    def __init__(self) -> None:
        self.calls: list[list[Settlement]] = []
        self.workers: list[WorkerId] = []
        self.asked = 0
        self.broken = False
        self.gone: set[Lease] = set()

    async def settle(self, worker_id, settlements):
        await asyncio.sleep(0)
        self.asked += 1
        if self.broken:
            raise Unavailable("no")
        self.workers.append(worker_id)
        self.calls.append(list(settlements))
        return [None if one.lease in self.gone else Settled(3, one.cursor) for one in settlements]


class FakeForwarder:
    """Finds something out whenever it is asked, until `quiet`."""

    can_wait = False

    def __init__(self, number: int) -> None:
        self.lease = Lease(DestinationNo(number), 1)
        self.cursor = 0
        self.stored: list[int] = []
        self.counts: list[Settled] = []
        self.quiet = False

    def take_settlement(self):
        if self.quiet:
            return None
        self.cursor += 1
        return Settlement(self.lease, OrganizationNo(1), self.cursor, Health())

    def settled(self, settlement, counts):
        self.stored.append(settlement.cursor)
        self.counts.append(counts)


@pytest.fixture
def ledger():
    """Make a store that takes everything."""
    return FakeLedger()


@pytest.fixture
def lost():
    """Make a list of forwarders that were given up."""
    return []


@pytest.fixture
def settler(ledger, lost):
    """Make a settler without a pause."""
    return Settler(ledger, WorkerId("wrk_1"), 0.0, lost.extend)


async def test_everything_found_goes_into_one_transaction(settler, ledger):
    """The findings of all destinations that were marked are stored together, and each learns of it."""
    one, two = FakeForwarder(1), FakeForwarder(2)
    for forwarder in (one, two, one):
        settler.mark(forwarder)

    assert await settler.flush()
    assert await settler.flush()

    assert [[one.lease.destination_no for one in call] for call in ledger.calls] == [[1, 2]]
    assert (one.stored, two.stored) == ([1], [1])
    assert (ledger.workers, one.counts) == ([WorkerId("wrk_1")], [Settled(3, 1)])


async def test_nothing_to_say_is_no_transaction(settler, ledger):
    """A forwarder that has nothing after all costs no write."""
    forwarder = FakeForwarder(1)
    forwarder.quiet = True
    settler.mark(forwarder)

    assert await settler.flush()

    assert ledger.calls == []


async def test_a_settlement_that_could_not_be_stored_is_kept(settler, ledger):
    """What the store could not take is tried again as it is, before anything newer of the same destination."""
    forwarder, other = FakeForwarder(1), FakeForwarder(2)
    ledger.broken = True
    settler.mark(forwarder)
    assert not await settler.flush()
    settler.mark(forwarder)
    settler.mark(other)
    assert not await settler.flush()

    ledger.broken = False
    assert await settler.flush()
    assert await settler.flush()

    assert [[(one.lease.destination_no, one.cursor) for one in call] for call in ledger.calls] == [
        [(1, 1), (2, 1)],
        [(1, 2)],
    ]
    assert forwarder.stored == [1, 2]


async def test_two_forwarders_of_one_lease_settle_one_after_the_other(settler, ledger):
    """A transaction has one settlement of a destination, also when a bug gave it a second forwarder under the same lease."""
    halted, resumed = FakeForwarder(1), FakeForwarder(1)
    settler.mark(halted)
    settler.mark(resumed)

    assert await settler.flush()
    assert await settler.flush()

    assert [[one.number for one in call] for call in ledger.calls] == [[1], [2]]
    assert (halted.stored, resumed.stored) == ([1], [1])


async def test_who_lost_its_lease_is_told_and_settles_nothing(settler, ledger, lost):
    """A settlement that does not pass the fence is not reported as stored, and its forwarder is given up."""
    ours, theirs = FakeForwarder(1), FakeForwarder(2)
    ledger.gone = {theirs.lease}
    settler.mark(ours)
    settler.mark(theirs)

    assert await settler.flush()

    assert (ours.stored, theirs.stored) == ([1], [])
    assert lost == [theirs]


async def test_what_is_found_meanwhile_goes_with_the_next(settler, ledger):
    """A mark that comes while a settlement is under way is not forgotten."""
    forwarder = FakeForwarder(1)
    running = asyncio.ensure_future(settler.run())
    settler.mark(forwarder)
    async with asyncio.timeout(10):
        while forwarder.stored != [1, 2]:
            if forwarder.stored == [1] and not settler._dirty:
                settler.mark(forwarder)
            await asyncio.sleep(0)
        settler.halt()
        await running

    assert [call[0].cursor for call in ledger.calls] == [1, 2]


def settled_at(can_wait, marks_s: list[float]) -> list[float]:
    """Return when a settler with an interval of 25 ms stores what one destination has at these times, in seconds."""
    ledger, forwarder, loop = FakeLedger(), FakeForwarder(1), VirtualLoop()
    times: list[float] = []

    async def work():
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend)
        forwarder.settled = lambda *_: times.append(loop.time() - began_s)
        running, began_s = asyncio.ensure_future(settler.run()), loop.time()
        for at_s in marks_s:
            await asyncio.sleep(began_s + at_s - loop.time())
            forwarder.can_wait = can_wait(at_s)
            settler.mark(forwarder)
        await asyncio.sleep(1)
        settler.halt()
        await running

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work())
    return times


def test_a_store_that_takes_nothing_is_asked_once_a_second():
    """A settlement that could not be stored is tried again after STORE_RETRY_S, and not at every interval."""
    ledger, loop = FakeLedger(), VirtualLoop()
    ledger.broken = True

    async def work():
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend)
        running = asyncio.ensure_future(settler.run())
        settler.mark(FakeForwarder(1))
        await asyncio.sleep(4.5 * STORE_RETRY_S)
        settler.halt()
        await running

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work())

    assert ledger.asked == 5


def test_a_few_successes_wait_for_others():
    """The first outcome after a pause is stored at once; the few that follow wait until 200 ms later, and go together."""
    assert settled_at(lambda _: True, [0.001, 0.011, 0.1, 0.19]) == pytest.approx([0.001, 0.201])


def test_much_or_a_failure_waits_for_the_interval_alone():
    """What costs more to repeat, or changes what is sent, is stored at the next interval, also while a few successes wait."""
    assert settled_at(lambda _: False, [0.001, 0.011, 0.04]) == pytest.approx([0.001, 0.026, 0.051])
    assert settled_at(lambda at_s: at_s < 0.1, [0.001, 0.011, 0.11]) == pytest.approx([0.001, 0.126])


def test_a_halt_ends_the_wait_for_others():
    """A worker that is asked to stop does not wait for others before its last settlement."""
    loop = VirtualLoop()

    async def work() -> float:
        settler, forwarder = Settler(FakeLedger(), WorkerId("wrk_1"), 0.025, [].extend), FakeForwarder(1)
        forwarder.can_wait = True
        running = asyncio.ensure_future(settler.run())
        settler.mark(forwarder)
        await asyncio.sleep(0.03)
        began_s = loop.time()
        settler.halt()
        await running
        return loop.time() - began_s

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(work()) <= 0.025


@pytest.mark.parametrize(
    ("found", "few"),
    [
        (lambda findings: findings.note_delivered(1, FEW_EVENTS, 202, 1), True),
        (lambda findings: findings.note_delivered(1, FEW_EVENTS + 1, 202, 1), False),
        (lambda findings: [findings.note_delivered(n, n, 202, 1) for n in range(FEW_EVENTS + 1)], False),
        (lambda findings: findings.note(1, 1, Retry(NOW, DOWN), 1, NOW), False),
        (lambda findings: findings.note(1, 3, Dead(DOWN), 1, NOW), False),
        (lambda findings: findings.note(1, 2, Delivered(202), 1, NOW), False),
    ],
)
def test_few_are_at_most_so_many_events_that_succeeded_at_once(found, few):
    """Events are counted, not requests; a retry, a dead letter or an event that leaves the retries is not put off."""
    findings = Findings()
    found(findings)

    assert findings.are_few == few


async def test_halt_ends_a_settler_with_nothing_to_do(settler):
    """Asked to end, the loop ends, also when nothing was ever marked."""
    running = asyncio.ensure_future(settler.run())
    await asyncio.sleep(0)
    settler.halt()

    async with asyncio.timeout(10):
        await running
