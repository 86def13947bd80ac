"""The composition root: the only place that picks a database, the real clock, the real dice.

`cli` calls one function of this module per command; everything below is given what it needs.
"""

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn
import uvloop

from . import __version__
from .access import Access, Issuer
from .api.app import create_app
from .api.ingest import IngestCounts
from .api.service import Service, route_of
from .domain.ids import Micros, WorkerId, new_secret
from .domain.organization import OPERATOR_KEY_PREFIX
from .errors import Misconfigured, Unavailable
from .netguard import NetGuard
from .pipeline.ingest import Ingest
from .sender import AsyncSender, Limits, ThreadResolver, TrustStore
from .settings import Settings
from .store.bell import Bell, BellRope, is_alive
from .store.directory import StoredDirectory
from .store.ledger import StoredLedger
from .store.log import StoredLog
from .store.retention import Retention
from .store.sqlite import Sqlite
from .telemetry import Log
from .vault import Vault, decode_master_key, read_or_make_master_key
from .worker import Surroundings, Worker

USER_AGENT = f"Aegis-Audit-Stream/{__version__}"
RESTART_FIRST_S, RESTART_LONGEST_S = 0.2, 5.0
"""Pause before a crashed worker is started again: doubles from the first to the longest."""
WORKER_EXIT_S = 10.0
"""How long a worker may take to end before it is killed, seconds."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """Return microseconds since 1970-01-01 UTC."""
        return Micros(time.time_ns() // 1000)


class SystemDice:
    """The machine's chance."""

    def chance(self) -> float:
        """Return a number in [0, 1); good for jitter, not for secrets."""
        return random.random()  # noqa: S311

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can foresee."""
        return secrets.token_bytes(count)


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything on one database."""

    db: Sqlite
    log: StoredLog
    ledger: StoredLedger
    directory: StoredDirectory
    retention: Retention
    bell_folder: Path
    operator_digest: bytes
    notes: tuple[str, ...]

    def close(self) -> None:
        """Close the database."""
        self.db.close()


def open_stores(settings: Settings, telemetry: Log, *, threads: bool = True) -> Stores:
    """Open the data directory: make what is missing, migrate the schema.

    Returns: the stores, with notes for the person at the first start.
    Raises: Misconfigured, in words that say what to do.
    """
    clock, dice = SystemClock(), SystemDice()
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"AEGIS_DATA_DIR {folder} cannot be made: {error.strerror}") from error
    notes: list[str] = []
    if settings.master_key is not None:
        master_key = decode_master_key(settings.master_key, "AEGIS_MASTER_KEY")
    elif settings.master_key_file is not None:
        if not settings.master_key_file.exists():
            raise Misconfigured(f"AEGIS_MASTER_KEY_FILE {settings.master_key_file} does not exist")
        master_key, _ = read_or_make_master_key(settings.master_key_file, dice)
    else:
        master_key, made = read_or_make_master_key(folder / "master.key", dice)
        if made:
            notes.append(
                f"made {folder / 'master.key'}: it opens the stored credentials; back it up apart from the database"
            )
    path = (
        Path(settings.database_url.removeprefix("sqlite:///"))
        if settings.database_url
        else folder / "aegis.db"
    )
    db = Sqlite(path, threads=threads)
    before, after = db.migrate()
    if before == 0:
        notes.append(f"made {path}: events, destinations and keys live here")
    elif before != after:
        telemetry.info("store.migrated", before=before, after=after)
    operator_digest = _operator_digest(settings, notes)
    directory = StoredDirectory(db, Vault(master_key, dice))
    del clock
    return Stores(
        db,
        StoredLog(db),
        StoredLedger(db),
        directory,
        Retention(db),
        folder / "bell",
        operator_digest,
        tuple(notes),
    )


def _operator_digest(settings: Settings, notes: list[str]) -> bytes:
    """Return the SHA-256 of the operator key; make a key at the first start, and keep only its digest."""
    if settings.operator_key is not None:
        return hashlib.sha256(settings.operator_key.encode()).digest()
    path = settings.data_dir / "operator.sha256"
    with contextlib.suppress(FileNotFoundError):
        return bytes.fromhex(path.read_text().strip())
    key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    digest = hashlib.sha256(key.encode()).digest()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(digest.hex() + "\n")
    notes.append(f"operator key, shown this once: {key}")
    return digest


def make_issuer(stores: Stores) -> Issuer:
    """Return what makes organizations and keys."""
    return Issuer(stores.directory, SystemClock(), SystemDice())


def make_sender(settings: Settings) -> AsyncSender:
    """Return the one sender of a process: everything that leaves goes through it, and past the guard."""
    return AsyncSender(
        user_agent=USER_AGENT,
        guard=NetGuard(settings.allowed_networks),
        trust=TrustStore(str(settings.ca_bundle) if settings.ca_bundle else None),
        limits=Limits(connections_max=settings.window_max + 8, idle_max=settings.window_max),
    )


def make_service(settings: Settings, stores: Stores, telemetry: Log, rope: BellRope) -> Service:
    """Return what the API stands on."""
    clock, dice = SystemClock(), SystemDice()
    return Service(
        access=Access(stores.directory, clock, stores.operator_digest),
        issuer=Issuer(stores.directory, clock, dice),
        ingest=Ingest(stores.log, clock, dice, rope, settings.ingest_queue_bytes_max),
        counts=IngestCounts(),
        log=stores.log,
        directory=stores.directory,
        sender=make_sender(settings),
        resolver=ThreadResolver(threads_max=8),
        guard=NetGuard(settings.allowed_networks),
        clock=clock,
        dice=dice,
        doorbell=rope,
        telemetry=telemetry,
        settings=settings,
    )


def make_worker(settings: Settings, stores: Stores, telemetry: Log) -> Worker:
    """Return a worker on these stores."""
    return Worker(
        Surroundings(
            log=stores.log,
            ledger=stores.ledger,
            directory=stores.directory,
            retention=stores.retention,
            sender=make_sender(settings),
            clock=SystemClock(),
            dice=SystemDice(),
            telemetry=telemetry,
            listen=lambda worker_id, on_ring: Bell(stores.bell_folder, worker_id, on_ring),
            route_of=lambda destination: route_of(destination.spec, settings),
            settings=settings,
        )
    )


async def remove_dead_workers(stores: Stores, telemetry: Log) -> None:
    """Free what dead workers of this machine still hold, so that nobody waits for their leases to expire."""
    with contextlib.suppress(Unavailable):  # a full disk: the leases expire by themselves
        for worker_id in await stores.ledger.workers():
            if not is_alive(stores.bell_folder, worker_id):
                await stores.ledger.retire(WorkerId(worker_id))
                telemetry.info("store.worker_removed", worker_id=worker_id)


def make_log(settings: Settings) -> Log:
    """Return the log as configured."""
    form = settings.log_format
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    return Log(form, settings.log_level)


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


def with_overrides(settings: Settings, **changes: object) -> Settings:
    """Return settings with some values replaced."""
    return replace(settings, **changes)  # type: ignore[arg-type] # names are those of Settings
