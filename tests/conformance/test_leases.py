"""Who serves a destination, and for how long."""

import pytest

from aegis_stream.domain.delivery import (
    Lease,
    RetryRow,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from support.clock import T0
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    SECOND,
    add_destination,
    append_to,
    events,
    serve,
    settle,
    settlement,
)


async def test_a_new_destination_begins_after_the_head(store, org):
    """A destination gets what is recorded after it was made."""
    await append_to(store.log, org, events(1, 5), T0)

    destination = await add_destination(store, org)
    progress = await store.directory.progress(destination)

    assert (progress.start_sequence, progress.cursor, progress.head) == (5, 5, 5)


async def test_destinations_are_shared_fairly(store, org):
    """Each worker holds no more than its share once the others have come, and nobody is served twice or not at all."""
    for number in range(10):
        await add_destination(store, org, number)
    await store.ledger.enlist(ALICE, LEASE_US)
    alone, surplus_alone = await store.ledger.claim(ALICE)
    await store.ledger.enlist(BOB, LEASE_US)

    bob_early, _ = await store.ledger.claim(BOB)
    alice, surplus = await store.ledger.claim(ALICE)
    await store.ledger.release(ALICE, [one.lease for one in alice[:surplus]])
    bob, _ = await store.ledger.claim(BOB)
    alice, surplus_after = await store.ledger.claim(ALICE)

    assert (len(alone), surplus_alone) == (10, 0)
    assert (bob_early, surplus) == ([], 5)
    assert (len(alice), len(bob), surplus_after) == (5, 5, 0)
    assert len({one.lease.destination_no for one in [*alice, *bob]}) == 10


async def test_a_retired_workers_destinations_are_free_at_once(store, org):
    """Who ends in good order leaves its destinations to the next, under a new epoch, with all that is known of them."""
    await append_to(store.log, org, events(1, 3), T0)
    await add_destination(store, org)
    await append_to(store.log, org, events(4, 3), T0)
    lease = await serve(store)
    health = Health(2, 7.5, 1.5, 9.5, T0, T0, 500, "answered 500", 5)
    retry = RetryRow(5, 1, Micros(T0 + SECOND), DOWN)
    assert await settle(store, settlement(lease, org, 5, health=health, retries=[retry]))

    await store.ledger.retire(ALICE)
    await store.ledger.enlist(BOB, LEASE_US)
    [taken], _ = await store.ledger.claim(BOB)

    assert taken.lease == Lease(lease.destination_no, lease.epoch + 1)
    assert (taken.organization_no, taken.cursor, taken.head, taken.retrying, taken.dead_letters, taken.replaying) == (
        org, 5, 6, 1, 0, False,
    )  # fmt: skip
    assert taken.health == health


async def test_a_lease_can_be_renewed_until_another_worker_comes(store, org):
    """Who is late keeps its leases when nobody else came meanwhile, and has lost them for good when somebody did."""
    await add_destination(store, org)
    lease = await serve(store)

    store.clock.at = T0 + LEASE_US - 1
    in_time = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += 5 * LEASE_US
    kept, _ = await store.ledger.claim(ALICE)
    late = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += LEASE_US
    [taken], _ = await enlist_and_claim(store, BOB)
    too_late = await store.ledger.renew(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)

    assert (in_time, late, too_late) == (True, True, False)
    assert [one.lease for one in kept] == [lease]
    assert taken.lease == Lease(lease.destination_no, lease.epoch + 1)
    assert claimed == []


@pytest.mark.parametrize("days", [-365, -1, 1, 365])
async def test_setting_the_wall_clock_changes_no_lease(store, org, days):
    """However the wall clock is set, a living worker keeps its destinations, and a silent one loses them in time."""
    await add_destination(store, org)
    await serve(store)

    store.clock.ahead_us = days * 86_400 * SECOND
    early, _ = await enlist_and_claim(store, BOB)
    renewed = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += LEASE_US
    await store.ledger.renew(BOB, LEASE_US)
    late, _ = await store.ledger.claim(BOB)

    assert (early, renewed) == ([], True)
    assert len(late) == 1


async def test_a_lease_from_before_the_machine_s_start_is_over(store, org):
    """A worker whose lease would last longer than any can has been silent since the machine was started again."""
    await add_destination(store, org)
    await serve(store)

    store.clock.at = 60 * SECOND
    [taken], _ = await enlist_and_claim(store, BOB)

    assert not await store.ledger.renew(ALICE, LEASE_US)
    assert taken.lease.epoch == 2


async def enlist_and_claim(store, worker):
    """Let a worker come and take what it gets."""
    await store.ledger.enlist(worker, LEASE_US)
    return await store.ledger.claim(worker)


async def test_a_worker_that_nobody_enlisted_gets_nothing(store, org):
    """Only a worker with a lease of its own can claim, and there is none that is not enlisted."""
    await add_destination(store, org)

    assert await store.ledger.claim(ALICE) == ([], 0)
    assert not await store.ledger.renew(ALICE, LEASE_US)
    assert await store.ledger.workers() == []


async def test_releasing_under_an_old_epoch_takes_nothing_from_the_new_owner(store, org):
    """A late release concerns the lease it names and no newer one."""
    await add_destination(store, org)
    old = await serve(store)
    await store.ledger.retire(ALICE)
    new = await serve(store, BOB)

    await store.ledger.release(ALICE, [old])
    await store.ledger.release(BOB, [old])

    assert await settle(store, settlement(new, org), BOB)
