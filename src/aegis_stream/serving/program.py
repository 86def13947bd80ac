"""What `aegis worker` and `aegis sealer` share: they work on the stores beside the API, and import nothing of it."""

import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import make_log
from aegis_stream.wiring.stores import Stores, open_stores

from .process import stop_on_end_of_input, stop_on_signals

Work = Callable[[Settings, Stores, Log, asyncio.Event], Awaitable[None]]
"""What a program does until its event is set."""


def run_program(settings: Settings, work: Work, *, supervised: bool) -> None:
    """Open the stores, work until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone, and close them."""
    telemetry = make_log(settings.telemetry)
    stores = open_stores(settings, telemetry, answers=False)

    async def until_stopped() -> None:
        stop = stop_on_signals()
        if supervised:
            stop_on_end_of_input(stop)
        await work(settings, stores, telemetry, stop)

    try:
        uvloop.run(until_stopped())
    finally:
        stores.close()
