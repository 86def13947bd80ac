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
        self._under_way: dict[str, asyncio.Task[list[str]]] = {}
        self._failed: dict[str, tuple[float, OSError | ValueError]] = {}

    @property
    def idle(self) -> bool:
        """True if nothing is lost by forgetting this object."""
        return not self._under_way and asyncio.get_running_loop().time() >= self._slow_until

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, at most ADDRESSES_MAX, each once.

        Raises: TooManyAddresses; OSError if the name does not resolve, or too many names are looked up already;
            ValueError if it is not a valid name. After cancellation the look-up goes on to its end, for the others who wait for it.
        """
        kept = self._failed.get(host)
        if kept is not None and asyncio.get_running_loop().time() < kept[0]:
            raise kept[1].with_traceback(None)
        task = self._under_way.get(host)
        if task is None:
            if len(self._under_way) >= QUEUE_MAX:
                raise socket.gaierror(socket.EAI_AGAIN, "too many names of this organization are looked up")
            task = self._under_way[host] = asyncio.get_running_loop().create_task(self._look_up(host, port))
            task.add_done_callback(lambda done: self._note(host, done))
        return await asyncio.shield(task)

    def close(self) -> None:
        """End the look-ups under way."""
        for task in list(self._under_way.values()):
            task.cancel()

    async def _look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._slow_until:
            async with self._in_turn:
                await asyncio.sleep(1.0)
                return await self._ask(host, port)
        async with self._places:
            return await self._ask(host, port)

    async def _ask(self, host: str, port: int) -> list[str]:
        try:
            async with self._all_places, asyncio.timeout(LOOK_UP_S):
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
        del self._under_way[host]
        self._failed.pop(host, None)
        error = done.exception() if not done.cancelled() else None
        if isinstance(error, OSError | ValueError):
            self._failed[host] = (asyncio.get_running_loop().time() + FAILED_S, error)
            if len(self._failed) > QUEUE_MAX:
                del self._failed[next(iter(self._failed))]
