"""The outgoing half of a client's connection: answers, refusals, and clients that do not read them.

`Connection` adds the incoming half. A client that is refused can read why: what it still sends is read and dropped for a while.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum

from .answer import Answer
from .contract import Bounds, Reception
from .head import Head, Refusal
from .shares import Holder

NEVER = 1e18
"""The deadline of a client that owes nothing: the answer is ours to give."""
LINGER_S = 5.0
"""How long a client that was refused may go on sending, seconds (RFC 9112 section 9.6)."""
LINGER_BYTES_MAX = 64 * 1024 * 1024
"""How many bytes it may send meanwhile."""


class Stage(Enum):
    """What happens next on a connection."""

    HEAD = "head"  # the client sends a head
    ADMISSION = "admission"  # we look whether the request may come in
    BODY = "body"  # the client sends the body
    ANSWER = "answer"  # we make the answer
    END = "end"  # the last answer is written; the client reads it and closes


class Outgoing(asyncio.Protocol):
    """Writes answers, one for each request.

    Args:
        deadline: loop time by which the client must have sent, or read, what it owes.
        closing: no request is taken after this one.
        lost: nothing that is written arrives any more.
        on_lost: called when the connection ends; for the request under way.
    """

    transport: asyncio.Transport
    _network: Holder
    _head: Head

    def __init__(self, reception: Reception, bounds: Bounds) -> None:
        self.deadline = NEVER
        self.closing = self.lost = False
        self.on_lost: Callable[[], None] | None = None
        self._reception, self._bounds = reception, bounds
        self._time = asyncio.get_running_loop().time
        self._stage = Stage.HEAD
        self._charged = 0  # bytes under way that are counted for somebody
        self._charged_to: Holder | None = None
        self._write_paused = self._stream_closes = False
        self._drained: asyncio.Future[None] | None = None

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

    def expire(self) -> None:
        """End a connection whose client is too slow."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """Look at what came while an answer was being made or read."""
        raise NotImplementedError

    def _end_input(self) -> None:
        """Let go of what has come."""
        raise NotImplementedError

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
        self._end_input()
        self._charge(self._network, self.transport.get_write_buffer_size() if self._write_paused else 0)
        self._stage = Stage.END
        self.deadline = self._time() + LINGER_S
        self._network.moved(self)
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
        shares, before, count_before = self._bounds.shares, self._charged_to, self._charged
        self._charged, self._charged_to = count, holder if count else None
        if before is not None:
            before.charged.pop(self, None)
        if count:
            holder.charged[self] = None  # last: it moved just now
        if before is not None and before is not holder:
            shares.charge(before, -count_before)
            count_before = 0
        # By the difference: a holder that holds nothing for a moment would be forgotten.
        if count != count_before:
            shares.charge(holder, count - count_before)
