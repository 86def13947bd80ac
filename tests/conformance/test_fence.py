"""A worker that lost its lease settles nothing."""

from aegis_stream.domain.delivery import (
    AttemptRun,
    DeadRow,
    Lease,
    RetryRow,
    Settled,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import OrganizationNo, WorkerId
from support.clock import T0
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    Store,
    add_destination,
    append_to,
    events,
    serve,
    settle,
    settlement,
)


async def fenced(store: Store, org: OrganizationNo, lease: Lease, worker: WorkerId, now: int) -> None:
    """Assert that a settlement which finds everything there is to find stores nothing at all."""
    destination = await store.directory.destination(lease.destination_no)
    before = await store.directory.progress(destination), store.count("attempts")
    late = settlement(
        lease,
        org,
        3,
        health=Health(9, 9.0),
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
        retries=[RetryRow(3, 1, T0, DOWN)],
        dead=[DeadRow(2, 3, T0, DOWN)],
        delivered=2,
        failed_attempts=1,
    )

    assert not await settle(store, late, worker, now)
    assert (await store.directory.progress(destination), store.count("attempts")) == before
    assert (store.count("retries"), store.count("dead_letters")) == (0, 0)


async def test_an_old_epoch_settles_nothing(store, org):
    """A worker that got its destination back in the meantime cannot settle what it did under the lease before."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    old = await serve(store)
    await store.ledger.release(ALICE, [old])
    [again], _ = await store.ledger.claim(ALICE)

    await fenced(store, org, old, ALICE, T0 + 1)

    assert again.lease.epoch == old.epoch + 1
    assert await settle(store, settlement(again.lease, org, 3))


async def test_an_expired_worker_settles_until_another_one_comes(store, org):
    """Once a lease is over what was found out is still stored, unless another worker has come since: then nothing passes."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 4), T0)
    lease = await serve(store)

    late = await settle(store, settlement(lease, org, 1, delivered=1), now=T0 + 9 * LEASE_US)
    await store.ledger.enlist(BOB, LEASE_US)

    assert late
    await fenced(store, org, lease, ALICE, T0 + 9 * LEASE_US)


async def test_another_worker_settles_nothing(store, org):
    """A lease is its owner's: another living worker cannot settle under it."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    await store.ledger.enlist(BOB, LEASE_US)

    await fenced(store, org, lease, BOB, T0 + 1)


async def test_a_retired_worker_settles_nothing(store, org):
    """A worker that has retired can settle nothing any more."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    await store.ledger.retire(ALICE)

    await fenced(store, org, lease, ALICE, T0 + 1)


async def test_a_lost_lease_leaves_the_others_settled(store, org):
    """Settlements stand for themselves: the one that is fenced off is named, the rest is stored."""
    await add_destination(store, org, 1)
    await add_destination(store, org, 2)
    await append_to(store.log, org, events(1, 3), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, two), _ = await store.ledger.claim(ALICE)
    stale = Lease(one.lease.destination_no, one.lease.epoch - 1)

    results = await store.ledger.settle(ALICE, [settlement(stale, org, 3), settlement(two.lease, org, 3)])
    (one, two), _ = await store.ledger.claim(ALICE)

    assert results == [None, Settled(0, 0)]
    assert (one.cursor, two.cursor) == (0, 3)


async def test_a_repeated_settlement_leaves_the_others_settled(store, org):
    """One that is stored already stores nothing more and tells its counts, and the rest of its group is stored."""
    for number in (1, 2, 3):
        await add_destination(store, org, number)
    await append_to(store.log, org, events(1, 3), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    first, repeated, last = [
        settlement(one.lease, org, 3, delivered=2, retries=[RetryRow(3, 1, T0, DOWN)]) for one in claimed
    ]
    await settle(store, repeated)

    results = await store.ledger.settle(ALICE, [first, repeated, last])

    after, _ = await store.ledger.claim(ALICE)
    assert results == [Settled(1, 0)] * 3
    assert [(one.cursor, one.retrying) for one in after] == [(3, 1)] * 3
    assert (await store.directory.totals())[1] == 6
