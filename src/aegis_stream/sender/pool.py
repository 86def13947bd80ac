"""Which connection carries a request.

Called by the pipeline through ports.Sender and ports.Channel; `wiring` makes the AsyncSender. A channel belongs to one
route and shares neither connections nor request heads with any other.

What happens on the hot path is in Channel.post and wire.Connection, and it is little on purpose: no task, no timer, no
lock and one write per request.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request
from aegis_stream.domain.endpoint import Route
from aegis_stream.errors import Invalid

from .dial import Dialer, Guard, Refused
from .head import build_head
from .resolve import Resolver, ThreadResolver
from .tls import TrustStore
from .watch import Watch
from .wire import Connection

_HEADS_MAX = 16
"""Content types per channel whose heads are kept; formats have one or two."""
_CLOSED = "the channel was closed: the destination was changed or the service is shutting down"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of each channel.

    Args:
        connections_max: most connections, idle ones included; further posts wait for one. The caller bounds its own
            concurrency below this, so that this is the second fence.
        idle_max: most connections kept open without work.
        idle_s: seconds until a connection without work is closed; below the 30 to 60 s after which common servers
            and load balancers close theirs, so that a race with the peer's own close is rare.
    """

    connections_max: int = 256
    idle_max: int = 128
    idle_s: float = 25.0


class AsyncSender:
    """Opens channels; implements ports.Sender.

    Args:
        user_agent: value of User-Agent.
        guard: asked about every address before every connect.
        resolver: where addresses come from; the system's resolver by default.
        trust: whom to trust; the system's authorities by default.
        clock: seconds that never go back, for latencies alone. The default is exact to the microsecond; uvloop's
            loop.time() is not. A test with virtual time passes its loop's.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        guard: Guard,
        resolver: Resolver | None = None,
        trust: TrustStore | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._user_agent = user_agent
        self._guard = guard
        self._own_resolver = ThreadResolver() if resolver is None else None
        self._resolver: Resolver | None = resolver or self._own_resolver
        self._trust = trust or TrustStore()
        self._limits = limits or Limits()
        self._clock = clock
        self._watch = Watch(self._limits.idle_s)

    def open(self, route: Route) -> "Channel":
        """Return a channel for this route; makes no connection yet. Close it when the route is no longer used.

        Raises: Invalid when a header or the CA certificate cannot be used; Misconfigured when the default authorities
            cannot be read.
        """
        assert self._resolver is not None
        context = self._trust.context(route.ca_certificate) if route.endpoint.scheme == "https" else None
        return Channel(
            route,
            user_agent=self._user_agent,
            limits=self._limits,
            clock=self._clock,
            watch=self._watch,
            dialer=Dialer(
                route.endpoint,
                context,
                guard=self._guard,
                resolver=self._resolver,
                timeout_s=route.timeout_s,
            ),
        )

    def close(self) -> None:
        """Let the resolver's threads end. Channels are closed by whoever opened them."""
        if self._own_resolver is not None:
            self._own_resolver.close()


class Channel:
    """Connections to one destination; implements ports.Channel. Made by AsyncSender.open."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_closed",
        "_connections",
        "_dialer",
        "_dialing",
        "_heads",
        "_idle",
        "_idle_max",
        "_limits",
        "_openings",
        "_room",
        "_route",
        "_timeout_s",
        "_user_agent",
        "_waiting",
        "_watch",
    )

    def __init__(
        self,
        route: Route,
        *,
        user_agent: str,
        limits: Limits,
        clock: Callable[[], float],
        watch: Watch,
        dialer: Dialer,
    ) -> None:
        self._route = route
        self._timeout_s = route.timeout_s
        self._user_agent = user_agent
        self._limits = limits
        self._idle_max = limits.idle_max
        self._clock = clock
        self._watch = watch
        self._dialer = dialer
        self._closed = False
        self._connections: set[Connection] = set()
        self._idle: list[
            Connection
        ] = []  # the one used last is taken first, so that the surplus ages and closes
        self._openings: set[asyncio.Timeout] = set()
        self._dialing = 0
        self._waiting = 0
        self._room = asyncio.Event()
        self._heads: dict[str, bytes] = {}
        self._head("application/json")

    async def post(self, request: Request) -> Answer:
        """Make one attempt: send the request, read the answer.

        A reused connection that turns out to be closed, with no byte of an answer seen, is replaced by a fresh one
        within the same deadline. The peer may then see the request twice, as after any lost answer.

        Returns: a Response whatever its status, or a Fault; within the route's timeout_s and a quarter of a second.
        Raises: nothing but CancelledError; after cancellation the connection in use is closed.
        """
        began = self._clock()
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        head = self._heads.get(request.content_type)
        reused = bool(self._idle)
        if head is not None and reused:
            answer = await self._exchange(self._idle.pop(), head, request.body, began, deadline)
            if answer is not None:
                return answer
        return await self._post_fresh(request, began, deadline, stale=reused)

    def close(self) -> None:
        """Close all connections; a post that is under way ends as a Fault of kind CLOSED."""
        self._closed = True
        for connection in list(self._connections):
            connection.fail(FaultKind.CLOSED, _CLOSED)
        for opening in list(self._openings):
            if not opening.expired():
                opening.reschedule(0.0)

    # What follows is called by wire.Connection.

    def opened(self, connection: Connection) -> None:
        """Count a connection, and watch its deadlines."""
        self._connections.add(connection)
        self._watch.add(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)
        self._watch.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._room.set()

    async def _exchange(
        self, connection: Connection, head: bytes, body: bytes, began: float, deadline: float
    ) -> Answer | None:
        try:
            answer = await connection.send(head, body, began, deadline, self._timeout_s)
        except asyncio.CancelledError:
            connection.abort()
            raise
        if not connection.dead:
            if len(self._idle) < self._idle_max:
                self._idle.append(connection)
            else:
                connection.abort()
            if self._waiting:
                self._room.set()
        return answer

    async def _post_fresh(self, request: Request, began: float, deadline: float, *, stale: bool) -> Answer:
        try:
            head = self._head(request.content_type)
            while True:
                connection = await self._take(deadline, fresh=stale)
                answer = await self._exchange(connection, head, request.body, began, deadline)
                if answer is not None:
                    return answer
                stale = True  # and a fresh connection always has an answer: this ends with the second round
        except Refused as refused:
            return self._fault(refused.kind, refused.message, began)
        except Invalid as invalid:
            return self._fault(FaultKind.PROTOCOL, f"the request cannot be written: {invalid.message}", began)

    def _fault(self, kind: FaultKind, message: str, began: float) -> Fault:
        return Fault(kind, message, max(0, int((self._clock() - began) * 1_000_000)))

    async def _take(self, deadline: float, *, fresh: bool) -> Connection:
        """Return a connection that nobody uses; raise Refused when there is none within the deadline."""
        try:
            # Without a time of its own: this is what close() ends an opening by.
            async with asyncio.timeout(None) as opening:
                self._openings.add(opening)
                try:
                    return await self._idle_or_new(deadline, fresh=fresh)
                finally:
                    self._openings.discard(opening)
        except TimeoutError:
            raise Refused(FaultKind.CLOSED, _CLOSED) from None

    async def _idle_or_new(self, deadline: float, *, fresh: bool) -> Connection:
        while not self._closed:
            if self._idle and not fresh:
                return self._idle.pop()
            if len(self._connections) + self._dialing < self._limits.connections_max:
                return await self._dial(deadline)
            if self._idle:
                self._idle[0].abort()  # the oldest gives way to a fresh one
            else:
                await self._wait_for_room(deadline)
        raise Refused(FaultKind.CLOSED, _CLOSED)

    async def _dial(self, deadline: float) -> Connection:
        self._dialing += 1
        try:
            return await self._dialer.dial(self._connection, deadline)
        finally:
            self._dialing -= 1
            self._room.set()

    async def _wait_for_room(self, deadline: float) -> None:
        self._waiting += 1
        try:
            self._room.clear()
            async with asyncio.timeout_at(deadline):
                await self._room.wait()
        except TimeoutError:
            message = f"all {self._limits.connections_max} connections were in use for {self._timeout_s:g} s"
            raise Refused(FaultKind.TIMEOUT, message) from None
        finally:
            self._waiting -= 1

    def _connection(self, peer: str) -> Connection:
        return Connection(self, self._clock, host=self._route.endpoint.host, peer=peer)

    def _head(self, content_type: str) -> bytes:
        head = self._heads.get(content_type)
        if head is None:
            head = build_head(self._route, self._user_agent, content_type)
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[content_type] = head
        return head
