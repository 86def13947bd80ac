"""Promises about what destinations did over time: counted with each settlement, once, and kept for a while."""

import pytest

from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import (
    HOURS,
    MINUTES,
    QUARTERS,
    RESOLUTIONS,
    Rollup,
    added,
    began_at,
    rollup,
)
from aegis_stream.errors import Unavailable
from aegis_stream.store import rollups
from aegis_stream.store.rollups import REMOVED_MAX, Result
from support.sql import raw
from support.stores import BOB, SECOND, T0, add_destination, append_to, events, serve, settle, settlement

DAY_US = 86_400 * SECOND
FIRST = began_at(T0, HOURS.step_s)


@pytest.fixture
async def served(store, org):
    """A destination with nine events, and the lease under which it is served."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    return DestinationKey(org, destination.no), await serve(store)


def counted(second: int, delivered: int = 1, failed: tuple[int | None, ...] = (), waiting: int = 0) -> Rollup:
    """Build what a settlement counted so many seconds after a whole hour."""
    return rollup(
        Micros(FIRST + second * SECOND), delivered, failed, [5_000] * delivered, waiting, len(failed)
    )


async def read(store, key, resolution, step_s=None, span=(Micros(0), Micros(2**60))) -> list[Rollup]:
    """Return what is stored of a destination."""
    step_s = step_s or resolution.step_s
    return await store.db.read(lambda unit: rollups.between(unit, key, resolution, step_s, span))


async def test_settlements_add_up_in_their_minute_quarter_and_hour(store, org, served):
    """Each settlement is part of three rollups; those of one step are one row, with the most that waited."""
    key, lease = served
    made = [
        counted(1, 2, (500, None), 7),
        counted(59, 1, (), 3),
        counted(61, 4, (429,), 9),
        counted(1000, 1),
        counted(3600, 8),
    ]
    for one in made:
        assert await settle(store, settlement(lease, org, 9, rollup=one))

    minutes, quarters, hours = [await read(store, key, one) for one in RESOLUTIONS]

    first, hour = Micros(FIRST), Micros(FIRST + 3600 * SECOND)
    assert minutes == [
        added(first, made[:2]),
        added(Micros(FIRST + 60 * SECOND), made[2:3]),
        added(Micros(FIRST + 960 * SECOND), made[3:4]),
        added(hour, made[4:]),
    ]
    assert quarters == [
        added(first, made[:3]),
        added(Micros(FIRST + 900 * SECOND), made[3:4]),
        added(hour, made[4:]),
    ]
    assert hours == [added(first, made[:4]), added(hour, made[4:])]
    assert (hours[0].waiting, hours[0].dead_letters) == (9, 3)


async def test_rollups_are_added_up_to_longer_steps(store, org, served):
    """A span is read in steps of any multiple, without what lies outside of it."""
    key, lease = served
    made = [counted(30 + 60 * minute, minute + 1, (500,), minute) for minute in range(12)]
    for one in made:
        await settle(store, settlement(lease, org, 9, rollup=one))
    span = Micros(FIRST), Micros(FIRST + 600 * SECOND)

    found = await read(store, key, MINUTES, 300, span)
    results = await store.db.read(
        lambda unit: rollups.results(unit, key, MINUTES, Micros(FIRST + 600 * SECOND))
    )

    assert found == [added(span[0], made[:5]), added(Micros(FIRST + 300 * SECOND), made[5:10])]
    assert results == [
        Result(Micros(FIRST + 600 * SECOND), 11, 1, 10, 1),
        Result(Micros(FIRST + 660 * SECOND), 12, 1, 11, 1),
    ]


async def test_a_settlement_is_counted_once_or_not_at_all(backend, store, org, served):
    """What a failed commit undid is not counted, and a settlement that is repeated is counted once."""
    key, lease = served
    found = settlement(lease, org, 9, delivered=3, rollup=counted(1, 3, (500,)))
    backend.fail_next_commit(store)
    with pytest.raises(Unavailable):
        await settle(store, found)
    undone = store.count("rollups")

    for _ in range(3):
        assert await settle(store, found)

    assert undone == 0
    assert await read(store, key, HOURS) == [added(Micros(FIRST), [counted(1, 3, (500,))])]


async def test_who_lost_the_lease_counts_nothing(store, org, served):
    """A settlement without the lease leaves no trace in the history either."""
    _, lease = served

    assert not await settle(store, settlement(lease, org, 9, rollup=counted(1)), worker=BOB)
    assert store.count("rollups") == 0


async def test_nothing_attempted_is_no_row(store, org, served):
    """A settlement that only moves the cursor on writes no rollup."""
    _, lease = served

    await settle(store, settlement(lease, org, 9))

    assert store.count("rollups") == 0


def fill(store, key: DestinationKey, starts: range, step_s: int) -> None:
    """Store empty rollups that begin at these times."""
    zeros = ", ".join("0" for _ in range(26))

    def work(unit):
        for at in starts:
            raw(unit).run(f"INSERT INTO rollups VALUES ({key[0]}, {key[1]}, {step_s}, {at}, {zeros})")

    store.db.write_now(work)


async def test_each_length_is_kept_for_its_own_time(store, org, served):
    """Minutes and quarters are kept for two days and an hour, hours for 91 days; what begins at the limit stays."""
    key, _ = served
    now = Micros(FIRST + 100 * DAY_US)
    for one in (MINUTES, QUARTERS, HOURS):
        kept = now - one.kept_s * SECOND
        fill(store, key, range(kept - one.step_s * SECOND, kept + 1, one.step_s * SECOND), one.step_s)

    removed = [await store.retention.remove_rollups(now), await store.retention.remove_rollups(now)]

    assert removed == [3, 0]
    for one in RESOLUTIONS:
        assert [row.at for row in await read(store, key, one)] == [now - one.kept_s * SECOND]


async def test_old_rollups_go_in_chunks(store, org, served):
    """No step removes more than a chunk of each length."""
    key, _ = served
    fill(store, key, range(0, (REMOVED_MAX + 5) * 60 * SECOND, 60 * SECOND), 60)
    now = Micros(FIRST + 100 * DAY_US)

    removed = [await store.retention.remove_rollups(now) for _ in range(3)]

    assert removed == [REMOVED_MAX, 5, 0]


async def test_rollups_go_with_their_destination(store, org, served, monkeypatch):
    """When a destination is deleted its history goes, a chunk at a time, and that of its neighbour stays."""
    monkeypatch.setattr("aegis_stream.store.retention.CHUNK", 100)
    key, _ = served
    other = await add_destination(store, org, 2)
    fill(store, key, range(0, 250 * SECOND, SECOND), 60)
    fill(store, DestinationKey(org, other.no), range(0, 5 * SECOND, SECOND), 60)
    await store.directory.delete_destination(org, f"dst_{org}_1", T0)

    steps = 0
    while await store.retention.step(Micros(0)):
        steps += 1
        assert steps < 20

    assert steps >= 3
    assert store.count("rollups") == 5
