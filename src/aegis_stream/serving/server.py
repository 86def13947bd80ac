"""`aegis serve`: the API, with workers and further API processes under it."""

import asyncio
import contextlib
import errno
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from aegis_stream import __version__
from aegis_stream.api.counts import IngestCounts, open_counts, share_counts
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.settings import Settings
from aegis_stream.store import sealing_state
from aegis_stream.store.opening import open_notifier, refuse_unsuitable
from aegis_stream.store.processes import new_process_id
from aegis_stream.store.recorded_head import PAUSE_S, RecordedHead, total
from aegis_stream.store.tree import seal_states
from aegis_stream.supervisor import Child, supervise
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import SystemClock, SystemRandom, make_log
from aegis_stream.wiring.service import make_service
from aegis_stream.wiring.stores import Stores, demands_of, open_stores, remove_dead_workers

from .draining import drain
from .http import make_listeners
from .link import print_link, wants_link
from .membership import Membership, follow_others
from .process import check_ca_bundle, freeze, raise_rlimits, stop_on_signals
from .server_watch import ServerWatch

PORT_WAIT_S = 5.0
"""How long a start waits for its port, seconds: after a crash, processes of the last service may take a moment to end."""
PORT_LOOK_S = 0.05
JOIN_S = 2.0
"""How long the registration may hold up the start, seconds; it is tried again while the process answers."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How `aegis serve` was called.

    Args:
        print_link: whether to print a link to the console; None for on a terminal alone.
    """

    host: str
    port: int
    workers: int
    config: Path | None
    api_processes: int = 1
    print_link: bool | None = None


def run_server(settings: Settings, serving: Serving) -> None:
    """Run the API, and the workers under it, until SIGTERM or SIGINT.

    Raises: Misconfigured when it cannot start.
    """
    raise_rlimits(settings.api.connections_max)
    check_ca_bundle(settings)
    telemetry = make_log(settings.telemetry)
    sockets = _listen_all(serving.host, serving.port, serving.api_processes)
    stores = open_stores(settings, telemetry)
    try:
        _greet(stores, settings, serving, sockets[0].getsockname()[1])
        uvloop.run(_serve(settings, serving, stores, telemetry, sockets))
    finally:
        stores.close()


def _listen_all(host: str, port: int, processes: int) -> list[socket.socket]:
    """Return a listener on the same port for each API process: the kernel spreads new connections over them.

    On one listener for all, whoever wakes first takes all that wait: of 16 connections often every one.
    """
    if processes == 1:
        return [_listen(host, port)]
    # Fails where somebody listens: sharing alone would let two services run on one port unseen.
    with _listen(host, port) as alone:
        port = alone.getsockname()[1]
    return [_listen(host, port, shared=True) for _ in range(processes)]


def _listen(host: str, port: int, *, shared: bool = False, wait_s: float = PORT_WAIT_S) -> socket.socket:
    """Listen on a port; wait for one that is taken, since what held it may just be ending. Raises: Misconfigured."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _bind(host, port, shared=shared)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(PORT_LOOK_S)
                continue
            option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
            raise Misconfigured(
                f"cannot listen on {host} port {port}: {error.strerror}; choose another {option}"
            ) from error


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _greet(stores: Stores, settings: Settings, serving: Serving, port: int) -> None:
    url = f"http://{serving.host}:{port}"
    location = stores.location
    place = location.url.safe() if location.shared else settings.store.data_dir
    lines = [f"Aegis Audit Stream {__version__} on {url} (API documentation: {url}/docs), data in {place}"]
    lines += [f"  first start: {note}" for note in stores.notes]
    if stores.notes:
        lines += [
            "  next, in another terminal: create an organization and its key, then a destination:",
            "    aegis org create 'My organization' --id org_my",
            "    export AEGIS_ORG=org_my AEGIS_API_KEY=aegis_sk_…",
            "    aegis destination add https://… --header 'Authorization: Bearer …'",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


async def _serve(
    settings: Settings, serving: Serving, stores: Stores, telemetry: Log, sockets: list[socket.socket]
) -> None:
    at_once, answered = asyncio.Event(), asyncio.Event()
    stop = stop_on_signals(at_once)
    notifier = open_notifier(stores.location, SystemRandom())
    counts_fd = share_counts(serving.api_processes)
    counts = open_counts(counts_fd, 0)
    await remove_dead_workers(stores, telemetry)
    membership = await _join(stores, counts, telemetry)
    beside = [
        asyncio.create_task(membership.keep()),
        asyncio.create_task(_look_after(settings, stores, telemetry)),
    ]
    async with asyncio.TaskGroup() as tasks:
        for child in _children(serving, stores, telemetry, sockets, counts_fd, seals=settings.proof.enabled):
            tasks.create_task(supervise(child, telemetry, answered if child.kind == "api" else stop))
        await asyncio.sleep(0)  # the children start while this process gets ready
        service = make_service(
            settings,
            stores,
            telemetry,
            notifier,
            counts,
            needs_worker=serving.workers > 0,
        )
        access = service.control.access
        beside.append(asyncio.create_task(follow_others(counts, access)))
        beside.append(asyncio.create_task(access.uses.keep(stores.db, access.clock)))
        listeners = make_listeners(service)
        if listeners.metrics is not None:
            await listeners.metrics.start(_listen(serving.host, settings.telemetry.metrics_port))
        await listeners.public.start(sockets[0])
        freeze()
        telemetry.info(
            "service.started", host=serving.host, port=sockets[0].getsockname()[1], workers=serving.workers
        )
        log_format = settings.telemetry.log_format
        if wants_link(asked=serving.print_link, log_format=log_format, output=sys.stderr):
            await print_link(service.control, serving.host, sockets[0].getsockname()[1])
        preparing = tasks.create_task(listeners.routes.prepare())
        await stop.wait()
        await drain(counts.standing, settings.api.drain_seconds, at_once)
        answered.set()
        preparing.cancel()
        for one in sockets[1:]:
            one.close()  # kept for children that are started again; now clients must not wait in their queues
        await listeners.stop()
    for task in beside:
        task.cancel()
    await access.uses.finish(stores.db, access.clock)
    await membership.leave()
    notifier.close()
    telemetry.info("service.stopped")


async def _look_after(settings: Settings, stores: Stores, telemetry: Log) -> None:
    """Note the head of a database that is a file; watch the server of one that has a server; until cancelled."""
    if stores.location.shared:
        ask = partial(refuse_unsuitable, stores.location, demands_of(settings))
        await ServerWatch(ask, telemetry).keep()
    else:
        await note_head(stores, RecordedHead(settings.store.data_dir))


async def _join(stores: Stores, counts: IngestCounts, telemetry: Log) -> Membership:
    """Register this process, so that its share is right before it answers; a store that is slow does not hold up the start."""
    clock = SystemClock()
    membership = Membership(
        stores.db,
        stores.location,
        stores.node,
        new_process_id(stores.node, clock.now(), SystemRandom()),
        counts.processes,
        counts.standing,
        clock,
        telemetry,
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(membership.renew(), JOIN_S)
    return membership


async def note_head(stores: Stores, recorded: RecordedHead) -> None:
    """Note outside the database how many events it has, once a second at most and only when that has changed, until cancelled."""
    seen, noted = -1, 0
    while True:
        # RuntimeError: the machine has no thread to give. The next turn tries again.
        with contextlib.suppress(Unavailable, OSError, RuntimeError):
            changed = stores.db.changed()
            if changed != seen:
                events = await stores.db.read(total)
                if events != noted:
                    await asyncio.to_thread(recorded.write, events)
                seen, noted = changed, events
        await asyncio.sleep(PAUSE_S)


def _children(
    serving: Serving,
    stores: Stores,
    telemetry: Log,
    sockets: list[socket.socket],
    counts_fd: int,
    *,
    seals: bool,
) -> Iterator[Child]:
    """Yield what runs under `aegis serve`; the process itself is API process 0."""
    config = ("--config", str(serving.config)) if serving.config else ()
    needs = ("--needs-worker",) if serving.workers else ()

    async def clear() -> None:
        await remove_dead_workers(stores, telemetry)

    for number in range(serving.workers):
        yield Child("worker", number, ("--supervised", *config), clear=clear)
    if serving.workers and seals:
        yield Child("sealer", 0, ("--supervised", *config), needed=partial(_has_something_to_seal, stores))
    for slot in range(1, serving.api_processes):
        fds = (sockets[slot].fileno(), counts_fd)
        given = ("--listener-fd", str(fds[0]), "--counts-fd", str(fds[1]), "--slot", str(slot))
        yield Child("api", slot, (*given, *needs, *config), fds)


async def _has_something_to_seal(stores: Stores) -> bool:
    """Tell whether the log of any organization is to be sealed; not while the store does not say.

    It notes that a sealer is to run from then on, so that one that never looks is missed.
    """
    # RuntimeError: the machine has no thread to give.
    with contextlib.suppress(Unavailable, OSError, RuntimeError):
        if await stores.db.read(lambda unit: seal_states(unit, 0, 1)):
            await stores.db.write(lambda unit: sealing_state.begin(unit, SystemClock().now()))
            return True
    return False
