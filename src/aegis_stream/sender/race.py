"""Which of a name's addresses to connect to: one after the other, with a short head start, and the first one wins.

Called by `dial`. Broken IPv6, or an address whose host is down, swallows packets: waiting for it to fail would use up the
attempt. Source: RFC 8305 (happy eyeballs), with a bound on what is under way, and a memory of the addresses that failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

HEAD_START_S = 0.25
"""How long an address is tried alone before the next one, seconds. Source: RFC 8305 section 5."""
HANDSHAKE_S = 2.0
"""The same for one that has accepted the connection, and is in the TLS handshake."""
UNDER_WAY_MAX = 6
"""Most addresses that are tried at the same time; for the next one the oldest is given up."""
DEAD_S = 60.0
"""How long an address that failed is tried after all others, seconds."""


class Closable(Protocol):
    """What a connect makes."""

    def abort(self) -> None:
        """Close at once."""
        ...


Made = TypeVar("Made", bound=Closable)


class Failed(Exception):
    """A connect failed in a way that says nothing about the other addresses.

    Args:
        why: what to raise if no address works.
        dead: the address does not work, so that others are tried before it for a while.
    """

    def __init__(self, why: Exception, *, dead: bool = True) -> None:
        super().__init__()
        self.why = why
        self.dead = dead


class Progress:
    """How far the connect to one address has come."""

    __slots__ = ("accepted", "address")

    def __init__(self, address: str) -> None:
        self.address = address
        self.accepted = False


class Reach:
    """What is known about the addresses of a name, by experience."""

    def __init__(self) -> None:
        self._dead_until: dict[str, float] = {}
        self._worked: set[str] = set()

    def in_order(self, addresses: Sequence[str], now: float) -> list[str]:
        """Return the addresses in their order, but those last that failed a short time ago."""
        self._dead_until = {
            address: until
            for address, until in self._dead_until.items()
            if until > now and address in addresses
        }
        self._worked &= set(addresses)
        return sorted(addresses, key=lambda address: self._dead_until.get(address, 0.0))

    @property
    def knows_one(self) -> bool:
        """True if an address is known that works."""
        return bool(self._worked)

    def failed(self, address: str, now: float) -> None:
        """Remember that an address failed, or did not answer in time."""
        self._worked.discard(address)
        self._dead_until[address] = now + DEAD_S

    def worked(self, address: str) -> None:
        """Remember that an address works."""
        self._dead_until.pop(address, None)
        self._worked.add(address)


class Race(Generic[Made]):
    """One connect to the first of several addresses that answers.

    Args:
        connect: connects to one address; notes in `Progress` when the peer has accepted. Raises: Failed if the next address
            is worth a try; what else it raises ends the race. After cancellation nothing stays open.
        reach: what is known of the addresses; what happens is added.
    """

    def __init__(self, connect: Callable[[Progress], Awaitable[Made]], reach: Reach) -> None:
        self._connect = connect
        self._reach = reach
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[asyncio.Task[Made], Progress] = {}
        self._failure: Failed | None = None

    async def run(self, addresses: Sequence[str], deadline: float) -> Made:
        """Return the first connection.

        Args:
            addresses: at least one, in the order in which they are tried.
            deadline: loop time until which the connects have time; it spreads their starts.
        Raises: why the last one failed, if none works; what `connect` raises. In each case no connection stays open.
        """
        waiting = list(addresses)
        head_start_s = min(HEAD_START_S, max(0.0, deadline - self._loop.time()) / len(waiting))
        try:
            newest: Progress | None = None
            while waiting or self._under_way:
                if waiting:
                    newest = self._start(waiting.pop(0))
                made = await self._next(newest, head_start_s if waiting else None)
                if made is not None:
                    return made
        finally:
            await self._end(list(self._under_way))
        assert self._failure is not None, "each address ends in a connection or a failure"
        raise self._failure.why

    def _start(self, address: str) -> Progress:
        progress = Progress(address)
        task = self._loop.create_task(self._begin(progress))
        self._under_way[task] = progress
        return progress

    async def _begin(self, progress: Progress) -> Made:
        return await self._connect(progress)

    async def _next(self, newest: Progress | None, head_start_s: float | None) -> Made | None:
        """Wait for a connection, a failure, or the end of the newest one's head start."""
        done, _ = await asyncio.wait(
            self._under_way, timeout=head_start_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done and newest is not None and newest.accepted:
            done, _ = await asyncio.wait(
                self._under_way, timeout=HANDSHAKE_S, return_when=asyncio.FIRST_COMPLETED
            )
        if not done and len(self._under_way) >= UNDER_WAY_MAX:
            oldest, progress = next(iter(self._under_way.items()))
            self._reach.failed(progress.address, self._loop.time())
            await self._end([oldest])
        for task in done:
            made = self._result(task)
            if made is not None:
                return made  # what else is done is closed with the others
        return None

    def _result(self, task: "asyncio.Task[Made]") -> Made | None:
        """Return the connection of a connect that has ended, and remember what it tells about the addresses."""
        now = self._loop.time()
        try:
            made = task.result()
        except Failed as failed:
            self._failure = failed
            progress = self._under_way.pop(task)
            if failed.dead:
                self._reach.failed(progress.address, now)
            return None
        for other, progress in self._under_way.items():
            if other is task:
                break
            self._reach.failed(progress.address, now)  # it began earlier, and has not answered yet
        self._reach.worked(self._under_way.pop(task).address)
        return made

    async def _end(self, tasks: "list[asyncio.Task[Made]]") -> None:
        """End connects that nobody waits for any more; one that was successful meanwhile is closed."""
        for task in tasks:
            del self._under_way[task]
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                outcome.abort()
