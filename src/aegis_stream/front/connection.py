"""One client's connection: one request, one body, one answer, and then the next.

Nothing of the next request is looked at before the answer to this one is written. Offers to upgrade are ignored, so the body
of a request is always its body. A client that is refused can read why: what it still sends is read and dropped for a while.
"""

import asyncio
import string
from typing import Final, cast

from .answer import CONTINUE, Answer
from .body import BadChunk, Body
from .contract import Admitted, Bounds, Decision, Reception
from .head import CHUNKED, Head, Refusal, parse_head
from .outgoing import LINGER_BYTES_MAX, Outgoing
from .place import NEVER, UNCOUNTED_BYTES, Stage
from .reading import Reading

AHEAD_BYTES_MAX: Final = 64 * 1024
"""Bytes behind a request that are taken from the socket while it is being answered."""
_CR: Final = ord("\r")
MEMO_BYTES_MAX: Final = 2048
"""Longest head that is kept for comparison with the next: thousands of idle connections keep one."""
_FIRST_BYTES: Final = frozenset(b"\r!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode())
"""What a head may begin with: a method, or an empty line."""
_UNFINISHED: Final = (Stage.BODY, Stage.END)


class Connection(Outgoing):
    """HTTP/1.1 with one client.

    Args:
        address: where it comes from; "" for a Unix socket.
    """

    _admitted: Admitted
    _reading: Reading

    def __init__(self, reception: Reception, bounds: Bounds) -> None:
        super().__init__(reception, bounds)
        self.address = ""
        self._searched = 0  # of it, for the end of a head
        self._blank = False  # an empty line was dropped before the head under way
        self._memo: tuple[bytes, Head | None] = b"", None  # most clients send the same head again
        self._body: Body | None = None
        self._advancing = False
        self._dropped = 0  # bytes behind a refusal

    # ── the connection ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection if there is room, or if room can be made."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        bounds = self._bounds
        self._reading = Reading(self.transport, bounds.reads)
        self.transport.set_write_buffer_limits(high=0)  # what the kernel does not take at once is counted
        self._holder = bounds.shares.holder(bounds.network_of(self.address))
        has_room = bounds.shares.enter(self._holder)
        bounds.open.add(self)
        bounds.deadlines.add(self)
        self._holder.moved(self)
        self.deadline = self._time() + bounds.header_timeout_s
        if not has_room:
            count = bounds.shares.connections_max
            message = f"all {count} connections are in use: try again in a moment"
            self.refuse(Refusal(503, "too-many-connections", message))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        del exc
        self._reading.closed = True
        self._leave()
        self._bounds.open.discard(self)
        self._wake_stream()
        if self.on_lost is not None:
            self.on_lost()

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
            else:
                self._reading.in_turn(self._holder.name)
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._advance(data)
        if self._rest or self._stage in _UNFINISHED:
            self._reading.in_turn(self._holder.name)

    def eof_received(self) -> bool:
        """Note that the client sends nothing more; it may still read the answer under way."""
        self.closing = True
        return self._stage in (Stage.ADMISSION, Stage.TURN, Stage.ANSWER)

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
            if len(data) > AHEAD_BYTES_MAX:
                self._reading.block()
            if len(data) > UNCOUNTED_BYTES or self._charged:
                self._count_bytes()

    def _end_input(self) -> None:
        """Let go of what has come; what still comes is dropped."""
        self._body, self._rest = None, b""
        self._reading.unblock()

    def _go_on(self) -> None:
        """Look at what came while an answer was being made or read."""
        self._reading.unblock()
        if self._rest and not self._advancing:
            data, self._rest = self._rest, b""
            self._advance(data)
            if self._charged:
                self._count_bytes()

    def _take_head(self, data: bytes) -> bytes:
        """Take a head, if it is whole; returns what is left to look at, nothing when more must come."""
        if not self._blank and data.startswith(b"\r\n"):
            # RFC 9112 section 2.2: one empty line before a request is ignored.
            data, self._blank, self._searched = data[2:], True, 0
        end = data.find(b"\r\n\r\n", max(0, self._searched - 3))
        bounds = self._bounds
        if end > bounds.header_bytes_max or (end < 0 and len(data) > bounds.header_bytes_max + 3):
            return self._refuse_head(f"is larger than {bounds.header_bytes_max} bytes")
        if end < 0:
            self._wait_for_head(data)
            return b""
        self._searched, self._blank = 0, False
        raw, rest = data[: end + 4], data[end + 4 :]
        head = self._memo[1] if raw == self._memo[0] else self._parse(raw)
        if head is None:
            return b""
        self._head = head
        self._holder.busy(self)
        self._stage, self.deadline = Stage.ADMISSION, NEVER
        if self._charged or self._head_bytes:
            self._count_bytes()
            if self._stage is not Stage.ADMISSION:  # it had to give way
                return b""
        decision = self._reception.admit(head, self)
        if isinstance(decision, (Admitted, Answer)):
            self._settle(decision, has_more=bool(rest))
        else:
            asyncio.ensure_future(decision).add_done_callback(self._decided)
        return rest

    def _parse(self, raw: bytes) -> Head | None:
        """Read a head; None where it is refused."""
        parsed = parse_head(raw)
        if isinstance(parsed, Refusal):
            self.refuse(parsed)
            return None
        if len(parsed.fields) > self._bounds.headers_max:
            self._refuse_head(f"has more than {self._bounds.headers_max} headers")
            return None
        if len(raw) <= MEMO_BYTES_MAX:
            self._memo = raw, parsed
        else:
            self._head_bytes = len(raw)
        return parsed

    def _wait_for_head(self, data: bytes) -> None:
        """Wait for the rest of a head, unless what is there can be no head."""
        if not _may_be_head(data, self._searched):
            message = "this is not HTTP/1.1: its lines end with CR LF, and TLS is not spoken here"
            self.refuse(Refusal(400, "malformed", message))
            return
        if not self._searched:
            self.deadline = self._time() + self._bounds.header_timeout_s
        self._holder.moved(self)
        self._searched, self._rest = len(data), data
        if len(data) > UNCOUNTED_BYTES:
            self._count_bytes()

    def _decided(self, task: "asyncio.Future[Decision]") -> None:
        if not self.lost and self._stage is Stage.ADMISSION:
            self._settle(task.result(), has_more=bool(self._rest))
            self._go_on()

    def _settle(self, decision: Decision, *, has_more: bool) -> None:
        """Answer at once, or begin with the body."""
        head = self._head
        if isinstance(decision, Answer):
            self._answer_at_once(decision)
            return
        self._admitted = decision
        if decision.holder != self._holder.name:
            self._held_by(decision.holder)
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
            self._holder.moved(self)
            self._body_bytes = body.size
            self._count_bytes()
        return data[used:]

    def _serve(self, body: bytes) -> None:
        """Hand the request over: from here on the client only waits."""
        self._body = None
        self._holder.busy(self)
        self._stage, self.deadline = Stage.ANSWER, NEVER
        if self._body_bytes:
            self._body_bytes = len(body)
            self._count_bytes()
        self._admitted.serve(body, self)

    def _answer_at_once(self, answer: Answer) -> None:
        """Answer a request by its head alone."""
        if self._head.length:
            # What is left of the body is not worth reading: it would only be counted off.
            self.answer(answer._replace(closes=True))
            return
        self._stage = Stage.ANSWER
        self.call(b"", lambda _: self.answer(answer))

    @property
    def head(self) -> Head:
        """The head of the request under way."""
        return self._head

    def _refuse_head(self, what: str) -> bytes:
        self.refuse(Refusal(431, "head-too-large", f"the head of the request {what}: send less"))
        return b""

    def _refuse_body(self) -> None:
        message = f"the body is larger than {self._admitted.body_max} bytes: send less at once"
        self.refuse(Refusal(413, "too-large", message))


def _may_be_head(data: bytes, searched: int) -> bool:
    """Tell whether this may be the beginning of a head: it begins with a method, and no line ends with LF alone.

    Args:
        searched: bytes of it for which this was true already.
    """
    if data and data[0] not in _FIRST_BYTES:
        return False
    start = searched - 1 if searched and data[searched - 1] == _CR else searched
    return data.count(b"\n", start) == data.count(b"\r\n", start)
