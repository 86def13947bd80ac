"""What goes to a destination next: promises of delivery/agenda.py, with its real sources, a fake log and fake retries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aegis_stream.delivery.agenda import ENDED_REPLAYS_KEPT, PARK_MARGIN_US, Agenda
from aegis_stream.delivery.pages import SharedPages
from aegis_stream.delivery.sources import SPAN_MAX
from aegis_stream.delivery.work import Limits, Work
from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.delivery import (
    Claimed,
    DeadRow,
    DestinationKey,
    DueRetry,
    Lease,
    Page,
    ReplayRange,
    RetryRow,
    Settlement,
)
from aegis_stream.domain.destination import Filter, Health
from aegis_stream.domain.ids import SECOND, DestinationNo, Micros, OrganizationNo, ReplayId
from support.clock import T0
from support.pure import ON_SOURCE

ORG, LEASE = OrganizationNo(5), Lease(DestinationNo(7), 3)
OTHER_ORG = OrganizationNo(6)
CURSOR, HEAD = 100, 103
CLAIMED = Claimed(LEASE, ORG, CURSOR, HEAD, 0, 0, replaying=False, health=Health())
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)
TWO, ONE = ReplayId("rpl_2"), ReplayId("rpl_1")


class FakeLog:
    """A log that never ends; every third event is of dataset "wanted".

    Attributes:
        asked: whose events were read.
    """

    def __init__(self) -> None:
        self.asked: list[OrganizationNo] = []

    async def page(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page:
        self.asked.append(organization_no)
        sequences = range(first, last + 1)
        named = [("wanted" if one % 3 == 0 else "other", None) for one in sequences] if labels else None
        return Page(first, [b"%d" % one for one in sequences], cast(Any, named))


@dataclass
class FakeRows:
    """Retries that are all due."""

    rows: list[DueRetry] = field(default_factory=list)
    asked: list[DestinationKey] = field(default_factory=list)

    async def due(self, key: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
        self.asked.append(key)
        return self.rows, None


@dataclass
class FakeAttempts:
    """Attempts in flight, and within how many seconds each must end."""

    ends_s: dict[Work, float]

    def longest_s(self) -> dict[Work, float]:
        return self.ends_s


@dataclass
class Bench:
    """An agenda with its parts."""

    agenda: Agenda
    log: FakeLog
    pages: SharedPages
    rows: FakeRows

    async def read(self) -> None:
        """Read all there is to read."""
        agenda = self.agenda
        for source in (agenda.live, agenda.retries, *agenda.replays):
            await source.refill(T0)

    def sent(self, count: int, *, share_left: bool = True, new_allowed: bool = True) -> list[list[int]]:
        """Return the sequences of the next requests."""
        works = [self.agenda.next(share_left=share_left, new_allowed=new_allowed) for _ in range(count)]
        return [list(work.sequences) for work in works if work is not None]


def make(*retries: int, wanted: Filter | None = None) -> Bench:
    """Make the agenda of a destination with these retries, and three events after its cursor; one event a request."""
    log, rows = FakeLog(), FakeRows([DueRetry(one, 1, b"{}") for one in retries])
    pages = SharedPages(cast(Any, log))
    return Bench(Agenda(pages, cast(Any, rows), CLAIMED, wanted or Filter()), log, pages, rows)


def work_of(agenda: Agenda, first: int, last: int | None = None) -> Work:
    """Build a request of neighbouring events of the log."""
    sequences = range(first, (last or first) + 1)
    return Work(agenda.live, first, last or first, sequences, [b"{}"] * len(sequences), 2)


def replays(*cursors: tuple[ReplayId, int, int]) -> list[ReplayRange]:
    """Build replays from (id, cursor, last)."""
    return [ReplayRange(replay_id, 1, cursor, last) for replay_id, cursor, last in cursors]


def settlement(**found: Any) -> Settlement:
    """Build a settlement."""
    return Settlement(LEASE, ORG, CURSOR, Health(), **found)


# ── in which order ──


async def test_what_was_sent_before_goes_first_and_replays_last():
    """Leftovers, then retries that are due, then the log, then replays, the oldest first."""
    bench = make(40, 41)
    bench.agenda.set_replays(replays((ONE, 10, 11), (TWO, 20, 21)))
    await bench.read()
    bench.agenda.put_back([work_of(bench.agenda, 90)])

    assert bench.sent(10) == [[90], [40], [41], [101], [102], [103], [11], [21]]
    assert bench.rows.asked == [DestinationKey(ORG, DestinationNo(7))]
    assert bench.log.asked == [ORG] * 3


async def test_retries_and_replays_keep_to_their_share():
    """When their share of the window is used up, the log goes on without them."""
    bench = make(40)
    bench.agenda.set_replays(replays((ONE, 10, 11)))
    await bench.read()

    assert bench.sent(10, share_left=False) == [[101], [102], [103]]
    assert bench.sent(10) == [[40], [11]]


async def test_nothing_new_is_sent_when_too_much_has_failed():
    """Leftovers and retries go on, the log and replays wait."""
    bench = make(40)
    bench.agenda.set_replays(replays((ONE, 10, 11)))
    await bench.read()
    bench.agenda.put_back([work_of(bench.agenda, 90)])

    assert bench.sent(10, new_allowed=False) == [[90], [40]]
    assert bench.sent(10) == [[101], [102], [103], [11]]


async def test_what_is_put_back_overtakes_what_was_put_back_before():
    """Where order matters nothing overtakes what comes back: its parts stay in order, before older leftovers."""
    bench = make()
    agenda = bench.agenda
    agenda.put_back([work_of(agenda, 96)])
    agenda.put_back(iter([work_of(agenda, 91), work_of(agenda, 92)]))

    assert bench.sent(3) == [[91], [92], [96]]


async def test_one_event_goes_at_a_time_at_first():
    """As long as nobody has said how large a request may be, it has one event."""
    bench = make()
    await bench.read()
    bench.agenda.put_back([work_of(bench.agenda, 90, 91)])

    assert bench.sent(3) == [[90], [91], [101]]


async def test_a_leftover_keeps_to_todays_limits():
    """A leftover with more events than a request may have now is sent in parts, in order; one that fits stays whole."""
    bench = make()
    agenda = bench.agenda
    agenda.limits = Limits(2, 10**6)
    agenda.put_back([work_of(agenda, 80, 81), work_of(agenda, 90, 94)])

    assert bench.sent(4) == [[80, 81], [90, 91], [92, 93], [94]]


# ── idle or not ──


async def test_a_destination_is_idle_when_nothing_is_left():
    """Everything that is unread, at hand, handed out of the retries, left over or to be replayed is work."""
    bench = make(40)
    agenda, seen = bench.agenda, []
    seen.append(agenda.idle)  # unread events
    await agenda.live.refill(T0)
    seen.append(agenda.idle)  # events at hand
    bench.sent(3)
    seen.append(agenda.idle)
    agenda.put_back([work_of(agenda, 90)])
    seen.append(agenda.idle)  # a leftover
    bench.sent(1)
    agenda.set_replays(replays((ONE, 10, 11)))
    seen.append(agenda.idle)  # a replay
    agenda.set_replays([])
    await agenda.retries.refill(T0)
    seen.append(agenda.idle)  # a retry at hand
    bench.sent(1)
    seen.append(agenda.idle)  # a retry in flight
    agenda.settled(settlement(resolved=[40]))
    seen.append(agenda.idle)

    assert seen == [False, False, True, False, False, False, False, True]


async def test_what_has_a_share_of_the_window():
    """Retries that were read have one, and so has a replay; the log has not."""
    bench, replaying = make(40), make()
    before = bench.agenda.has_beside
    await bench.read()
    replaying.agenda.set_replays(replays((ONE, 10, 11)))

    assert (before, bench.agenda.has_beside, replaying.agenda.has_beside) == (False, True, True)


# ── filters ──


async def test_a_filter_holds_for_the_log_and_for_replays():
    """The first filter and each later one hold for all that is sent from then on, replays that begin later included."""
    wanted = Filter(datasets=("wanted",))
    first, later = make(wanted=wanted), make()
    first.agenda.set_replays(replays((ONE, 10, 13)))
    later.agenda.set_replays(replays((ONE, 10, 13)))
    await later.read()
    later.agenda.refilter(wanted)
    later.agenda.set_replays(replays((ONE, 10, 13), (TWO, 20, 25)))
    await first.read()
    await later.read()

    assert first.sent(10) == [[102], [12]]
    assert later.sent(10) == [[102], [12], [21], [24]]


# ── replays ──


async def test_a_replay_that_goes_on_goes_on_where_it_was():
    """Told again of the same replays, what was sent is not sent once more; one that is not there any more sends nothing."""
    bench = make()
    bench.agenda.set_replays(replays((ONE, 10, 13), (TWO, 20, 22)))
    await bench.read()
    bench.sent(5)
    bench.agenda.set_replays(replays((ONE, 10, 13)))

    assert bench.sent(5) == [[13]]
    assert [one.replay_id for one in bench.agenda.replays] == [ONE]


async def test_how_far_the_log_and_the_replays_have_come():
    """The watermark of the log comes first, then those of the replays, each from its cursor on."""
    bench = make()
    bench.agenda.set_replays(replays((ONE, 10, 13), (TWO, 20, 22)))
    await bench.read()
    for work in [bench.agenda.next(share_left=True, new_allowed=True) for _ in range(5)]:
        work.source.complete(work)

    assert bench.agenda.watermarks() == [103, 12, 20]


async def test_a_replay_ends_when_its_end_is_stored():
    """A replay whose end is known but not stored stays; once it is stored it is over, and does not begin again."""
    bench = make()
    both = replays((ONE, 10, 11), (TWO, 20, 22))
    bench.agenda.set_replays(both)
    bench.agenda.settled(settlement(replays=[(ONE, 10), (TWO, 21)]))
    before = [one.replay_id for one in bench.agenda.replays]
    bench.agenda.settled(settlement(replays=[(ONE, 11)]))
    bench.agenda.set_replays(both)

    assert before == [ONE, TWO]
    assert [one.replay_id for one in bench.agenda.replays] == [TWO]


async def test_a_replay_of_which_nothing_was_stored_goes_on():
    """A settlement without a word about a replay does not end it, not even one of the first event alone."""
    bench = make()
    bench.agenda.set_replays(replays((ONE, 0, 1)))
    bench.agenda.settled(settlement())

    assert [one.replay_id for one in bench.agenda.replays] == [ONE]


async def test_the_replays_that_are_remembered_are_bounded():
    """So many replays are remembered after their end; of those before them nothing is kept."""
    bench = make()
    many = replays(*((ReplayId(f"rpl_{number}"), 10, 11) for number in range(ENDED_REPLAYS_KEPT + 1)))
    bench.agenda.set_replays(many)
    bench.agenda.settled(settlement(replays=[(one.replay_id, 11) for one in many]))
    bench.agenda.set_replays(many)

    assert [one.replay_id for one in bench.agenda.replays] == ["rpl_0"]


# ── what is stored ──


async def test_what_is_stored_may_be_read_again():
    """Retries that were stored again, delivered or given up are not in flight any more; the others are."""
    bench = make(40, 41, 42, 43)
    await bench.read()
    bench.sent(4)
    bench.agenda.settled(
        settlement(retries=[RetryRow(40, 2, T0, DOWN)], resolved=[41], dead=[DeadRow(42, 3, T0, DOWN)])
    )

    assert bench.agenda.retries.busy == {43}
    assert bench.agenda.retries.next_due == T0


async def test_pages_below_the_watermark_are_let_go():
    """When a settlement is stored, pages of the organization that are done are not kept; those of others are."""
    bench = make()
    await bench.read()
    await bench.pages.read(OTHER_ORG, 1, 3, labels=False)
    bench.agenda.live.watermark.complete(101, 102)
    bench.agenda.settled(settlement())
    before = len(bench.pages._pages)
    bench.agenda.live.watermark.complete(103, 103)
    bench.agenda.settled(settlement())

    assert before == 2
    assert [key[0] for key in bench.pages._pages] == [OTHER_ORG]


# ── slow attempts ──


def park(bench: Bench, ends_s: dict[Work, float]) -> dict[Work, Sequence[RetryRow]]:
    """Let the agenda park what it likes of these attempts."""
    return cast(Any, bench.agenda.park(cast(Any, FakeAttempts(ends_s)), T0))


@ON_SOURCE
async def test_slow_attempts_are_parked_when_they_hold_the_watermark():
    """Those near the watermark become retries that are due after each must have ended, and the watermark moves past them."""
    bench = make()
    agenda = bench.agenda
    near, slower = work_of(agenda, 101, 102), work_of(agenda, 103, 101 + SPAN_MAX - 1)
    far = work_of(agenda, CURSOR + SPAN_MAX + 1)
    retried = Work(agenda.retries, 50, 50, [50], [b"{}"], 2)
    agenda.live.covered = CURSOR + SPAN_MAX + 1

    parked = park(bench, {far: 1.0, slower: 0.5, retried: 1.0, near: 10.0})

    assert list(parked) == [near, slower]
    assert parked[near] == [
        RetryRow(sequence, 2, Micros(T0 + 10 * SECOND + PARK_MARGIN_US), None) for sequence in (101, 102)
    ]
    assert parked[slower][0].due_at == T0 + SECOND // 2 + PARK_MARGIN_US
    assert agenda.live.watermark.value == slower.last
    assert [one.source for one in (near, slower, far)] == [agenda.retries, agenda.retries, agenda.live]


@ON_SOURCE
async def test_the_last_event_near_the_watermark_is_parked():
    """An attempt exactly SPAN_MAX above the watermark is parked with the others."""
    bench = make()
    edge = work_of(bench.agenda, CURSOR + SPAN_MAX)
    bench.agenda.live.covered = CURSOR + SPAN_MAX + 1

    assert list(park(bench, {edge: 1.0})) == [edge]


@ON_SOURCE
async def test_attempts_are_not_parked_early():
    """While no more than SPAN_MAX is handed out above the watermark, everything stays where it is."""
    bench = make()
    first = work_of(bench.agenda, 101)
    bench.agenda.live.covered = CURSOR + SPAN_MAX

    assert park(bench, {first: 1.0}) == {}
    assert first.source is bench.agenda.live
