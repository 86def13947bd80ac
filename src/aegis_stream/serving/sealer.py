"""`aegis sealer`: seals logs, under `aegis serve` or beside it; imports nothing of the API."""

import asyncio
import os

from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import Stores

from .process import freeze, raise_rlimits
from .program import run_program

NICENESS = 10
"""How much the sealer gives way to ingest and delivery: it catches up when they rest."""


def run_sealer(settings: Settings, *, supervised: bool) -> None:
    """Run one sealer until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    raise_rlimits()
    os.nice(NICENESS)
    run_program(settings, _work, supervised=supervised)


async def _work(settings: Settings, stores: Stores, telemetry: Log, stop: asyncio.Event) -> None:
    sealer = make_sealer(settings, stores, telemetry)
    sealer.ready = freeze
    await sealer.run(stop)
