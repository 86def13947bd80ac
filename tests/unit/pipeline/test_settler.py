"""When the outcomes of all destinations are stored, and what happens to those that the store refuses: promises of pipeline/settler.py."""

import asyncio
import math

import pytest

from aegis_stream.domain.delivery import Lease, Settled, Settlement
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import DestinationNo, OrganizationNo, WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.settler import FAILURES_MAX, STALL_S, STORE_RETRY_S, Settler
from support.simulation import VirtualLoop


class FakeLedger:
    """Takes settlements within `slow_s`; refuses while it is `broken`, and those of leases that are `gone`."""

    def __init__(self) -> None:
        self.calls: list[list[Settlement]] = []
        self.workers: list[WorkerId] = []
        self.asked = 0
        self.slow_s = 0.0
        self.broken = False
        self.gone: set[Lease] = set()

    async def settle(self, worker_id, settlements):
        await asyncio.sleep(self.slow_s)
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


async def test_halt_ends_a_settler_with_nothing_to_do(settler):
    """Asked to end, the loop ends, also when nothing was ever marked."""
    running = asyncio.ensure_future(settler.run())
    await asyncio.sleep(0)
    settler.halt()

    async with asyncio.timeout(10):
        await running


# ── what the store refuses ──


class PartlyBroken(FakeLedger):
    """Rejects every transaction that has a settlement of certain destinations."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self.refused = set(refused)

    async def settle(self, worker_id, settlements):
        self.broken = any(one.lease.destination_no in self.refused for one in settlements)
        return await super().settle(worker_id, settlements)


def play(work):
    """Run a coroutine function of the loop in virtual time."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop))


@pytest.mark.parametrize("refused", [{0}, {39}, {7, 8, 31}, set(range(0, 40, 2))])
def test_what_the_store_refuses_waits_alone(refused):
    """When a part of the store fails, the outcomes of the other destinations are stored within seconds, and go on being stored."""
    told = []

    async def work(_):
        ledger = PartlyBroken(*refused)
        settler = Settler(
            ledger, WorkerId("wrk_1"), 0.025, [].extend, refused=lambda lease, _: told.append(lease)
        )
        forwarders = [FakeForwarder(number) for number in range(40)]
        running = asyncio.ensure_future(settler.run())
        for one in forwarders:
            settler.mark(one)
        await asyncio.sleep(STORE_RETRY_S * (1 + len(refused)))
        first = {one.lease.destination_no for one in forwarders if one.stored}
        asked = ledger.asked
        for one in forwarders:
            settler.mark(one)
        await asyncio.sleep(0.5)
        again = {one.lease.destination_no for one in forwarders if one.stored == [1, 2]}
        ledger.refused = set()
        await asyncio.sleep(STORE_RETRY_S * 5)
        settler.halt()
        await running
        return first, again, asked, [one.stored for one in forwarders]

    first, again, asked, stored = play(work)

    assert first == again == set(range(40)) - refused
    assert stored == [[1, 2]] * 40, "what was refused is stored as it was, and then what came after it"
    assert sorted(lease.destination_no for lease in told) == sorted(refused)
    assert asked <= 100 * len(refused)


def test_a_store_that_takes_nothing_is_searched_within_a_limit():
    """However many destinations wait while the store fails, a turn makes few transactions, and nobody is called refused."""
    told = []

    async def work(_):
        ledger = PartlyBroken(*range(1000))
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend, refused=lambda *one: told.append(one))
        for number in range(1000):
            settler.mark(FakeForwarder(number))
        stored = await settler.flush()
        asked = ledger.asked
        ledger.refused = set()
        return stored, asked, await settler.flush(), ledger.asked

    assert play(work) == (False, 1 + FAILURES_MAX, True, 2 + FAILURES_MAX)
    assert told == []


def test_one_of_two_that_is_refused_holds_up_no_other():
    """Of two destinations the one that the store takes is stored in the same turn; of the other the lease and the reason are told."""
    told = []

    async def work(_):
        settler = Settler(
            PartlyBroken(1), WorkerId("wrk_1"), 0.025, [].extend, refused=lambda *one: told.append(one)
        )
        forwarders = [FakeForwarder(1), FakeForwarder(2)]
        for one in forwarders:
            settler.mark(one)
        return await settler.flush(), [one.stored for one in forwarders]

    assert play(work) == (True, [[], [1]])
    assert told == [(Lease(DestinationNo(1), 1), "no")]


def test_what_is_refused_is_tried_once_a_second():
    """The store is asked about a settlement that it has refused after STORE_RETRY_S, and not at every interval."""

    async def work(_):
        ledger = PartlyBroken(1)
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend)
        running = asyncio.ensure_future(settler.run())
        for number in (1, 2):
            settler.mark(FakeForwarder(number))
        await asyncio.sleep(0.5)
        at_first = ledger.asked
        await asyncio.sleep(4 * STORE_RETRY_S)
        settler.halt()
        await running
        return ledger.asked - at_first

    assert play(work) == 4


def test_what_is_refused_is_not_tried_while_the_store_takes_nothing():
    """While others wait for the store too, a turn asks it about them alone."""

    async def work(_):
        ledger = PartlyBroken(1)
        settler, other = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend), FakeForwarder(2)
        settler.mark(FakeForwarder(1))
        settler.mark(other)
        await settler.flush()
        await asyncio.sleep(STORE_RETRY_S)
        asked, ledger.refused = ledger.asked, {1, 2}
        settler.mark(other)
        await settler.flush()
        return ledger.asked - asked

    assert play(work) == 1


@pytest.mark.parametrize("slow_s", [STALL_S, 10.0])
def test_a_store_that_fails_slowly_is_not_searched(slow_s):
    """When a settlement fails after a second or more, the next one would as well: it is not tried in parts."""

    async def work(_):
        ledger = PartlyBroken(1)
        ledger.slow_s = slow_s
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend)
        for number in range(8):
            settler.mark(FakeForwarder(number))
        return await settler.flush(), ledger.asked

    assert play(work) == (False, 1)


@pytest.mark.parametrize(
    ("slow_s", "broken", "stalled", "resumed"),
    [
        (0.9, False, False, 0),
        (STALL_S, False, False, 1),
        (0.9, True, False, 0),
        (STALL_S, True, True, 0),
    ],
)
def test_attempts_wait_while_the_store_stalls(slow_s, broken, stalled, resumed):
    """From a second after a settlement began none may begin until one is stored, or fails at once; then it is told."""
    told = []

    async def work(loop):
        ledger = FakeLedger()
        settler = Settler(
            ledger, WorkerId("wrk_1"), 0.025, [].extend, lambda: told.append(settler.stalls_at_s)
        )
        ledger.slow_s, ledger.broken, began_s = slow_s, broken, loop.time()
        settler.mark(FakeForwarder(1))
        flushing = asyncio.ensure_future(settler.flush())
        await asyncio.sleep(0)
        meanwhile = settler.stalls_at_s - began_s
        await flushing
        return meanwhile, loop.time() >= settler.stalls_at_s

    assert play(work) == (STALL_S, stalled)
    assert told == [math.inf] * resumed


def test_a_stall_ends_with_the_first_settlement_that_is_stored():
    """After one that failed slowly attempts wait on, also while the next is under way, until the store is back."""
    told = []

    async def work(loop):
        ledger = FakeLedger()
        settler = Settler(ledger, WorkerId("wrk_1"), 0.025, [].extend, lambda: told.append(loop.time()))
        ledger.slow_s, ledger.broken = 2.0, True
        settler.mark(FakeForwarder(1))
        await settler.flush()
        ledger.slow_s, ledger.broken = 0.1, False
        flushing = asyncio.ensure_future(settler.flush())
        await asyncio.sleep(0)
        waits = loop.time() >= settler.stalls_at_s
        await flushing
        return waits, settler.stalls_at_s, told == [loop.time()]

    assert play(work) == (True, math.inf, True)
