"""Reading a log: pages, entries, times."""

import asyncio
import json

import pytest

from aegis_stream.domain.delivery import Page
from aegis_stream.domain.ids import Micros
from aegis_stream.ports import LogEntry
from aegis_stream.store.log import datasets, sequence_of
from support.clock import T0
from support.log import entries
from support.sql import raw
from support.stores import add_organization, append_to, event, events
from support.writers import WatchedReads


async def test_a_page_holds_neighbours(store, org):
    """A page begins where it was asked to, has no holes, and ends at the last event wanted."""
    await append_to(store.log, org, events(1, 10), T0)

    page = await store.log.page(org, 4, 7, bytes_max=1 << 20, labels=False)

    assert (page.first, page.labels) == (4, None)
    assert [json.loads(body)["event"]["id"] for body in page.bodies] == ["e4", "e5", "e6", "e7"]


async def test_a_page_keeps_to_its_bytes(store, org):
    """A page holds no more bytes than asked, but always at least one event, so that a reader gets on."""
    await append_to(store.log, org, [event(f"e{number}", '"' + "x" * 998 + '"') for number in range(20)], T0)

    sizes = [
        len((await store.log.page(org, 1, 20, bytes_max=limit, labels=False)).bodies)
        for limit in (1, 1000, 5500, 20_000)
    ]

    assert sizes[0] == sizes[1] == 1
    assert 1 < sizes[2] <= 5
    assert sizes[3] == 20


async def change(store, statement: str, *values) -> None:
    """Change the log without the program, as a disk or a person does."""
    await store.db.write(lambda db: raw(db).run(statement, values))


def ids(page: Page) -> list[str]:
    """Return the ids of a page's events, "" for those that have no bytes."""
    return [json.loads(body)["event"]["id"] if body else "" for body in page.bodies]


GONE = "DELETE FROM events WHERE event_id = ?"
"""Row lost."""
DAMAGES = {
    "missing": GONE,
    "a changed letter": "UPDATE events SET body = replace(body, 'event', 'evemt') WHERE event_id = ?",
    "cut off": "UPDATE events SET body = substr(body, 1, 9) WHERE event_id = ?",
    "emptied": "UPDATE events SET body = '' WHERE event_id = ?",
    "a separator": "UPDATE events SET body = body || char(30) || body WHERE event_id = ?",
    "no UTF-8": "UPDATE events SET body = CAST(x'7bff7d' AS TEXT) WHERE event_id = ?",
    "a NUL": "UPDATE events SET body = CAST(x'7b007d' AS TEXT) WHERE event_id = ?",
    "another checksum": "UPDATE events SET checksum = checksum + 1 WHERE event_id = ?",
}


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_event_is_set_aside_and_the_rest_is_read(store, org, damage, labels):
    """Whatever happened to an event, it has no bytes in its page, and every other event is under its own sequence."""
    await append_to(store.log, org, events(1, 10), T0)
    for event_id in ("e1", "e5", "e10"):
        await change(store, damage, event_id)

    page = await store.log.page(org, 1, 10, bytes_max=1 << 20, labels=labels)
    alone = await store.log.page(org, 5, 5, bytes_max=1 << 20, labels=labels)
    small = await store.log.page(org, 4, 10, bytes_max=1, labels=labels)

    assert (page.first, ids(page)) == (1, ["", "e2", "e3", "e4", "", "e6", "e7", "e8", "e9", ""])
    assert (alone.first, ids(alone)) == (5, [""])
    assert (small.first, ids(small)[0]) == (4, "e4")
    assert page.labels is None or len(page.labels) == 10


async def test_events_of_a_version_without_checksums_are_read(store, org):
    """Their bytes cannot be verified, so they are handed out as they are, alone and beside others."""
    await append_to(store.log, org, events(1, 6), T0)
    await change(store, "UPDATE events SET checksum = NULL WHERE event_id IN ('e1', 'e2', 'e3')")
    await change(store, DAMAGES["a changed letter"], "e5")

    old = await store.log.page(org, 1, 3, bytes_max=1 << 20, labels=True)
    both = await store.log.page(org, 1, 6, bytes_max=1 << 20, labels=True)

    assert ids(old) == ["e1", "e2", "e3"]
    assert ids(both) == ["e1", "e2", "e3", "e4", "", "e6"]


@pytest.mark.parametrize("damage", ["a changed letter", "no UTF-8", "cut off"])
async def test_people_see_that_an_event_is_damaged(store, org, damage):
    """A list and a single event show JSON that says so in place of the bytes, and the others as they are."""
    await append_to(store.log, org, events(1, 3), T0)
    await change(store, DAMAGES[damage], "e2")

    entry = await store.log.entry(org, "e2")
    listed = await store.log.entries_at(org, [1, 2, 3])
    told = json.loads(entry.body)

    assert (told["event"], told["error"]["code"]) == ({"id": "e2"}, "event-damaged")
    assert "damaged" in told["error"]["message"]
    assert [json.loads(one.body).get("error", {}).get("code") for one in listed] == [
        None,
        "event-damaged",
        None,
    ]


async def test_people_see_what_can_be_read_of_an_event_without_a_checksum(backend, store, org):
    """Whether it is damaged cannot be told, so bytes that are no UTF-8 are shown as such, and the rest as it is."""
    if backend.name != "sqlite":
        pytest.skip("another database takes no such text")
    await append_to(store.log, org, events(1, 1), T0)
    await change(store, DAMAGES["no UTF-8"], "e1")
    await change(store, "UPDATE events SET checksum = NULL WHERE event_id = ?", "e1")

    assert (await store.log.entry(org, "e1")).body == "{\ufffd}"


@pytest.mark.parametrize("damage", ["a changed letter", "no UTF-8", "cut off"])
async def test_an_event_whose_stored_bytes_are_damaged_can_be_submitted_again(store, org, damage):
    """It is another event than the damaged one, and that is all: the others of its request are appended."""
    await append_to(store.log, org, events(1, 2), T0)
    await change(store, DAMAGES[damage], "e2")

    appended = await append_to(store.log, org, events(1, 3), T0)

    assert (appended.added, appended.duplicates, appended.conflicts) == (1, {0: 1}, {1: 2})


async def test_a_page_without_damage_is_read_as_a_whole(backend, store, org):
    """Where nothing is missing or damaged, no event is read by itself: that would take several times as long."""
    watched = backend.open(WatchedReads)
    await append_to(store.log, org, events(1, 10), T0)

    pages = [await watched.log.page(org, 3, last, bytes_max=1 << 20, labels=True) for last in (3, 8)]

    assert [len(page.bodies) for page in pages] == [1, 6]
    whole = ("page_bodies", "page_labels")
    assert [name for name, _ in watched.db.calls] == [*whole, *whole]


async def test_a_page_beyond_the_head_is_empty(store, org):
    """There is nothing where nothing was appended yet, and nothing of a neighbouring organization."""
    other = await add_organization(store, "org_b")
    await append_to(store.log, other, events(1, 3), T0)

    page = await store.log.page(org, 1, 10, bytes_max=1000, labels=True)

    assert (page.bodies, page.labels) == ([], [])


async def test_labels_belong_to_their_bodies(store, org):
    """Dataset and decision come in the order of the bodies, and are left out unless asked for."""
    await append_to(
        store.log,
        org,
        [event("a", dataset="x"), event("b", dataset="y", decision="BLOCKED"), event("c", dataset="")],
        T0,
    )

    page = await store.log.page(org, 1, 3, bytes_max=1 << 20, labels=True)

    assert page.labels == [("x", None), ("y", "BLOCKED"), ("", None)]


async def test_bodies_are_kept_byte_for_byte(store, org):
    """Whatever JSON text goes in comes out to the byte: white space, escapes, every plane of Unicode, line separators."""
    texts = [
        ' \t\r\n{ "a" :\r\n\t1 }\n',
        '{"a":"\\u001e\\u0000\\n\\ud83d\\ude00"}',
        '{"ä€😀":"\u2028\u2029\x7f\x85\ufeff"}',
        '{"n":1.0e+2,"n":-0}',
        '{"a":"\U0010ffff"}',
    ]
    await append_to(store.log, org, [event(f"e{number}", text) for number, text in enumerate(texts)], T0)

    page = await store.log.page(org, 1, len(texts), bytes_max=1 << 20, labels=False)
    one_by_one = [(await store.log.entry(org, f"e{number}")).body for number in range(len(texts))]

    assert page.bodies == [text.encode() for text in texts]
    assert one_by_one == texts
    assert [one.body for one in await entries(store.log, org, 0, 10, 10)] == texts


async def test_entries_are_read_in_order(store, org):
    """A listing takes what lies after one sequence and up to another, in log order, as many as asked."""
    await append_to(store.log, org, events(1, 10), T0)

    assert [one.sequence for one in await entries(store.log, org, 3, 8, 100)] == [4, 5, 6, 7, 8]
    assert [one.sequence for one in await entries(store.log, org, 3, 8, 2)] == [4, 5]


async def test_an_entry_tells_what_was_appended(store, org):
    """By its id and by its sequence an event comes with all that is known of it."""
    await append_to(store.log, org, [event("a", "{}"), event("b", '{"n":1}', "x", "BLOCKED")], T0)
    entry = LogEntry(2, "b", T0, "x", "BLOCKED", '{"n":1}')

    assert await store.log.entry(org, "b") == entry
    assert await store.log.entries_at(org, [3, 2]) == [entry]


async def test_where_and_when_an_event_was_received(store, org):
    """Both are known of the events of a log; of others, and of those of a neighbour alone, neither is."""
    other = await add_organization(store, "org_b")
    await append_to(store.log, org, events(1, 1), T0)
    await append_to(store.log, org, events(2, 1), Micros(T0 + 7))
    await append_to(store.log, other, events(0, 3), Micros(T0 + 1))

    assert [await store.log.received_at(org, one) for one in (0, 1, 2, 3)] == [None, T0, T0 + 7, None]
    assert store.db.read_now(lambda unit: [sequence_of(unit, org, f"e{n}") for n in range(4)]) == [
        None,
        1,
        2,
        None,
    ]


async def test_the_datasets_of_a_log_are_in_its_order(store, org):
    """They are of all events up to a sequence that are still there, as often as they occur."""
    made = [event(f"e{n}", dataset=one, decision="BLOCKED") for n, one in enumerate("xyxz", 1)]
    await append_to(store.log, org, made, T0)
    whole, part = (store.db.read_now(lambda unit, last=last: datasets(unit, org, last)) for last in (4, 3))
    await change(store, GONE, "e2")

    assert (whole, part) == (["x", "y", "x", "z"], ["x", "y", "x"])
    assert store.db.read_now(lambda unit: datasets(unit, org, 4)) == ["x", "x", "z"]


async def test_a_time_maps_to_one_place_although_clocks_jump_back(store, org):
    """Receipt times never go back along the log, so the first event at or after a time is well defined."""
    for at in (10, 20, 5, 20, 30):
        await append_to(store.log, org, [event(f"at-{at}-{await store.log.heads()}")], Micros(at))

    places = [await store.log.sequence_at(org, Micros(at), 1, 5) for at in (0, 10, 11, 20, 21, 30, 31)]
    times = [one.received_at for one in await entries(store.log, org, 0, 5, 10)]

    assert times == [10, 20, 20, 20, 30]
    assert places == [1, 1, 2, 2, 5, 5, 6]


async def test_changed_tells_of_other_processes(backend, store, org):
    """The number to look at is another one after somebody else has committed, and the same while nobody has."""
    other = backend.open()
    store.log.changed()
    await asyncio.sleep(0.2)  # a database may look by itself, and be so far behind
    before = store.log.changed()
    quiet = store.log.changed()

    await append_to(other.log, org, events(1, 1), T0)
    for _ in range(100):
        if store.log.changed() != before:
            break
        await asyncio.sleep(0.05)

    assert quiet == before
    assert store.log.changed() != before


async def test_a_page_read_at_once_is_the_same(backend, store, org):
    """What is read at once, as SQLite can, is what would be read otherwise; nothing beyond the head."""
    await append_to(store.log, org, events(1, 10), T0)
    await change(store, GONE, "e8")

    for first, last in ((1, 1), (1, 5), (4, 7), (6, 10), (8, 8), (8, 10)):
        peeked = store.log.peek(org, first, last, bytes_max=1 << 16, labels=True)
        page = await store.log.page(org, first, last, bytes_max=1 << 16, labels=True)
        assert peeked == (page if backend.name == "sqlite" else None)
    assert store.log.peek(org, 11, 12, bytes_max=1 << 16, labels=False) is None
