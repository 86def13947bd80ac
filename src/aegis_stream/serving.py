"""The programs that run until they are told to stop: `aegis worker`, and `aegis serve` with what runs under it.

Under it are workers and, where one process is not enough for the API, further API processes on the same port.

Everything they are made of comes from wiring; here is how processes begin and end.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

from . import __version__
from .api.app import create_app
from .api.connection import bounded_http
from .api.counts import IngestCounts, open_counts, share_counts
from .errors import Misconfigured
from .settings import Settings
from .store.opening import open_notifier
from .supervisor import Child, supervise
from .telemetry import Log
from .wiring import Stores, make_log, make_service, make_worker, open_stores, remove_dead_workers

FILES_BESIDE = 4096
"""Files a process needs beside its clients' connections: databases, and a worker's connections to destinations."""


# ── aegis worker ──


def run_worker(settings: Settings, *, supervised: bool) -> None:
    """Run one worker until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    raise_rlimits()
    telemetry = make_log(settings)
    stores = open_stores(settings, telemetry, answers=False)
    try:
        uvloop.run(_work(settings, stores, telemetry, supervised=supervised))
    finally:
        stores.close()


async def _work(settings: Settings, stores: Stores, telemetry: Log, *, supervised: bool) -> None:
    stop = _stop_on_signals()
    if supervised:
        _stop_on_end_of_input(stop)
    await remove_dead_workers(stores, telemetry)
    worker = make_worker(settings, stores, telemetry)
    await worker.run(stop, ready=_freeze)


def raise_rlimits(files: int = 0) -> None:
    """Let this process have as many files open as it may need, and leave no image of its memory when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + FILES_BESIDE
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def _freeze() -> None:
    """Take what was made at the start out of the garbage collector's sight: it stays for good."""
    gc.collect()
    gc.freeze()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _stop_on_end_of_input(stop: asyncio.Event) -> None:
    """End with the supervisor: it holds the other end of our standard input, and the kernel closes that in any case."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, read)


# ── aegis serve ──


@dataclass(frozen=True, slots=True)
class Serving:
    """How `aegis serve` was called."""

    host: str
    port: int
    workers: int
    config: Path | None
    api_processes: int = 1


def run_server(settings: Settings, serving: Serving) -> None:
    """Run the API, and the workers under it, until SIGTERM or SIGINT.

    Raises: Misconfigured when it cannot start.
    """
    raise_rlimits(settings.api.connections_max)
    telemetry = make_log(settings)
    listeners = _listen_all(serving.host, serving.port, serving.api_processes)
    stores = open_stores(settings, telemetry)
    try:
        _greet(stores, settings, serving, listeners[0].getsockname()[1])
        uvloop.run(_serve(settings, serving, stores, telemetry, listeners))
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


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
        ) from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def _greet(stores: Stores, settings: Settings, serving: Serving, port: int) -> None:
    url = f"http://{serving.host}:{port}"
    lines = [
        f"Aegis Audit Stream {__version__} on {url} (API documentation: {url}/docs), data in {settings.store.data_dir}"
    ]
    lines += [f"  first start: {note}" for note in stores.notes]
    if stores.notes:
        lines += [
            "  next, in another terminal: make an organization and its key, then a destination:",
            "    aegis org create 'My organization' --id org_my",
            "    export AEGIS_ORG=org_my AEGIS_API_KEY=aegis_sk_…",
            "    aegis destination add https://… --header 'Authorization: Bearer …'",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: they would end the process by the signal instead of with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    settings: Settings, serving: Serving, stores: Stores, telemetry: Log, listeners: list[socket.socket]
) -> None:
    stop = _stop_on_signals()
    notifier = open_notifier(stores.location)
    counts_fd = share_counts(serving.api_processes)
    app = create_app(make_service(settings, stores, telemetry, notifier, open_counts(counts_fd, 0)))
    metrics_server = None
    if settings.telemetry.metrics_port:
        app, metrics_app = app.split_metrics()
        metrics_server = _make_http(metrics_app, settings)
    server = _make_http(app, settings)
    await remove_dead_workers(stores, telemetry)
    async with asyncio.TaskGroup() as tasks:
        for child in _children(serving, stores, telemetry, listeners, counts_fd):
            tasks.create_task(supervise(child, telemetry, stop))
        if metrics_server is not None:
            tasks.create_task(
                metrics_server.serve(sockets=[_listen(serving.host, settings.telemetry.metrics_port)])
            )
        answering = tasks.create_task(server.serve(sockets=listeners[:1]))
        _freeze()
        telemetry.info(
            "service.started", host=serving.host, port=listeners[0].getsockname()[1], workers=serving.workers
        )
        await stop.wait()
        for one in listeners[1:]:
            one.close()  # kept for children that are started again; now clients must not wait in their queues
        server.should_exit = True
        if metrics_server is not None:
            metrics_server.should_exit = True
        await answering
    notifier.close()
    telemetry.info("service.stopped")


def _make_http(app: object, settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # an ASGI application
        loop="none",
        http=bounded_http(settings),
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        forwarded_allow_ips=[str(one) for one in settings.api.trusted_proxies],
        timeout_graceful_shutdown=5,
        limit_concurrency=None,
        backlog=2048,
    )
    return _Server(config)


# ── a further API process under aegis serve ──


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an API process is given by the one that supervises it.

    Args:
        listener_fd: its listener, which outlives it with the supervisor: no connection that waits there is lost.
        counts_fd: shared memory with the counts of all of them.
        slot: this one's place in it, from 1.
    """

    listener_fd: int
    counts_fd: int
    slot: int


def run_api(settings: Settings, inherited: Inherited) -> None:
    """Answer beside the supervisor until SIGTERM or SIGINT, or until the supervisor is gone.

    Raises: Misconfigured when what should be inherited is not there.
    """
    raise_rlimits(settings.api.connections_max)
    telemetry = make_log(settings)
    try:
        listener = socket.socket(fileno=inherited.listener_fd)
    except OSError as error:
        raise Misconfigured(
            f"descriptor {inherited.listener_fd} is no listener: `aegis serve --api-processes` starts this command"
        ) from error
    counts = open_counts(inherited.counts_fd, inherited.slot)
    stores = open_stores(settings, telemetry)
    try:
        uvloop.run(_answer(settings, stores, telemetry, listener, counts, inherited.slot))
    finally:
        stores.close()


async def _answer(
    settings: Settings,
    stores: Stores,
    telemetry: Log,
    listener: socket.socket,
    counts: IngestCounts,
    slot: int,
) -> None:
    stop = _stop_on_signals()
    _stop_on_end_of_input(stop)
    notifier = open_notifier(stores.location)
    app = create_app(make_service(settings, stores, telemetry, notifier, counts))
    if settings.telemetry.metrics_port:
        app, _ = app.split_metrics()  # the supervisor alone listens there, and sums up for all
    server = _make_http(app, settings)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        _freeze()
        telemetry.info("api.started", number=slot, pid=os.getpid())
        await stop.wait()
        server.should_exit = True
    notifier.close()
    telemetry.info("api.stopped", number=slot, pid=os.getpid())


# ── what runs under aegis serve ──


def _children(
    serving: Serving, stores: Stores, telemetry: Log, listeners: list[socket.socket], counts_fd: int
) -> Iterator[Child]:
    """Yield what runs under `aegis serve`; the process itself is API process 0."""
    config = ("--config", str(serving.config)) if serving.config else ()

    async def clear() -> None:
        await remove_dead_workers(stores, telemetry)

    for number in range(serving.workers):
        yield Child("worker", number, ("--supervised", *config), clear=clear)
    for slot in range(1, serving.api_processes):
        fds = (listeners[slot].fileno(), counts_fd)
        given = ("--listener-fd", str(fds[0]), "--counts-fd", str(fds[1]), "--slot", str(slot))
        yield Child("api", slot, (*given, *config), fds)
