"""Look-ups of names, shared fairly between organizations.

Called by `dial` and by the checks of a destination. Tenants choose names, and with them the name servers that are asked: one
that never answers, or answers with thousands of addresses, must cost nobody else anything.

    one look-up per name       those who ask for the same name meanwhile get its answer
    a time limit               LOOK_UP_S
    places                     ORGANIZATION_MAX for each organization, ALL_MAX in all, first come, first served
    failures are kept          FAILED_S, so that a name that does not resolve is not asked for all the time
    bounded answers            more than ADDRESSES_MAX addresses count as a failure; more than ANSWER_MAX slow the organization
"""

import asyncio
import socket

from .resolve import Resolver

LOOK_UP_S = 5.0
"""Longest look-up, seconds; half of what an attempt has by default."""
ORGANIZATION_MAX = 16
"""Most look-ups of an organization at the same time."""
ALL_MAX = 512
"""Most look-ups of all organizations at the same time."""
PLACE_S = 1.0
"""Longest wait for a place, seconds."""
QUEUE_MAX = 1000
"""Most names of an organization that are looked up or wait for it; as many as it may have destinations by default."""
ORGANIZATIONS_KEPT_MAX = 1000
"""With this many organizations, those without look-ups are forgotten."""
FAILED_S = 5.0
"""How long a failure is kept, seconds."""
ADDRESSES_MAX = 64
"""Most addresses of a name, since the guard checks each of them before every connection. Large services have a dozen."""
ANSWER_MAX = 256
"""After an answer with more addresses the organization is slowed down: each address costs 10 µs of CPU to parse."""
SLOWED_S = 60.0
"""How long an organization is slowed down, seconds: to one look-up a second."""


class LookUpsFull(socket.gaierror):
    """A name cannot be looked up now, because too many others are: a limit of ours, of which no name server knows."""

    def __init__(self) -> None:
        self.message = "too many other names are being looked up by this service"
        super().__init__(socket.EAI_AGAIN, self.message)


class _LookUp:
    """A look-up under way.

    Args:
        begun: set when it has a place, or has ended without one.
    """

    __slots__ = ("begun", "task")

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.task: asyncio.Task[list[str]]


class PromptLookUps:
    """The look-ups of one organization, for those who would rather hear that there is no place than wait for one; a Resolver."""

    def __init__(self, look_ups: "OrganizationLookUps") -> None:
        self._look_ups = look_ups

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name. Raises: LookUpsFull after PLACE_S; otherwise as `OrganizationLookUps.resolve`."""
        return await self._look_ups.resolve(host, port, place_s=PLACE_S)


class TooManyAddresses(OSError):
    """A name has more than ADDRESSES_MAX addresses; part of them cannot be used, since one may be forbidden."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"has {count:,} addresses; the limit is {ADDRESSES_MAX}: use a name with fewer addresses"
        )


class LookUps:
    """The look-ups of a process.

    Args:
        resolver: does the work.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._places = asyncio.Semaphore(ALL_MAX)
        self._of: dict[str, OrganizationLookUps] = {}

    def of(self, org_id: str) -> "OrganizationLookUps":
        """Return the look-ups of an organization."""
        one = self._of.get(org_id)
        if one is None:
            if len(self._of) >= ORGANIZATIONS_KEPT_MAX:
                self._of = {org_id: one for org_id, one in self._of.items() if not one.idle}
            one = self._of[org_id] = OrganizationLookUps(self._resolver, self._places)
        return one

    def close(self) -> None:
        """End the look-ups under way."""
        for one in self._of.values():
            one.close()


class OrganizationLookUps:
    """The look-ups of one organization; a Resolver. Made by LookUps."""

    def __init__(self, resolver: Resolver, all_places: asyncio.Semaphore) -> None:
        self._resolver = resolver
        self._all_places = all_places
        self._places = asyncio.Semaphore(ORGANIZATION_MAX)
        self._in_turn = asyncio.Lock()
        self._slow_until = 0.0
        self._under_way: dict[str, _LookUp] = {}
        self._failed: dict[str, tuple[float, OSError | ValueError]] = {}

    @property
    def idle(self) -> bool:
        """True if nothing is lost by forgetting this object."""
        return not self._under_way and asyncio.get_running_loop().time() >= self._slow_until

    async def resolve(self, host: str, port: int, *, place_s: float | None = None) -> list[str]:
        """Return the addresses of a name, at most ADDRESSES_MAX, each once.

        Args:
            place_s: longest wait for a place, seconds; None for as long as it takes.
        Raises: TooManyAddresses; OSError if the name does not resolve; LookUpsFull if it has no place in that time; ValueError
            if it is not a valid name. After that, and after cancellation the look-up goes on to its end, for the others who wait for it.
        """
        kept = self._failed.get(host)
        if kept is not None and asyncio.get_running_loop().time() < kept[0]:
            raise kept[1].with_traceback(None)
        one = self._under_way.get(host) or self._begin(host, port)
        try:
            async with asyncio.timeout(place_s):
                await one.begun.wait()
        except TimeoutError:
            raise LookUpsFull from None
        return await asyncio.shield(one.task)

    def _begin(self, host: str, port: int) -> _LookUp:
        if len(self._under_way) >= QUEUE_MAX:
            raise LookUpsFull
        one = self._under_way[host] = _LookUp()
        one.task = asyncio.get_running_loop().create_task(self._look_up(host, port, one.begun))
        one.task.add_done_callback(lambda done: self._note(host, done))
        return one

    def close(self) -> None:
        """End the look-ups under way."""
        for one in list(self._under_way.values()):
            one.task.cancel()

    async def _look_up(self, host: str, port: int, begun: asyncio.Event) -> list[str]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._slow_until:
            async with self._in_turn:
                await asyncio.sleep(1.0)
                return await self._ask(host, port, begun)
        async with self._places:
            return await self._ask(host, port, begun)

    async def _ask(self, host: str, port: int, begun: asyncio.Event) -> list[str]:
        try:
            async with self._all_places, asyncio.timeout(LOOK_UP_S):
                begun.set()
                addresses = await self._resolver.resolve(host, port)
        except TimeoutError as error:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {LOOK_UP_S:g} s") from error
        if len(addresses) > ANSWER_MAX:
            self._slow_until = asyncio.get_running_loop().time() + SLOWED_S
        addresses = list(dict.fromkeys(addresses))
        if len(addresses) > ADDRESSES_MAX:
            raise TooManyAddresses(len(addresses))
        return addresses

    def _note(self, host: str, done: "asyncio.Task[list[str]]") -> None:
        """Forget a look-up that has ended, and keep its failure for a moment."""
        self._under_way.pop(host).begun.set()
        self._failed.pop(host, None)
        error = done.exception() if not done.cancelled() else None
        if isinstance(error, OSError | ValueError):
            self._failed[host] = (asyncio.get_running_loop().time() + FAILED_S, error)
            if len(self._failed) > QUEUE_MAX:
                del self._failed[next(iter(self._failed))]
