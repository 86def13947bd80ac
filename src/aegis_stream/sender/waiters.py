"""The attempts of one channel that wait for a connection. Called by `pool`.

A free connection is passed on to the one that has waited longest. One that only may try again is told alone: of many that are
woken for one place all others would look in vain.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from .wire import Connection


class Waiters:
    """Those who wait, in their order; true while there are some."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def tell(self, connection: Connection | None) -> bool:
        """Tell the one that has waited longest; return False if nobody waits.

        Args:
            connection: a free one, which is theirs now; None to let them try again.
        """
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def wait(self, until_s: float, pass_on: Callable[[Connection | None], None]) -> Connection | None:
        """Wait until told.

        Args:
            until_s: loop time.
            pass_on: called with what was told to a waiter that was cancelled at the same moment.
        Returns: what was told.
        Raises: TimeoutError if nothing was told by `until_s`; CancelledError.
        """
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(until_s):
                await waiter
        except TimeoutError:
            if waiter.cancelled():
                raise
        except asyncio.CancelledError:
            if not waiter.cancelled():
                pass_on(waiter.result())
            raise
        finally:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiter)
        return waiter.result()
