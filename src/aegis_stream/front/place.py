"""The place of a connection among all others: whom it is counted for, what it holds, whose turn it is, when it gives way.

`Outgoing` adds answers, `Connection` requests.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from .contract import Bounds
from .head import Refusal
from .shares import Holder
from .turns import Turns

NEVER: Final = 1e18
"""The deadline of a client that owes nothing: the answer is ours to give."""
UNCOUNTED_BYTES: Final = 4096
"""A connection that holds no more than this is not counted: with the most connections that is 16 MiB, and ordinary requests cost nothing."""


class Stage(Enum):
    """What happens next on a connection."""

    HEAD = "head"  # the client sends a head
    ADMISSION = "admission"  # we look whether the request may come in
    BODY = "body"  # the client sends the body
    TURN = "turn"  # the request waits for its turn
    ANSWER = "answer"  # we make the answer
    END = "end"  # the last answer is written; the client reads it and closes


_REFUSABLE: Final = (Stage.HEAD, Stage.ADMISSION, Stage.BODY, Stage.TURN)
"""No answer has begun."""


class Place:
    """A connection among others.

    `Connection` has the methods of `asyncio.Protocol` and does not inherit from it: attributes of a class that the compiler does not
    know cost five times as much.

    Args:
        deadline: loop time by which the client must have sent, or read, what it owes.
        lost: nothing that is written arrives any more, and nothing is held.
    """

    transport: asyncio.Transport
    _holder: Holder

    def __init__(self, bounds: Bounds) -> None:
        self.deadline = NEVER
        self.lost = False
        self._bounds = bounds
        self._stage = Stage.HEAD
        self._write_paused = False
        self._charged = 0  # bytes that are counted for the holder
        self._rest = b""  # came, and was not looked at yet
        self._head_bytes = self._body_bytes = self._unread_bytes = 0  # held here beside it
        self._turn: tuple[Turns, bytes, Callable[[bytes], None]] | None = None  # what waits for its turn

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the application's stead, and end the connection."""
        raise NotImplementedError

    def expire(self) -> None:
        """End a connection whose client is too slow."""
        raise NotImplementedError

    def give_way(self, what: str) -> None:
        """Make room for others."""
        if what == "bytes" and self._stage in _REFUSABLE and not self._write_paused:
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
        self._drop_turn()
        self._rest = b""
        self._head_bytes = self._body_bytes = self._unread_bytes = 0
        self._count_bytes()
        self._holder.busy(self)
        self._bounds.shares.leave(self._holder)

    def call(self, body: bytes, work: Callable[[bytes], None]) -> None:
        """Begin with a request in its turn; a round of the event loop begins with few of them."""
        turns = self._bounds.turns

        def begin(body: bytes) -> None:
            asyncio.get_running_loop().call_soon(turns.end)
            work(body)

        self.wait_for_turn(turns, body, begin)

    def wait_for_turn(self, turns: Turns, body: bytes, work: Callable[[bytes], None]) -> None:
        """Begin with a request when its holder's turn comes, at once where one is free.

        While it waits, its body is counted, and the connection may give way; then it is never begun.

        Args:
            work: called with the body; it ends the turn when it has done its part.
        """
        if turns.take():
            work(body)
            return
        self._stage, self._turn = Stage.TURN, (turns, body, work)
        self._body_bytes = len(body)
        turns.wait(self._holder.name, self, self._begin_turn)
        self._holder.moved(self)
        self._count_bytes()

    def _begin_turn(self) -> bool:
        """Begin with the request that waited. Returns: False where it is gone."""
        if self._turn is None:
            return False
        _, body, work = self._turn
        self._turn, self._stage = None, Stage.ANSWER
        self._holder.busy(self)
        work(body)
        return True

    def drop_body(self) -> None:
        """Count the body of the request under way no more: somebody else counts it, or it is gone."""
        if self._body_bytes:
            self._body_bytes = 0
            self._count_bytes()

    def _drop_turn(self) -> None:
        if self._turn is not None:
            self._turn[0].leave(self._holder.name, self)
            self._turn = None

    def _held_by(self, name: str) -> None:
        """Count this connection for somebody else from now on."""
        shares, before = self._bounds.shares, self._holder
        self._holder = shares.holder(name)
        shares.move(self, before, self._holder, self._charged)

    def _count_bytes(self) -> None:
        """Count what is held here; it may have to give way at once."""
        held = len(self._rest) + self._head_bytes + self._body_bytes + self._unread_bytes
        held = held if held > UNCOUNTED_BYTES else 0
        change, self._charged = held - self._charged, held
        if not change:
            return
        holder = self._holder
        holder.charged.pop(self, None)
        if held:
            holder.charged[self] = None  # last: it moved just now
        self._bounds.shares.charge(holder, change)
