"""The runnable reference receiver: `aegis receiver`.

Used by the command line, the demonstration and the end-to-end tests. It accepts, prints and counts the events that Aegis
Audit Stream sends. It can fail or delay replies on purpose, so that a person can watch retries.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import TextIOBase
from pathlib import Path
from typing import TextIO

from .connection import Connection
from .handler import Counts, Handler
from .options import ReceiverOptions
from .output import LineWriter
from .tls import Certificate, ensure_certificate

_SWEEP_S = 1.0
_CLOSE_S = 2.0
_TLS_HANDSHAKE_S = 10.0
_TLS_DIR = Path("aegis-receiver-tls")


@dataclass(frozen=True, slots=True)
class Ready:
    """The receiver listens.

    Args:
        port: the port it listens on.
        url: URL for a destination.
        ca_certificate: file with the text for the destination's ca_certificate; None without TLS.
        counts: updated while the receiver runs.
    """

    port: int
    url: str
    ca_certificate: Path | None
    counts: Counts


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def serve(
    options: ReceiverOptions,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None] = lambda _ready: None,
    chance: Callable[[], float] = random.random,
    now: Callable[[], dt.datetime] = _utc_now,
    output: TextIO | TextIOBase | None = None,
) -> Counts:
    """Receive until `stop` is set.

    Args:
        stop: set it to stop the receiver; it is also set when output or record cannot be written.
        on_ready: called once, when requests are accepted.
        chance: returns a float in [0, 1); below `options.fail` the request fails.
        now: returns the time, with a time zone, for output, records and the certificate.
        output: stream for lines; standard output by default.
    Returns: the counts. All pending replies are sent, connections closed and files flushed before it returns, also after
        an exception or a cancellation.
    Raises: OSError when it cannot listen, make a certificate, or write output or the record.
    """
    certificate = ensure_certificate(options.tls_dir or _TLS_DIR, now()) if options.tls else None
    faults: list[OSError] = []

    def on_fault(fault: OSError) -> None:
        faults.append(fault)
        stop.set()

    with _record_file(options.record) as file:
        lines = LineWriter(output or sys.stdout, on_fault)
        record = LineWriter(file, on_fault) if file else None
        handler = Handler(options, chance=chance, now=now, lines=lines, record=record)
        try:
            await _listen(options, certificate, handler, stop=stop, on_ready=on_ready)
        finally:
            lines.flush()
            if record:
                record.flush()
    if faults:
        raise faults[0]
    return handler.counts


def run(options: ReceiverOptions) -> int:
    """Run the receiver in the foreground until SIGINT or SIGTERM; print how to use it, and the counts at the end.

    Returns: the exit status: 0 after a signal; 1, after one line on standard error, if it cannot run.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            counts = runner.run(_run_until_signal(options))
        _say({"counts": asdict(counts)} if options.json else f"Stopped: {counts.line()}.")
    except BrokenPipeError:
        # Standard output is closed. Without this, Python would report it once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as exc:
        print(f"aegis receiver: {exc}", file=sys.stderr)
        return 1
    return 0


async def _run_until_signal(options: ReceiverOptions) -> Counts:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stop.set)
    return await serve(options, stop=stop, on_ready=lambda ready: _announce(ready, options))


def _announce(ready: Ready, options: ReceiverOptions) -> None:
    if options.json:
        authority = str(ready.ca_certificate) if ready.ca_certificate else None
        _say({"ready": {"url": ready.url, "port": ready.port, "ca_certificate": authority}})
        return
    _say(f"Listening on {ready.url} (counts: GET {ready.url}; stop: Ctrl-C)")
    if ready.ca_certificate:
        _say(f"Set the destination's ca_certificate to the text of {ready.ca_certificate}")
    if options.is_open:
        _say("No secret is required: every request is accepted.")


def _say(what: str | dict[str, object]) -> None:
    print(what if isinstance(what, str) else json.dumps(what), flush=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextlib.contextmanager
def _record_file(record: Path | TextIOBase | None) -> Iterator[TextIO | TextIOBase | None]:
    if not isinstance(record, Path):
        yield record
        return
    # Only the owner may read audit events.
    descriptor = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="ascii") as file:
        yield file


async def _listen(
    options: ReceiverOptions,
    certificate: Certificate | None,
    handler: Handler,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None],
) -> None:
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(handler, connections),
        options.host,
        options.port,
        backlog=1024,
        ssl=certificate.server_context() if certificate else None,
        ssl_handshake_timeout=_TLS_HANDSHAKE_S if certificate else None,
        ssl_shutdown_timeout=_CLOSE_S if certificate else None,
    )
    try:
        port = server.sockets[0].getsockname()[1]
        authority = certificate.ca_certificate.absolute() if certificate else None
        url = _url(options.host, port, scheme="https" if certificate else "http")
        on_ready(Ready(port, url, authority, handler.counts))
        await _sweep_until(stop, connections)
    finally:
        server.close()
        await _finish(connections)


async def _sweep_until(stop: asyncio.Event, connections: set[Connection]) -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SWEEP_S):
                await stop.wait()
        for connection in list(connections):
            connection.expire(loop.time())


async def _finish(connections: set[Connection]) -> None:
    for connection in list(connections):
        connection.finish()
    # Peers take part in closing (TLS shutdown, buffers): they get a short time for it.
    if connections:
        await asyncio.wait([connection.closed for connection in connections], timeout=_CLOSE_S)
    for connection in list(connections):
        connection.abort()


def _url(host: str, port: int, *, scheme: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}/"
    if address.is_unspecified:  # nobody can connect to "all addresses"
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{scheme}://[{address}]:{port}/" if address.version == 6 else f"{scheme}://{address}:{port}/"
