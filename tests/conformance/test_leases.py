"""Who serves a destination, and for how long."""

import pytest

from aegis_stream.domain.delivery import (
    Lease,
    RetryRow,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros, ReplayId, WorkerId
from aegis_stream.store.leases import LEASE_MAX_US, living_workers
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.records import key_of
from support.clock import T0
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    SECOND,
    add_destination,
    add_organization,
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


async def two_served(store, org) -> tuple[Lease, Lease]:
    """Let a worker serve two destinations; return its leases."""
    for number in (1, 2):
        await add_destination(store, org, number)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, two), _ = await store.ledger.claim(ALICE)
    return one.lease, two.lease


async def test_a_worker_that_ends_leaves_the_others(store, org):
    """Only the worker that ends is removed; the others keep their destinations."""
    await two_served(store, org)
    await store.ledger.enlist(BOB, LEASE_US)

    await store.ledger.retire(BOB)
    served, _ = await store.ledger.claim(ALICE)

    assert await store.ledger.workers() == [ALICE]
    assert len(served) == 2


async def test_a_worker_that_was_removed_claims_nothing_beside_another(store, org):
    """That some worker is registered does not let another one claim."""
    await add_destination(store, org)
    await store.ledger.enlist(BOB, LEASE_US)

    assert await store.ledger.claim(ALICE) == ([], 0)


async def test_one_destination_is_handed_back(store, org):
    """A release frees the destination it names, and no other that the worker serves under the same epoch."""
    one, two = await two_served(store, org)
    await store.ledger.enlist(BOB, LEASE_US)

    await store.ledger.release(ALICE, [two])
    [taken], _ = await store.ledger.claim(BOB)
    [kept], _ = await store.ledger.claim(ALICE)

    assert taken.lease.destination_no == two.destination_no
    assert kept.lease == one


async def test_nobody_hands_back_what_another_serves(store, org):
    """A release by a worker that does not hold the lease changes nothing, although it names the right epoch."""
    one, two = await two_served(store, org)
    await store.ledger.enlist(BOB, LEASE_US)

    await store.ledger.release(BOB, [one, two])

    assert await store.ledger.claim(BOB) == ([], 0)


async def test_a_claim_tells_which_destinations_have_a_replay_under_way(store, org):
    """It names the destination whose replay is not finished: not another one of the organization, nor one of another."""
    other = await add_organization(store, "org_b")
    destinations = [
        await add_destination(store, organization, number) for organization, number in ((org, 1), (org, 2), (other, 1))
    ]  # fmt: skip
    for organization in (org, other):
        await append_to(store.log, organization, events(1, 5), T0)
    await store.directory.add_replay(destinations[0], ReplayId("rpl_open"), 1, 5, T0)
    await store.directory.add_replay(destinations[1], ReplayId("rpl_over"), 1, 5, T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    over = next(one for one in claimed if one.lease.destination_no == key_of(destinations[1]).destination_no)
    assert await settle(store, settlement(over.lease, org, 0, replays=[(ReplayId("rpl_over"), 5)]))

    claimed, _ = await store.ledger.claim(ALICE)

    replaying = {one.lease.destination_no for one in claimed if one.replaying}
    assert replaying == {key_of(destinations[0]).destination_no}


async def test_workers_that_have_renewed_in_time_are_counted(store, org):
    """A worker counts until its time is over, and not if it is from before the machine's last start."""
    await store.ledger.enlist(ALICE, LEASE_US)
    counts = []
    for at in (T0, T0 + LEASE_US - 1, T0 + LEASE_US, T0 - LEASE_MAX_US):
        store.clock.at = at
        counts.append(await store.db.read(living_workers))

    assert counts == [1, 1, 0, 0]


async def test_a_worker_that_leaves_serves_what_it_keeps(store, org):
    """What it hands back is claimed by the others; what it keeps is its until it retires."""
    one, two = await two_served(store, org)
    await store.ledger.enlist(BOB, LEASE_US)
    before = await store.ledger.crew()

    await store.ledger.leave(ALICE, [one])
    [taken], _ = await store.ledger.claim(BOB)
    kept = await settle(store, settlement(two, org))
    leaving = await store.ledger.crew()
    await store.ledger.retire(ALICE)
    after, _ = await store.ledger.claim(BOB)

    assert (before, leaving) == ([(ALICE, False), (BOB, False)], [(ALICE, True), (BOB, False)])
    assert taken.lease == Lease(one.destination_no, one.epoch + 1)
    assert kept
    assert len(after) == 2


async def test_whoever_stays_takes_all_that_one_who_leaves_hands_back(store, org):
    """A worker that is still there but about to leave has no share, so the others take more than theirs was."""
    leases = await two_served(store, org)
    await store.ledger.enlist(BOB, LEASE_US)

    await store.ledger.leave(ALICE, leases)
    taken, surplus = await store.ledger.claim(BOB)

    assert [one.lease.destination_no for one in taken] == [one.destination_no for one in leases]
    assert surplus == 0


# ── after an outage ──

CAROL = WorkerId("wrk_carol")


async def three_workers(store) -> StoredLedger:
    """Let three workers serve six destinations; return a ledger whose workers leave each other a lease to return."""
    ledger = StoredLedger(store.db, LEASE_US)
    for worker in (ALICE, BOB, CAROL):
        await ledger.enlist(worker, LEASE_US)
        await ledger.claim(worker)
    return ledger


@pytest.mark.parametrize("outage_us", [LEASE_US, 10 * LEASE_US])
async def test_after_an_outage_the_first_to_return_removes_nobody(store, org, outage_us):
    """When the time of all workers is over, if only just, none of them loses its leases to the one that renews first."""
    ledger = await three_workers(store)
    store.clock.at += outage_us

    for worker in (BOB, ALICE, CAROL):
        assert await ledger.renew(worker, LEASE_US)
        await ledger.claim(worker)
    store.clock.at += LEASE_US // 3

    assert [await ledger.renew(worker, LEASE_US) for worker in (ALICE, BOB, CAROL)] == [True] * 3


async def test_who_does_not_return_after_an_outage_is_removed_a_lease_later(store, org):
    """The grace ends: what a lost worker served is claimed by one that has renewed for a lease."""
    await add_destination(store, org)
    ledger = await three_workers(store)
    store.clock.at += 10 * LEASE_US
    counts = []
    for _ in range(5):
        await ledger.renew(BOB, LEASE_US)
        await ledger.renew(CAROL, LEASE_US)
        claimed = [await ledger.claim(worker) for worker in (BOB, CAROL)]
        counts.append(sum(len(positions) for positions, _ in claimed))
        store.clock.at += LEASE_US // 3

    assert counts == [0, 0, 0, 1, 1]
    assert await ledger.workers() == [BOB, CAROL]


async def test_a_worker_that_starts_after_an_outage_removes_nobody_at_once(store, org):
    """A new worker that finds the time of all others over leaves them a lease to return."""
    ledger = StoredLedger(store.db, LEASE_US)
    await add_destination(store, org)
    await serve(store)
    store.clock.at += 10 * LEASE_US

    await ledger.enlist(BOB, LEASE_US)
    at_once, _ = await ledger.claim(BOB)
    assert await ledger.renew(ALICE, LEASE_US), "it has returned"
    store.clock.at += LEASE_US - 1
    await ledger.renew(BOB, LEASE_US)
    store.clock.at += 1
    late, _ = await ledger.claim(BOB)

    assert at_once == []
    assert len(late) == 1, "it was silent again"


async def test_a_worker_that_starts_beside_a_living_one_removes_the_dead(store, org):
    """Where somebody has renewed in time there was no outage: what is over is over."""
    ledger = await three_workers(store)
    store.clock.at += LEASE_US - 1
    await ledger.renew(BOB, LEASE_US)
    store.clock.at += 1

    await ledger.enlist(WorkerId("wrk_dave"), LEASE_US)

    assert await ledger.workers() == [BOB, "wrk_dave"]


async def test_a_worker_whose_own_time_is_over_judges_nobody(store, org):
    """Between its return and its renewal a worker removes no other one."""
    ledger = await three_workers(store)
    store.clock.at += 10 * LEASE_US

    await ledger.claim(ALICE)

    assert await ledger.workers() == [ALICE, BOB, CAROL]
