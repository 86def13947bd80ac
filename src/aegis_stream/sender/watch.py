"""One timer for the deadlines of all connections.

Called by `pool`. A timer per request would cost more than writing the request does; a look at every connection five
times a second costs nothing that can be measured.
"""

import asyncio
import math
from typing import Protocol

PERIOD_S = 0.2
"""Seconds between two looks; how late a deadline may be noticed, and below the quarter second that ports allows."""

IDLE = math.inf
"""The deadline of a connection that carries nothing since less than a period."""


class Watched(Protocol):
    """What has a deadline."""

    deadline: float

    def expire(self) -> None:
        """End what is under way as timed out, or close if nothing is."""
        ...


class Watch:
    """Expires the connections whose deadline has passed; runs only while there are any.

    Args:
        idle_s: seconds after which a connection without work is closed.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        """Begin to watch; called on the event loop."""
        self._watched.add(watched)
        if self._timer is None:
            self._set(asyncio.get_running_loop())

    def discard(self, watched: Watched) -> None:
        """Stop watching; does nothing for what is not watched."""
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
                # Noted here and not at the end of each request: the hot path then needs no clock for it.
                watched.deadline = now + self._idle_s
