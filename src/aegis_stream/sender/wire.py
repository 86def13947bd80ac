"""HTTP/1.1 on one connection: one exchange at a time, every part of the answer bounded.

Called by `pool` (requests) and by the event loop (bytes). This is the one module that knows httptools. It must not know
addresses, trust or destinations; `host` and `peer` are only texts for messages.

The end of an exchange is a plain call of the owner, made while the answer's bytes are read: a future and a task that waits
for it would cost more than reading the answer.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import httptools

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Response

from .address_limiter import AddressLimiter
from .watch import IDLE

BODY_BYTES_MAX = 16 * 1024
"""Most bytes of an answer's body that are read, unless the route allows more."""
HEAD_BYTES_MAX = 64 * 1024
"""Most bytes before an answer's body, including interim answers."""
FRAMING_BYTES_MAX = 240 * 1024
"""Most bytes of an answer beside its body: chunk sizes, extensions and trailers can be far longer than the body."""
HEADER_LINES_MAX = 100
"""Most header lines, including trailers."""
INTERIM_MAX = 10
"""Most 1xx answers before the final one."""
JOIN_BYTES_MAX = 64 * 1024
"""Longest body that is copied into one buffer with its head; up to here that is cheaper than a second buffer."""
KNOWN_BYTES_MAX = 4096
"""Longest answer that is remembered, so that an identical next one need not be parsed."""

_NOTED_CHARS_MAX = 128
_HOST = re.compile(r"[0-9a-z._:-]{1,255}")
_NOTED_LENGTHS = frozenset(map(len, (b"location", b"retry-after", b"content-length", b"transfer-encoding")))


class _Stop(Exception):
    """Stops the parser from within a callback; never leaves this module."""


class AnswerReader:
    """Reads one answer after the other from incoming bytes; does no I/O.

    Args:
        body_bytes_max: most bytes of a body that are read.

    Attributes:
        status: status of the newest answer with a complete head, else 0.
        started: a byte of the current answer has arrived.
        over: the current answer has ended: complete, truncated at a limit, or rejected.
        keep: the answer is complete, the peer keeps the connection open, and nothing followed the answer.
        rejection: why the answer is rejected, or None.
        retry_after: value of Retry-After, truncated.
        location: value of Location as sent.
    """

    __slots__ = (
        "_body_bytes",
        "_body_bytes_max",
        "_bytes",
        "_feed",
        "_framed",
        "_head_done",
        "_interim",
        "_keep_alive",
        "_known",
        "_lines",
        "_parser",
        "_parts",
        "_status",
        "keep",
        "location",
        "over",
        "rejection",
        "retry_after",
        "started",
        "status",
    )

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpResponseParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data
        self._status: Callable[[], int] = self._parser.get_status_code
        self._keep_alive: Callable[[], bool] = self._parser.should_keep_alive
        self._parts: list[bytes] = []
        self._known = b""
        self.begin()
        self.on_message_begin()

    def begin(self) -> None:
        """Forget the last answer; the next bytes answer a new request."""
        self._bytes = 0
        self._interim = 0
        self.started = False
        self.over = False
        self.keep = False
        self.rejection: str | None = None
        self._head_done = False

    @property
    def body(self) -> bytes:
        """The body read so far, at most body_bytes_max."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> bool:
        """Read bytes; return whether the answer has ended: complete, truncated at a limit, or rejected. Never raises."""
        if not self.started:
            self.started = True
            if data == self._known:
                # Most answers of a destination are identical. The parser keeps no state between answers, so it would
                # give the result of the last time, which all attributes still have.
                self.over = self.keep = True
                return True
            self._known = b""
            if not data.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(data[:7]):
                return self._reject("the answer is not HTTP/1.1")
        try:
            if not self._head_done and self._bytes + len(data) > HEAD_BYTES_MAX:
                data = self._feed_head(data)
            self._bytes += len(data)
            self._feed(data)
        except _Stop:
            return True
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            return self._broken(exc)
        if self.keep and self._bytes == len(data) <= KNOWN_BYTES_MAX and not self._interim:
            self._known = data
        elif not self.over and self._bytes > self._body_bytes_max + FRAMING_BYTES_MAX:
            self.over = True
        return self.over

    def end(self) -> bool:
        """Handle the end of the stream; return whether it completes the answer."""
        if self._head_done and not self._framed and not self.over:
            self.over = True
        return self.over

    def _feed_head(self, data: bytes) -> bytes:
        room = HEAD_BYTES_MAX - self._bytes
        self._bytes = HEAD_BYTES_MAX
        self._feed(data[:room])
        if not self._head_done:
            self._reject(f"the answer's headers are longer than {HEAD_BYTES_MAX // 1024} KiB")
            raise _Stop
        return data[room:]

    def _broken(self, exc: Exception) -> bool:
        self.keep = False
        if self.over:
            # Junk after a complete answer, or our own _Stop, which httptools has wrapped.
            return True
        return self._reject(f"the answer is not HTTP/1.1: {_clause(exc)}")

    def _reject(self, reason: str) -> bool:
        self.rejection = reason
        self.keep = False
        self.over = True
        return True

    # httptools calls the following methods, in this order; an exception stops it.

    def on_message_begin(self) -> None:
        """Start an answer, or notice bytes after the end of one."""
        if self.over:
            self.keep = False
            raise _Stop
        self.status = 0
        self._lines = 0
        self._head_done = False
        self._framed = False
        self._body_bytes = 0
        self._parts = []
        self.retry_after: str | None = None
        self.location: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or trailer line, and store the few that we use."""
        self._lines += 1
        if self._lines > HEADER_LINES_MAX:
            self._reject(f"the answer has more than {HEADER_LINES_MAX} headers")
            raise _Stop
        if len(name) in _NOTED_LENGTHS and not self._head_done:
            self._note(name.lower(), value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name in (b"content-length", b"transfer-encoding"):
            # A transfer coding that does not end in chunked ends with the connection.
            self._framed = name == b"content-length" or value.lower().rstrip().endswith(b"chunked")
        elif name == b"retry-after":
            self.retry_after = value[:_NOTED_CHARS_MAX].decode("latin-1")
        elif name == b"location":
            self.location = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Store the status."""
        self.status = self._status()
        if self.status < 100:
            self._reject("the answer is not HTTP/1.1: its status is below 100")
            raise _Stop
        self._head_done = True

    def on_body(self, data: bytes) -> None:
        """Store the beginning of the body."""
        room = self._body_bytes_max - self._body_bytes
        self._body_bytes += len(data)
        self._parts.append(data if len(data) <= room else data[:room])
        if self._body_bytes > self._body_bytes_max:
            self.over = True
            raise _Stop

    def on_message_complete(self) -> None:
        """End the answer, unless it is an interim answer."""
        status = self.status
        if status >= 200:
            self.keep = self._keep_alive()
            self.over = True
        elif status == 101:
            self.over = True
        else:
            self._head_done = False
            self._interim += 1
            if self._interim > INTERIM_MAX:
                self._reject(f"the answer begins with more than {INTERIM_MAX} interim answers")
                raise _Stop


class Owner(Protocol):
    """Gets told what happens to a connection and to its exchanges."""

    def opened(self, connection: "Connection") -> None:
        """The connection can carry a request."""
        ...

    def gone(self, connection: "Connection") -> None:
        """The connection is closed; called once."""
        ...

    def ended(self, connection: "Connection", exchange: Any, answer: Answer | None) -> None:
        """The exchange has ended; called once for each, unless the connection was aborted.

        Args:
            exchange: as passed to `send`.
            answer: None if the peer had closed a reused connection, so that the request may be tried on a new one.
        """
        ...


class Connection(asyncio.Protocol):
    """One connection to a destination.

    Args:
        owner: told when the connection opens, when an exchange ends, and when the connection is closed.
        clock: seconds, for latencies only.
        host: host of the URL, for a Location without one.
        peer: the peer in messages, such as "hook.example port 443".
        limiter: of the connection's address; only for the owner's use.
        answer_bytes_max: most bytes of an answer's body that are read.

    Attributes:
        exchange: the current exchange, or None.
        deadline: loop time at which the exchange times out or the idle connection is closed; the Watch checks it.
        dead: closed or about to be closed; cannot be used again.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_fresh",
        "_host",
        "_owner",
        "_peer",
        "_reader",
        "_timeout_s",
        "_transport",
        "dead",
        "deadline",
        "exchange",
        "limiter",
    )

    def __init__(
        self,
        owner: Owner,
        clock: Callable[[], float],
        *,
        host: str,
        peer: str,
        limiter: AddressLimiter,
        answer_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self._owner = owner
        self.limiter = limiter
        self._clock = clock
        self._host = host
        self._peer = peer
        self._reader = AnswerReader(answer_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._fresh = True
        self._began = 0.0
        self._timeout_s = 0.0
        self.exchange: Any = None
        self.deadline = IDLE
        self.dead = False

    def send(
        self, head: bytes, body: bytes, began: float, deadline: float, timeout_s: float, exchange: object
    ) -> None:
        """Write one request; the connection must be open and idle.

        Args:
            head: up to and including "Content-Length: ".
            body: bytes of the request after its head.
            began: clock reading at the start of the attempt, for the latency.
            deadline: loop time.
            timeout_s: seconds, for messages.
            exchange: passed to the owner when the exchange ends; never None.
        """
        transport = self._transport
        assert transport is not None
        self._began = began
        self._timeout_s = timeout_s
        self.deadline = deadline
        self.exchange = exchange
        self._reader.begin()
        if len(body) <= JOIN_BYTES_MAX:
            transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        else:
            transport.writelines((b"%b%d\r\n\r\n" % (head, len(body)), body))

    def abort(self) -> None:
        """Close at once, without ending the current exchange. Does nothing the second time."""
        if not self.dead:
            self.dead = True
            self.deadline = IDLE
            self._owner.gone(self)
            # Not close(): with TLS it waits up to 30 s for the peer's close alert.
            if self._transport is not None:
                self._transport.abort()

    def fail(self, kind: FaultKind, message: str) -> None:
        """End the current exchange, if any, as a Fault, and close."""
        exchange, self.exchange = self.exchange, None
        self.abort()
        if exchange is not None:
            self._owner.ended(self, exchange, Fault(kind, message, self._elapsed_us()))

    def expire(self) -> None:
        """End the current exchange as timed out, or close the idle connection."""
        within = f"within {self._timeout_s:g} s"
        if self._reader.started:
            message = f"the answer was not complete {within}"
        elif self._transport is not None and self._transport.get_write_buffer_size():
            message = f"the request was not read {within}"
        else:
            message = f"no answer {within}"
        self.fail(FaultKind.TIMEOUT, message)

    # The event loop calls the following methods.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, or close it if the connection was aborted meanwhile."""
        # uvloop's transports do not inherit from asyncio's classes, hence the cast.
        self._transport = cast(asyncio.Transport, transport)
        if self.dead:
            self._transport.abort()
        else:
            self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read bytes of the answer; bytes without a request end the connection."""
        if self.exchange is None:
            self.abort()
        elif self._reader.feed(data):
            self._finish()

    def eof_received(self) -> None:
        """Handle the end of the stream, which may complete the answer."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the current exchange by what has arrived of its answer."""
        if self.exchange is None:
            self.abort()
        elif exc is None and self._reader.end():
            self._finish()
        elif not self._reader.started and not self._fresh:
            exchange, self.exchange = self.exchange, None
            self.abort()
            self._owner.ended(self, exchange, None)
        elif isinstance(exc, ssl.SSLError):
            self.fail(FaultKind.TLS, f"the TLS session with {self._peer} failed: {_clause(exc)}")
        elif self._reader.started:
            self.fail(FaultKind.CLOSED, f"{self._peer} closed the connection before its answer was complete")
        else:
            self.fail(FaultKind.CLOSED, f"{self._peer} closed the connection without an answer")

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        reader = self._reader
        self.deadline = IDLE
        self._fresh = False
        # If the answer came before the request was written, the peer may never read the rest of it.
        if not reader.keep or self._transport is None or self._transport.get_write_buffer_size():
            self.abort()
        answer: Answer
        if reader.rejection is not None:
            answer = Fault(FaultKind.PROTOCOL, reader.rejection, self._elapsed_us())
        else:
            status = reader.status
            location_host = None
            if 300 <= status < 400 and reader.location is not None:
                location_host = _location_host(reader.location, self._host)
            answer = Response(status, reader.body, self._elapsed_us(), reader.retry_after, location_host)
        self._owner.ended(self, exchange, answer)

    def _elapsed_us(self) -> int:
        return max(0, int((self._clock() - self._began) * 1_000_000))


def _location_host(location: str, host: str) -> str | None:
    try:
        found = urlsplit(location).hostname
    except ValueError:
        return None
    if found is None:
        return host
    return found if _HOST.fullmatch(found) else None


def _clause(exc: Exception) -> str:
    # Messages of OpenSSL and llhttp are fixed texts and contain nothing that the peer sent.
    reason = getattr(exc, "reason", None) or (exc.args[0] if exc.args else "unreadable")
    return str(reason).replace("_", " ").lower()
