"""Appending to a log: sequences, ids, and what a failing commit leaves."""

import asyncio
import threading

import pytest

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Conflict, Unavailable
from aegis_stream.ports import Appended
from aegis_stream.store.database import Lane
from support.clock import T0
from support.stores import SECOND, add_organization, append_to, event, events, stored


async def test_sequences_have_no_holes(store, org):
    """Events get the sequences 1, 2, 3 … in the order in which they were appended."""
    first = await append_to(store.log, org, events(1, 3), T0)
    second = await append_to(store.log, org, events(4, 150), T0)

    assert first == Appended(1, 3, 3)
    assert second == Appended(4, 150, 153)
    assert await stored(store, org) == {number: f"e{number}" for number in range(1, 154)}


async def test_organizations_count_for_themselves(store, org):
    """Every organization has sequences of its own, and the same event id in two of them is two events."""
    other = await add_organization(store, "org_b")

    await append_to(store.log, org, events(1, 3), T0)
    appended = await append_to(store.log, other, events(2, 2), T0)

    assert appended == Appended(1, 2, 2)
    assert await stored(store, other) == {1: "e2", 2: "e3"}
    assert await store.log.heads() == {org: 3, other: 2}


async def test_a_second_submission_changes_nothing(store, org):
    """An event that is there already is a duplicate with its first sequence, and uses none up."""
    await append_to(store.log, org, events(1, 3), T0)

    again = await append_to(store.log, org, [*events(2, 2), event("e9"), *events(1, 1)], Micros(T0 + SECOND))

    assert again == Appended(4, 1, 4, {0: 2, 1: 3, 3: 1}, {})
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e3", 4: "e9"}
    assert (await store.log.entry(org, "e2")).received_at == T0


async def test_the_same_id_with_another_body_is_a_conflict(store, org):
    """A known id with another body is reported with the sequence it contradicts; the stored body stays."""
    await append_to(store.log, org, [event("e1", '{"n":1}')], T0)

    again = await append_to(store.log, org, [event("e2"), event("e1", '{"n":2}')], T0)

    assert (again.added, again.duplicates, again.conflicts) == (1, {}, {1: 1})
    assert (await store.log.entry(org, "e1")).body == '{"n":1}'


async def test_repeats_within_one_batch_are_found(store, org):
    """Within one batch the first event of an id counts; an equal one later is a duplicate, another one a conflict."""
    batch = [event("a", "{}"), event("b", "{}"), event("a", "{}"), event("b", '{"n":1}'), event("c", "{}")]

    appended = await append_to(store.log, org, batch, T0)

    assert appended == Appended(1, 3, 3, {2: 1}, {3: 2})
    assert await stored(store, org) == {1: "a", 2: "b", 3: "c"}


async def test_repeats_within_a_batch_are_found_in_a_log_that_has_events(store, org):
    """The sequence of the first event of an id is told right, also when the log did not begin with this batch."""
    await append_to(store.log, org, [event("z", "{}"), event("y", "{}"), event("x", "{}")], T0)
    batch = [event("a", "{}"), event("b", "{}"), event("b", "{}"), event("a", '{"n":1}'), event("y", "{}")]

    appended = await append_to(store.log, org, batch, T0)

    assert appended == Appended(4, 2, 5, {2: 5, 4: 2}, {3: 4})


async def test_new_events_of_several_callers_have_their_own_sequences(store, org):
    """Callers of two organizations whose events share a commit are each told the sequences of their own events."""
    other = await add_organization(store, "org_b")
    await append_to(store.log, org, events(1, 4), T0)
    held, joined = threading.Event(), threading.Event()
    busy = store.db.submit(lambda unit: (unit.run("try_write"), held.set(), joined.wait(10)), Lane.APPEND)
    calls = [(org, 11, 2), (other, 21, 1), (org, 31, 3), (other, 41, 5), (org, 51, 1)]
    try:
        assert await asyncio.to_thread(held.wait, 10)
        waiting = [
            asyncio.ensure_future(append_to(store.log, one, events(first, count), T0))
            for one, first, count in calls
        ]
        await asyncio.sleep(0)
    finally:
        joined.set()
    await busy
    results = await asyncio.gather(*waiting)

    for (one, first, count), appended in zip(calls, results, strict=True):
        ids = await store.log.event_ids(one, appended.first, appended.first + count - 1)
        assert list(ids.values()) == [f"e{number}" for number in range(first, first + count)]
    assert [(one.first, one.added) for one in results] == [(5, 2), (1, 1), (7, 3), (2, 5), (10, 1)]
    assert all(isinstance(one.first, int) for one in results)


async def test_appends_of_one_moment_are_told_apart(store, org):
    """Callers who share a transaction each learn of their own events, also when they submit the same ones."""
    results = await asyncio.gather(
        append_to(store.log, org, events(1, 2), T0),
        append_to(store.log, org, events(2, 2), T0),
        append_to(store.log, org, events(1, 3), T0),
    )

    assert [one.added for one in results] == [2, 1, 0]
    assert results[2].duplicates == {0: 1, 1: 2, 2: 3}
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e3"}


async def test_an_append_that_fails_stores_nothing(backend, store, org):
    """When the commit fails the caller learns it, nothing is stored, and the next append has the sequence again."""
    await append_to(store.log, org, events(1, 2), T0)
    backend.fail_next_commit(store)

    with pytest.raises(Unavailable):
        await append_to(store.log, org, events(3, 2), T0)
    after = await append_to(store.log, org, events(5, 1), T0)

    assert after == Appended(3, 1, 3)
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e5"}


async def test_an_append_that_joins_a_failing_commit_is_not_acknowledged(backend, store, org):
    """Callers whose events wait for a transaction that then fails are told so, all of them, and none of their events is stored."""
    held, joined = threading.Event(), threading.Event()
    busy = store.db.submit(lambda unit: (unit.run("try_write"), held.set(), joined.wait(10)), Lane.APPEND)
    try:
        assert await asyncio.to_thread(held.wait, 10)
        waiting = [asyncio.ensure_future(append_to(store.log, org, events(n, 1), T0)) for n in (1, 2)]
        await asyncio.sleep(0)
    finally:
        backend.fail_next_commit(store, after=1)
        joined.set()
    await busy
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one) for one in results] == [Unavailable, Unavailable]
    assert await stored(store, org) == {}


async def test_an_append_that_comes_during_a_commit_does_not_share_its_fate(backend, store, org):
    """Events that arrive while a transaction is being committed go into the next one, whatever becomes of the first."""
    with backend.stall_before_commit(store, fail=True) as stall:
        first = asyncio.ensure_future(append_to(store.log, org, events(1, 1), T0))
        assert await asyncio.to_thread(stall.reached.wait, 10)
        second = asyncio.ensure_future(append_to(store.log, org, events(2, 1), T0))
        await asyncio.sleep(0)
    results = await asyncio.gather(first, second, return_exceptions=True)

    assert isinstance(results[0], Unavailable)
    assert results[1] == Appended(1, 1, 1)
    assert await stored(store, org) == {1: "e2"}


async def test_a_store_that_takes_no_write_says_so_and_recovers(backend, store, org):
    """While a stopped process holds the write lock, an append ends with an error instead of waiting for ever; it is not
    stored behind the caller's back, and the next append after the lock is free is.
    """
    with backend.stop_a_writer(patience_s=0.2), pytest.raises(Unavailable, match="took no write") as stuck:
        await append_to(store.log, org, events(1, 1), T0)
    appended = await append_to(store.log, org, events(2, 1), T0)

    assert stuck.value.code == "store-stuck"
    assert (appended.first, appended.added) == (1, 1)
    assert await stored(store, org) == {1: "e2"}


async def test_one_write_that_fails_takes_no_other_along(store, org):
    """Of writes that share a transaction, one that raises takes only itself back."""

    def broken(_):
        raise Conflict("no")

    failed, appended = await asyncio.gather(
        store.db.submit(broken, Lane.APPEND),
        append_to(store.log, org, events(1, 1), T0),
        return_exceptions=True,
    )

    assert isinstance(failed, Conflict)
    assert appended.added == 1
    assert await stored(store, org) == {1: "e1"}
