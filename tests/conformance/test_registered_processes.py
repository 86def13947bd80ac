"""Which `aegis serve` processes are registered, in which order, and for how long."""

import asyncio

from aegis_stream.store import processes
from support.clock import T0
from support.stores import LEASE_US


async def register(store, name, *, api_processes=1, judges=True):
    """Register a process; return the ids of all."""
    return [
        one.process_id
        for one in await store.db.write(
            lambda unit: processes.register(unit, name, api_processes, LEASE_US, judges=judges)
        )
    ]


async def test_processes_are_listed_in_the_order_of_their_registration(store):
    """A renewal keeps the place of a process, and one that was removed comes back at the end."""
    for name in ("prc_c", "prc_a", "prc_b"):
        await register(store, name)

    renewed = await register(store, "prc_c")
    await store.db.write(lambda unit: processes.remove(unit, ["prc_c", "prc_unknown"]))
    back = await register(store, "prc_c")

    assert (renewed, back) == (["prc_c", "prc_a", "prc_b"], ["prc_a", "prc_b", "prc_c"])


async def test_setting_the_wall_clock_back_changes_no_place(store):
    """The order is that of registration, whatever the clock says."""
    await register(store, "prc_a")
    store.clock.ahead_us = -3600 * 1_000_000

    assert await register(store, "prc_b") == ["prc_a", "prc_b"]


async def test_each_says_how_many_api_processes_it_has(store):
    """The number that divides the limits is the sum over the processes."""
    await register(store, "prc_a", api_processes=4)
    await register(store, "prc_b", api_processes=2)

    known = await store.db.read(processes.registered)

    assert [one.api_processes for one in known] == [4, 2]
    assert {one.expires_at for one in known} == {T0 + LEASE_US}


async def test_a_process_that_is_silent_is_removed_by_one_that_judges(store):
    """Its time is over after a lease; one that does not judge, after an outage, leaves it there."""
    await register(store, "prc_a")
    await register(store, "prc_b")
    store.clock.at = T0 + LEASE_US - 1
    in_time = await register(store, "prc_b")
    store.clock.at += 1

    left = await register(store, "prc_b", judges=False)
    removed = await register(store, "prc_b")

    assert (in_time, left, removed) == (["prc_a", "prc_b"], ["prc_a", "prc_b"], ["prc_b"])


async def test_processes_that_register_at_the_same_time_get_different_places(backend):
    """Two stores that register at once both see both, and agree on who was first."""
    stores = [backend.open() for _ in range(2)]
    for number in range(5):
        await asyncio.gather(
            *(register(store, f"prc_{number}_{at}", judges=False) for at, store in enumerate(stores))
        )

    first, second = [
        [one.process_id for one in await store.db.read(processes.registered)] for store in stores
    ]

    assert first == second
    assert len(first) == 10
