"""Seals logs of the application that tests run, as the sealer does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from aegis_stream.control.sealing import seal
from aegis_stream.store.tree import seal_states
from aegis_stream.wiring.sealer import make_sealer
from support.api import FakeLog, Tenant, World
from support.settings import make_settings


async def seal_now(world: World, tenant: Tenant) -> None:
    """Seal what the log has."""
    made = make_sealer(world.service.control.settings, world.stores, FakeLog())  # type: ignore[arg-type] # a fake
    states = await world.stores.db.read(lambda unit: seal_states(unit, tenant.no - 1, 1))
    await seal(replace(made.deps, clock=world.clock), states[0])


@contextlib.asynccontextmanager
async def sealer(world: World, log: FakeLog | None = None, **changes: Any) -> AsyncIterator[None]:
    """Run a sealer until the end of the block."""
    stop = asyncio.Event()
    made = make_sealer(make_settings(world.settings, **changes), world.stores, log or FakeLog())  # type: ignore[arg-type] # a fake
    task = asyncio.create_task(made.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
