"""From raw items to durable events: promises of pipeline/ingest.py."""

import asyncio

import pytest

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.ports import Appended
from support.api import make_event
from support.simulation import SeededRandom

ORG = OrganizationNo(1)
ORG_ID = OrganizationId("org_abc")


class FakeLog:
    """Appends to a list; waits while it is held, fails while it is broken, knows duplicates and conflicts it was told of."""

    def __init__(self) -> None:
        self.events = []
        self.free = asyncio.Event()
        self.free.set()
        self.broken = False
        self.duplicates: dict[int, int] = {}
        self.conflicts: dict[int, int] = {}

    async def append(self, organization_no, events, now):
        await self.free.wait()
        if self.broken:
            raise Unavailable("no")
        known = {*self.duplicates, *self.conflicts}
        fresh = [one for index, one in enumerate(events) if index not in known]
        first = len(self.events) + 1
        self.events += fresh
        return Appended(first, len(fresh), len(self.events), self.duplicates, self.conflicts)


class FakeNotifier:
    def __init__(self) -> None:
        self.rings = []

    def notify(self, organization_no, head):
        self.rings.append((organization_no, head))


class FakeClock:
    def now(self):
        return Micros(1_780_000_000_000_000)


@pytest.fixture
def log():
    """Make an empty log."""
    return FakeLog()


@pytest.fixture
def notifier():
    """Make a notifier that remembers."""
    return FakeNotifier()


@pytest.fixture
def ingest(log, notifier):
    """Make an ingest with room for a thousand bytes."""
    return Ingest(log, FakeClock(), SeededRandom(), notifier, queue_bytes_max=1000)


async def test_valid_items_are_stored_and_workers_told(ingest, log, notifier):
    """Events go into the log as they came, in order, and the workers learn of the new head, once."""
    items = [make_event("a"), make_event("b")]

    recorded = await ingest.record(ORG, ORG_ID, items)

    assert [event.body.encode() for event in log.events] == items
    assert (recorded.accepted, recorded.duplicates, recorded.rejected) == (2, 0, [])
    assert notifier.rings == [(ORG, 2)]


async def test_invalid_items_stop_no_valid_ones(ingest, log):
    """Each bad item is named by its place in the request; the good ones are taken."""
    items = [b"[]", make_event("a"), b"{", make_event("b"), make_event("x", org_id="org_other")]

    recorded = await ingest.record(ORG, ORG_ID, items)

    assert recorded.accepted == 2
    assert [index for index, _ in recorded.rejected] == [0, 2, 4]
    assert [event.event_id for event in log.events] == ["a", "b"]


async def test_nothing_valid_touches_nothing(ingest, log, notifier):
    """A request of which nothing can be taken asks neither store nor workers for anything."""
    log.broken = True

    recorded = await ingest.record(ORG, ORG_ID, [b"{"])

    assert (recorded.accepted, recorded.appended, len(recorded.rejected)) == (0, None, 1)
    assert notifier.rings == []


async def test_conflicts_are_named_by_their_place_in_the_request(ingest, log):
    """An event whose id has another body is refused where it stood, among the items that are no events at all."""
    log.duplicates, log.conflicts = {0: 7}, {1: 9}

    recorded = await ingest.record(
        ORG, ORG_ID, [b"{", make_event("a"), b"1", make_event("b"), make_event("c"), b"2"]
    )

    assert (recorded.accepted, recorded.duplicates) == (1, 1)
    assert [index for index, _ in recorded.rejected] == [0, 2, 3, 5]
    refused = recorded.rejected[2][1]
    assert (refused.event_id, refused.field) == ("b", "event.id")
    assert "event 9" in refused.message


async def test_duplicates_wake_nobody(ingest, log, notifier):
    """Where nothing is new there is nothing to deliver."""
    log.duplicates = {0: 1}

    await ingest.record(ORG, ORG_ID, [make_event("a")])

    assert notifier.rings == []


async def test_what_waits_for_its_commit_is_bounded(ingest, log):
    """Beyond the limit of bytes that wait, ingest says so at once; when they are stored there is room again."""
    log.free.clear()
    first = asyncio.ensure_future(ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=900)]))
    await asyncio.sleep(0)

    with pytest.raises(Unavailable) as refused:
        await ingest.record(ORG, ORG_ID, [make_event("b", size_bytes=200)])
    log.free.set()
    await first
    after = await ingest.record(ORG, ORG_ID, [make_event("b", size_bytes=200)])

    assert refused.value.code == "ingest-queue-full"
    assert refused.value.retry_after_s >= 1
    assert after.accepted == 1


async def test_one_request_always_fits(ingest):
    """A request larger than the limit is taken when nothing else waits, or it never would be."""
    recorded = await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=5000)])

    assert recorded.accepted == 1


async def test_a_failed_append_acknowledges_nothing_and_gives_its_room_back(ingest, log, notifier):
    """What the store could not take is reported, wakes nobody, and does not count as waiting for ever."""
    log.broken = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=900)])

    log.broken = False
    recorded = await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=900)])

    assert recorded.accepted == 1
    assert notifier.rings == [(ORG, 1)]


async def test_ids_are_made_where_there_are_none(ingest, log):
    """Events without an id get one of ours, each its own."""
    await ingest.record(ORG, ORG_ID, [make_event(None), make_event(None)])

    ids = [event.event_id for event in log.events]
    assert len(set(ids)) == 2
    assert all(one.startswith("pflt_") for one in ids)
