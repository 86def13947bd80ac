"""The programs that run until they are told to stop: `aegis worker`, and `aegis serve` with the workers under it.

Everything they are made of comes from wiring; here is how processes begin, watch each other, and end.
"""

import asyncio
import contextlib
import gc
import os
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
from .errors import Misconfigured
from .settings import Settings
from .store.bell import BellRope
from .telemetry import Log
from .wiring import Stores, make_log, make_service, make_worker, open_stores, remove_dead_workers

RESTART_FIRST_S, RESTART_LONGEST_S = 0.2, 5.0
"""Pause before a crashed worker is started again: doubles from the first to the longest."""
WORKER_EXIT_S = 10.0
"""How long a worker may take to end before it is killed, seconds."""


# ── aegis worker ──


def run_worker(settings: Settings, *, supervised: bool) -> None:
    """Run one worker until SIGTERM or SIGINT, or, when supervised, until the supervisor is gone."""
    telemetry = make_log(settings)
    stores = open_stores(settings, telemetry)
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


def run_server(settings: Settings, serving: Serving) -> None:
    """Run the API, and the workers under it, until SIGTERM or SIGINT.

    Raises: Misconfigured when it cannot start.
    """
    telemetry = make_log(settings)
    listener = _listen(serving.host, serving.port)
    stores = open_stores(settings, telemetry)
    try:
        _greet(stores, settings, serving, listener.getsockname()[1])
        uvloop.run(_serve(settings, serving, stores, telemetry, listener))
    finally:
        stores.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
        f"Aegis Audit Stream {__version__} on {url} (API documentation: {url}/docs), data in {settings.data_dir}"
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
    settings: Settings, serving: Serving, stores: Stores, telemetry: Log, listener: socket.socket
) -> None:
    stop = _stop_on_signals()
    rope = BellRope(stores.bell_folder)
    service = make_service(settings, stores, telemetry, rope)
    app = create_app(service)
    metrics_server = None
    if settings.metrics_port:
        app, metrics_app = app.split_metrics()
        metrics_server = _make_http(metrics_app)
    server = _make_http(app)
    await remove_dead_workers(stores, telemetry)
    async with asyncio.TaskGroup() as tasks:
        for number in range(serving.workers):
            tasks.create_task(_supervise(number, serving, stores, telemetry, stop))
        if metrics_server is not None:
            tasks.create_task(metrics_server.serve(sockets=[_listen(serving.host, settings.metrics_port)]))
        answering = tasks.create_task(server.serve(sockets=[listener]))
        _freeze()
        telemetry.info(
            "service.started", host=serving.host, port=listener.getsockname()[1], workers=serving.workers
        )
        await stop.wait()
        server.should_exit = True
        if metrics_server is not None:
            metrics_server.should_exit = True
        await answering
    rope.close()
    telemetry.info("service.stopped")


def _make_http(app: object) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # an ASGI application
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        limit_concurrency=None,
        backlog=2048,
    )
    return _Server(config)


async def _supervise(
    number: int, serving: Serving, stores: Stores, telemetry: Log, stop: asyncio.Event
) -> None:
    """Keep one worker process running until asked to stop."""
    pause_s = RESTART_FIRST_S
    arguments = ["worker", "--supervised", *(["--config", str(serving.config)] if serving.config else [])]
    while not stop.is_set():
        began_s = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aegis_stream", *arguments, stdin=asyncio.subprocess.PIPE
        )
        telemetry.info("supervisor.worker_started", number=number, pid=process.pid)
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.terminate()
            try:
                await asyncio.wait_for(ended, WORKER_EXIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
            return
        telemetry.warning(
            "supervisor.worker_exited", number=number, pid=process.pid, status=process.returncode
        )
        await remove_dead_workers(stores, telemetry)
        if asyncio.get_running_loop().time() - began_s > RESTART_LONGEST_S:
            pause_s = RESTART_FIRST_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        pause_s = min(pause_s * 2, RESTART_LONGEST_S)
