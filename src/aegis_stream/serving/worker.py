"""`aegis worker`: delivers, without the API; imports nothing of it."""

import uvloop

from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import make_log
from aegis_stream.wiring.stores import Stores, open_stores, remove_dead_workers
from aegis_stream.wiring.worker import make_worker

from .process import check_ca_bundle, freeze, raise_rlimits, stop_on_end_of_input, stop_on_signals


def run_worker(settings: Settings, *, supervised: bool) -> None:
    """Run one worker until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    raise_rlimits(settings.egress.destination_connections_max)
    check_ca_bundle(settings)
    telemetry = make_log(settings.telemetry)
    stores = open_stores(settings, telemetry, answers=False)
    try:
        uvloop.run(_work(settings, stores, telemetry, supervised=supervised))
    finally:
        stores.close()


async def _work(settings: Settings, stores: Stores, telemetry: Log, *, supervised: bool) -> None:
    stop = stop_on_signals()
    if supervised:
        stop_on_end_of_input(stop)
    await remove_dead_workers(stores, telemetry)
    worker = make_worker(settings, stores, telemetry)
    await worker.run(stop, ready=freeze)
