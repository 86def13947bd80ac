"""How an organization stands, again and again, for whoever watches: one reader for each organization, and none while nobody does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.errors import AegisError, Limited

from . import overview
from .caller import Caller
from .deps import ControlDeps
from .overview import Overview

WATCHERS_MAX = 50
"""Most watchers of one organization in a process."""
ALL_WATCHERS_MAX = 1000
"""Most watchers in a process."""


@dataclass(eq=False, slots=True)
class _Watcher:
    """One who watches.

    Args:
        news: set after a read, and when it is over.
    """

    news: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Ticker:
    """Reads one organization while somebody watches it.

    Args:
        reading: held during a read, so that `newest` never goes back to what an older read found.
        begun: how many reads have begun.
        succeeded: number of the newest read that succeeded.
    """

    watchers: set[_Watcher] = field(default_factory=set)
    task: "asyncio.Task[None] | None" = None
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    succeeded: int = 0
    newest: Overview | None = None
    fault: AegisError | None = None

    async def read(self, deps: ControlDeps, caller: Caller) -> None:
        """Read, unless another read has begun since the call. Raises: NotFound, Unavailable."""
        before = self.begun
        async with self.reading:
            if self.succeeded > before:
                return
            self.begun += 1
            number = self.begun
            found = await overview.read(deps, caller)
            self.succeeded = number
            if found != self.newest:
                self.newest = found


@dataclass(slots=True)
class Live:
    """Lets any number of watchers share one read a second.

    Args:
        interval_s: pause between two reads of an organization, seconds.
    """

    interval_s: float = 1.0
    _tickers: dict[OrganizationNo, _Ticker] = field(default_factory=dict)
    _closed: bool = False

    @property
    def watchers(self) -> int:
        """How many watch at present."""
        return sum(len(one.watchers) for one in self._tickers.values())

    async def watch(self, deps: ControlDeps, caller: Caller) -> AsyncIterator[Overview]:
        """Yield how the caller's organization stands: at once, and after each read, the newest only for a slow watcher.

        What is yielded first was read after the call: whoever has just opened a page must not be shown what was before it.
        Without a change the same object is yielded again. It ends when `close` is called.
        Raises: Limited when too many watch. NotFound, Unavailable when it cannot be read.
        """
        ticker = self._tickers.get(caller.organization_no) or _Ticker()
        if len(ticker.watchers) >= WATCHERS_MAX or self.watchers >= ALL_WATCHERS_MAX:
            raise Limited(
                f"{WATCHERS_MAX} streams of this organization are open, or {ALL_WATCHERS_MAX} of all: close some",
                retry_after_s=5,
                code="rate-limited",
            )
        self._tickers[caller.organization_no] = ticker
        watcher = _Watcher()
        ticker.watchers.add(watcher)
        try:
            await ticker.read(deps, caller)
            watcher.news.set()
            if ticker.task is None:
                ticker.task = asyncio.create_task(self._tick(ticker, deps, caller))
            while not self._closed:
                await watcher.news.wait()
                watcher.news.clear()
                if ticker.fault is not None:
                    raise ticker.fault
                if ticker.newest is not None and not self._closed:
                    yield ticker.newest
        finally:
            ticker.watchers.discard(watcher)
            if not ticker.watchers:
                if ticker.task is not None:
                    ticker.task.cancel()
                self._forget(ticker, caller)

    def close(self) -> None:
        """End all streams: the process is about to stop."""
        self._closed = True
        for ticker in self._tickers.values():
            for watcher in ticker.watchers:
                watcher.news.set()

    async def _tick(self, ticker: _Ticker, deps: ControlDeps, caller: Caller) -> None:
        """Read again and again; a fault ends the streams, whose clients come again."""
        while ticker.fault is None:
            await asyncio.sleep(self.interval_s)
            try:
                await ticker.read(deps, caller)
            except AegisError as error:
                ticker.fault = error
                self._forget(ticker, caller)  # who comes now must not get this fault
            for watcher in ticker.watchers:
                watcher.news.set()

    def _forget(self, ticker: _Ticker, caller: Caller) -> None:
        if self._tickers.get(caller.organization_no) is ticker:
            del self._tickers[caller.organization_no]
