"""Channels: which connection carries a request.

Called by the pipeline through ports.Sender and ports.Channel; `wiring` makes the AsyncSender. A channel belongs to one
route and shares neither connections nor request heads with another channel.

The hot path is Channel.start, Channel.ended and wire.Connection. It does little: no task, no future, no timer, no lock, and
one write per request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.errors import Invalid

from .address_limiter import AddressLimiter
from .dial import AddressFull, ConnectFailed, Dialer, NoDescriptor
from .exchange import Exchange
from .head import build_head
from .limits import SenderLimits
from .look_ups import LookUpsFull
from .shares import ConnectionShares
from .waiters import Waiters
from .watch import Watch
from .wire import Connection

_HEADS_MAX = 16
"""Most request heads that a channel caches, one per content type; formats have one or two."""
WAIT_S_MAX = 4.0
"""Longest wait of an attempt for limits of our own, seconds, beside the time it has for the destination: less than the five seconds
by which a lease outlasts an attempt. Nothing was sent, so it is no attempt, and may begin again at once."""
_LOOK_S = 0.5
"""How long a channel waits for a file descriptor before it tries again, seconds: nobody tells it of one."""
_CLOSED = "the channel was closed: the destination was changed or the service is shutting down"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all channels of a process have in common; see AsyncSender."""

    user_agent: str
    limits: SenderLimits
    clock: Callable[[], float]
    watch: Watch
    shares: ConnectionShares


def _answer(answered: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


def _is_of(exchange: Exchange | None, answered: "asyncio.Future[Answer]") -> bool:
    return exchange is not None and exchange.token is answered


class Channel:
    """Connections to one destination; implements ports.Channel. Made by AsyncSender.open."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_closed",
        "_connections",
        "_dialer",
        "_dialing",
        "_full",
        "_heads",
        "_idle",
        "_idle_max",
        "_limits",
        "_loop",
        "_openings",
        "_org_id",
        "_route",
        "_shares",
        "_tasks",
        "_timeout_s",
        "_trace",
        "_user_agent",
        "_wait_s",
        "_waiters",
        "_watch",
        "_why",
    )

    def __init__(self, route: Route, shared: Shared, dialer: Dialer, trace: Trace | None = None) -> None:
        self._route = route
        self._trace = trace
        self._org_id = route.org_id
        self._timeout_s = route.timeout_s
        self._wait_s = min(route.timeout_s, WAIT_S_MAX)
        self._user_agent = shared.user_agent
        self._limits = shared.limits
        self._idle_max = shared.limits.idle_max
        self._clock = shared.clock
        self._watch = shared.watch
        self._shares = shared.shares
        self._dialer = dialer
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []  # last in, first out: unneeded connections grow old and are closed
        self._openings: set[asyncio.Timeout] = set()
        self._dialing = 0
        self._waiters = Waiters()
        self._full: set[ConnectionShares] = set()  # those in which this channel waits for a place
        self._why = ""  # why there was no connection for an attempt, the last time
        self._heads: dict[str, bytes] = {}
        self._head("application/json")

    @property
    def waits(self) -> bool:
        """True while attempts of this channel wait for a connection: further ones would only wait as well."""
        return bool(self._waiters) or (bool(self._tasks) and self._org_id in self._shares.waiting)

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        """Start one attempt: send the request; `ended` is called with its answer.

        If a reused connection turns out to be closed before the first byte of an answer, a new connection replaces it within
        the same deadline. The peer may then get the request twice, as after any lost answer.

        Args:
            ended: called once as ended(token, answer), later, on the event loop, within the route's timeout_s and a
                quarter of a second, and WAIT_S_MAX more if it waits for a limit of our own: with a Response of any status,
                or a Fault; one of kind LIMIT when nothing was sent. It may start the next attempt.
        Raises: nothing.
        """
        self._start(Exchange(request, self._clock(), self._loop.time() + self._timeout_s, ended, token))

    async def post(self, request: Request) -> Answer:
        """Make one attempt and wait for its answer; see `start`.

        Raises: only CancelledError; after cancellation the connection in use is closed.
        """
        answered: asyncio.Future[Answer] = self._loop.create_future()
        exchange = Exchange(request, self._clock(), self._loop.time() + self._timeout_s, _answer, answered)
        opening = self._start(exchange)
        try:
            return await answered
        except asyncio.CancelledError:
            if opening is not None:
                opening.cancel()
            for connection in [one for one in self._connections if _is_of(one.exchange, answered)]:
                connection.abort()
            raise

    def close(self) -> None:
        """Close all connections; attempts in progress end as a Fault of kind CLOSED."""
        self._closed = True
        for connection in list(self._connections):
            connection.fail(FaultKind.CLOSED, _CLOSED)
        for opening in list(self._openings):
            if not opening.expired():
                opening.reschedule(0.0)

    # What follows is called by wire.Connection.

    def opened(self, connection: Connection) -> None:
        """Add a connection, and watch its deadlines."""
        self._connections.add(connection)
        connection.opened_at_s = self._loop.time()
        self._watch.add(connection)

    def gone(self, connection: Connection) -> None:
        """Remove a closed connection."""
        was_open = connection in self._connections
        self._connections.discard(connection)
        self._watch.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.limiter.leave(self._org_id, self)
        self._shares.leave(self._org_id, self)
        if was_open:  # else its dial tells: not while it fails for a limit of our own
            self.find_room()

    def ended(self, connection: Connection, exchange: Exchange, answer: Answer | None) -> None:
        """Reuse the connection, and pass the answer on; without an answer, try again on a new connection."""
        pressed = connection.limiter.pressed or self._shares.pressed
        if not connection.dead:
            if len(self._idle) >= self._idle_max or (pressed and self._must_give(connection)):
                connection.abort()
            else:
                self._keep(connection)
        if answer is not None:
            if exchange.fresh and isinstance(answer, Response):
                answer = msgspec.structs.replace(answer, repeated=True)
            exchange.ended(exchange.token, answer)
        else:
            exchange.fresh = True  # a new connection always has an answer, so there is no third try
            self._open_for(exchange)
        if pressed and connection in self._idle and self._must_give_idle(connection):
            connection.abort()

    # What follows is called by shares.ConnectionShares.

    def give_up_idle(self, shares: ConnectionShares) -> bool:
        """Close an idle connection that has one of these places; return False if there is none."""
        idle = next((one for one in self._idle if shares is self._shares or one.limiter is shares), None)
        if idle is not None:
            idle.abort()
        return idle is not None

    def find_room(self) -> None:
        """Let the attempt that has waited longest try again: there may be a place."""
        if not self._waiters.tell(None) and self._full:
            self._loop.call_soon(self._stop_waiting)

    def _keep(self, connection: Connection) -> None:
        """Pass a free connection on to the attempt that has waited longest; without one it becomes idle."""
        if not self._waiters or not self._waiters.tell(connection):
            self._idle.append(connection)

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self.find_room()
        else:
            self._keep(connection)

    def _must_give(self, connection: Connection) -> bool:
        age_s = self._loop.time() - connection.opened_at_s
        return connection.limiter.must_give(self._org_id, self, age_s) or self._shares.must_give(
            self._org_id, self, age_s
        )

    def _must_give_idle(self, connection: Connection) -> bool:
        return connection.limiter.must_give_idle(self._org_id) or self._shares.must_give_idle(self._org_id)

    def _start(self, exchange: Exchange) -> "asyncio.Task[None] | None":
        """Send on an idle connection; without one, start a task that opens a connection."""
        request = exchange.request
        head = self._heads.get(request.content_type)
        if head is None or not self._idle or request.path_suffix:
            return self._open_for(exchange)
        connection = self._idle.pop()
        if connection.limiter.paced:
            self._send_in_turn(connection, head, exchange)
        else:
            connection.send(head, request.body, exchange.began, exchange.deadline, self._timeout_s, exchange)
        return None

    def _send_in_turn(self, connection: Connection, head: bytes, exchange: Exchange) -> None:
        """Send when the address may get its next request; if that is after the deadline, end the exchange unsent."""
        now_s = self._loop.time()
        delay_s = connection.limiter.delay_s(now_s, now_s + self._wait_s)
        if delay_s is None:
            self._keep(connection)
            message = (
                f"requests to this address are limited to {self._limits.address_requests_per_s:g} a second"
            )
            fault = self._fault(FaultKind.LIMIT, message, exchange.began)
            self._loop.call_soon(exchange.ended, exchange.token, fault)
        elif delay_s:
            self._loop.call_later(delay_s, self._send_held, connection, head, exchange)
        else:
            self._send_held(connection, head, exchange)

    def _send_held(self, connection: Connection, head: bytes, exchange: Exchange) -> None:
        """Send on a connection that waited for the request rate of its address."""
        if self._closed:
            exchange.ended(exchange.token, self._fault(FaultKind.CLOSED, _CLOSED, exchange.began))
        elif connection.dead:
            self._open_for(exchange)
        elif isinstance(exchange.token, asyncio.Future) and exchange.token.done():  # cancelled meanwhile
            self._keep(connection)
        else:
            self._begin_anew(exchange)
            if self._trace is not None:
                self._trace.mark(Stage.SEND)
                connection.trace = self._trace
            connection.send(
                head, exchange.request.body, exchange.began, exchange.deadline, self._timeout_s, exchange
            )

    def _open_for(self, exchange: Exchange) -> "asyncio.Task[None]":
        opening = self._loop.create_task(self._send_fresh(exchange))
        self._tasks.add(opening)  # the loop keeps only weak references to tasks
        opening.add_done_callback(self._tasks.discard)
        return opening

    async def _send_fresh(self, exchange: Exchange) -> None:
        try:
            head = self._head(exchange.request.content_type, exchange.request.path_suffix)
            connection = await self._take(exchange)
        except ConnectFailed as failed:
            fault = self._fault(failed.kind, failed.message, exchange.began)
        except Invalid as invalid:
            fault = self._fault(
                FaultKind.PROTOCOL, f"the request cannot be written: {invalid.message}", exchange.began
            )
        else:
            self._send_in_turn(connection, head, exchange)
            return
        finally:
            self._tasks.discard(asyncio.current_task())
        exchange.ended(exchange.token, fault)

    def _fault(self, kind: FaultKind, message: str, began: float) -> Fault:
        return Fault(kind, message, max(0, int((self._clock() - began) * 1_000_000)))

    async def _take(self, exchange: Exchange) -> Connection:
        """Return an unused connection. Raises: ConnectFailed if there is none by the deadline."""
        try:
            # It has no time limit of its own; close() uses it to end the opening.
            async with asyncio.timeout(None) as opening:
                self._openings.add(opening)
                try:
                    return await self._idle_or_new(exchange)
                finally:
                    self._openings.discard(opening)
                    if self._full and not self._openings:
                        self._stop_waiting()
        except TimeoutError:
            raise ConnectFailed(FaultKind.CLOSED, _CLOSED) from None

    async def _idle_or_new(self, exchange: Exchange) -> Connection:
        is_next = not self._waiters  # those who wait come first, and one of them asks for all
        look_s = WAIT_S_MAX
        while not self._closed:
            if self._idle and not exchange.fresh:
                return self._idle.pop()
            if is_next and len(self._connections) + self._dialing < self._limits.connections_max:
                try:
                    return await self._dial(exchange.deadline)
                except AddressFull as full:
                    self._full.add(full.limiter)
                    self._why = self._full_message(full.limiter)
                except (NoDescriptor, LookUpsFull) as none:
                    self._why, look_s = none.message, _LOOK_S
            elif self._idle:
                self._idle[0].abort()  # the oldest one is replaced by a new one
                continue
            elif is_next:
                self._why = self._full_message(None)
            connection = await self._wait_for_room(exchange, look_s)
            if connection is not None and not connection.dead:
                if not exchange.fresh:
                    return connection
                connection.abort()
            is_next = True
        raise ConnectFailed(FaultKind.CLOSED, _CLOSED)

    async def _dial(self, deadline: float) -> Connection:
        self._dialing += 1
        is_full = False
        try:
            return await self._dialer.dial(self._connection, deadline)
        except (AddressFull, NoDescriptor, LookUpsFull):
            is_full = True  # for all others of this channel as well: they would wake each other without end
            raise
        finally:
            self._dialing -= 1
            if not is_full:
                self.find_room()

    async def _wait_for_room(self, exchange: Exchange, look_s: float) -> Connection | None:
        """Wait until a connection may be free: at our own expense, so the attempt has all its time afterwards.

        Args:
            look_s: try again after this many seconds even if nobody has told of a place.
        Returns: a free connection; None to try again.
        Raises: ConnectFailed of kind LIMIT when it has waited for too long.
        """
        now_s = self._loop.time()
        if exchange.waits_until_s is None:
            exchange.waits_until_s = now_s + self._wait_s
        until_s = exchange.waits_until_s
        try:
            connection = await self._waiters.wait(min(until_s, now_s + look_s), self._pass_on)
        except TimeoutError:
            if self._loop.time() >= until_s:
                raise ConnectFailed(FaultKind.LIMIT, self._why) from None
            connection = None
        self._begin_anew(exchange)
        return connection

    def _stop_waiting(self) -> None:
        """Let others have the places that were offered, unless an attempt waits."""
        if not self._waiters:
            for one in self._full:
                one.stop_waiting(self._org_id, self)
            self._full.clear()

    def _begin_anew(self, exchange: Exchange) -> None:
        """Give an attempt all its time, after it waited for a limit of our own."""
        exchange.began, exchange.deadline = self._clock(), self._loop.time() + self._timeout_s

    def _full_message(self, full: ConnectionShares | None) -> str:
        seconds = f"were in use for {self._wait_s:g} s"
        if full is self._shares:
            return f"all connections that one organization may have {seconds}"
        if full is None:
            return f"all {self._limits.connections_max} connections {seconds}"
        return f"all connections that one organization may have to the address of {self._route.endpoint.host} {seconds}"

    def _connection(self, peer: str, limiter: AddressLimiter) -> Connection:
        if not self._shares.enter(self._org_id, self):
            raise AddressFull(self._shares)
        if not limiter.enter(self._org_id, self):
            self._shares.leave(
                self._org_id, self, tell=False
            )  # or those who are told would come here in turns
            raise AddressFull(limiter)
        return Connection(
            self,
            self._clock,
            host=self._route.endpoint.host,
            peer=peer,
            limiter=limiter,
            answer_bytes_max=self._route.answer_bytes_max,
        )

    def _head(self, content_type: str, path_suffix: str = "") -> bytes:
        if path_suffix:  # specific to one event, so not worth caching
            return build_head(self._route, self._user_agent, content_type, path_suffix)
        head = self._heads.get(content_type)
        if head is None:
            head = build_head(self._route, self._user_agent, content_type)
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[content_type] = head
        return head
