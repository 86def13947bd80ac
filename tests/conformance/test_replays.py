"""Replays: how they move on, end, and wait for each other."""

import pytest

from aegis_stream.domain.delivery import (
    ReplayRange,
)
from aegis_stream.domain.ids import Micros, ReplayId
from aegis_stream.errors import NotFound
from aegis_stream.store.ledger import OPEN_REPLAYS_MAX
from aegis_stream.store.records import key_of
from support.clock import T0
from support.stores import add_destination, append_to, events, serve, settle, settlement


async def test_a_replay_moves_on_and_ends(store, org):
    """A replay keeps its own cursor, which never goes back, and is over when it reaches its end."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)
    replay = ReplayId("rpl_1")
    await store.directory.add_replay(destination, replay, 3, 7, T0)

    at_start = (await store.ledger.outstanding(key_of(destination))).replays
    await settle(store, settlement(lease, org, replays=[(replay, 5)]))
    await settle(store, settlement(lease, org, replays=[(replay, 4)]))
    half_way = (await store.ledger.outstanding(key_of(destination))).replays
    covering = [await store.directory.replay_cursor(destination, sequence) for sequence in (2, 3, 7, 8)]
    await settle(store, settlement(lease, org, replays=[(replay, 7)]), now=T0 + 9)
    [row] = await store.directory.replays_of(destination, "~", 10)

    assert at_start == [ReplayRange(replay, 3, 2, 7)]
    assert half_way == [ReplayRange(replay, 3, 5, 7)]
    assert covering == [None, 5, 5, None]
    assert (await store.ledger.outstanding(key_of(destination))).replays == []
    assert tuple(row) == (replay, 3, 7, 7, T0, T0 + 9)


async def test_replays_are_listed_newest_first(store, org):
    """A listing begins with the newest replay, running or over, and goes on before the last one that was shown."""
    destination = await add_destination(store, org)
    for number in range(1, 6):
        await store.directory.add_replay(destination, ReplayId(f"rpl_{number}"), 1, 1, Micros(T0 + number))

    first = await store.directory.replays_of(destination, "~", 3)
    rest = await store.directory.replays_of(destination, first[-1].replay_id, 3)

    assert len(first) == 3
    assert [one.replay_id for one in [*first, *rest]] == [f"rpl_{number}" for number in (5, 4, 3, 2, 1)]


async def test_a_cancelled_replay_stays_where_it_is(store, org):
    """Cancelling ends one replay once and leaves the others; what is over or unknown cannot be cancelled."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    for replay_id in ("rpl_1", "rpl_2"):
        await store.directory.add_replay(destination, ReplayId(replay_id), 1, 9, T0)

    await store.directory.cancel_replay(destination, "rpl_1", Micros(T0 + 1))

    running = (await store.ledger.outstanding(key_of(destination))).replays
    assert [one.replay_id for one in running] == ["rpl_2"]
    for replay_id in ("rpl_1", "rpl_3"):
        with pytest.raises(NotFound):
            await store.directory.cancel_replay(destination, replay_id, Micros(T0 + 2))


async def test_the_newest_replay_over_an_event_tells_how_far_it_is(store, org):
    """Where several replays cover an event, people see the one that was started last."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)
    cursors = {"rpl_2": 4, "rpl_1": 6, "rpl_3": 2}
    for at, replay_id in enumerate(cursors):
        await store.directory.add_replay(destination, ReplayId(replay_id), 1, 7, Micros(T0 + at))
    await settle(store, settlement(lease, org, replays=[*cursors.items()]))

    assert await store.directory.replay_cursor(destination, 5) == cursors["rpl_3"]


async def test_a_bounded_number_of_replays_run_beside_each_other(store, org):
    """The oldest replays run, the others wait for their turn."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 1), T0)
    for number in range(OPEN_REPLAYS_MAX + 2):
        await store.directory.add_replay(destination, ReplayId(f"rpl_{number:02}"), 1, 1, Micros(T0 + number))

    running = (await store.ledger.outstanding(key_of(destination))).replays

    assert [one.replay_id for one in running] == [f"rpl_{number:02}" for number in range(OPEN_REPLAYS_MAX)]
