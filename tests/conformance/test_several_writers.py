"""Several writers at one store: units of work that run twice, repeat, come late and interleave."""

import asyncio

from aegis_stream.domain.delivery import (
    AttemptRun,
    Claimed,
    DeadRow,
    RetryRow,
    Settled,
)
from aegis_stream.domain.ids import OrganizationNo, ReplayId, WorkerId
from aegis_stream.store.database import Lane
from support.clock import T0
from support.sql import raw
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    Store,
    add_destination,
    add_organization,
    append_to,
    event,
    events,
    serve,
    settle,
    settlement,
    stored,
)
from support.writers import RunsTwice, Watched


async def test_a_unit_of_work_that_runs_twice_is_stored_once(backend, store, org):
    """A database may run a unit of work again: it takes nothing from its caller, so that the second run finds the same."""
    other = await add_organization(store, "org_b")
    twice = backend.open(RunsTwice)
    destination = await add_destination(twice, org)

    appended = await asyncio.gather(
        append_to(twice.log, org, events(1, 3), T0),
        append_to(twice.log, other, events(1, 2), T0),
        append_to(twice.log, org, [event("e1"), event("e4")], T0),
    )
    lease = await serve(twice)
    found = settlement(
        lease, org, 4, delivered=2, retries=[RetryRow(3, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)]
    )
    [counts] = await twice.ledger.settle(ALICE, [found])
    redriven = await twice.directory.redrive(destination, None)
    progress = await store.directory.progress(destination)

    assert [one.added for one in appended] == [3, 2, 1]
    assert list((await stored(store, org)).values()) == ["e1", "e2", "e3", "e4"]
    assert list((await stored(store, other)).values()) == ["e1", "e2"]
    assert (lease.epoch, counts, redriven) == (1, Settled(1, 1), 1)
    assert (progress.delivered, progress.retrying, progress.dead_letters) == (2, 2, 0)


async def test_a_settlement_that_is_repeated_counts_once(store, org):
    """Whoever does not know whether a settlement was stored repeats it, and is told the counts; nothing is counted twice."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    found = settlement(
        lease, org, 3, delivered=2, failed_attempts=1, retries=[RetryRow(3, 1, T0, DOWN)],
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
    )  # fmt: skip

    results = [await store.ledger.settle(ALICE, [found]) for _ in range(3)]
    later = await store.ledger.settle(ALICE, [settlement(lease, org, 3, resolved=[3], delivered=1)])
    stale = await store.ledger.settle(ALICE, [found])
    progress = await store.directory.progress(destination)

    assert results == [[Settled(1, 0)]] * 3
    assert (later, stale) == ([Settled(0, 0)], [Settled(0, 0)])
    assert (progress.delivered, progress.failed_attempts, progress.retrying) == (3, 1, 0)
    assert store.count("attempts") == 1


async def test_settlements_are_numbered_anew_under_each_lease(store, org):
    """A worker that takes a destination over begins with any number, whatever the one before had come to."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1, delivered=1, number=1000))
    await store.ledger.retire(ALICE)
    taken = await serve(store, BOB)

    await settle(store, settlement(taken, org, 2, delivered=1, number=1), BOB)

    assert (await store.directory.progress(destination)).delivered == 2


async def test_a_settlement_s_leases_are_judged_under_the_locks_of_all_its_cursors(store, backend, org):
    """Cursor rows are locked in ascending order, whatever the order of the settlements, and before anything is written."""
    other = await add_organization(store, "org_b")
    for organization, number in ((other, 1), (org, 1), (org, 2)):
        await add_destination(store, organization, number)
    watched = backend.open(Watched)
    await watched.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await watched.ledger.claim(ALICE)
    watched.db.calls.clear()
    watched.db.lanes.clear()
    found = [settlement(one.lease, one.organization_no) for one in claimed]

    await watched.ledger.settle(ALICE, found)
    names = [name for name, _ in watched.db.calls]
    order = sorted(claimed, key=lambda one: (one.organization_no, one.lease.destination_no))

    assert [one.organization_no for one in claimed] != [one.organization_no for one in order]
    assert watched.db.lanes == [Lane.SETTLEMENT]
    assert names == ["lock_cursor"] * 3 + ["settle_cursor"] * 3
    assert [value for name, value in watched.db.calls if name == "lock_cursor"] == [one.key for one in order]


async def test_a_takeover_waits_for_a_settlement_that_is_being_committed(backend, store, org):
    """A lease that was judged good stays good until the commit: whoever takes over afterwards finds what was settled."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    other = backend.open()

    with backend.stall_before_commit(store) as stall:
        settling = asyncio.ensure_future(store.ledger.settle(ALICE, [settlement(lease, org, 3, delivered=3)]))
        assert await asyncio.to_thread(stall.reached.wait, 10)
        store.clock.at += LEASE_US  # Alice's time is over
        taking = asyncio.ensure_future(enlist_and_claim(other, BOB))
        await asyncio.wait([taking], timeout=0.05)
        early = taking.done()
    [counts] = await settling
    [taken] = await taking

    assert not early
    assert counts is not None
    assert (taken.cursor, taken.lease.epoch) == (3, lease.epoch + 1)
    assert not await settle(store, settlement(lease, org, 3), now=store.clock.at)


async def enlist_and_claim(store: Store, worker: WorkerId) -> list[Claimed]:
    """Register a worker and claim what is free."""
    await store.ledger.enlist(worker, LEASE_US)
    claimed, _ = await store.ledger.claim(worker)
    return claimed


async def test_two_workers_that_claim_at_once_share_what_is_there(backend, store, org):
    """Of two claims at the same moment none takes a destination from the other, and none is left out."""
    other = backend.open()
    for number in range(8):
        await add_destination(store, org, number)
    await store.ledger.enlist(ALICE, LEASE_US)
    await other.ledger.enlist(BOB, LEASE_US)

    (alice, _), (bob, _) = await asyncio.gather(store.ledger.claim(ALICE), other.ledger.claim(BOB))

    held = [one.lease.destination_no for one in (*alice, *bob)]
    assert (len(alice), len(bob), len(set(held))) == (4, 4, 8)
    assert {one.lease.epoch for one in (*alice, *bob)} == {1}


async def test_appends_lock_organizations_in_ascending_order(backend, store, org):
    """However the requests of one moment are ordered, the heads of their organizations are locked in one order."""
    organizations = [org, *[await add_organization(store, f"org_{number}") for number in range(3)]]
    watched = backend.open(Watched)

    await asyncio.gather(*[append_to(watched.log, one, events(1, 1), T0) for one in reversed(organizations)])

    assert watched.db.lanes == [Lane.APPEND]
    assert [value for name, value in watched.db.calls if name == "append"] == organizations


async def test_an_append_that_looks_up_ids_locks_the_log_first(backend, store, org):
    """What is looked up stays true until the commit: another writer cannot append the same id in between."""
    await append_to(store.log, org, events(1, 1), T0)
    watched = backend.open(Watched)

    await append_to(watched.log, org, events(1, 2), T0)

    looked_up = watched.db.calls.index(("event_by_id", (org, "e1")))
    assert ("lock_log", (org,)) in watched.db.calls[:looked_up]


async def test_two_writers_that_append_to_the_same_organizations_never_lock_each_other_out(
    backend, store, org
):
    """Two processes that append to two organizations in opposite order, again and again, both end, and leave no hole."""
    other, second = backend.open(), await add_organization(store, "org_b")

    async def write(one: Store, name: str, organizations: list[OrganizationNo]) -> None:
        for turn in range(20):
            await asyncio.gather(
                *[append_to(one.log, no, [event(f"{name}-{turn}")], T0) for no in organizations]
            )

    await asyncio.gather(write(store, "a", [org, second]), write(other, "b", [second, org]))

    for no in (org, second):
        assert list(await stored(store, no)) == list(range(1, 41))


async def test_administration_runs_in_the_control_lane(backend, store, org):
    """What is neither append nor settlement runs one at a time, on all nodes: destinations, keys, leases, retention."""
    watched = backend.open(Watched)
    destination = await add_destination(watched, org)
    await serve(watched)
    await watched.directory.redrive(destination, None)
    await watched.directory.add_replay(destination, ReplayId("rpl_1"), 1, 1, T0)
    await watched.retention.advance(ALICE, T0, 0)
    await watched.retention.step(T0)
    await watched.ledger.retire(ALICE)

    assert set(watched.db.lanes) == {Lane.CONTROL}


async def test_leases_are_judged_by_the_store_s_clock(store, org):
    """A worker says how long its lease is, not until when: its own clock plays no part."""
    await add_destination(store, org)
    lease = await serve(store, now=T0)
    store.clock.at = T0 + LEASE_US - 1
    last_moment = await settle(store, settlement(lease, org), now=store.clock.at)
    renewed = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += LEASE_US - 1
    prolonged = await settle(store, settlement(lease, org), now=store.clock.at)
    store.clock.at += 1
    await store.ledger.enlist(BOB, LEASE_US)
    over = await settle(store, settlement(lease, org), now=store.clock.at)

    assert (last_moment, renewed, prolonged, over) == (True, True, True, False)


async def test_a_read_sees_one_moment(backend, store, org):
    """What is committed between two statements of a unit that reads is in neither of them; the next unit sees it."""
    other = backend.open()

    def name(unit):
        return raw(unit).row("SELECT name FROM organizations WHERE org_id = ?", ("org_a",))

    def rename(unit):
        return raw(unit).run("UPDATE organizations SET name = name || '!' WHERE org_id = 'org_a'")

    def look(unit):
        before = name(unit)
        assert other.db.write_now(rename) == 1
        return before, name(unit)

    before, after = store.db.read_now(look)
    at_once = store.db.peek(look)

    assert before == after
    assert at_once is None or at_once[0] == at_once[1]
    assert store.db.read_now(name) != before
