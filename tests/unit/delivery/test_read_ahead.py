"""When a destination's next events are read: promises of delivery/read_ahead.py, with a real agenda, a fake log and fake retries."""

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_stream.delivery.agenda import Agenda
from aegis_stream.delivery.pages import PEEK_EVENTS_MAX, SharedPages
from aegis_stream.delivery.read_ahead import STORE_RETRY_S, ReadAhead
from aegis_stream.delivery.work import Limits
from aegis_stream.domain.delivery import Claimed, DestinationKey, DueRetry, Lease, Page, ReplayRange
from aegis_stream.domain.destination import Filter, Health
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo, ReplayId
from aegis_stream.errors import Unavailable
from support.clock import T0, SteadyClock
from support.outbound import Owner, in_virtual_time
from support.said import Said

CURSOR = 100
CLAIMED = Claimed(
    Lease(DestinationNo(7), 3), OrganizationNo(5), CURSOR, CURSOR, 0, 0, replaying=False, health=Health()
)


@dataclass
class FakeStore:
    """A log and retries.

    Args:
        waits: nothing can be read at once.
        fails: raised by each read.
    Attributes:
        reads: what was read, in order: of the log "peek" or "page" and the first sequence, and "due" and the time.
    """

    waits: bool = False
    fails: Exception | None = None
    reads: list[tuple[str, int]] = field(default_factory=list)

    async def page(self, _: int, first: int, last: int, *, bytes_max: int, labels: bool) -> Page:
        self.reads.append(("page", first))
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return Page(first, [b"{}"] * (last - first + 1), None)

    def peek(self, _: int, first: int, last: int, *, bytes_max: int, labels: bool) -> Page | None:
        self.reads.append(("peek", first))
        return None if self.waits else Page(first, [b"{}"] * (last - first + 1), None)

    async def due(self, _: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
        self.reads.append(("due", now))
        if self.fails is not None:
            raise self.fails
        return [DueRetry(40, 1, b"{}")], None


@dataclass
class Bench:
    """A reader with its parts."""

    reading: ReadAhead
    agenda: Agenda
    store: FakeStore
    owner: Owner
    said: Said
    tasks: set[Any]


def make(new: int = 0, *, retries: bool = False, waits: bool = False) -> Bench:
    """Make the reader of a destination with so many new events, and perhaps retries that are due."""
    store, owner, said, tasks = FakeStore(waits), Owner(), Said(), set()
    agenda = Agenda(
        SharedPages(cast(Any, store)), cast(Any, store), replace(CLAIMED, head=CURSOR + new), Filter()
    )
    agenda.limits = Limits(1000, 10**6)
    agenda.retries.next_due = T0 if retries else None
    outbound = SimpleNamespace(spawn=lambda work: tasks.add(asyncio.ensure_future(work)))
    shared = SimpleNamespace(outbound=outbound, schedule=SteadyClock(T0), telemetry=said)
    reading = ReadAhead(agenda, cast(Any, shared), cast(Any, owner))
    return Bench(reading, agenda, store, owner, said, tasks)


async def turns() -> None:
    """Let tasks go on as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


# ── the log ──


async def test_few_new_events_are_read_at_once():
    """Up to PEEK_EVENTS_MAX are read where they are sent, and no task is begun."""
    bench = make(PEEK_EVENTS_MAX)

    assert bench.reading.begin(50.0)
    assert bench.store.reads == [("peek", 101)]
    assert bench.agenda.live.at_hand
    assert (bench.reading.busy, bench.tasks) == (False, set())


async def test_what_cannot_be_read_at_once_is_read_by_a_task():
    """Where a read at once would wait a task reads, once; then the owner looks for work."""
    bench = make(3, waits=True)
    begun = bench.reading.begin(50.0)
    busy, again = bench.reading.busy, bench.reading.begin(50.0)
    await turns()

    assert (begun, busy, again) == (False, True, False)
    assert bench.store.reads == [("peek", 101), ("page", 101)]
    assert bench.agenda.live.at_hand
    assert (bench.reading.busy, bench.owner.woken, bench.owner.bugs) == (False, 1, [])


async def test_few_new_events_are_not_read_while_others_are_at_hand():
    """Until what is at hand is sent more may come, so few are left unread; many are read ahead."""
    bench = make(5)
    bench.reading.begin(50.0)
    bench.agenda.live.take(Limits(1, 10**6))
    bench.store.reads.clear()
    bench.agenda.live.last += PEEK_EVENTS_MAX
    few = bench.reading.begin(50.0)
    await turns()
    read_of_few = list(bench.store.reads)
    bench.agenda.live.last += 1
    many = bench.reading.begin(50.0)
    await turns()

    assert (few, read_of_few) == (False, [])
    assert (many, bench.store.reads) == (False, [("page", 106)])


async def test_nothing_is_read_where_nothing_is_wanted():
    """Without new events, retries that are due, or replays, there is no task and no read."""
    bench = make()

    assert not bench.reading.begin(50.0)
    assert (bench.reading.busy, bench.tasks, bench.store.reads) == (False, set(), [])


# ── retries and replays ──


async def test_retries_that_are_due_are_read():
    """They are read as of now, and the log is not, where nothing of it is wanted."""
    bench = make(retries=True)
    begun = bench.reading.begin(50.0)
    await turns()

    assert not begun
    assert bench.store.reads == [("due", T0)]
    assert bench.agenda.retries.at_hand
    assert bench.owner.woken == 1


async def test_replays_are_read():
    """Each replay that wants a page gets one, and the log is left alone."""
    bench = make()
    bench.agenda.set_replays(
        [ReplayRange(ReplayId("rpl_1"), 1, 0, 5), ReplayRange(ReplayId("rpl_2"), 11, 10, 20)]
    )
    bench.reading.begin(50.0)
    await turns()

    assert bench.store.reads == [("page", 1), ("page", 11)]
    assert [one.at_hand for one in bench.agenda.replays] == [True, True]


async def test_a_replay_that_is_read_wants_no_more():
    """A replay whose page is at hand begins no further read."""
    bench = make()
    bench.agenda.set_replays([ReplayRange(ReplayId("rpl_1"), 1, 0, 5)])
    bench.reading.begin(50.0)
    await turns()
    bench.reading.begin(50.0)

    assert not bench.reading.busy
    assert bench.store.reads == [("page", 1)]


# ── waiting for company ──


@pytest.mark.parametrize(("new", "batches", "waits"), [(5, True, True), (6, True, False), (5, False, False)])
async def test_a_few_fresh_events_wait_for_more(new, batches, waits):
    """Where a request may have several events, fewer than fill one are read later; a full one, or a single event, is read now."""
    bench = make(new)
    bench.agenda.limits = Limits(6, 10**6)
    bench.reading.batches, bench.reading.wait_s = batches, 0.5

    assert bench.reading.begin(50.0) is not waits
    assert bench.reading.due_at_s == (50.5 if waits else None)


async def test_the_wait_for_more_ends():
    """It counts from the first of them, also when others come meanwhile, and begins anew with the next ones."""
    bench = make(1)
    bench.reading.batches, bench.reading.wait_s = True, 0.5
    read = [bench.reading.begin(50.0)]
    bench.agenda.live.last += 1
    read.append(bench.reading.begin(50.25))
    due_at_s = bench.reading.due_at_s
    read.append(bench.reading.begin(50.5))
    after = bench.reading.due_at_s
    bench.agenda.live.take(Limits(1000, 10**6))
    bench.agenda.live.last += 1
    read.append(bench.reading.begin(60.0))

    assert read == [False, False, True, False]
    assert (due_at_s, after, bench.reading.due_at_s) == (50.5, None, 60.5)


async def test_a_full_request_ends_the_wait():
    """When enough have come the wait is over, and the next few wait for as long as the first."""
    bench = make(1)
    bench.agenda.limits = Limits(2, 10**6)
    bench.reading.batches, bench.reading.wait_s = True, 0.5
    bench.reading.begin(50.0)
    bench.agenda.live.last += 1
    read = bench.reading.begin(50.25)

    assert read
    assert bench.reading.due_at_s is None


async def test_retries_do_not_end_the_wait_of_others():
    """A read of retries leaves fresh events that wait for company unread."""
    bench = make(1, retries=True, waits=True)
    bench.reading.batches, bench.reading.wait_s = True, 0.5
    bench.reading.begin(50.0)
    await turns()

    assert bench.store.reads == [("due", T0)]


async def test_a_new_reader_waits_for_nothing():
    """As long as nobody has said that events travel together, they are read one by one, without a wait."""
    reading = make(1).reading

    assert (reading.batches, reading.wait_s, reading.due_at_s, reading.busy) == (False, 0.0, None, False)


# ── what goes wrong ──


@in_virtual_time
async def test_a_store_that_cannot_be_read_is_asked_again_later():
    """It is logged, and the owner is woken after STORE_RETRY_S; until then nothing more is read."""
    bench = make(retries=True)
    bench.store.fails = Unavailable("the disk is full")
    bench.reading.begin(50.0)
    await asyncio.sleep(STORE_RETRY_S - 0.01)
    before = (bench.reading.busy, bench.owner.woken)
    await asyncio.sleep(0.02)

    assert before == (True, 0)
    assert (bench.reading.busy, bench.owner.woken, bench.owner.bugs) == (False, 1, [])
    assert bench.said.lines == [("worker.store_unavailable", {"reason": "the disk is full"})]
    assert len(bench.store.reads) == 1


async def test_a_bug_in_a_read_is_told():
    """Any other error is reported to the owner alone, which is not woken; the reader is free again."""
    bench = make(retries=True)
    bench.store.fails = error = ValueError("no")
    bench.reading.begin(50.0)
    await turns()

    assert (bench.owner.bugs, bench.owner.woken, bench.reading.busy) == ([error], 0, False)
    assert bench.said.lines == []
