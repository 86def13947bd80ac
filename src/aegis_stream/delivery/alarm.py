"""One timer of the event loop."""

import asyncio
from collections.abc import Callable

DELAY_MIN_S = 0.001
"""Shortest time until it rings, seconds: what is due at once must not keep the event loop busy."""


class Alarm:
    """Calls back once, at the earliest of the times it was set to since it last rang.

    Attributes:
        is_set: it will ring.
    """

    __slots__ = ("_at_s", "_handle", "_loop", "_ring", "is_set")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._at_s = 0.0
        self.is_set = False

    def ring_at(self, at_s: float) -> None:
        """Ring at a time of the event loop, seconds; a time it was set to before stays if it is earlier and not over."""
        now_s = self._loop.time()
        if self._handle is not None:
            if now_s < self._at_s <= at_s:
                return
            self._handle.cancel()
        self._at_s = max(at_s, now_s + DELAY_MIN_S)
        self._handle = self._loop.call_at(self._at_s, self._end)
        self.is_set = True

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self.is_set = None, False

    def _end(self) -> None:
        self._handle, self.is_set = None, False
        self._ring()
