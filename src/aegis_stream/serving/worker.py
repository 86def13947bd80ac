"""`aegis worker`: delivers, without the API; imports nothing of it."""

import asyncio

from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log
from aegis_stream.wiring.stores import Stores, remove_dead_workers
from aegis_stream.wiring.worker import make_worker

from .process import check_ca_bundle, freeze, raise_rlimits
from .program import run_program


def run_worker(settings: Settings, *, supervised: bool) -> None:
    """Run one worker until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    raise_rlimits(settings.egress.destination_connections_max)
    check_ca_bundle(settings)
    run_program(settings, _work, supervised=supervised)


async def _work(settings: Settings, stores: Stores, telemetry: Log, stop: asyncio.Event) -> None:
    await remove_dead_workers(stores, telemetry)
    worker = make_worker(settings, stores, telemetry)
    await worker.run(stop, ready=freeze)
