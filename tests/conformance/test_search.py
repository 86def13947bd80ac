"""Looking through a log: the newest first, by what bodies say, and how many events each step of time has."""

from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.store.log_shape import buckets, counts
from support.clock import T0
from support.sql import raw
from support.stores import SECOND, append_to, event, events

HOUR = 3600 * SECOND


async def test_labels_come_the_newest_first(store, org):
    """Labels below a sequence come in descending order, as many as asked."""
    await append_to(
        store.log, org, [event(f"e{n}", dataset=f"d{n}", decision="BLOCKED") for n in range(1, 11)], T0
    )

    found = await store.log.labels_before(org, 3, 9, 4)
    rest = await store.log.labels_before(org, 3, 5, 4)

    assert [one.sequence for one in found] == [8, 7, 6, 5]
    assert [one.sequence for one in rest] == [4]
    assert (found[0].dataset, found[0].decision) == ("d8", "BLOCKED")


async def test_bodies_are_searched_in_the_store(store, org):
    """The sequences of matching events are found, and a damaged event never matches."""
    await append_to(store.log, org, events(1, 10), T0)
    await store.db.write(
        lambda db: raw(db).run(
            "UPDATE events SET body = replace(body, 'id', 'ID') WHERE event_id = ?", ("e4",)
        )
    )
    accepts = EventFilter(words=("e",)).body_test()

    assert await store.log.matching(org, 3, 6, accepts) == {3, 5, 6}
    assert await store.log.matching_among(org, [3, 4, 6, 11], accepts) == {3, 6}


async def test_administrative_events_are_found_past_all_others(store, org):
    """Their labels come in both orders, and no other event is looked at for them."""
    made = [event(f"e{n}", dataset=ADMIN_DATASET if n % 100 == 0 else "d") for n in range(1, 1001)]
    await append_to(store.log, org, made, T0)

    after = await store.log.labels(org, 100, 900, 3, of_admin=True)
    before = await store.log.labels_before(org, 100, 901, 3, of_admin=True)
    accepts = EventFilter(fields=(("event.id", "e300"),)).body_test()
    matching = await store.log.matching_among(org, [200, 300, 400], accepts)

    assert [one.sequence for one in after] == [200, 300, 400]
    assert [one.sequence for one in before] == [900, 800, 700]
    assert {one.dataset for one in (*after, *before)} == {ADMIN_DATASET}
    assert matching == {300}


async def test_buckets_count_without_reading_the_log(store, org):
    """Each step of time has its number of events; labels are all of a small bucket, and some of a large one."""
    for hour, count in enumerate((3, 0, 200)):
        made = [event(f"h{hour}n{n}", dataset="even" if n % 2 == 0 else "odd") for n in range(count)]
        if made:
            await append_to(store.log, org, made, T0 + hour * HOUR)
    edges = [T0 + hour * HOUR for hour in range(5)]

    found = store.db.read_now(lambda unit: buckets(unit, org, edges, (1, 203), 40))
    counted = store.db.read_now(lambda unit: counts(unit, org, edges, (1, 203)))

    assert [one.events for one in found] == counted == [3, 0, 200, 0]
    assert sorted(found[0].labels) == [("even", None), ("even", None), ("odd", None)]
    assert 20 <= len(found[2].labels) <= 40
    assert {dataset for dataset, _ in found[2].labels} == {"even", "odd"}


async def test_buckets_count_events_on_both_sides_of_a_wrong_clock(store, org):
    """Where times go back, every event is still counted once, in the step that its own time belongs to."""
    await append_to(store.log, org, events(1, 4), T0 + 2 * HOUR)
    await append_to(store.log, org, events(5, 9), T0 + 3 * HOUR)
    await store.db.write(
        lambda db: raw(db).run("UPDATE events SET received_at = ? WHERE event_id >= 'e5'", (T0,))
    )
    await store.db.write(lambda unit: unit.run("insert_clock_step", (org, 5)))
    edges = [T0, T0 + HOUR, T0 + 2 * HOUR, T0 + 4 * HOUR]

    found = store.db.read_now(lambda unit: buckets(unit, org, edges, (1, 9), 40))

    assert [one.events for one in found] == [5, 0, 4]


async def test_an_empty_log_has_empty_buckets(store, org):
    """Without events all buckets are empty."""
    found = store.db.read_now(lambda unit: buckets(unit, org, [T0, T0 + HOUR], (1, 0), 40))

    assert found == [(0, [])]
