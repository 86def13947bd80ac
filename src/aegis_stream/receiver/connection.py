"""One HTTP/1.1 connection of the reference receiver: reads requests, asks a handler, writes replies, within limits.

server.py makes one for every connection. It knows HTTP, and nothing of events. Replies are sent in the order of their
requests, even if requests are pipelined and replies are delayed.
"""

import asyncio
import functools
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .intake import Reply, refused

HEAD_BYTES_MAX = 64 * 1024
"""Largest request line and headers, bytes."""

CONNECTIONS_MAX = 1024
"""Most open connections; one more is answered 503 and closed."""

IDLE_S = 75.0
"""A connection without a request in progress is closed after this much silence, seconds."""

REQUEST_S = 60.0
"""Longest time from the first byte of a request to its last, seconds: slow clients must not hold connections."""

LINGER_S = 2.0
"""How long input is still read and dropped after an error reply, seconds: to close a connection with unread input
resets it, and the client loses the reply."""

WAITING_MAX = 64
"""At this many delayed replies, no more is read from the connection."""

_SERVER_HEADER = "Server: aegis-receiver\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request.

    Args:
        target: path and query as received.
        headers: lower-case names; values of a repeated name joined by ", ".
        body: without transfer encoding, otherwise as received.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class RequestHandler(Protocol):
    """Answers the requests of a connection."""

    @property
    def body_bytes_max(self) -> int:
        """Largest body, bytes."""

    @property
    def latency_s(self) -> float:
        """Delay of every reply, seconds."""

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request. Raises nothing."""

    def refuse_body(self) -> Reply:
        """Return the reply to a body that exceeds the limit."""


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        handler: answers its requests.
        others: all open connections; this one adds and removes itself.
    """

    def __init__(self, handler: RequestHandler, others: set["Connection"]) -> None:
        self._handler = handler
        self._others = others
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        # The request being read.
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._carried_bytes = 0  # raw bytes of this request, except the read in which it began
        self._in_head = False
        self._began_at: float | None = None
        self._just_began = False
        # Replies that are not sent yet.
        self._ready: list[bytes] = []
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._ended = False  # no further request is accepted
        self._linger = False  # further input must be read and dropped
        self._active_at = self._loop.time()
        self._write_blocked = False
        self._read_paused = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add this to the open connections, or reject it if there are too many."""
        # A cast, because the transports of uvloop do not inherit from those of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._others.add(self)
        if len(self._others) > CONNECTIONS_MAX:
            self._refuse(refused(503, "too many connections", ("Retry-After", "1")))
            self._write_ready()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface of asyncio
        """Remove this from the open connections; replies that are not sent yet are dropped, and the sender retries."""
        self._others.discard(self)
        self._waiting.clear()
        self._transport = None
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Parse the data and answer every request that it completes."""
        if self._ended:
            return
        self._active_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._ended = True  # answered as plain HTTP/1.1; further data would be another protocol
        except HttpParserError:
            self._refuse(refused(400, "the request is not HTTP/1.1"))
        self._check_length(len(data))
        self._write_ready()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its replies."""
        self._write_blocked = True
        self._regulate()

    def resume_writing(self) -> None:
        """Read again, because the client has read its replies."""
        self._write_blocked = False
        self._regulate()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._target, self._headers, self._body = b"", [], []
        self._head_bytes = self._body_bytes = self._carried_bytes = 0
        self._in_head = self._just_began = True
        self._began_at = self._active_at

    def on_url(self, url: bytes) -> None:
        """Add a part of the request target."""
        self._head_bytes += len(url)
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; trailers are ignored."""
        if self._in_head:
            self._head_bytes += len(name) + len(value)
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the size of the head, and the announced size of the body."""
        self._in_head = False
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_head_too_large())
            return
        waits = False
        for name, value in self._headers:
            lowered = name.lower()
            # The parser has checked that the length is a number.
            if lowered == b"content-length" and int(value[:20]) > self._handler.body_bytes_max:
                self._refuse(self._handler.refuse_body())
            waits = waits or (lowered == b"expect" and value.lower() == b"100-continue")
        if waits and not self._ended and not self._waiting:
            self._ready.append(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Add a part of the body."""
        self._body_bytes += len(part)
        if self._body_bytes > self._handler.body_bytes_max:
            self._refuse(self._handler.refuse_body())
        elif not self._ended:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Answer the request."""
        self._began_at = None
        if self._ended:
            return
        method = self._parser.get_method().decode("ascii")
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.strip().decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        request = Request(method, self._target.decode("latin-1"), headers, b"".join(self._body))
        self._body = []
        self._reply(
            self._handler.answer(request),
            last=not self._parser.should_keep_alive(),
            head_only=method == "HEAD",
        )

    # What the server calls

    def finish(self) -> None:
        """Send all delayed replies now, and close."""
        self._ended = True
        while self._waiting:
            self._ready.append(self._waiting.popleft()[0])
        self._linger = False
        self._write_ready()

    def abort(self) -> None:
        """Close immediately; data that is not sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """Close the connection if one of its time limits has passed.

        Args:
            now: time of the event loop, seconds.
        """
        if self._transport is None:
            return
        if self._ended or self._write_blocked:
            if now - self._active_at > (LINGER_S if self._linger else IDLE_S) + self._handler.latency_s:
                self._transport.abort()
        elif self._began_at is not None:
            if now - self._began_at > REQUEST_S:
                self._refuse(refused(408, f"the request took longer than {REQUEST_S:g} s"))
                self._write_ready()
        elif not self._waiting and now - self._active_at > IDLE_S:
            self._transport.close()

    # Replies on their way out

    def _refuse(self, reply: Reply) -> None:
        """Send an error reply to an invalid or incomplete request, and accept nothing more from this client."""
        if not self._ended:
            self._linger = True
            self._reply(reply, last=True, head_only=False)
            self._ended = True

    def _reply(self, reply: Reply, *, last: bool, head_only: bool) -> None:
        payload = _encode(reply, last=last, head_only=head_only)
        self._ended = self._ended or last
        if self._handler.latency_s > 0:
            self._waiting.append((payload, last))
            self._loop.call_later(self._handler.latency_s, self._release)
            self._regulate()
        else:
            self._ready.append(payload)

    def _release(self) -> None:
        # Timers with equal delays may fire out of order, but each of them releases the oldest reply, so the order is kept.
        if self._waiting:
            self._ready.append(self._waiting.popleft()[0])
            self._active_at = self._loop.time()
            self._regulate()
            self._write_ready()

    def _write_ready(self) -> None:
        if self._transport is None:
            return
        if self._ready:
            self._transport.write(b"".join(self._ready))
            self._ready.clear()
        if not self._ended or self._waiting:
            return
        if self._linger and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _check_length(self, read_bytes: int) -> None:
        """Limit the bytes that the parser reads without calling back: endless headers, chunks, trailers."""
        if self._just_began:
            self._just_began = False
            return
        self._carried_bytes += read_bytes
        if self._began_at is None or self._ended:
            return
        if self._in_head and self._carried_bytes > HEAD_BYTES_MAX:
            self._refuse(_head_too_large())
        elif self._carried_bytes > HEAD_BYTES_MAX + 2 * self._handler.body_bytes_max:
            self._refuse(self._handler.refuse_body())

    def _regulate(self) -> None:
        pause = self._write_blocked or len(self._waiting) > WAITING_MAX
        if self._transport is None or pause == self._read_paused:
            return
        self._read_paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def _head_too_large() -> Reply:
    return refused(431, f"request line and headers exceed {HEAD_BYTES_MAX} bytes")


@functools.lru_cache(maxsize=256)  # nearly all answers are one of a few
def _encode(reply: Reply, *, last: bool, head_only: bool) -> bytes:
    further = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    head = (
        f"HTTP/1.1 {reply.status} {reply.reason}\r\n{_SERVER_HEADER}Content-Type: application/json\r\n"
        f"Content-Length: {len(reply.body)}\r\n{further}{'Connection: close' if last else 'Connection: keep-alive'}\r\n\r\n"
    ).encode("latin-1")
    return head if head_only else head + reply.body
