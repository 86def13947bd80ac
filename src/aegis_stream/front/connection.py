"""One client's connection: one request, one body, one answer, and then the next.

Nothing of the next request is looked at before the answer to this one is written. Offers to upgrade are ignored, so the body
of a request is always its body. A client that is refused can read why: what it still sends is read and dropped for a while.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from enum import Enum
from typing import cast

from .answer import CONTINUE, Answer
from .body import BadChunk, Body
from .contract import Admitted, Bounds, Decision, Reception
from .head import CHUNKED, Head, Refusal, parse_head
from .shares import Holder

NEVER = 1e18
"""The deadline of a client that owes nothing: the answer is ours to give."""
LINGER_S = 5.0
"""How long a client that was refused may go on sending, seconds (RFC 9112 section 9.6)."""
LINGER_BYTES_MAX = 64 * 1024 * 1024
"""How many bytes it may send meanwhile."""
AHEAD_BYTES_MAX = 64 * 1024
"""Bytes behind a request that are taken from the socket while it is being answered."""
_NO_HEAD = re.compile(rb"\A[^\r!#$%&'*+\-.^_`|~0-9A-Za-z]|(?<!\r)\n")
"""What no head has: a first byte that is no method's, or a line that ends with LF alone."""


class Stage(Enum):
    """What happens next on a connection."""

    HEAD = "head"  # the client sends a head
    ADMISSION = "admission"  # we look whether the request may come in
    BODY = "body"  # the client sends the body
    ANSWER = "answer"  # we make the answer
    END = "end"  # the last answer is written; the client reads it and closes


class Connection(asyncio.Protocol):
    """HTTP/1.1 with one client.

    Args:
        address: where it comes from; "" for a Unix socket.
        deadline: loop time by which the client must have sent, or taken, what it owes.
        closing: no request is taken after this one.
        lost: nothing that is written arrives any more.
        on_lost: called when the connection ends; for the request under way.
    """

    transport: asyncio.Transport
    _network: Holder
    _head: Head
    _admitted: Admitted

    def __init__(self, reception: Reception, bounds: Bounds) -> None:
        self.address = ""
        self.deadline = NEVER
        self.closing = self.lost = False
        self.on_lost: Callable[[], None] | None = None
        self._reception, self._bounds = reception, bounds
        self._time = asyncio.get_running_loop().time
        self._stage = Stage.HEAD
        self._rest = b""  # came, and was not looked at yet
        self._searched = 0  # of it, for the end of a head
        self._blank = False  # an empty line was dropped before the head under way
        self._memo: tuple[bytes, Head | None] = b"", None  # most clients send the same head again
        self._body: Body | None = None
        self._charged = 0  # bytes under way that are counted for somebody
        self._charged_to: Holder | None = None
        self._write_paused = self._read_paused = self._advancing = self._stream_closes = False
        self._drained: asyncio.Future[None] | None = None
        self._dropped = 0

    # ── the connection ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection if there is room, or if room can be made."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        bounds = self._bounds
        self._network = bounds.shares.holder(bounds.network_of(self.address))
        has_room = bounds.shares.enter(self._network)
        bounds.open.add(self)
        bounds.deadlines.add(self)
        self._network.moved(self)
        self.deadline = self._time() + bounds.header_timeout_s
        if not has_room:
            count = bounds.shares.connections_max
            message = f"all {count} connections are in use: try again in a moment"
            self.refuse(Refusal(503, "too-many-connections", message))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        del exc
        self._leave()
        self._bounds.open.discard(self)
        self._wake_stream()
        if self.on_lost is not None:
            self.on_lost()

    def give_way(self, what: str) -> None:
        """Make room for others."""
        if what == "bytes" and self._stage in (Stage.ADMISSION, Stage.BODY):
            message = "too many bytes are under way for this organization or address: try again in a moment"
            self.refuse(Refusal(503, "too-many-bytes", message))
        else:
            self._leave()
            self.transport.abort()

    def _leave(self) -> None:
        """Hold nothing any more, once: its place is free before the transport has noticed."""
        if self.lost:
            return
        self.lost = True
        self._bounds.deadlines.discard(self)
        self._charge(self._network, 0)
        self._network.busy(self)
        self._bounds.shares.leave(self._network)

    def finish(self) -> None:
        """End after the request under way; at once where there is none."""
        self.closing = True
        if self._stage is Stage.HEAD:
            self.transport.close()

    def expire(self) -> None:
        """End a connection whose client is too slow."""
        if self._write_paused or self._stage is Stage.END:
            self.transport.abort()  # it does not even read what it was sent
        elif self._stage is Stage.BODY or (self._stage is Stage.HEAD and self._rest):
            what = "head" if self._stage is Stage.HEAD else "body"
            message = f"the {what} of the request did not arrive in time: send it at once"
            self.refuse(Refusal(408, "too-slow", message))
        elif self._stage is Stage.HEAD:
            self.transport.close()

    # ── what arrives ──

    def data_received(self, data: bytes) -> None:
        """Read on, within the limits."""
        if self.lost:
            return
        if self._stage is Stage.END:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES_MAX:
                self.transport.abort()
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._advance(data)

    def eof_received(self) -> bool:
        """Note that the client sends nothing more; it may still read the answer under way."""
        self.closing = True
        return self._stage in (Stage.ADMISSION, Stage.ANSWER)

    def _advance(self, data: bytes) -> None:
        """Take as many requests as are there and can be answered at once; keep the rest."""
        self._advancing = True
        try:
            while data and not self.lost:
                if self._stage is Stage.HEAD and not self._write_paused and not self.closing:
                    data = self._take_head(data)
                elif self._stage is Stage.BODY:
                    data = self._take_body(data)
                else:
                    break
        finally:
            self._advancing = False
        if data and not self.lost and self._stage is not Stage.END:
            self._rest = data
            if len(data) > AHEAD_BYTES_MAX and not self._read_paused:
                self._read_paused = True
                self.transport.pause_reading()

    def _go_on(self) -> None:
        """Look at what came while an answer was being made or taken."""
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()
        if self._rest and not self._advancing:
            data, self._rest = self._rest, b""
            self._advance(data)

    def _take_head(self, data: bytes) -> bytes:
        """Take a head, if it is whole; returns what is left to look at, nothing when more must come."""
        if not self._blank and data.startswith(b"\r\n"):
            data, self._blank = (
                data[2:],
                True,
            )  # RFC 9112 section 2.2: one empty line before a request is ignored
        end = data.find(b"\r\n\r\n", max(0, self._searched - 3))
        bounds = self._bounds
        if end > bounds.header_bytes_max or (end < 0 and len(data) > bounds.header_bytes_max + 3):
            return self._refuse_head(f"is larger than {bounds.header_bytes_max} bytes")
        if end < 0:
            self._wait_for_head(data)
            return b""
        self._searched, self._blank = 0, False
        raw, rest = data[: end + 4], data[end + 4 :]
        known, head = self._memo
        if raw != known or head is None:
            parsed = parse_head(raw)
            if isinstance(parsed, Refusal):
                self.refuse(parsed)
                return b""
            if len(parsed.fields) > bounds.headers_max:
                return self._refuse_head(f"has more than {bounds.headers_max} headers")
            head, self._memo = parsed, (raw, parsed)
        self._head = head
        self._network.busy(self)
        self._stage, self.deadline = Stage.ADMISSION, NEVER
        decision = self._reception.admit(head, self)
        if isinstance(decision, Admitted | Answer):
            self._settle(decision, has_more=bool(rest))
        else:
            asyncio.ensure_future(decision).add_done_callback(self._decided)
        return rest

    def _wait_for_head(self, data: bytes) -> None:
        """Wait for the rest of a head, unless what is there can be no head."""
        if _NO_HEAD.search(data) is not None:
            message = "this is not HTTP/1.1: its lines end with CR LF, and TLS is not spoken here"
            self.refuse(Refusal(400, "malformed", message))
            return
        if not self._searched:
            self.deadline = self._time() + self._bounds.header_timeout_s
        self._network.moved(self)
        self._searched, self._rest = len(data), data

    def _decided(self, task: "asyncio.Future[Decision]") -> None:
        if not self.lost and self._stage is Stage.ADMISSION:
            self._settle(task.result(), has_more=bool(self._rest))
            self._go_on()

    def _settle(self, decision: Decision, *, has_more: bool) -> None:
        """Answer at once, or begin with the body."""
        head = self._head
        if isinstance(decision, Answer):
            # What is left of the body is not worth reading: it would only be counted off.
            self.answer(decision._replace(closes=True) if head.length else decision)
            return
        self._admitted = decision
        if not head.length:
            self._serve(b"")
        elif head.length > decision.body_max:
            self._refuse_body()
        else:
            self._stage = Stage.BODY
            self.deadline = self._time() + self._bounds.body_timeout_s
            if head.wants_continue and not has_more:
                self.transport.write(CONTINUE)

    def _take_body(self, data: bytes) -> bytes:
        """Take what has come of the body; returns what is behind it."""
        length = self._head.length
        if self._body is None:
            if CHUNKED < length <= len(data):
                self._serve(data[:length])
                return data[length:]
            self._body = Body(length if length != CHUNKED else None)
        body = self._body
        try:
            used = body.feed(data)
        except BadChunk as error:
            self.refuse(Refusal(400, "malformed", f"the chunked body is malformed: {error}"))
            return b""
        if body.size > self._admitted.body_max:
            self._refuse_body()
            return b""
        if body.done:
            self._serve(body.whole())
        else:
            self._network.moved(self)
            self._charge(self._admitted.holder, body.size)
        return data[used:]

    def _serve(self, body: bytes) -> None:
        """Hand the request over: from here on the client only waits."""
        self._body = None
        if self._charged:
            self._charge(self._network, 0)
        self._network.busy(self)
        self._stage, self.deadline = Stage.ANSWER, NEVER
        self._admitted.serve(body, self)

    # ── what leaves ──

    def answer(self, answer: Answer) -> None:
        """Write a whole answer and go on with the next request."""
        if self.lost or self._stage is Stage.END:
            return
        closes = answer.closes or self.closing or not self._head.keep_alive
        ending = b"connection: close\r\n\r\n" if closes else b"\r\n"
        body = answer.body if self._head.method != "HEAD" else b""
        self.transport.write(b"".join((answer.head, ending, body)))
        self._answered(closes=closes)

    def begin_stream(self, head: bytes) -> None:
        """Begin an answer whose length is not known; `stream` gives its pieces."""
        if self.lost or self._stage is Stage.END:
            return
        self._stream_closes = self.closing or not self._head.keep_alive
        coding = b"transfer-encoding: chunked\r\n" if self._head.version == "1.1" else b""
        ending = b"connection: close\r\n\r\n" if self._stream_closes else b"\r\n"
        self.transport.write(head + coding + ending)

    async def stream(self, data: bytes, *, last: bool) -> None:
        """Write a piece of that answer; wait while the client does not read."""
        if self.lost or self._stage is Stage.END:
            return
        if self._head.method != "HEAD" and self._head.version == "1.1":
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"0\r\n\r\n" if last else b"")
        if data and self._head.method != "HEAD":
            self.transport.write(data)
        while self._write_paused and not self.lost:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if last and not self.lost:
            self._answered(closes=self._stream_closes)

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the application's stead, and end the connection."""
        if self.lost or self._stage is Stage.END:
            return
        answer = self._reception.refuse(refusal)
        self.transport.write(b"".join((answer.head, b"connection: close\r\n\r\n", answer.body)))
        self._linger()

    def _refuse_head(self, what: str) -> bytes:
        self.refuse(Refusal(431, "head-too-large", f"the head of the request {what}: send less"))
        return b""

    def _refuse_body(self) -> None:
        message = f"the body is larger than {self._admitted.body_max} bytes: send less at once"
        self.refuse(Refusal(413, "too-large", message))

    def _answered(self, *, closes: bool) -> None:
        """Go on after an answer that is written."""
        self.on_lost = None
        if closes:
            self._linger()
            return
        self._stage = Stage.HEAD
        self._network.moved(self)
        if self._write_paused:
            self._charge(self._network, self.transport.get_write_buffer_size())
        else:
            self.deadline = self._time() + self._bounds.keep_alive_s
            self._go_on()

    def _linger(self) -> None:
        """End our side. The client's is read on for a while: a reset would take the answer away from it."""
        self._body = None
        self._charge(self._network, self.transport.get_write_buffer_size() if self._write_paused else 0)
        self._stage, self._rest = Stage.END, b""
        self.deadline = self._time() + LINGER_S
        self._network.moved(self)
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read its answer."""
        if self.lost:
            return
        self._write_paused = True
        self.deadline = self._time() + self._bounds.body_timeout_s
        self._network.moved(self)

    def resume_writing(self) -> None:
        """Go on with a client that reads its answer."""
        if self.lost:
            return
        self._write_paused = False
        self._charge(self._network, 0)
        self._wake_stream()
        if self._stage is Stage.HEAD:
            self.deadline = self._time() + self._bounds.keep_alive_s
            self._go_on()
        elif self._stage is Stage.END:
            self.deadline = self._time() + LINGER_S
        else:
            self.deadline = NEVER
            self._network.busy(self)

    def _wake_stream(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _charge(self, holder: Holder, count: int) -> None:
        """Count bytes of this connection that are under way, in place of those counted before."""
        shares, before = self._bounds.shares, self._charged_to
        if before is not None:
            count_before, self._charged, self._charged_to = self._charged, 0, None
            before.charged.pop(self, None)
            shares.charge(before, -count_before)
        if count:
            self._charged, self._charged_to = count, holder
            holder.charged[self] = None
            shares.charge(holder, count)
