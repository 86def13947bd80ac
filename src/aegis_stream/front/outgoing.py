"""The outgoing half of a client's connection: answers, refusals, and clients that do not read them.

`Connection` adds the incoming half. A client that is refused can read why: what it still sends is read and dropped for a while.
"""

import asyncio
import contextlib
from collections.abc import Callable

from .answer import Answer
from .contract import Bounds, Reception
from .head import NO_HEAD, Head, Refusal
from .place import NEVER, Place, Stage

LINGER_S = 5.0
"""How long a client that was refused may go on sending, seconds (RFC 9112 section 9.6)."""
LINGER_BYTES_MAX = 64 * 1024 * 1024
"""How many bytes it may send meanwhile."""


class Outgoing(Place):
    """Writes answers, one for each request.

    Args:
        closing: no request is taken after this one.
        on_lost: called when the connection ends; for the request under way.
    """

    _head: Head

    def __init__(self, reception: Reception, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.closing = False
        self.on_lost: Callable[[], None] | None = None
        self._reception = reception
        self._time = asyncio.get_running_loop().time
        self._stream_closes = False
        self._drained: asyncio.Future[None] | None = None

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
        data = b"".join((answer.head, ending, body))
        self.transport.write(data)
        if self._write_paused:
            self._unread_bytes = len(data)  # kept whole until the last byte has gone
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
        if self._write_paused:
            self._unread_bytes = len(data)
            self._count_bytes()
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
        self._holder.moved(self)
        self._body_bytes = 0
        if self._head_bytes:
            self._head, self._head_bytes = NO_HEAD, 0
        if self._write_paused or self._charged:
            self._count_bytes()
        if not self._write_paused and not self.lost:
            self.deadline = self._time() + self._bounds.keep_alive_s
            self._go_on()

    def _linger(self) -> None:
        """End our side. The client's is read on for a while: a reset would take the answer away from it."""
        self._drop_turn()
        self._end_input()
        self._stage = Stage.END
        self._head_bytes = self._body_bytes = 0
        self._count_bytes()
        if self.lost:
            return
        self.deadline = self._time() + LINGER_S
        self._holder.moved(self)
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read its answer."""
        if self.lost:
            return
        self._write_paused = True
        self.deadline = self._time() + self._bounds.body_timeout_s
        self._holder.moved(self)

    def resume_writing(self) -> None:
        """Go on with a client that reads its answer."""
        if self.lost:
            return
        self._write_paused = False
        self._unread_bytes = 0
        self._count_bytes()
        self._wake_stream()
        if self._stage is Stage.HEAD:
            self.deadline = self._time() + self._bounds.keep_alive_s
            self._go_on()
        elif self._stage is Stage.END:
            self.deadline = self._time() + LINGER_S
        else:
            self.deadline = NEVER
            self._holder.busy(self)

    def _wake_stream(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
