"""When a client's socket is read: not while too much waits for an answer, and in turns while a request is unfinished.

Whole requests are read as they come. A client that sends pieces has the next one read when its holder has its turn: with a
thousand such clients, a round of the event loop would otherwise be spent on reading from all of them.
"""

import asyncio

from .turns import Turns


class Reading:
    """Pauses and resumes one transport."""

    __slots__ = ("_blocked", "_in_line", "_loop", "_transport", "_turns", "closed")

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        self.closed = False
        self._transport, self._turns = transport, turns
        self._loop = asyncio.get_running_loop()
        self._blocked = self._in_line = False

    def block(self) -> None:
        """Read nothing until `unblock`."""
        if not self._blocked:
            self._blocked = True
            if not self._in_line:
                self._transport.pause_reading()

    def unblock(self) -> None:
        """Read on; does nothing where nothing is blocked."""
        if self._blocked:
            self._blocked = False
            self._resume()

    def in_turn(self, holder: str) -> None:
        """Read the next piece when it is the holder's turn."""
        if self._blocked or self._in_line or self._transport.is_closing():
            return
        self._in_line = True
        self._transport.pause_reading()
        if self._turns.take():
            self._loop.call_soon(self._begin)
        else:
            self._turns.wait(holder, self, self._begin_if_open)

    def _begin_if_open(self) -> bool:
        if self.closed:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        """Read in this round of the event loop, which ends the turn."""
        self._in_line = False
        self._loop.call_soon(self._turns.end)
        self._resume()

    def _resume(self) -> None:
        if not (self._blocked or self._in_line or self.closed or self._transport.is_closing()):
            self._transport.resume_reading()
