"""One timer for the deadlines of all connections.

Called by `pool`. A timer per request would cost more than writing the request; checking every connection five times a
second costs too little to measure.
"""

import asyncio
import math
from typing import Protocol

PERIOD_S = 0.2
"""Seconds between two checks, and so how late a deadline may be noticed; `ports` allows a quarter of a second."""

IDLE = math.inf
"""Deadline of a connection that became idle after the last check."""


class Watched(Protocol):
    """Something with a deadline."""

    deadline: float

    def expire(self) -> None:
        """End the current exchange as timed out, or close the connection if it is idle."""
        ...


class Watch:
    """Expires connections whose deadline has passed; the timer runs only while there are connections.

    Args:
        idle_s: seconds after which an idle connection is closed.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        """Watch a connection; called on the event loop."""
        self._watched.add(watched)
        if self._timer is None:
            self._set(asyncio.get_running_loop())

    def discard(self, watched: Watched) -> None:
        """Stop watching; does nothing if it is not watched."""
        self._watched.discard(watched)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(PERIOD_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._set(loop)
        now = loop.time()
        for watched in list(self._watched):
            deadline = watched.deadline
            if deadline <= now:
                watched.expire()
            elif deadline == IDLE:
                # Set here and not at the end of each request, so that the hot path needs no clock.
                watched.deadline = now + self._idle_s
