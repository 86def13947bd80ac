"""Units of work that wait to be written, whatever the database."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from aegis_stream.errors import Unavailable

from .database import Lane, Unit

WRITE_TIMEOUT_S = 15.0
"""Longest wait for a write, seconds: a process stopped in the middle of its commit stops every writer that needs the same rows."""
STUCK_S = 2.0
"""How long a write may be under way before the store is not ready, seconds."""
EXPIRY_MARGIN_S = 0.1
"""How much longer a write is waited for that has begun, seconds."""


class Job:
    """One unit of work that waits to be written."""

    __slots__ = ("_patience_s", "_ticket", "error", "future", "lane", "result", "timer", "work")

    def __init__(self, work: Callable[[Unit], Any], lane: Lane, future: "asyncio.Future[Any]") -> None:
        self.work = work
        self.lane = lane
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._patience_s = WRITE_TIMEOUT_S
        self._ticket = [None]

    def wait_at_most(self, seconds: float) -> None:
        """Stop waiting after a while; on the event loop."""
        self._patience_s = seconds
        self.timer = self.future.get_loop().call_later(seconds, self.expire)

    def begin(self) -> bool:
        """Tell whether it may begin: once, and not after its caller was told that it failed. `pop` is atomic."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    def expire(self, *, begun: bool = False) -> None:
        """Stop waiting: a unit that has not begun will not begin; whether one that has begun is stored, nobody knows."""
        if self.future.done():
            return
        if not begun and not self.begin():
            # It may have begun just now: give its result a moment to arrive.
            again = functools.partial(self.expire, begun=True)
            self.timer = self.future.get_loop().call_later(EXPIRY_MARGIN_S, again)
            return
        self.future.set_exception(
            Unavailable(
                f"the store took no write for {self._patience_s:g} s: is one of its processes stopped?",
                code="store-stuck",
                retry_after_s=5,
            )
        )

    def resolve(self) -> None:
        """Tell whoever waits what came of it; on the event loop."""
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def answer(jobs: Sequence[Job]) -> None:
    """Tell whoever waits for these what came of them; called on a writer's thread."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, done in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            loop.call_soon_threadsafe(_resolve, done)


def stuck() -> Unavailable:
    """Return why the store is not ready while a write takes too long."""
    return Unavailable(
        f"a write is under way for more than {STUCK_S:g} s: is a process of the store stopped?",
        code="store-stuck",
        retry_after_s=5,
    )


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        job.resolve()
