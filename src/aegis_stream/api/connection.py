"""One client's connection: limits on the head of a request, and on slow and idle clients.

uvicorn's HTTP/1.1 limits neither the size of a head nor the time it takes, and waits for ever for the rest of a request.
`bounded_http` returns the protocol class that `serving` gives to uvicorn. When all connections are in use, the one that has
been idle for longest is closed, so that idle clients never lock out working ones.

A request that offers another protocol (`Upgrade`, as Java's HttpClient and `curl --http2` send it) is an ordinary request: the
offer is ignored, as RFC 9110 section 7.8 allows. httptools cannot do that by itself: it skips the body of such a request and
reads the bytes behind its head as the next request. So the head is read a second time, without the offer, by a fresh parser.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aegis_stream.sender.watch import IDLE, Watch
from aegis_stream.settings import ApiSettings

from .problems import plain_problem

NEVER = 1e18
"""The deadline of a connection that waits for our answer, not for its client."""
_LINE = {
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Stage(Enum):
    """What the client sends next."""

    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing"


@dataclass(slots=True)
class ListenerState:
    """What the connections of one listener share.

    Args:
        waiting: connections without a request in progress, longest idle first.
    """

    connections_max: int
    header_bytes_max: int
    headers_max: int
    header_timeout_s: float
    body_timeout_s: float
    watch: Watch
    waiting: "dict[BoundedHttp, None]" = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ApiSettings) -> "ListenerState":
        """Return the limits of the settings."""
        return cls(
            settings.connections_max,
            settings.header_bytes_max,
            settings.headers_max,
            settings.header_timeout_seconds,
            settings.body_timeout_seconds,
            Watch(settings.keep_alive_seconds),
        )


def bounded_http(settings: ApiSettings) -> type[HttpToolsProtocol]:
    """Return the protocol class of one listener, for uvicorn's option `http`."""
    return type("BoundedHttp", (BoundedHttp,), {"listener": ListenerState.of(settings)})


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 with limits; the rest is uvicorn's.

    Args:
        deadline: loop time by which the client must have sent its request, or received its answer.
    """

    listener: ListenerState

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.deadline = NEVER
        self._stage = Stage.HEAD
        self._stage_before = Stage.HEAD
        self._begun = False
        self._chunk_bytes = 0
        self._head_bytes = 0
        self._moved = False
        self._refused = False
        self._offers_upgrade = False

    # ── the connection ──

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, if necessary in place of an idle one."""
        listener = self.listener
        if len(self.connections) >= listener.connections_max and listener.waiting:
            next(iter(listener.waiting)).leave()
        full = len(self.connections) >= listener.connections_max
        super().connection_made(transport)
        self.deadline = self.loop.time() + listener.header_timeout_s
        listener.watch.add(self)
        if full:
            self._refuse(
                *plain_problem(
                    503,
                    "too-many-connections",
                    "Service unavailable",
                    f"{listener.connections_max} connections are open, the limit: try again in a moment",
                )
            )
            return
        listener.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._forget()
        super().connection_lost(exc)

    def leave(self) -> None:
        """Close an idle connection, to make listener."""
        self._forget()
        self.connections.discard(self)
        self.transport.close()

    def _forget(self) -> None:
        self.listener.waiting.pop(self, None)
        self.listener.watch.discard(self)

    def expire(self) -> None:
        """End a connection whose client is too slow."""
        if self._refused or self.deadline >= NEVER:
            return
        if self.flow.write_paused:
            self._refused = True
            self.transport.abort()  # it does not even read its answer
        elif self._begun or self._stage is Stage.BODY:
            what = "head" if self._stage is Stage.HEAD else "body"
            self._refuse(
                *plain_problem(
                    408,
                    "too-slow",
                    "Too slow",
                    f"the {what} of the request did not arrive in time: send it without pauses",
                )
            )
        else:
            self.leave()

    # ── what arrives ──

    def data_received(self, data: bytes) -> None:
        """Read on, within the limits."""
        if self._refused:
            return
        self._chunk_bytes, self._moved = len(data), False
        self._stage_before = self._stage
        self._parse(data)
        if self._stage is Stage.NOTHING or self._refused:
            return
        if not self._moved:
            # The parser reported nothing: a head, or trailers, without an end.
            self._head_bytes += len(data)
            if self._head_bytes > self.listener.header_bytes_max:
                self._refuse_head("larger than", self.listener.header_bytes_max, "bytes")
                return
        if self._stage is not self._stage_before or not self._begun:
            in_head = self._stage is Stage.HEAD
            self._begun = True
            timeout_s = self.listener.header_timeout_s if in_head else self.listener.body_timeout_s
            self.deadline = self.loop.time() + timeout_s

    def _parse(self, data: bytes) -> None:
        """Hand bytes to the parser. In place of uvicorn's own, which drops what follows an offer to upgrade."""
        rest: memoryview | None = memoryview(data)
        try:
            while rest is not None and not self._refused:
                rest = self._parse_to_offer(rest)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _parse_to_offer(self, data: memoryview) -> memoryview | None:
        """Parse up to the end of a head that offers an upgrade; returns the bytes behind it, None when all are parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if not self._refused:
                self._reread_head()
            return data[pause.args[0] :]
        return None

    def _reread_head(self) -> None:
        """Read the head that has just ended once more, without its offer to upgrade, by a fresh parser.

        The fresh parser then stands before the body, with the same method, version and framing headers. The first parser has
        checked every byte of the head, so that writing it anew cannot change its meaning.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        head = [b"%s %s HTTP/%s" % (method, self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(b"\r\n".join([*head, b"", b""]))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._stage = Stage.HEAD
        self._begun = False

    def on_headers_complete(self) -> None:
        """Begin to answer a request, unless its head exceeds a limit."""
        listener = self.listener
        if self._refused:
            return
        if len(self.headers) > listener.headers_max:
            self._refuse_head("longer than", listener.headers_max, "headers")
            return
        if self._head_bytes + self._chunk_bytes > listener.header_bytes_max:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > listener.header_bytes_max:
                self._refuse_head("larger than", listener.header_bytes_max, "bytes")
                return
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._refuse_connect()
            self._offers_upgrade = True
            return
        listener.waiting.pop(self, None)
        self._stage, self._moved, self._head_bytes = Stage.BODY, True, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        if not self._refused:
            self._moved, self._head_bytes = True, 0
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request: from now on the client waits for the answer."""
        if not (self._refused or self._offers_upgrade):
            self._stage, self._moved, self._head_bytes = Stage.NOTHING, True, 0
            self.deadline = IDLE if self.cycle.response_complete else NEVER
            super().on_message_complete()

    # ── what leaves ──

    def on_response_complete(self) -> None:
        """End an answer: the connection is idle, or still has to send the rest of a body that nobody reads.

        Replaces uvicorn's own, which sets a timer for each idle connection; here one watch checks all of them.
        """
        self.server_state.total_requests += 1
        if self._refused or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self.listener.waiting[self] = None
        if self._stage is Stage.NOTHING and not self.flow.write_paused:
            self.deadline = IDLE

    def pause_writing(self) -> None:
        """Note that the client does not read its answer."""
        super().pause_writing()
        self.deadline = self.loop.time() + self.listener.body_timeout_s

    def resume_writing(self) -> None:
        """Note that the client reads its answer again."""
        super().resume_writing()
        self.deadline = IDLE if self.cycle.response_complete else NEVER

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        del msg
        self._refuse(
            *plain_problem(
                400, "malformed", "The request cannot be read", "this is not a valid HTTP/1.1 request"
            )
        )

    def _refuse_head(self, what: str, limit: int, unit: str) -> None:
        self._refuse(
            *plain_problem(
                431,
                "head-too-large",
                "Head too large",
                f"the head of the request is {what} {limit} {unit}, the limit: send fewer or shorter headers",
            )
        )

    def _refuse_connect(self) -> None:
        status, headers, body = plain_problem(
            405,
            "method-not-allowed",
            "Method not allowed",
            "this service is not a proxy: use GET, POST, PATCH or DELETE",
        )
        self._refuse(status, {**headers, "allow": "GET, POST, PATCH, DELETE"}, body)

    def _refuse(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answer in place of the application, and close; nothing more of this connection is read."""
        if self._refused:
            return
        self._refused = True
        self._forget()
        cycle: Any = self.cycle  # None before the first request
        under_way = cycle is not None and not cycle.response_complete
        if not (under_way and cycle.response_started):
            named = {**headers, "content-length": str(len(body)), "connection": "close"}
            if status == 503:
                named["retry-after"] = "1"
            lines = [
                f"HTTP/1.1 {status} {_LINE[status]}",
                *(f"{name}: {value}" for name, value in named.items()),
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        if under_way:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
