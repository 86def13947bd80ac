"""A further API process under `aegis serve --api-processes N`."""

import asyncio
import os
import socket
from dataclasses import dataclass

import uvloop

from aegis_stream.api.counts import IngestCounts, open_counts
from aegis_stream.errors import Misconfigured
from aegis_stream.settings import Settings
from aegis_stream.store.opening import open_notifier
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import SystemRandom, make_log
from aegis_stream.wiring.service import make_service
from aegis_stream.wiring.stores import Stores, open_stores

from .draining import follow_drain
from .http import make_listeners
from .membership import follow_others
from .process import freeze, raise_rlimits, stop_on_end_of_input, stop_on_signals


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an API process is given by the one that supervises it.

    Args:
        listener_fd: its listener, which outlives it with the supervisor: no connection that waits there is lost.
        counts_fd: shared memory with the counts of all of them.
        slot: this one's place in it, from 1.
        needs_worker: the service is not ready while no delivery worker runs.
    """

    listener_fd: int
    counts_fd: int
    slot: int
    needs_worker: bool


def run_api(settings: Settings, inherited: Inherited) -> None:
    """Answer beside the supervisor until SIGTERM or SIGINT, or until the supervisor is gone.

    Raises: Misconfigured when what should be inherited is not there.
    """
    raise_rlimits(settings.api.connections_max)
    telemetry = make_log(settings.telemetry)
    try:
        listener = socket.socket(fileno=inherited.listener_fd)
    except OSError as error:
        raise Misconfigured(
            f"descriptor {inherited.listener_fd} is no listener: `aegis serve --api-processes` starts this command"
        ) from error
    counts = open_counts(inherited.counts_fd, inherited.slot)
    stores = open_stores(settings, telemetry)
    try:
        uvloop.run(_answer(settings, stores, telemetry, listener, counts, inherited))
    finally:
        stores.close()


async def _answer(
    settings: Settings,
    stores: Stores,
    telemetry: Log,
    listener: socket.socket,
    counts: IngestCounts,
    inherited: Inherited,
) -> None:
    at_once = asyncio.Event()
    stop = stop_on_signals(at_once)
    stop_on_end_of_input(at_once, stop)
    notifier = open_notifier(stores.location, SystemRandom())
    # The supervisor alone serves metrics where they have a port of their own, and sums up for all.
    service = make_service(settings, stores, telemetry, notifier, counts, needs_worker=inherited.needs_worker)
    listeners = make_listeners(service)
    access = service.control.access
    beside = [
        asyncio.ensure_future(follow_others(counts, access)),
        asyncio.ensure_future(access.uses.keep(stores.db, access.clock)),
    ]
    await listeners.public.start(listener)
    freeze()
    telemetry.info("api.started", number=inherited.slot, pid=os.getpid())
    preparing = asyncio.ensure_future(listeners.routes.prepare())
    await stop.wait()
    await follow_drain(counts.standing, settings.api.drain_seconds, at_once)
    preparing.cancel()
    await listeners.public.stop()
    for task in beside:
        task.cancel()
    await access.uses.finish(stores.db, access.clock)
    notifier.close()
    telemetry.info("api.stopped", number=inherited.slot, pid=os.getpid())
