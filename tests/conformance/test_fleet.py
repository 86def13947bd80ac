"""How all organizations stand: sums over destinations, and the order in which they need somebody."""

from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from aegis_stream.store import fleet
from support.clock import T0
from support.stores import (
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

FAILING = Health(failures_in_row=2, last_error_at=Micros(T0), last_error_message="answered 500")


async def test_organizations_stand_as_their_destinations_do(store, org):
    """Waiting events, failing destinations and lag are those of an organization alone; the one with failures comes first."""
    calm = await add_organization(store, "org_0_calm")
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), Micros(T0 + SECOND))
    await append_to(store.log, calm, events(1, 5), Micros(T0 + 2 * SECOND))
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1, health=FAILING))
    now = Micros(T0 + 10 * SECOND)

    by_id = await store.db.read(lambda unit: fleet.organizations_after(unit, "", 10, now))
    worst = await store.db.read(lambda unit: fleet.organizations_worst_first(unit, 10, now))
    counts = await store.db.read(fleet.count_organizations)

    assert [one.org_id for one in by_id] == ["org_0_calm", "org_a"]
    assert [one.org_id for one in worst] == ["org_a", "org_0_calm"]
    failing, fine = worst
    assert (failing.destinations, failing.failing, failing.waiting) == (1, 1, 2)
    assert failing.waiting_since is not None
    assert (fine.destinations, fine.failing, fine.waiting, fine.waiting_since) == (0, 0, 0, None)
    assert (failing.head, fine.head) == (3, 5)
    assert counts == (2, 1)


async def test_workers_are_listed_with_what_they_serve(store, org):
    """A worker has its destinations, and a lease that lies ahead."""
    await add_destination(store, org)
    await serve(store)

    def work(unit):
        return fleet.workers(unit), fleet.unserved(unit), unit.steady()

    [worker], unserved, now = await store.db.read(work)

    assert (worker.worker_id, worker.destinations, unserved) == ("wrk_alice", 1, 0)
    assert 0 < worker.expires_at - now <= LEASE_US
