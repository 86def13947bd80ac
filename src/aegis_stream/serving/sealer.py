"""`aegis sealer`: seals logs, under `aegis serve` or beside it; imports nothing of the API."""

import os

import uvloop

from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import make_log
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import Stores, open_stores

from .process import freeze, raise_rlimits, stop_on_end_of_input, stop_on_signals

NICENESS = 10
"""How much the sealer gives way to ingest and delivery: it catches up when they rest."""


def run_sealer(settings: Settings, *, supervised: bool) -> None:
    """Run one sealer until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    raise_rlimits()
    os.nice(NICENESS)
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
    sealer = make_sealer(settings, stores, telemetry)
    sealer.ready = freeze
    await sealer.run(stop)
