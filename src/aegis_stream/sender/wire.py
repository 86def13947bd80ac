"""HTTP/1.1 on one connection: one exchange at a time, every part of the answer bounded.

Called by `pool` (requests) and by the event loop (bytes); `answer` reads the bytes. It must not know addresses, trust or
destinations; `host` and `peer` are only texts for messages.

The end of an exchange is a plain call of the owner, made while the answer's bytes are read: a future and a task that waits
for it would cost more than reading the answer.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Response
from aegis_stream.domain.trace import Trace

from .address_limiter import AddressLimiter
from .alerts import CERTIFICATE_WANTED, is_about_certificate
from .answer import BODY_BYTES_MAX, AnswerReader, clause
from .watch import IDLE

JOIN_BYTES_MAX = 64 * 1024
"""Longest body that is copied into one buffer with its head; up to here that is cheaper than a second buffer."""
_HOST = re.compile(r"[0-9a-z._:-]{1,255}")


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
            answer: None if a reused connection was useless, so that the request may be tried on a new one: the peer had
                closed it, or sent bytes that belong to no answer.
        """
        ...


class Connection:
    """One connection to a destination; it has the methods of `asyncio.Protocol`, but a compiled class cannot inherit from it.

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
        opened_at_s: loop time at which it opened; set by the owner.
        closed_hint: why a peer may close it without an answer, for the message; set by the dialer where there is no TLS.
        trace: of the attempt that it carries, set by the owner; None for deliveries.
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
        "closed_hint",
        "dead",
        "deadline",
        "exchange",
        "limiter",
        "opened_at_s",
        "trace",
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
        self.opened_at_s = 0.0
        self.closed_hint = ""
        self.trace: Trace | None = None

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
            if self.trace is not None:
                self.trace.unread = True
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

    def pause_writing(self) -> None:
        """Do nothing: one request is written at once, and the deadline ends a peer that does not read it."""

    def resume_writing(self) -> None:
        """Do nothing, as in `pause_writing`."""

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
            self._give_back()
        elif is_about_certificate(exc) and not self._reader.started:
            self.fail(FaultKind.TLS, f"{self._peer} {CERTIFICATE_WANTED}")
        elif isinstance(exc, ssl.SSLError):
            self.fail(FaultKind.TLS, f"the TLS session with {self._peer} failed: {clause(exc)}")
        elif self._reader.started:
            self.fail(FaultKind.CLOSED, f"{self._peer} closed the connection before its answer was complete")
        else:
            hint = getattr(
                self._transport, "closed_hint", self.closed_hint
            )  # a transport over TLS has its own
            self.fail(FaultKind.CLOSED, f"{self._peer} closed the connection without an answer{hint}")

    def _finish(self) -> None:
        reader = self._reader
        if reader.stray and not self._fresh:
            self._give_back()
            return
        exchange, self.exchange = self.exchange, None
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
            answer = Response(
                status,
                reader.body,
                self._elapsed_us(),
                reader.retry_after,
                location_host,
                date=reader.date if reader.retry_after is not None else None,
                head=reader.head if status >= 300 else b"",
            )
        self._owner.ended(self, exchange, answer)

    def _give_back(self) -> None:
        """Close a reused connection without an answer: the request may be tried on a new one."""
        exchange, self.exchange = self.exchange, None
        self.abort()
        self._owner.ended(self, exchange, None)

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
