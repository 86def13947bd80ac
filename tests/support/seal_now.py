"""Seals logs of the application that tests run, as the sealer does."""

from dataclasses import replace

from aegis_stream.control.sealing import seal
from aegis_stream.store.tree import seal_states
from aegis_stream.wiring.sealer import make_sealer
from support.api import FakeLog, Tenant, World


async def seal_now(world: World, tenant: Tenant) -> None:
    """Seal what the log has."""
    made = make_sealer(world.service.control.settings, world.stores, FakeLog())  # type: ignore[arg-type] # a fake
    states = await world.stores.db.read(lambda unit: seal_states(unit, tenant.no - 1, 1))
    await seal(replace(made.deps, clock=world.clock), states[0])
