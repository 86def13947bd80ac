"""The delivery to one destination, step by step: promises of delivery/forwarder.py, with its real parts, answered by hand."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from aegis_stream.delivery.attempts import Outbound
from aegis_stream.delivery.ended import Bug
from aegis_stream.delivery.forwarder import BURST_WAIT_S, Forwarder
from aegis_stream.delivery.forwarding import Forwarding, Schedule, Term
from aegis_stream.delivery.health import Warnings
from aegis_stream.delivery.pages import SharedPages
from aegis_stream.delivery.sources import DUE_MAX
from aegis_stream.domain.attempt import (
    Accepted,
    Failure,
    FailureScope,
    Fault,
    FaultKind,
    Response,
    RetryPolicy,
)
from aegis_stream.domain.delivery import (
    AttemptRun,
    Claimed,
    DestinationKey,
    DueRetry,
    Lease,
    Outstanding,
    Page,
    ReplayRange,
    Settled,
    Settlement,
)
from aegis_stream.domain.destination import BatchPolicy, Destination, DestinationSpec, Filter, Health
from aegis_stream.domain.ids import (
    DestinationId,
    DestinationNo,
    Micros,
    OrganizationId,
    OrganizationNo,
    ReplayId,
    WorkerId,
)
from aegis_stream.errors import Invalid
from aegis_stream.formats import REGISTRY, Acks
from aegis_stream.pipeline.pacing import OVERDUE_MIN_S, OVERDUE_UNKNOWN_S, PROBE_FIRST_S, SPARE_MAX
from aegis_stream.pipeline.settler import Settler
from support.clock import T0
from support.outbound import HeldChannel, HeldSender, answered, in_virtual_time
from support.pure import ON_SOURCE
from support.said import Said
from support.simulation import SeededRandom, SimClock, VirtualLoop

LEASE, ORG, CURSOR, WINDOW, LIMIT = Lease(DestinationNo(7), 3), OrganizationNo(5), 100, 4, 10
CLAIMED = Claimed(LEASE, ORG, CURSOR, CURSOR, 0, 0, replaying=False, health=Health(window_size=WINDOW))
POLICY = RetryPolicy(max_attempts=3, base_seconds=60.0, jitter=0.0)
SPEC = DestinationSpec(url="https://sink.example.com/in", format="json", retry=POLICY)
BATCHES = replace(SPEC, format="ndjson", batch=BatchPolicy(max_events=4, max_bytes=1000, max_wait_ms=500))
WANTED = Filter(datasets=("wanted",))
DOWN = Failure(FailureScope.DESTINATION, "down", 500)
AHEAD_US = 7_000_000
"""How far the wall clock is set ahead after the start."""


@dataclass
class FakeStore:
    """A log that never ends, in which every third event is of dataset "wanted"; and retries, as settlements leave them.

    Args:
        waits: the log cannot be read at once.
        held: reads wait until it is set.
    Attributes:
        reads: the first sequence of each page that was read by a task.
        retries: sequence → (attempts, due at, status).
    """

    waits: bool = False
    reads: list[int] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    settlements: list[Settlement] = field(default_factory=list)
    retries: dict[int, tuple[int, int, int | None]] = field(default_factory=dict)
    counts: Settled | None = None

    def __post_init__(self) -> None:
        self.held.set()

    async def page(
        self, organization_no: int, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page:
        self.reads.append(first)
        await self.held.wait()
        return page_of(first, last, labels=labels)

    def peek(
        self, organization_no: int, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page | None:
        return None if self.waits else page_of(first, last, labels=labels)

    async def due(self, key: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
        due = sorted((at, one) for one, (_, at, _) in self.retries.items() if at <= now)
        later = [at for _, at, _ in self.retries.values() if at > now]
        rows = [DueRetry(one, self.retries[one][0], b"%d" % one, self.retries[one][2]) for _, one in due]
        return rows[:limit], cast(Any, min(later, default=None))

    async def settle(self, worker_id: WorkerId, settlements: Sequence[Settlement]) -> list[Settled | None]:
        self.settlements += settlements
        for settlement in settlements:
            for row in settlement.retries:
                failure = row.failure
                self.retries[row.sequence] = (
                    row.attempts,
                    row.due_at,
                    failure.status_code if failure else None,
                )
            for gone in [*settlement.resolved, *(dead.sequence for dead in settlement.dead)]:
                self.retries.pop(gone, None)
        return [self.counts or Settled(len(self.retries), 0)] * len(settlements)


def page_of(first: int, last: int, *, labels: bool) -> Page:
    """Read a page: the body of an event is its number."""
    sequences = range(first, last + 1)
    named = [("wanted" if one % 3 == 0 else "other", None) for one in sequences] if labels else None
    return Page(first, [b"%d" % one for one in sequences], cast(Any, named))


@dataclass
class Keeper:
    """Keeps the answers of attempts that failed."""

    kept: list[tuple[Any, ...]] = field(default_factory=list)

    def failed(self, *answer: Any) -> None:
        self.kept.append(answer)


@dataclass
class Bench:
    """A forwarder with its surroundings.

    Attributes:
        bugs: errors that it reported.
        head: of its organization's log.
    """

    forwarder: Forwarder
    store: FakeStore
    sender: HeldSender
    settler: Settler
    clock: SimClock
    said: Said
    keeper: Keeper
    bugs: list[tuple[Any, Exception]]
    head: int = CURSOR

    @property
    def unanswered(self) -> list[list[int]]:
        """The sequences of each request without an answer, in the order in which they began."""
        return [list(token.sequences) for one in self.sender.channels for token, _ in one.unanswered]

    @property
    def channel(self) -> HeldChannel:
        """The newest channel."""
        return self.sender.channels[-1]

    def grow(self, count: int) -> None:
        """Record so many events."""
        self.head += count
        self.forwarder.grown(self.head)

    def answer(self, *statuses: int) -> None:
        """Answer requests, the one that waits for longest first, with these statuses."""
        for status in statuses:
            self.channel.answer(answered(status))

    async def settle(self) -> Settlement | None:
        """Have everything stored; return the settlement, if there was one."""
        before = len(self.store.settlements)
        await self.settler.flush()
        return self.store.settlements[-1] if len(self.store.settlements) > before else None

    async def turns(self, seconds: float = 0.0) -> None:
        """Let time pass, and tasks go on as far as they can."""
        await asyncio.sleep(seconds)
        for _ in range(10):
            await asyncio.sleep(0)

    def reconfigure(self, spec: DestinationSpec) -> None:
        """Change the destination."""
        self.forwarder.reconfigure(replace(self.forwarder.destination, spec=spec))

    def judges(self, **changes: Any) -> None:
        """Have the format of attempts from now on differ."""
        self.forwarder.attempts.format = replace(self.forwarder.attempts.format, **changes)


def make(
    spec: DestinationSpec = SPEC,
    claimed: Claimed = CLAIMED,
    *,
    waits: bool = False,
    warnings: Warnings | None = None,
    auto_redrive: bool = True,
    window_max: int = 64,
) -> Bench:
    """Make the forwarder of a destination; it has looked for retries already, and found none."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    clock, store, sender, said, bugs, tasks = (
        SimClock(loop),
        FakeStore(waits),
        HeldSender(),
        Said(),
        [],
        set(),
    )
    schedule = Schedule(clock)
    clock.skew_us = AHEAD_US
    settler = Settler(cast(Any, store), WorkerId("wrk_1"), 0.0, lambda _: None)
    spawn: Callable[[Any], None] = lambda work: tasks.add(asyncio.ensure_future(work))  # noqa: E731
    outbound = Outbound(sender, sender.route_of, spawn, cast(Any, None))
    keeper = Keeper()
    shared = Forwarding(
        SharedPages(cast(Any, store)), cast(Any, store), outbound, clock, schedule, loop.time, Term(), SeededRandom(),
        settler, cast(Any, said), lambda *bug: bugs.append(bug), window_max=window_max, auto_redrive=auto_redrive,
        dead_letters_max=LIMIT, warnings=warnings or Warnings(), answers=cast(Any, keeper),
    )  # fmt: skip
    destination = Destination(
        LEASE.destination_no, DestinationId("dst_1"), ORG, OrganizationId("org_1"), spec, 1, T0, T0
    )
    forwarder = Forwarder(shared, claimed, destination)
    forwarder.agenda.retries.next_due = None
    return Bench(forwarder, store, sender, settler, clock, said, keeper, bugs, claimed.head)


def ready(claimed: Claimed = CLAIMED, **changes: Any) -> Claimed:
    """Change what a worker has claimed."""
    health = replace(
        claimed.health, **{key: changes.pop(key) for key in list(changes) if hasattr(claimed.health, key)}
    )
    return replace(claimed, health=health, **changes)


# ── the plain way ──


@in_virtual_time
async def test_new_events_are_sent_and_settled():
    """Events go out one a request as soon as they are known; when all are delivered and stored the destination is idle."""
    bench = make()
    idle = [bench.forwarder.idle]
    bench.grow(2)
    idle.append(bench.forwarder.idle)
    in_flight, bodies = bench.unanswered, [request.body for request in bench.channel.requests]
    counted = bench.forwarder.in_flight
    bench.answer(202, 202)
    idle.append(bench.forwarder.idle)
    settlement = await bench.settle()
    idle.append(bench.forwarder.idle)

    assert (in_flight, bodies, counted) == ([[101], [102]], [b"101", b"102"], 2)
    assert settlement is not None
    assert (settlement.lease, settlement.organization_no, settlement.cursor) == (LEASE, ORG, 102)
    assert settlement.runs == [AttemptRun(101, 102, 1, "delivered", 202, None, 1500, bench.clock.now())]
    assert idle == [True, False, False, True]
    assert (bench.forwarder.lease, bench.bugs) == (LEASE, [])


@in_virtual_time
async def test_a_head_that_is_known_wakes_nobody():
    """Told of the head that it knows, or of an older one, a forwarder reads nothing."""
    bench = make()
    bench.grow(1)
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.grow(0)
    bench.forwarder.grown(50)
    await bench.turns()

    assert bench.unanswered == [[101]]
    assert bench.forwarder.agenda.retries.next_due == 0
    assert bench.forwarder.agenda.live.last == 101


@in_virtual_time
async def test_no_more_is_in_flight_than_the_window_has():
    """The window that was stored holds from the start, and retries and the failures that were stored count on."""
    bench, failing = make(), make(claimed=ready(failures_in_row=2))
    bench.grow(10)

    assert bench.unanswered == [[101], [102], [103], [104]]
    assert (bench.forwarder.pacing.window, bench.forwarder.pacing.window_max) == (WINDOW, 64)
    assert failing.forwarder.pacing.failures_in_row == 2


@in_virtual_time
async def test_freed_slots_wait_for_others():
    """In a full window attempts begin in batches, BURST_WAIT_S after the first answer; from half of it down at once."""
    bench = make(window_max=WINDOW)
    bench.grow(20)
    bench.answer(202)
    waits = bench.unanswered
    bench.answer(202)
    at_half = bench.unanswered
    bench.answer(202)
    await bench.turns(BURST_WAIT_S)

    assert waits == [[102], [103], [104]]
    assert at_half == [[103], [104], [105], [106]]
    assert len(bench.unanswered) == WINDOW


@in_virtual_time
async def test_a_burst_begins_a_millisecond_after_the_first_answer():
    """Further answers do not put it off."""
    bench = make(claimed=ready(window_size=10))
    bench.grow(40)
    await bench.turns()
    bench.answer(202)
    await bench.turns(BURST_WAIT_S * 0.6)
    bench.answer(202)
    before = len(bench.unanswered)
    await bench.turns(BURST_WAIT_S * 0.6)

    assert (before, len(bench.unanswered)) == (8, 10)


@in_virtual_time
async def test_what_is_not_at_hand_is_not_waited_for():
    """Where no event is at hand an answer begins no burst."""
    bench = make()
    bench.grow(4)
    bench.answer(202)

    assert not bench.forwarder.burst.is_set


@in_virtual_time
async def test_retries_that_are_due_need_not_wait_for_the_last_answer():
    """An answer that leaves room has them read, although others are in flight."""
    bench = make()
    bench.grow(2)
    bench.store.retries[40] = (1, 0, 500)
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.answer(202)
    await bench.turns()

    assert bench.unanswered == [[102], [40]]


# ── what holds attempts back ──


@in_virtual_time
async def test_a_paused_destination_is_sent_nothing():
    """Paused, an answer is recorded and begins nothing; resumed, everything goes on."""
    bench = make()
    bench.grow(10)
    bench.reconfigure(replace(SPEC, enabled=False))
    bench.answer(*[202] * 2)
    bench.sender.channels[0].answer(answered(202))
    paused = bench.unanswered
    bench.reconfigure(SPEC)

    assert paused == [[104]]
    assert bench.unanswered == [[104], [105], [106], [107]]


@in_virtual_time
async def test_nothing_begins_when_the_lease_may_be_over():
    """From the end of its term on a worker begins no attempt."""
    bench = make()
    now_s = bench.forwarder.shared.time()
    bench.forwarder.shared.term.until_s = now_s
    bench.grow(1)
    over = bench.unanswered
    bench.forwarder.shared.term.until_s = now_s + 0.001
    bench.forwarder.wake()

    assert (over, bench.unanswered) == ([], [[101]])


@in_virtual_time
async def test_nothing_begins_while_the_store_stalls():
    """From the moment on that the settler names, no attempt begins."""
    bench = make()
    now_s = bench.forwarder.shared.time()
    bench.settler.stalls_at_s = now_s
    bench.grow(1)
    stalled = bench.unanswered
    bench.settler.stalls_at_s = now_s + 0.001
    bench.forwarder.wake()

    assert (stalled, bench.unanswered) == ([], [[101]])


@in_virtual_time
async def test_outcomes_that_are_not_stored_are_bounded(monkeypatch):
    """At so many outcomes that wait to be stored nothing begins, until they are."""
    monkeypatch.setattr("aegis_stream.delivery.forwarder.UNSETTLED_MAX", 4)
    bench = make()
    bench.grow(10)
    bench.answer(202, 202)
    await bench.turns(0.01)
    before = len(bench.unanswered)
    bench.answer(202, 202)
    await bench.turns(0.01)
    full = bench.unanswered
    await bench.settle()

    assert (before, full) == (4, [[105], [106]])
    assert len(bench.unanswered) == 4


@in_virtual_time
async def test_nothing_begins_while_the_channel_waits():
    """While attempts wait for a token no further one begins."""
    bench = make()
    bench.grow(1)
    bench.channel.waits = True
    bench.grow(5)

    assert bench.unanswered == [[101], [102]]


@in_virtual_time
async def test_where_order_matters_one_goes_at_a_time():
    """The next request begins after the answer to the one before, also when that one is overdue."""
    bench = make()
    bench.judges(in_order=True)
    bench.grow(3)
    one = bench.unanswered
    await bench.turns(60.0)
    bench.forwarder.attempts.set_aside(bench.forwarder.shared.time(), 0.0)
    bench.forwarder.wake()
    overdue = bench.unanswered
    bench.answer(202)

    assert (one, overdue, bench.unanswered) == ([[101]], [[101]], [[102]])


@in_virtual_time
async def test_in_an_outage_a_large_backlog_is_probed():
    """With many events waiting, one attempt asks whether the destination is back; few keep their schedule."""
    many, few = (make(claimed=ready(failures_in_row=3)) for _ in range(2))
    well = make()
    many.grow(300)
    few.grow(10)
    well.grow(300)
    await well.turns()

    assert [len(one.unanswered) for one in (many, few, well)] == [1, 4, 4]


@in_virtual_time
async def test_a_probe_that_failed_is_repeated_after_a_pause():
    """The forwarder wakes itself up when the pause after a failed probe is over."""
    bench = make(claimed=ready(failures_in_row=3))
    bench.grow(300)
    await bench.turns()
    bench.answer(500)
    held = bench.unanswered
    await bench.turns(PROBE_FIRST_S - 0.01)
    early = bench.unanswered
    await bench.turns(0.02)

    assert (held, early, bench.unanswered) == ([], [], [[102]])


# ── what is never answered ──


@in_virtual_time
async def test_overdue_attempts_make_room():
    """When the window has been full for long, those without an answer no longer count, and others begin beside them."""
    bench = make()
    bench.grow(100)
    await bench.turns()
    bench.answer(202)
    await bench.turns(OVERDUE_UNKNOWN_S - 0.01)
    seen = [bench.unanswered]
    await bench.turns(0.02)
    seen.append(bench.unanswered)
    counted = (len(bench.forwarder.attempts.overdue), bench.forwarder.in_flight)
    await bench.turns(OVERDUE_MIN_S)
    seen.append(bench.unanswered)

    assert [(one[0], one[-1], len(one)) for one in seen] == [
        ([102], [105], 4),
        ([102], [109], 8),
        ([102], [113], 12),
    ]
    assert counted == (4, 8)


@in_virtual_time
async def test_only_what_has_waited_for_long_is_set_aside():
    """Attempts that began a moment ago keep their place in the window when older ones are overdue."""
    bench = make()
    bench.grow(30)
    await bench.turns(OVERDUE_UNKNOWN_S - 0.1)
    bench.answer(202, 202)
    await bench.turns(0.11)

    assert [list(work.sequences) for work in bench.forwarder.attempts.overdue] == [[103], [104]]


@in_virtual_time
async def test_a_probe_that_is_never_answered_is_the_only_one():
    """In an outage with a large backlog an overdue attempt is a probe like any other: none begins beside it."""
    bench = make(claimed=ready(failures_in_row=3))
    bench.grow(300)
    await bench.turns(5 * OVERDUE_UNKNOWN_S)

    assert bench.unanswered == [[101]]
    assert len(bench.forwarder.attempts.overdue) == 1


@in_virtual_time
async def test_a_destination_that_never_answers_gets_a_few_more():
    """Without any answer only SPARE_MAX attempts are set aside, however long it takes."""
    bench = make()
    bench.grow(100)
    await bench.turns()
    await bench.turns(OVERDUE_UNKNOWN_S + 0.1)
    first = len(bench.unanswered)
    await bench.turns(20 * OVERDUE_UNKNOWN_S)

    assert first == 2 * WINDOW
    assert len(bench.unanswered) == SPARE_MAX + WINDOW


@in_virtual_time
async def test_an_empty_window_is_never_overdue():
    """Where the destination asks for a pause and nothing is in flight, there is nothing to set aside."""
    bench = make()
    bench.grow(1)
    bench.channel.answer(Response(429, b"", 1500, retry_after="30"))
    bench.grow(1)

    assert not bench.forwarder.overdue.is_set
    assert bench.unanswered == []
    await bench.turns(30.1)
    assert bench.unanswered == [[102]], "the forwarder wakes itself up when the pause is over"


# ── outcomes ──


@in_virtual_time
async def test_a_failed_event_is_tried_again_when_it_is_due():
    """Its retry is stored, and it goes out again when its time has come by the clock that nobody sets, and not before."""
    bench = make()
    bench.grow(1)
    bench.answer(500)
    settlement = await bench.settle()
    began = bench.forwarder.shared.schedule.now()
    await bench.turns(59.9)
    early = bench.unanswered
    await bench.turns(0.2)
    token = bench.channel.unanswered[0][0]

    assert settlement is not None
    [row] = settlement.retries
    assert (row.sequence, row.attempts, row.due_at) == (101, 1, began + 60_000_000)
    assert [(run.state, run.latency_us) for run in settlement.runs] == [("failed", 1500)]
    assert settlement.runs[0].at == Micros(began + AHEAD_US - 1)
    assert (early, bench.unanswered, token.attempt) == ([], [[101]], 2)


@in_virtual_time
async def test_a_retry_that_is_delivered_is_done():
    """Its row goes away, and its attempt counts as the second."""
    bench = make()
    bench.store.retries[40] = (1, 0, 500)
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.forwarder.wake()
    await bench.turns()
    bench.answer(202)
    settlement = await bench.settle()

    assert settlement is not None
    assert (settlement.resolved, settlement.cursor) == ([40], CURSOR)
    assert [(run.first, run.attempt, run.state) for run in settlement.runs] == [(40, 2, "delivered")]


@in_virtual_time
async def test_an_overload_and_a_warning_are_not_plain_success():
    """An event that was accepted with either is delivered; the window becomes smaller, or the warning is logged."""
    bench = make()
    bench.grow(10)
    bench.judges(interpret=None)
    verdicts = iter([Accepted(202, overload=True), Accepted(202, warning="look at it")])
    for work in bench.forwarder.attempts.in_flight:
        bench.forwarder.attempts.in_flight[work] = replace(
            REGISTRY["json"], interpret=lambda *_: next(verdicts)
        )
    bench.answer(202)
    window = bench.forwarder.pacing.window
    bench.answer(202)
    settlement = await bench.settle()

    assert window < WINDOW
    assert [one["reason"] for one in bench.said.named("destination.warning")] == ["look at it"]
    assert settlement is not None
    assert (settlement.delivered, settlement.cursor) == (2, 102)
    assert bench.bugs == []


@in_virtual_time
async def test_one_event_among_filtered_ones_counts_as_one():
    """A stretch of three with one event that is wanted has one delivered event."""
    bench = make(replace(BATCHES, filter=WANTED))
    bench.grow(3)
    await bench.turns(0.6)
    bench.answer(202)
    settlement = await bench.settle()

    assert settlement is not None
    assert (settlement.cursor, settlement.delivered) == (103, 1)
    assert [(run.first, run.last) for run in settlement.runs] == [(102, 102)]


@in_virtual_time
async def test_only_events_that_were_sent_count_as_delivered():
    """A request that passes over filtered events has no run for them, and the cursor moves past them."""
    bench = make(replace(BATCHES, filter=WANTED))
    bench.grow(6)
    await bench.turns(0.6)
    sent = bench.unanswered
    bench.answer(202)
    settlement = await bench.settle()

    assert sent == [[102, 105]]
    assert settlement is not None
    assert (settlement.cursor, settlement.delivered) == (106, 2)
    assert sorted((run.first, run.last) for run in settlement.runs) == [(102, 102), (105, 105)]


@in_virtual_time
async def test_a_rejected_event_of_a_batch_is_found():
    """A batch that is rejected is halved, and both halves go out at once, before anything newer."""
    bench = make(BATCHES)
    bench.grow(4)
    bench.answer(400)
    halves = bench.unanswered
    bench.answer(202, 400)
    quarters = bench.unanswered

    assert (halves, quarters) == ([[101, 102], [103, 104]], [[103], [104]])
    assert bench.keeper.kept == [], "no event has an outcome yet"
    bench.answer(400)
    assert [list(sequences) for _, sequences, *_ in bench.keeper.kept] == [[103]]


@in_virtual_time
async def test_a_request_that_was_too_large_makes_the_next_ones_smaller():
    """After 413 requests have half the bytes at most, from the next one on."""
    bench = make(replace(BATCHES, batch=BatchPolicy(max_events=1000, max_bytes=3500, max_wait_ms=0)))
    bench.grow(1000)
    await bench.turns()
    first = len(bench.unanswered[0])
    bench.forwarder.pacing.window = 1.0
    bench.answer(413)

    assert bench.forwarder.agenda.limits.bytes_max < 3500
    assert (
        bench.forwarder.agenda.limits.bytes_max
        == (sum(len(b"%d" % one) + 1 for one in range(101, 101 + first))) // 2
    )


@in_virtual_time
async def test_the_answer_to_a_failed_attempt_is_kept():
    """For people the answer is kept with its request, when it came, and what it was taken for; that of a success is not."""
    bench = make()
    bench.grow(2)
    bench.answer(202)
    answer = answered(500, b"sorry")
    bench.channel.answer(answer)
    [(destination, sequences, failure, kept, at, to)] = bench.keeper.kept

    assert (destination, list(sequences), kept) == (bench.forwarder.destination, [102], answer)
    assert (failure.status_code, at, to) == (500, bench.clock.now(), bench.forwarder.account)


@in_virtual_time
async def test_without_an_answer_nothing_is_kept():
    """An attempt that could not be sent has none; and a worker that keeps no answers goes on without."""
    bench, keeps_none = make(), make()
    bench.sender.refusal = Invalid("use https")
    bench.grow(1)
    keeps_none.forwarder.shared = replace(keeps_none.forwarder.shared, answers=None)
    keeps_none.grow(1)
    keeps_none.answer(500)

    assert bench.keeper.kept == keeps_none.keeper.kept == []
    assert bench.bugs == keeps_none.bugs == []
    assert (await bench.settle()).health.last_error_message == "use https"


@in_virtual_time
async def test_what_was_not_sent_is_sent_again():
    """A limit of our own costs no attempt: the reason is logged by the wall clock, and the event goes out again at once."""
    bench = make()
    bench.grow(1)
    for _ in range(2):
        bench.channel.answer(Fault(FaultKind.LIMIT, "no place", 0))

    assert bench.unanswered == [[101]]
    assert bench.said.named("destination.warning") == [
        {"destination_id": "dst_1", "org_id": "org_1", "reason": "nothing was sent: no place"}
    ]
    assert bench.channel.unanswered[0][0].attempt == 1


@in_virtual_time
async def test_an_attempt_that_ends_while_it_begins_begins_no_other():
    """Events that cannot be sent, however many, end one after the other; each is recorded, and the others go out."""
    bench = make(replace(BATCHES, batch=BatchPolicy(max_events=8, max_bytes=1000, max_wait_ms=0)))
    bench.store.peek = lambda _, first, last, **__: Page(
        first, [b"" if one == 103 else b"%d" % one for one in range(first, last + 1)], None
    )
    bench.grow(8)
    settlement = await bench.settle()

    assert sorted(one for sequences in bench.unanswered for one in sequences) == [
        101,
        102,
        104,
        105,
        106,
        107,
        108,
    ]
    assert settlement is not None
    assert [dead.sequence for dead in settlement.dead] == [103]
    assert bench.bugs == []


@in_virtual_time
async def test_however_many_events_cannot_be_sent_each_ends_in_its_turn():
    """The end of one does not begin the next within itself, so no number of them is too deep."""
    bench = make(waits=True)
    page = bench.store.page

    async def damaged(*where: Any, **how: Any) -> Page:
        return (await page(*where, **how))._replace(bodies=[b""] * 900)

    bench.store.page = damaged
    bench.grow(900)
    await bench.turns()
    settlement = await bench.settle()

    assert bench.bugs == []
    assert settlement is not None
    assert (len(settlement.dead), settlement.cursor) == (900, CURSOR + 900)


# ── what a batch says about one event ──


@in_virtual_time
async def test_a_redriven_batch_is_halved_when_others_arrive():
    """Built from dead letters, a batch that fails while the destination accepts other events may hold the one to blame."""
    bench = make(BATCHES)
    bench.store.retries.update({40: (0, 0, None), 41: (0, 0, None)})
    bench.grow(4)
    bench.answer(202)
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.forwarder.wake()
    await bench.turns()
    together = bench.unanswered
    bench.answer(503)

    assert (together, bench.unanswered) == ([[40, 41]], [[40], [41]])


@in_virtual_time
async def test_a_new_batch_that_fails_stays_together():
    """At its first attempt a batch of the log that fails for a reason about the destination is tried again as it is."""
    bench = make(BATCHES)
    bench.grow(8)
    bench.answer(202)
    bench.answer(503)
    settlement = await bench.settle()

    assert settlement is not None
    assert [row.sequence for row in settlement.retries] == [105, 106, 107, 108]


# ── changes ──


@in_virtual_time
async def test_a_change_holds_from_the_next_event_on():
    """Another filter, format and size hold for everything that is read from then on; failures are forgotten."""
    bench = make(claimed=ready(failures_in_row=2, batch_bytes_max=2000, window_size=6))
    bench.grow(4)
    bench.reconfigure(replace(BATCHES, filter=WANTED))
    limits = bench.forwarder.agenda.limits
    bench.grow(8)
    await bench.turns(0.6)

    assert bench.unanswered == [[101], [102], [103], [104], [105, 108, 111]]
    assert (limits.events_max, limits.bytes_max) == (4, 1000)
    assert bench.forwarder.pacing.failures_in_row == 0
    assert bench.forwarder.learning.tracker.health.batch_bytes_max is None


@in_virtual_time
async def test_a_change_of_nothing_forgets_nothing():
    """A destination that is told anew with the same configuration keeps its channel, and looks for retries."""
    bench = make(claimed=ready(failures_in_row=1))
    bench.store.retries[40] = (1, 0, 500)
    bench.grow(1)
    bench.forwarder.reconfigure(replace(bench.forwarder.destination, revision=2))
    await bench.turns()

    assert bench.forwarder.destination.revision == 2
    assert (bench.forwarder.pacing.failures_in_row, len(bench.sender.channels)) == (1, 1)
    assert bench.unanswered == [[101], [40]]


@in_virtual_time
async def test_a_change_sends_again_what_waits_for_its_confirmation():
    """What became of it nobody knows, so it goes out again, to where the destination is now."""
    bench = make()
    acks = Acks("/ack", cast(Any, None), cast(Any, None))
    bench.judges(interpret=lambda *_: Accepted(200, ack_id=1), acks=acks)
    bench.grow(1)
    bench.answer(200)
    waits = (bench.unanswered, bench.forwarder.idle)
    bench.reconfigure(replace(SPEC, name="changed"))

    assert waits == ([], False)
    assert bench.unanswered == [[101]]


@in_virtual_time
async def test_replays_and_counts_are_told():
    """Told of replays, a forwarder begins them; told how many events have failed, it goes by that."""
    bench = make()
    bench.forwarder.set_outstanding(Outstanding([ReplayRange(ReplayId("rpl_1"), 1, 10, 12)], 3, 4, Health()))
    await bench.turns()

    assert bench.unanswered == [[11]], "replays have a quarter of the window"
    assert (bench.forwarder.account.retrying, bench.forwarder.account.dead_letters) == (3, 4)
    assert not bench.forwarder.idle


@in_virtual_time
async def test_retries_have_their_share_of_the_window():
    """A quarter of the window is for them, and the log has the rest."""
    bench = make(claimed=ready(window_size=8))
    bench.store.retries.update(dict.fromkeys(range(40, 50), (1, 0, 500)))
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.forwarder.wake()
    await bench.turns()
    beside = bench.unanswered
    bench.grow(20)

    assert beside == [[40], [41]]
    assert bench.unanswered == [[40], [41], *([number] for number in range(101, 107))]


# ── too much has failed ──


@in_virtual_time
async def test_when_too_many_have_failed_new_events_wait_in_an_outage():
    """At the limit nothing new is sent in an outage, and that is logged; without one events go on, with another warning."""
    outage = make(claimed=ready(failures_in_row=3, dead_letters=LIMIT))
    outage.grow(2)
    well = make(claimed=ready(dead_letters=LIMIT))
    well.grow(5)
    below = make(claimed=ready(dead_letters=LIMIT - 1))
    below.grow(5)

    assert (outage.unanswered, len(well.unanswered)) == ([], 4)
    assert ["wait in the log" in one["reason"] for one in outage.said.named("destination.warning")] == [True]
    assert ["wait in the log" in one["reason"] for one in well.said.named("destination.warning")] == [False]
    assert below.said.lines == []


@in_virtual_time
async def test_an_idle_destination_is_not_warned():
    """Where nothing is to be sent, the number of dead letters is no reason for a warning."""
    bench = make(claimed=ready(dead_letters=LIMIT))
    bench.forwarder.wake()

    assert bench.said.lines == []


@in_virtual_time
async def test_destinations_share_what_was_said():
    """A warning that was logged of a destination is not logged again by its next forwarder."""
    warnings = Warnings()
    for _ in range(2):
        bench = make(claimed=ready(dead_letters=LIMIT), warnings=warnings)
        bench.grow(5)

    assert bench.said.lines == []
    assert len(warnings._said_at) == 1


@ON_SOURCE
@in_virtual_time
async def test_events_that_are_too_old_are_told():
    """Where a destination drops old events the first event of each request is looked at; others cost nothing."""
    bench = make()
    seen: list[bytes] = []
    bench.forwarder.learning = cast(Any, Watching(bench.forwarder.learning, seen))
    bench.grow(1)
    bench.judges(age_max_s=60)
    bench.grow(1)

    assert seen == [b"102"]


class Watching:
    """Stands before what learns, and keeps which events it looks at for their age."""

    def __init__(self, learning: Any, seen: list[bytes]) -> None:
        self.__dict__.update(_learning=learning, _seen=seen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learning, name)

    def warn_of_age(self, format_: Any, oldest: bytes) -> None:
        assert format_.age_max_s == 60
        self._seen.append(oldest)


# ── reading ──


@in_virtual_time
async def test_events_that_are_filtered_out_move_the_cursor():
    """Where nothing is wanted nothing is sent, and the cursor is stored all the same."""
    bench = make(replace(SPEC, filter=WANTED))
    bench.grow(1)
    settlement = await bench.settle()

    assert bench.unanswered == []
    assert settlement is not None
    assert settlement.cursor == 101


@in_virtual_time
async def test_pages_of_which_nothing_is_wanted_are_passed_at_once():
    """A page that was read at once and is filtered out whole does not end the search: the next one is read."""
    bench = make(replace(SPEC, filter=WANTED))
    bench.store.peek = lambda _, first, last, *, bytes_max, labels: page_of(first, first, labels=labels)
    bench.grow(5)

    assert bench.unanswered == [[102], [105]]


@in_virtual_time
async def test_many_events_are_read_by_a_task_ahead():
    """While the first page is being sent the next one is read; what a task reads is sent when it is there."""
    bench = make(waits=True)
    bench.grow(1500)
    at_first = bench.unanswered
    await bench.turns()

    assert (at_first, len(bench.unanswered)) == ([], WINDOW)
    assert bench.store.reads == [101, 1101]


@in_virtual_time
async def test_a_read_under_way_keeps_a_destination_busy():
    """It is not idle while it reads, although nothing else is left to do."""
    bench = make()
    bench.store.held.clear()
    bench.forwarder.reading.busy = True

    assert not bench.forwarder.idle


@in_virtual_time
async def test_few_events_wait_for_others():
    """Where a request may have several events, fewer wait for as long as the destination says, and then go together."""
    bench = make(BATCHES)
    bench.grow(2)
    await bench.turns(0.3)
    bench.grow(1)
    await bench.turns(0.1998)
    waits = bench.unanswered
    await bench.turns(0.0004)

    assert (waits, bench.unanswered) == ([], [[101, 102, 103]])


@in_virtual_time
async def test_a_redrive_that_is_owed_wakes_the_forwarder():
    """Of two recoveries within a minute the second redrives when the minute is over, also when nothing else happens."""
    bench = make(claimed=ready(dead_letters=2))
    bench.store.counts = Settled(0, 2)
    died_by = []
    for _ in range(2):
        await bench.turns()
        bench.grow(1)
        bench.answer(500)
        bench.grow(1)
        bench.answer(202)
        settlement = await bench.settle()
        died_by.append(settlement.redrive_died_by)
    owed = bench.forwarder.idle
    await bench.turns(59.9)
    early = await bench.settle()
    await bench.turns(0.2)
    settlement = await bench.settle()

    assert [one is not None for one in died_by] == [True, False]
    assert (owed, early) == (False, None)
    assert settlement is not None
    assert settlement.redrive_died_by is not None


@in_virtual_time
async def test_a_worker_that_may_not_redrive_does_not():
    """Where the operator has switched redrives off a recovery changes nothing."""
    bench = make(claimed=ready(dead_letters=2, failures_in_row=1), auto_redrive=False)
    bench.grow(1)
    bench.answer(202)

    assert (await bench.settle()).redrive_died_by is None


@in_virtual_time
async def test_the_first_success_of_a_new_forwarder_is_a_recovery():
    """A destination that failed when it was claimed, or whose last attempt did, is redriven after its first success."""
    redriven = []
    for health in ({"failures_in_row": 1}, {"last_error_at": 5, "last_success_at": 3}, {}):
        bench = make(claimed=ready(dead_letters=2, **health))
        bench.grow(1)
        bench.answer(202)
        redriven.append((await bench.settle()).redrive_died_by is not None)

    assert redriven == [True, True, False]


# ── when it wakes itself up ──


@in_virtual_time
async def test_it_sleeps_until_something_is_due():
    """A retry that is due in a minute costs nothing until then, and is sent when its time has come."""
    bench = make()
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    bench.forwarder.agenda.retries.next_due = Micros(bench.forwarder.shared.schedule.now() + 60_000_000)
    bench.store.retries[40] = (1, 0, 500)
    bench.forwarder.wake()
    turns = loop.turns
    await asyncio.sleep(59.9)
    slept = loop.turns - turns
    await bench.turns(0.2)

    assert slept < 10
    assert bench.unanswered == [[40]]


@in_virtual_time
async def test_what_is_at_hand_or_being_read_needs_no_alarm():
    """Retries that are being read wake the forwarder when they are there; those that wait for their share, when there is room."""
    bench = make()
    bench.store.retries.update(dict.fromkeys(range(40, 40 + 2 * DUE_MAX), (1, 0, 500)))
    bench.forwarder.agenda.retries.next_due = Micros(0)
    bench.forwarder.wake()
    read = bench.forwarder.alarm.is_set
    await bench.turns()

    assert bench.unanswered == [[40]]
    assert (read, bench.forwarder.alarm.is_set) == (False, False)


@in_virtual_time
async def test_a_long_read_delays_nothing_that_falls_due():
    """While it reads a forwarder wakes itself up for everything that is due later."""
    bench = make(waits=True)
    bench.store.held.clear()
    bench.grow(5)
    bench.forwarder.agenda.retries.next_due = Micros(bench.forwarder.shared.schedule.now() + 1_000_000)
    bench.forwarder.wake()

    assert bench.forwarder.reading.busy
    assert bench.forwarder.alarm.is_set
    bench.store.held.set()
    await bench.turns()


# ── the end ──


@in_virtual_time
async def test_a_stopped_forwarder_begins_nothing():
    """What is in flight goes on and is recorded; nothing new begins, not even when something falls due."""
    bench = make()
    bench.grow(10)
    bench.forwarder.agenda.retries.next_due = Micros(bench.forwarder.shared.schedule.now() + 1_000_000)
    bench.forwarder.wake()
    bench.forwarder.stop()
    is_set = bench.forwarder.alarm.is_set
    bench.answer(202, 202)
    bench.forwarder.wake()
    await bench.turns(5.0)
    settlement = await bench.settle()

    assert not is_set
    assert bench.unanswered == [[103], [104]]
    assert settlement is not None
    assert settlement.cursor == 102
    assert not bench.channel.closed


@in_virtual_time
async def test_a_closed_forwarder_records_nothing_more():
    """The connections are closed; attempts without an answer have no outcome."""
    bench = make()
    bench.grow(2)
    bench.forwarder.close()

    assert bench.channel.closed
    assert (bench.forwarder.stopped, bench.forwarder.in_flight) == (True, 0)
    settlement = await bench.settle()
    assert settlement is not None
    assert (settlement.cursor, settlement.runs, settlement.retries) == (CURSOR, [], [])


@in_virtual_time
async def test_a_halted_forwarder_shows_why():
    """Halted by a bug, it sends nothing more, and its health says why."""
    bench = make()
    bench.grow(2)
    bench.forwarder.halt(DOWN)
    bench.grow(2)
    settlement = await bench.settle()

    assert bench.channel.closed
    assert bench.unanswered == []
    assert settlement is not None
    assert (settlement.health.last_error_message, settlement.health.failures_in_row) == ("down", 1)


# ── bugs ──


@in_virtual_time
async def test_a_bug_while_it_looks_for_work_is_told():
    """An error is reported with the forwarder that it belongs to, and reaches nobody else."""
    bench = make()
    bench.judges(age_max_s=60, encode=None)
    bench.grow(1)

    [(whose, error)] = bench.bugs
    assert whose is bench.forwarder
    assert isinstance(error, Exception)


@in_virtual_time
async def test_a_bug_of_an_attempt_is_told():
    """An attempt that ended by a bug is reported, too."""
    bench, error = make(), ValueError("no")
    bench.forwarder.ended(Bug(error))

    assert bench.bugs == [(bench.forwarder, error)]
