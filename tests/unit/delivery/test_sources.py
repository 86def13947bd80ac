"""What is sent next: promises of delivery/sources.py about ranges of the log, shared pages, and retries."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.delivery.pages import (
    PAGE_BYTES_MAX,
    PAGE_EVENTS_MAX,
    PAGES_SHARED_MAX,
    PEEK_BYTES_MAX,
    PEEK_EVENTS_MAX,
    SharedPages,
)
from aegis_stream.delivery.sources import (
    DUE_MAX,
    SPAN_MAX,
    RangeSource,
    ReplaySource,
    RetrySource,
    due_in_seconds,
)
from aegis_stream.delivery.work import Limits, Work
from aegis_stream.domain.delivery import DestinationKey, DueRetry, Page, RetryRow
from aegis_stream.domain.destination import BatchPolicy, Filter
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo, ReplayId
from aegis_stream.errors import Unavailable
from aegis_stream.formats import REGISTRY
from aegis_stream.pipeline.settle import Watermark

ORG = OrganizationNo(1)
NOW = Micros(0)
ONE = Limits(1, 10**6)
EVERYTHING = Filter()


class FakeLog:
    """A log of numbered bodies; every third event is of dataset "wanted"."""

    def __init__(self, head: int, page_max: int = 10**6) -> None:
        self.head = head
        self.page_max = page_max
        self.reads: list[tuple[int, int, bool]] = []
        self.asked: list[
            tuple[OrganizationNo, int]
        ] = []  # whose events were read, and how many bytes at most
        self.broken = False
        self.peeks: list[tuple[int, int]] = []
        self.waits = False  # a read at once is not possible
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def page(self, organization_no, first, last, *, bytes_max, labels):
        self.reads.append((first, last, labels))
        self.asked.append((organization_no, bytes_max))
        await self.go_on.wait()
        if self.broken:
            raise Unavailable("no")
        return self._read(first, last, labels=labels)

    def peek(self, organization_no, first, last, *, bytes_max, labels):
        self.peeks.append((first, last))
        self.asked.append((organization_no, bytes_max))
        return None if self.waits else self._read(first, last, labels=labels)

    def _read(self, first: int, last: int, *, labels: bool) -> Page:
        sequences = range(first, min(last, self.head, first + self.page_max - 1) + 1)
        return Page(
            first,
            [b"%d" % one for one in sequences],
            [("wanted" if one % 3 == 0 else "other", None) for one in sequences] if labels else None,
        )


def make_source(
    log: FakeLog, cursor: int = 0, last: int | None = None, *, pages=None, wanted=EVERYTHING
) -> RangeSource:
    """Build a source of what lies after the cursor."""
    return RangeSource(
        pages or SharedPages(log), ORG, wanted, log.head if last is None else last, Watermark(cursor)
    )


async def take_all(source: RangeSource, limits: Limits = ONE) -> list[Work]:
    """Take and complete everything there is."""
    taken = []
    while True:
        await source.refill(NOW)
        work = source.take(limits)
        if work is None:
            return taken
        source.complete(work)
        taken.append(work)


def sequences_of(works: list[Work]) -> list[int]:
    """Return the sequences of all events that travel."""
    return [sequence for work in works for sequence in work.sequences]


# ── ranges of the log ──


async def test_a_source_hands_out_what_lies_after_its_cursor():
    """Every event after the cursor comes once, in order, with its own body, as a first attempt."""
    works = await take_all(make_source(FakeLog(30, page_max=7), cursor=4))

    assert sequences_of(works) == list(range(5, 31))
    assert [work.bodies for work in works] == [[b"%d" % one] for one in range(5, 31)]
    assert {work.attempt for work in works} == {1}


async def test_a_page_is_asked_for_in_bounded_pieces():
    """However long the log, one read asks for so many events and no more."""
    log = FakeLog(10 * PAGE_EVENTS_MAX)

    await make_source(log).refill(NOW)

    assert log.reads == [(1, PAGE_EVENTS_MAX, False)]


async def test_one_page_is_kept_in_reserve():
    """While a page is being handed out the next one may be read, and no third: memory is bounded."""
    log = FakeLog(100, page_max=10)
    source = make_source(log)

    for _ in range(5):
        await source.refill(NOW)
    source.take(ONE)
    for _ in range(5):
        await source.refill(NOW)

    assert [first for first, *_ in log.reads] == [1, 11]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (Limits(4, 10**6), [4, 4, 1]),
        (Limits(2, 10**6), [2, 2, 2, 2, 1]),
        (Limits(100, 5), [5, 4]),
        (Limits(100, 5, frame_bytes=1), [2, 2, 2, 2, 1]),
        (Limits(100, 1), [1] * 9),
        (Limits(100, 0), [1] * 9),
    ],
)
async def test_a_request_keeps_to_its_limits(limits, sizes):
    """A request holds no more events or bytes than it may, framing counted, but always one."""
    works = await take_all(make_source(FakeLog(9)), limits)

    assert [len(work.sequences) for work in works] == sizes


async def test_a_request_does_not_reach_across_pages():
    """Where a page ends, a request ends; the stretches still join without a hole."""
    works = await take_all(make_source(FakeLog(20, page_max=8)), Limits(5, 10**6))

    assert [(work.first, work.last) for work in works] == [(1, 5), (6, 8), (9, 13), (14, 16), (17, 20)]


@settings(deadline=None)
@given(
    head=st.integers(0, 60),
    cursor=st.integers(0, 60),
    page_max=st.integers(1, 20),
    events_max=st.integers(1, 9),
    filtered=st.booleans(),
    chance=st.randoms(use_true_random=False),
)
def test_stretches_join_and_the_watermark_reaches_the_head(
    head, cursor, page_max, events_max, filtered, chance
):
    """With any filter, limits and page size: stretches follow each other, and all done in any order is all done."""
    wanted = Filter(datasets=("wanted",)) if filtered else Filter()

    async def run():
        source = make_source(FakeLog(head, page_max), min(cursor, head), wanted=wanted)
        works, open_works = [], []
        while True:
            await source.refill(NOW)
            work = source.take(Limits(events_max, 10**6))
            if work is not None:
                works.append(work)
                open_works.append(work)
            if open_works and (work is None or chance.random() < 0.5):
                source.complete(open_works.pop(chance.randrange(len(open_works))))
            done = work is None and not open_works and not source.wants_page
            assert source.watermark.value <= head
            if done:
                return source, works

    source, works = asyncio.run(run())
    expected = [one for one in range(min(cursor, head) + 1, head + 1) if not filtered or one % 3 == 0]
    covered = [(work.first, work.last) for work in works]

    assert sequences_of(works) == expected
    assert all(work.first <= work.sequences[0] <= work.sequences[-1] <= work.last for work in works)
    assert all(last < first for (_, last), (first, _) in pairwise(covered))
    assert source.watermark.value == head
    assert source.unread == 0


async def test_a_page_of_which_nothing_is_wanted_is_done():
    """Events that the filter leaves out move the watermark without a request."""
    source = make_source(FakeLog(2), wanted=Filter(datasets=("wanted",)))

    works = await take_all(source)

    assert works == []
    assert source.watermark.value == 2


async def test_labels_are_read_only_for_a_filter():
    """Who wants everything does not read what filters look at."""
    log = FakeLog(5)

    await make_source(log).refill(NOW)
    await make_source(log, wanted=Filter(decisions=("BLOCKED",))).refill(NOW)

    assert [labels for *_, labels in log.reads] == [False, True]


async def test_a_watermark_that_stands_still_holds_the_source():
    """No more than a bounded stretch is handed out above the watermark, however much there is to send."""
    source = make_source(FakeLog(10 * SPAN_MAX))
    works = []

    while True:
        await source.refill(NOW)
        work = source.take(ONE)
        if work is None:
            break
        works.append(work)
    stuck_at, at_hand = len(works), source.at_hand
    for work in works:
        source.complete(work)

    assert 2 * SPAN_MAX <= stuck_at <= 2 * SPAN_MAX + 2 * PAGE_EVENTS_MAX
    assert not at_hand
    assert source.at_hand
    assert source.take(ONE).first == stuck_at + 1


async def test_what_may_be_handed_out_above_the_watermark_is_at_hand():
    """At exactly so far above the watermark one more page is handed out, and beyond it none; both is known before."""
    log = FakeLog(10 * SPAN_MAX, page_max=512)
    source, through, known = make_source(log), 0, []
    while through < 2 * SPAN_MAX:
        await source.refill(NOW)
        through = source.take(Limits(512, 10**6)).last
    await source.refill(NOW)
    known.append(source.at_hand)
    last = source.take(Limits(512, 10**6))
    await source.refill(NOW)
    known.append(source.at_hand)

    assert known == [True, False]
    assert (through, last.last) == (2 * SPAN_MAX, 2 * SPAN_MAX + 512)
    assert source.take(ONE) is None


async def test_a_page_is_read_once_at_a_time():
    """Asked to read while it is reading, a source does nothing: no event comes twice."""
    log = FakeLog(5)
    source = make_source(log)
    log.go_on.clear()
    readings = [asyncio.ensure_future(source.refill(NOW)) for _ in range(2)]
    await asyncio.sleep(0)
    log.go_on.set()
    await asyncio.gather(*readings)

    assert sequences_of(await take_all(source)) == [1, 2, 3, 4, 5]


async def test_a_log_that_ends_too_early_is_damaged():
    """Where events are missing that must be there, the operator reads which one."""
    log = FakeLog(10)
    source = make_source(log, cursor=6)
    log.head = 6

    with pytest.raises(Unavailable, match="event 7 is not in the log, and nothing after it") as raised:
        await source.refill(NOW)

    assert raised.value.code == "log-damaged"


@pytest.mark.parametrize("reading", [False, True])
async def test_another_filter_holds_from_the_next_event_on(reading):
    """What was handed out stays; what was read ahead, or is being read, is read again, and goes by the new filter."""
    log = FakeLog(12, page_max=6)
    source = make_source(log)
    await source.refill(NOW)
    first = source.take(Limits(2, 10**6))
    if reading:
        log.go_on.clear()
    under_way = asyncio.ensure_future(source.refill(NOW))
    await asyncio.sleep(0)
    source.refilter(Filter(datasets=("wanted",)))
    log.go_on.set()
    await under_way
    at_hand = source.at_hand

    assert list(first.sequences) == [1, 2]
    assert not at_hand
    assert sequences_of(await take_all(source)) == [3, 6, 9, 12]


async def test_a_page_that_cannot_be_read_is_read_again():
    """A failed read leaves the source as it was."""
    log = FakeLog(3)
    source = make_source(log)
    log.broken = True
    with pytest.raises(Unavailable):
        await source.refill(NOW)

    log.broken = False

    assert sequences_of(await take_all(source)) == [1, 2, 3]


async def test_a_range_ends_where_it_was_said_to():
    """A range hands out nothing beyond its last event, also when another source has read a page that goes further."""
    log = FakeLog(100)
    pages = SharedPages(log)
    live = make_source(log, pages=pages)
    await live.refill(NOW)
    replay = make_source(log, cursor=4, last=10, pages=pages)

    works = await take_all(replay)

    assert sequences_of(works) == list(range(5, 11))
    assert replay.watermark.value == 10


async def test_a_filtered_range_ends_where_it_was_said_to():
    """The same holds where the filter looks at what was read with the page."""
    log = FakeLog(100)
    pages, wanted = SharedPages(log), Filter(datasets=("wanted",))
    live = make_source(log, pages=pages, wanted=wanted)
    await live.refill(NOW)
    replay = make_source(log, cursor=4, last=10, pages=pages, wanted=wanted)

    assert sequences_of(await take_all(replay)) == [6, 9]
    assert replay.watermark.value == 10


async def test_what_is_replayed_may_be_stored():
    """An event of a replay may be at the destination already, and the first attempt of the log is not; both end."""
    log = FakeLog(1)
    replay = ReplaySource(SharedPages(log), ORG, EVERYTHING, 1, Watermark(0), replay_id=ReplayId("rpl_1"))
    live = make_source(log)

    assert [[work.may_be_stored for work in await take_all(one)] for one in (replay, live)] == [
        [True],
        [False],
    ]


def test_halves_join():
    """A batch cut in two covers the same events and the same stretch, without overlap."""
    work = Work(None, 1, 12, [2, 3, 7, 9, 11], [b"2", b"3", b"7", b"9", b"11"], 2)

    left, right = work.halves()

    assert (left.first, left.last, left.sequences, left.bodies) == (1, 6, [2, 3], [b"2", b"3"])
    assert (right.first, right.last, right.sequences, right.bodies) == (
        7,
        12,
        [7, 9, 11],
        [b"7", b"9", b"11"],
    )
    assert (left.attempt, right.attempt) == (2, 2)


def test_limits_of_a_format_that_does_not_batch():
    """One event travels alone where the format has no way to put two together."""
    batch = BatchPolicy(500, 1000, 200)

    one_by_one = replace(REGISTRY["ndjson"], batches=False, frame_bytes=7)
    together = replace(REGISTRY["ndjson"], batches=True, frame_bytes=7)
    assert Limits.of(batch, one_by_one).events_max == 1
    assert Limits.of(batch, together) == Limits(500, 1000, 7)
    assert Limits.of(batch, together, 900) == Limits(500, 900, 7)


# ── shared pages ──


async def test_destinations_at_the_head_read_each_page_once():
    """Ten destinations of one organization that follow its log together cost one read a page."""
    log = FakeLog(100, page_max=10)
    pages = SharedPages(log)
    sources = [make_source(log, pages=pages) for _ in range(10)]

    taken: list[list[int]] = [[] for _ in sources]
    for _ in range(100):
        await asyncio.gather(*[source.refill(NOW) for source in sources])
        for number, source in enumerate(sources):
            if (work := source.take(ONE)) is not None:
                taken[number] += work.sequences

    assert taken == [list(range(1, 101))] * 10
    assert [first for first, *_ in log.reads] == list(range(1, 101, 10))


async def test_reads_are_bounded_in_bytes():
    """Of whose log is read, and how many bytes at most: fewer where nobody may wait for them."""
    log = FakeLog(5)

    await make_source(log).refill(NOW)
    make_source(log).peek()

    assert log.asked == [(ORG, PAGE_BYTES_MAX), (ORG, PEEK_BYTES_MAX)]


async def test_the_last_event_of_a_page_is_shared():
    """Who wants only the newest event that was read gets it without a read; who wants the one after it reads."""
    log = FakeLog(11)
    pages = SharedPages(log)
    await pages.read(ORG, 1, 10, labels=False)

    last = await pages.read(ORG, 10, 10, labels=False)
    after = await pages.read(ORG, 11, 11, labels=False)

    assert (last.bodies, after.bodies) == ([b"10"], [b"11"])
    assert [first for first, *_ in log.reads] == [1, 11]


async def test_a_read_of_older_events_hides_no_newer_page():
    """Who is behind reads its own page; who is in front is served from the page that is there."""
    log = FakeLog(20, page_max=10)
    pages = SharedPages(log)
    await pages.read(ORG, 11, 20, labels=False)
    await pages.read(ORG, 1, 10, labels=False)

    assert (await pages.read(ORG, 15, 20, labels=False)).bodies[0] == b"15"
    assert len(log.reads) == 2


async def test_a_page_with_labels_serves_everybody():
    """Who wants no labels is served from a page that has them, read with or without a wait."""
    log = FakeLog(10)
    pages, peeked = SharedPages(log), SharedPages(log)
    await pages.read(ORG, 1, 10, labels=True)
    peeked.peek(ORG, 1, 10, labels=True)

    for one in (pages, peeked):
        assert (await one.read(ORG, 4, 10, labels=False)).bodies[0] == b"4"
        assert one.peek(ORG, 5, 10, labels=True).labels[0] == ("other", None)
    assert (len(log.reads), len(log.peeks)) == (1, 1)


async def test_a_page_is_found_behind_others():
    """Newer pages of other organizations, further on or under way hide no page that serves."""
    log = FakeLog(40)
    pages = SharedPages(log)
    await pages.read(ORG, 1, 10, labels=True)
    await pages.read(ORG, 21, 30, labels=True)
    await pages.read(OrganizationNo(2), 3, 10, labels=True)
    log.go_on.clear()
    reading = asyncio.ensure_future(pages.read(ORG, 11, 20, labels=True))
    await asyncio.sleep(0)

    page = await pages.read(ORG, 3, 10, labels=True)
    log.go_on.set()
    await reading

    assert (page.first, page.bodies[0], page.labels[0]) == (3, b"3", ("wanted", None))
    assert len(log.reads) == 4


async def test_only_pages_that_are_done_are_forgotten():
    """Pages of other organizations, and one that is being read, stay whatever was taken."""
    log = FakeLog(10)
    pages = SharedPages(log)
    await pages.read(OrganizationNo(2), 1, 5, labels=False)
    await pages.read(ORG, 1, 5, labels=False)
    log.go_on.clear()
    reading = asyncio.ensure_future(pages.read(ORG, 6, 10, labels=False))
    await asyncio.sleep(0)
    pages.forget(ORG, 4)
    early = len(pages._pages)
    pages.forget(ORG, 5)
    left = [key[:2] for key in pages._pages]
    log.go_on.set()
    await reading

    assert (early, left) == (3, [(2, 1), (ORG, 6)])


async def test_a_page_under_way_is_shared():
    """Who wants a page that somebody is just reading waits for that reading."""
    log = FakeLog(10)
    pages = SharedPages(log)
    log.go_on.clear()
    readings = [asyncio.ensure_future(pages.read(ORG, 1, 10, labels=False)) for _ in range(5)]
    await asyncio.sleep(0)
    log.go_on.set()

    results = await asyncio.gather(*readings)

    assert len(log.reads) == 1
    assert all(page.bodies == results[0].bodies for page in results)


async def test_one_that_gives_up_does_not_stop_the_others():
    """A page is read to its end although the one who asked first is cancelled."""
    log = FakeLog(10)
    pages = SharedPages(log)
    log.go_on.clear()
    first, second = (asyncio.ensure_future(pages.read(ORG, 1, 10, labels=False)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    log.go_on.set()

    assert len((await second).bodies) == 10


async def test_part_of_a_page_serves_who_is_further_on():
    """Who is in the middle of a page that was read gets the rest of it, with the labels that belong to it."""
    log = FakeLog(10)
    pages = SharedPages(log)
    await pages.read(ORG, 1, 10, labels=True)

    page = await pages.read(ORG, 8, 10, labels=True)

    assert page == Page(8, [b"8", b"9", b"10"], [("other", None), ("wanted", None), ("other", None)])
    assert len(log.reads) == 1


async def test_a_page_without_labels_is_no_use_to_a_filter():
    """Labels are read when they are wanted, whatever page is there without them."""
    log = FakeLog(3)
    pages = SharedPages(log)
    await pages.read(ORG, 1, 3, labels=False)

    page = await pages.read(ORG, 1, 3, labels=True)

    assert page.labels is not None
    assert len(log.reads) == 2


async def test_events_without_labels_are_read_at_once_again_for_a_filter():
    """The same holds where nobody may wait for them."""
    log = FakeLog(3)
    pages = SharedPages(log)
    pages.peek(ORG, 1, 3, labels=False)

    assert pages.peek(ORG, 1, 3, labels=True).labels is not None


async def test_organizations_share_nothing():
    """A page belongs to one organization's log."""
    log = FakeLog(3)
    pages = SharedPages(log)

    await pages.read(ORG, 1, 3, labels=False)
    await pages.read(OrganizationNo(2), 1, 3, labels=False)

    assert len(log.reads) == 2


async def test_a_failed_reading_is_not_kept():
    """The next one who asks reads anew."""
    log = FakeLog(3)
    pages = SharedPages(log)
    log.broken = True
    with pytest.raises(Unavailable):
        await pages.read(ORG, 1, 3, labels=False)
    log.broken = False

    assert len((await pages.read(ORG, 1, 3, labels=False)).bodies) == 3


async def test_all_who_share_a_reading_are_told_why_it_failed():
    """Each who waits for it gets the error of the store, and the next one who asks reads anew."""
    log = FakeLog(3)
    pages = SharedPages(log)
    log.broken = True
    readings = [pages.read(ORG, 1, 3, labels=False) for _ in range(3)]

    errors = await asyncio.gather(*readings, return_exceptions=True)

    assert [type(one) for one in errors] == [Unavailable] * 3
    assert len(log.reads) == 1


async def test_pages_are_bounded_and_forgotten():
    """No more pages are kept than agreed, and none that lies below what everybody has taken."""
    log = FakeLog(10**6, page_max=10)
    pages = SharedPages(log)
    for first in range(1, 10 * 2 * PAGES_SHARED_MAX, 10):
        await pages.read(ORG, first, first + 9, labels=False)
    kept = len(pages._pages)

    pages.forget(ORG, 10 * 2 * PAGES_SHARED_MAX - 10)
    left = [first for _, first, _ in pages._pages]

    assert kept == PAGES_SHARED_MAX
    assert left == [10 * 2 * PAGES_SHARED_MAX - 9]


async def test_what_was_just_appended_is_read_at_once_and_shared():
    """A few new events are read without waiting, once for all who want them, and never more than so many at once."""
    log = FakeLog(PEEK_EVENTS_MAX + 5)
    pages = SharedPages(log)
    sources = [make_source(log, pages=pages) for _ in range(3)]

    assert all(source.peek() for source in sources)
    taken = [len(source._reserve[0].bodies) for source in sources]

    assert (log.peeks, log.reads) == ([(1, PEEK_EVENTS_MAX)], [])
    assert taken == [PEEK_EVENTS_MAX] * 3
    assert sequences_of(await take_all(sources[0])) == list(range(1, log.head + 1))


async def test_what_cannot_be_read_at_once_is_read_in_the_usual_way():
    """Where a read at once would wait, or somebody is reading the same page already, nothing is read twice or skipped."""
    log = FakeLog(5)
    pages = SharedPages(log)
    log.waits = True
    waiting = make_source(log, pages=pages)
    assert not waiting.peek()
    log.waits = False
    log.go_on.clear()
    reading = asyncio.ensure_future(pages.read(ORG, 1, 5, labels=False))
    await asyncio.sleep(0)

    beside = make_source(log, pages=pages)
    assert not beside.peek()
    log.go_on.set()
    await reading

    assert sequences_of(await take_all(waiting)) == sequences_of(await take_all(beside)) == [1, 2, 3, 4, 5]
    assert len(log.reads) == 1


# ── retries ──


class FakeRows:
    """A table of retries: sequence → (attempts, due_at)."""

    def __init__(self, rows: dict[int, tuple[int, int]]) -> None:
        self.rows = rows
        self.broken = False

    async def due(self, destination_no, now, limit):
        if self.broken:
            raise Unavailable("no")
        due = sorted((at, sequence) for sequence, (_, at) in self.rows.items() if at <= now)[:limit]
        later = [at for _, at in self.rows.values() if at > now]
        return [DueRetry(one, self.rows[one][0], b"%d" % one) for _, one in due], min(later, default=None)


def make_retries(rows: dict[int, tuple[int, int]]) -> tuple[FakeRows, RetrySource]:
    """Build a table of retries and the source that reads it."""
    table = FakeRows(rows)
    return table, RetrySource(table, DestinationKey(OrganizationNo(1), DestinationNo(1)), NOW)


async def test_retries_come_when_they_are_due():
    """What is due is handed out as its next attempt; for the rest it is known when to look again."""
    _, source = make_retries({1: (1, 0), 2: (2, 500)})

    await source.refill(Micros(10))
    work = source.take(ONE)
    none = source.take(ONE)
    await source.refill(Micros(499))
    too_early = source.take(ONE)
    await source.refill(Micros(500))
    later = source.take(ONE)

    assert (work.sequences, work.bodies, work.attempt) == ([1], [b"1"], 2)
    assert none is too_early is None
    assert (later.sequences, later.attempt) == ([2], 3)


async def test_what_is_settled_while_rows_are_read_is_not_sent_again():
    """An event that was delivered, or retried, while the table was being read is not taken from what was read."""
    table, source = make_retries({1: (1, 0), 2: (1, 0), 3: (1, 0)})
    await source.refill(Micros(10))
    taken = source.take(Limits(2, 10**6))
    source.give_back()
    read = table.due

    async def settled_meanwhile(destination_no, now, limit):
        rows = await read(destination_no, now, limit)
        source.settled([RetryRow(1, 2, Micros(99), None)], [2])
        return rows

    table.due = settled_meanwhile
    await source.refill(Micros(10))
    works = [source.take(ONE), source.take(ONE)]

    assert list(taken.sequences) == [1, 2]
    assert [list(work.sequences) if work else None for work in works] == [[3], None]


async def test_events_of_one_attempt_travel_together():
    """A batch of retries holds events at the same attempt, in log order, within its limits."""
    _, source = make_retries({5: (1, 0), 3: (1, 1), 9: (2, 2), 4: (1, 3)})
    await source.refill(Micros(10))

    works = [source.take(Limits(10, 10**6)) for _ in range(3)]

    assert [(work.sequences, work.attempt) for work in works] == [([3, 5], 2), ([9], 3), ([4], 2)]


async def test_retries_keep_to_their_bytes():
    """A batch of retries is no larger than it may be, but always one event."""
    _, source = make_retries(dict.fromkeys((1, 2, 3), (1, 0)))
    await source.refill(NOW)

    works = [source.take(Limits(10, 3, frame_bytes=1)) for _ in range(3)]

    assert [work.sequences for work in works] == [[1], [2], [3]]


async def test_retries_fill_a_request_to_its_bytes():
    """As many retries go together as the request may have bytes, to the last one."""
    _, source = make_retries(dict.fromkeys((1, 2, 3), (1, 0)))
    await source.refill(NOW)

    works = [source.take(Limits(10, 4, frame_bytes=1)) for _ in range(2)]

    assert [(work.sequences, work.first, work.last) for work in works] == [([1, 2], 1, 2), ([3], 3, 3)]


def test_the_earliest_time_to_look_again_counts():
    """Told of several times, a source looks at the first of them."""
    _, source = make_retries({})
    source.next_due = None
    for at in (9, 5, 7):
        source.look_by(Micros(at))

    assert source.next_due == 5


async def test_what_is_under_way_is_not_handed_out_again():
    """A row says nothing about an attempt under way: until it is settled the event is passed over."""
    table, source = make_retries({1: (1, 0), 2: (1, 0)})
    await source.refill(NOW)
    source.take(ONE)
    source.take(ONE)
    source.give_back()
    await source.refill(Micros(10))
    meanwhile = source.take(ONE)

    del table.rows[1]
    table.rows[2] = (2, 50)
    source.settled([RetryRow(2, 2, Micros(50), None)], [1])
    await source.refill(Micros(50))
    again = source.take(ONE)

    assert meanwhile is None
    assert (again.sequences, again.attempt) == ([2], 3)
    assert source.busy == {2}


async def test_many_retries_come_in_portions():
    """However many are due, a look reads so many, and the next look follows at once."""
    _, source = make_retries(dict.fromkeys(range(1, 2 * DUE_MAX), (1, 0)))
    taken: set[int] = set()

    while True:
        await source.refill(NOW)
        assert len(source.rows) <= 2 * DUE_MAX
        work = source.take(ONE)
        if work is None:
            break
        taken.update(work.sequences)

    assert taken == set(range(1, 2 * DUE_MAX))


async def test_a_look_that_fails_is_made_again():
    """A store that cannot answer just now does not make the source forget that something is due."""
    table, source = make_retries({1: (1, 0)})
    table.broken = True
    with pytest.raises(Unavailable):
        await source.refill(Micros(5))
    table.broken = False

    await source.refill(Micros(5))

    assert source.take(ONE).sequences == [1]


async def test_nothing_is_read_while_nothing_is_due():
    """Between two due times the table is left alone."""
    table, source = make_retries({1: (1, 100)})
    await source.refill(NOW)
    table.broken = True

    await source.refill(Micros(99))

    assert source.next_due == 100


def test_the_wait_for_a_due_time_is_never_negative():
    """What is overdue is due now."""
    now = Micros(5_000_000)

    assert due_in_seconds(Micros(6_500_000), now) == 1.5
    assert due_in_seconds(Micros(1), now) == 0.0


@pytest.mark.parametrize(
    ("attempts", "status_code", "may_be_stored"),
    [
        (1, None, True),
        (2, 408, True),
        (1, 500, True),
        (1, 504, True),
        (1, 429, False),
        (2, 400, False),
        (0, 400, True),
    ],
)
async def test_retries_know_whether_their_event_may_be_stored(attempts, status_code, may_be_stored):
    """Without an answer, after 408 or 5xx, and when it is redriven, an event may be stored at the destination already."""
    _, source = make_retries({})
    source.rows.extend(DueRetry(one, attempts, b"{}", status_code) for one in (1, 2))
    source.rows.append(DueRetry(3, attempts, b"{}", 400 if may_be_stored else None))

    work = source.take(Limits(10, 1000))

    assert work.may_be_stored is may_be_stored
    assert list(work.sequences) == ([1, 2, 3] if not attempts else [1, 2])
    assert all(half.may_be_stored is may_be_stored for half in work.halves())
