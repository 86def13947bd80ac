"""From raw items to durable events: promises of pipeline/ingest.py."""

import asyncio

import pytest

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.ports import Appended
from support.api import make_event
from support.simulation import SeededRandom
from support.stores import tell

ORG = OrganizationNo(1)
ORG_ID = OrganizationId("org_abc")


class FakeLog:
    """Appends to a list; waits while held, fails while broken, and reports configured duplicates and conflicts."""

    def __init__(self) -> None:
        self.events = []
        self.free = asyncio.Event()
        self.free.set()
        self.broken = False
        self.duplicates: dict[int, int] = {}
        self.conflicts: dict[int, int] = {}

    def append(self, organization_no, events, now, ended):
        tell(self.appended(events), ended)

    async def appended(self, events):
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
    """Make a notifier that records its calls."""
    return FakeNotifier()


@pytest.fixture
def ingest(log, notifier):
    """Make an ingest with room for a thousand bytes."""
    return Ingest(log, FakeClock(), SeededRandom(), notifier, queue_bytes_max=1000)


async def test_valid_items_are_stored_and_workers_told(ingest, log, notifier):
    """Events are appended unchanged and in order, and the workers are notified of the new head once."""
    items = [make_event("a"), make_event("b")]

    recorded = await ingest.record(ORG, ORG_ID, items)

    assert [event.body.encode() for event in log.events] == items
    assert (recorded.accepted, recorded.duplicates, recorded.rejected) == (2, 0, [])
    assert notifier.rings == [(ORG, 2)]


async def test_invalid_items_stop_no_valid_ones(ingest, log):
    """Each invalid item is named by its index in the request; the valid ones are accepted."""
    items = [b"[]", make_event("a"), b"{", make_event("b"), make_event("x", org_id="org_other")]

    recorded = await ingest.record(ORG, ORG_ID, items)

    assert recorded.accepted == 2
    assert [index for index, _ in recorded.rejected] == [0, 2, 4]
    assert [event.event_id for event in log.events] == ["a", "b"]


async def test_nothing_valid_touches_nothing(ingest, log, notifier):
    """A request without a valid item uses neither store nor workers."""
    log.broken = True

    recorded = await ingest.record(ORG, ORG_ID, [b"{"])

    assert (recorded.accepted, recorded.appended, len(recorded.rejected)) == (0, None, 1)
    assert notifier.rings == []


async def test_conflicts_are_named_by_their_place_in_the_request(ingest, log):
    """An event whose id has another body is rejected with its index, in order with the invalid items."""
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
    """If no event is new, no worker is notified."""
    log.duplicates = {0: 1}

    await ingest.record(ORG, ORG_ID, [make_event("a")])

    assert notifier.rings == []


async def test_what_waits_for_its_commit_is_bounded(ingest, log):
    """Above the limit of waiting bytes, ingest fails at once; when they are stored there is room again."""
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
    """A request above the limit is accepted if nothing else waits; otherwise it never could be."""
    recorded = await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=5000)])

    assert recorded.accepted == 1


async def test_a_failed_append_acknowledges_nothing_and_gives_its_room_back(ingest, log, notifier):
    """If the store fails, the error is reported, no worker is notified, and the bytes no longer count as waiting."""
    log.broken = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=900)])

    log.broken = False
    recorded = await ingest.record(ORG, ORG_ID, [make_event("a", size_bytes=900)])

    assert recorded.accepted == 1
    assert notifier.rings == [(ORG, 1)]


async def test_ids_are_made_where_there_are_none(ingest, log):
    """Events without an id get different generated ids."""
    await ingest.record(ORG, ORG_ID, [make_event(None), make_event(None)])

    ids = [event.event_id for event in log.events]
    assert len(set(ids)) == 2
    assert all(one.startswith("pflt_") for one in ids)
