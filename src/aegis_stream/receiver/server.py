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
from dataclasses import asdict, dataclass, field
from io import TextIOBase
from pathlib import Path
from typing import TextIO

from . import elastic
from .body import BODY_BYTES_MAX, Event
from .connection import Connection, Request
from .inbox import Inbox, event_id, is_test
from .intake import Intake, Reply, accepted, refused, reply_with
from .output import LineWriter, event_line, notice_line, record_line
from .tls import Certificate, ensure_certificate
from .verify import Verifier

REMEMBER_MAX = 500_000
"""Event ids that are remembered to mark duplicates; about 100 MB when full."""

LATENCY_S_MAX = 600.0
"""Longest delay of replies, seconds: far longer than the ten seconds that a sender waits."""

_SWEEP_S = 1.0
_CLOSE_S = 2.0
_TLS_HANDSHAKE_S = 10.0
_TLS_DIR = Path("aegis-receiver-tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverOptions:
    """How the reference receiver runs. Secrets are not in its repr.

    Args:
        host: address to listen on.
        port: 0 to 65535; 0 picks a free one.
        bearer: token that requests must carry, or None.
        hmac_key: key of the signature that requests must carry, or None.
        header: name and value of another auth header that requests must carry, or None.
        fail: share of requests, chosen at random, that are answered 500, 0 to 1.
        latency_s: delay of every reply, 0 to 600 seconds.
        tls: serve HTTPS with its own certificate.
        tls_dir: directory of that certificate; ./aegis-receiver-tls by default.
        quiet: do not print events.
        json: print JSON objects, one per line.
        record: file to which every request is appended as a line of JSON, or None.
    Raises: ValueError with one clause that names the wrong option.
    """

    host: str = "127.0.0.1"
    port: int = 8800
    bearer: str | None = field(default=None, repr=False)
    hmac_key: bytes | None = field(default=None, repr=False)
    header: tuple[str, str] | None = field(default=None, repr=False)
    fail: float = 0.0
    latency_s: float = 0.0
    tls: bool = False
    tls_dir: Path | None = None
    quiet: bool = False
    json: bool = False
    record: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {self.port}")
        if not 0 <= self.fail <= 1:  # also false for NaN
            raise ValueError(f"fail must be from 0 to 1, not {self.fail}")
        if not 0 <= self.latency_s <= LATENCY_S_MAX:
            raise ValueError(f"latency must be from 0 to {LATENCY_S_MAX:.0f} seconds, not {self.latency_s}")
        self.verifier()

    @property
    def is_open(self) -> bool:
        """Whether requests need no secret."""
        return self.bearer is None and self.hmac_key is None and self.header is None

    def verifier(self) -> Verifier:
        """Return the verifier of these secrets; if there are none, it accepts everything."""
        if self.is_open:
            return Verifier(accept_all=True)
        return Verifier(bearer=self.bearer, header=self.header, hmac_key=self.hmac_key)


@dataclass(slots=True)
class Counts:
    """What arrived so far.

    Args:
        received: events acknowledged with 202, including repetitions.
        unique: different events among them, by event.id, as far as the receiver remembers.
        duplicates: received - unique.
        test: test events among the unique ones.
        refused: requests answered 4xx.
        failed: requests answered 500 on purpose.
    """

    received: int = 0
    unique: int = 0
    duplicates: int = 0
    test: int = 0
    refused: int = 0
    failed: int = 0

    def line(self) -> str:
        """Return the counts as one clause for a person."""
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items())


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
        handler = _Handler(options, chance=chance, now=now, lines=lines, record=record)
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
def _record_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    # Only the owner may read audit events.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="ascii") as file:
        yield file


async def _listen(
    options: ReceiverOptions,
    certificate: Certificate | None,
    handler: "_Handler",
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


class _Handler:
    """Answers requests: accepts, prints, counts and records events."""

    def __init__(
        self,
        options: ReceiverOptions,
        *,
        chance: Callable[[], float],
        now: Callable[[], dt.datetime],
        lines: LineWriter,
        record: LineWriter | None,
    ) -> None:
        self.counts = Counts()
        self.body_bytes_max = BODY_BYTES_MAX
        self.latency_s = options.latency_s
        self._options = options
        self._intake = Intake(options.verifier(), Inbox(remember_max=REMEMBER_MAX))
        self._chance = chance
        self._now = now
        self._lines = lines
        self._record = record

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request."""
        path = request.target.partition("?")[0]
        if request.method in {"GET", "HEAD"} and path == "/":
            return reply_with(200, asdict(self.counts))
        if request.method in {"GET", "HEAD"} and path == "/healthz":
            return reply_with(200, {"status": "ok"})
        at = self._stamp()
        reply = self._take(request, at)
        if self._record:
            self._record.add(record_line(at, request.target, request.headers, request.body, reply.status))
        return reply

    def refuse_body(self) -> Reply:
        """Return the reply to a body that exceeds the limit."""
        return self._refuse(self._intake.too_large(), self._stamp())

    def _stamp(self) -> str:
        if self._options.quiet and not self._record:
            return ""  # it is not shown
        return self._now().isoformat(timespec="milliseconds")

    def _take(self, request: Request, at: str) -> Reply:
        reply = self._intake.refuse_early(request.method, request.headers.get("content-length"))
        if reply:
            return self._refuse(reply, at)
        events = self._intake.open(request.headers, request.body)
        if isinstance(events, Reply):
            return self._refuse(events, at)
        if self._options.fail and self._chance() < self._options.fail:
            self.counts.failed += 1
            self._show_notice(at, "failed", f"500 on purpose, {len(events)} event(s)")
            return refused(500, "failed on purpose (--fail)")
        path = request.target.partition("?")[0]
        is_bulk = elastic.is_bulk(path)
        events = elastic.documents(events) if is_bulk else events
        fresh = sum(self._count(event, at) for event in events)
        if is_bulk:
            return elastic.bulk_created(len(events))
        return elastic.created() if elastic.is_document(path) else accepted(fresh, len(events) - fresh)

    def _count(self, event: Event, at: str) -> bool:
        with self._intake.inbox.once(event) as first_time:
            test = is_test(event)
            self.counts.received += 1
            self.counts.unique += first_time
            self.counts.duplicates += not first_time
            self.counts.test += first_time and test
            if not self._options.quiet:
                self._lines.add(self._describe(event, at, test=test, first_time=first_time))
        return first_time

    def _describe(self, event: Event, at: str, *, test: bool, first_time: bool) -> str:
        if self._options.json:
            marks = {"at": at, "id": event_id(event), "test": test, "duplicate": not first_time}
            return json.dumps({**marks, "event": event})
        return event_line(
            event, at, "test" if test and first_time else "event" if first_time else "duplicate"
        )

    def _refuse(self, reply: Reply, at: str) -> Reply:
        self.counts.refused += 1
        self._show_notice(at, "refused", f"{reply.status} {reply.error}")
        return reply

    def _show_notice(self, at: str, mark: str, notice: str) -> None:
        if not self._options.quiet:
            line = {"at": at, mark: notice}
            self._lines.add(json.dumps(line) if self._options.json else notice_line(at, mark, notice))
