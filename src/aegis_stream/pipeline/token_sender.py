"""A sender whose channels add an OAuth2 token where a route has a grant: fetched, kept in memory, renewed before its end.

It decorates any other sender, so that attempts know nothing of tokens. A token that is missing is fetched once, however many
attempts wait for it; one that is near its end is renewed while requests still use it. Without a token nothing is sent, and the
answer is a NoToken: a failure of the destination, which pacing treats as the outage that it is.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as replace_struct

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Fault, FaultKind, Request, Response
from aegis_stream.domain.endpoint import Grant, Route
from aegis_stream.domain.oauth2 import TOKEN_HEADER
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.errors import AegisError
from aegis_stream.ports import Channel, Sender

from .token_answer import SCHEME, NoToken, read_token

RENEW_BEFORE_S = 300.0
"""A token is renewed so many seconds before its end, or after half its life where that is later."""
FETCH_PAUSE_S = 1.0
"""Pause after a failed fetch, seconds; whoever wants a token meanwhile gets the same failure."""
RENEWAL_PAUSE_S = 30.0
"""The same while there is a token that is still valid."""
REFUSED_PAUSE_S = 60.0
"""Shortest time between two renewals because a destination answered 401, seconds."""
STATUS_UNAUTHORIZED = 401

_FORM = "application/x-www-form-urlencoded"
_REFUSED = Failure(
    FailureScope.DESTINATION,
    "answered 401: the destination does not accept the token: check oauth2.scope, and what the client may do there",
    status_code=STATUS_UNAUTHORIZED,
    fix_needed=True,
)


class _Source:
    """The token of one grant: one fetch at a time, however many want it."""

    __slots__ = (
        "_channel",
        "_failed_at_s",
        "_failure",
        "_fetching",
        "_form",
        "_loop",
        "_next_at_s",
        "_refused_at_s",
        "_waiting",
        "bearer",
        "ends_at_s",
    )

    def __init__(self, channel: Channel, form: bytes) -> None:
        self._channel = channel
        self._form = form
        self._loop = asyncio.get_running_loop()
        self.bearer: str | None = None
        self._failed_at_s = self._next_at_s = self._refused_at_s = self.ends_at_s = -math.inf
        self._failure: NoToken | None = None
        self._fetching = False
        self._waiting: list[Callable[[str | NoToken], None]] = []

    @property
    def busy(self) -> bool:
        """True while a token is being fetched."""
        return self._fetching

    def take(self) -> str | None:
        """Return the token if it is still valid; near its end the next one is fetched meanwhile."""
        now_s = self._loop.time()
        if self.bearer is None or now_s >= self.ends_at_s:
            return None
        if now_s >= self._next_at_s:
            self._fetch()
        return self.bearer

    def want(self, told: Callable[[str | NoToken], None]) -> None:
        """Have a token fetched; `told` is called later with the token, or with the failure."""
        self._waiting.append(told)
        if self._fetching:
            return
        if self._failure is not None and self._loop.time() < self._failed_at_s + FETCH_PAUSE_S:
            self._fetching = True
            self._loop.call_soon(self._tell, self._failure)
        else:
            self._fetch()

    def refuse(self, bearer: str) -> bool:
        """Learn that a destination does not accept a token. Returns: whether another one is to be tried."""
        if bearer != self.bearer:
            return True
        now_s = self._loop.time()
        if now_s < self._refused_at_s + REFUSED_PAUSE_S:
            return False
        self._refused_at_s, self.bearer = now_s, None
        return True

    def close(self) -> None:
        """Close the connection to the token endpoint."""
        self._channel.close()

    def _fetch(self) -> None:
        if not self._fetching:
            self._fetching = True
            self._channel.start(Request(self._form, _FORM), self._answered, self._loop.time())

    def _answered(self, began_s: float, answer: Answer) -> None:
        read = read_token(answer)
        if isinstance(read, NoToken):
            self._failure, self._failed_at_s = read, self._loop.time()
            self._next_at_s = self._failed_at_s + RENEWAL_PAUSE_S
            self._tell(read)
            return
        self._failure, self.bearer = None, read.bearer
        self.ends_at_s = began_s + read.life_s
        self._next_at_s = began_s + max(read.life_s - RENEW_BEFORE_S, read.life_s / 2)
        self._tell(read.bearer)

    def _tell(self, got: str | NoToken) -> None:
        self._fetching = False
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            told(got)


class TokenSender:
    """Opens channels that add tokens; implements ports.Sender.

    It keeps the tokens by what they are fetched with, so they outlive the channels that use them, and two destinations of an
    organization with the same grant share one.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._sources: dict[Grant, _Source] = {}

    def open(self, route: Route, trace: Trace | None = None) -> Channel:
        """Return a channel for a route, with tokens where it has a grant. Raises: what the decorated sender raises."""
        if route.grant is None:
            return self._sender.open(route, trace)
        source = self._sources.get(route.grant)
        if source is None:
            source = _Source(self._sender.open(route.grant.route), route.grant.form)
            self._forget_old()
            self._sources[route.grant] = source
        return TokenChannel(self._sender, replace(route, grant=None), source, trace)

    def bearers(self) -> list[str]:
        """Return the tokens that it has."""
        return [one.bearer for one in self._sources.values() if one.bearer is not None]

    def bearers_of(self, route: Route) -> list[str]:
        """Return the token that requests of a route carry at the moment, if any."""
        source = self._sources.get(route.grant) if route.grant is not None else None
        return [source.bearer] if source is not None and source.bearer is not None else []

    def close(self) -> None:
        """Close the connections to token endpoints, and forget the tokens."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()

    def _forget_old(self) -> None:
        """Keep no token, and no secret of a client, beyond the token's end: a channel that uses one has it still."""
        now_s = asyncio.get_running_loop().time()
        self._sources = {
            grant: one for grant, one in self._sources.items() if one.busy or now_s < one.ends_at_s
        }


@dataclass(slots=True, eq=False)
class _Attempt:
    """A request on its way, the token included."""

    request: Request
    ended: Callable[[Any, Answer], None]
    token: object
    again: bool = False


@dataclass(slots=True, eq=False)
class _Opened:
    """A channel whose requests carry one token."""

    channel: Channel
    bearer: str
    under_way: int = 0


class TokenChannel:
    """A channel whose requests carry a token; implements ports.Channel. Made by TokenSender.open.

    An attempt that is answered 401 is made once more with a new token, where there is one; the caller sees one answer.
    """

    __slots__ = ("_closed", "_loop", "_opened", "_route", "_sender", "_source", "_trace", "_waiting")

    def __init__(self, sender: Sender, route: Route, source: _Source, trace: Trace | None = None) -> None:
        self._sender = sender
        self._trace = trace
        self._route = route
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._opened: list[_Opened] = []  # the last one is used; older ones carry what began with their token
        self._waiting: set[_Attempt] = set()
        self._closed = False

    @property
    def waits(self) -> bool:
        """True while attempts wait for a token: more of them would only end as these do."""
        return bool(self._waiting)

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        """Begin one attempt, as ports.Channel.start does; it ends within Route.attempt_s_max."""
        self._begin(_Attempt(request, ended, token))

    async def post(self, request: Request) -> Answer:
        """Make one attempt, and wait for its answer."""
        answered: asyncio.Future[Answer] = self._loop.create_future()
        self.start(request, _answer, answered)
        return await answered

    def close(self) -> None:
        """Close all connections; an attempt that is under way ends as a Fault of kind CLOSED."""
        self._closed = True
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            self._loop.call_soon(one.ended, one.token, Fault(FaultKind.CLOSED, "the channel was closed", 0))
        for opened in self._opened:
            opened.channel.close()

    def _begin(self, one: _Attempt) -> None:
        bearer = self._source.take()
        if bearer is not None:
            self._send(one, bearer)
            return
        self._waiting.add(one)
        self._source.want(lambda got: self._got(one, got))

    def _got(self, one: _Attempt, got: str | NoToken) -> None:
        if one not in self._waiting:
            return  # closed meanwhile
        self._waiting.discard(one)
        if isinstance(got, NoToken):
            one.ended(one.token, got)
        else:
            self._send(one, got)

    def _send(self, one: _Attempt, bearer: str) -> None:
        try:
            opened = self._channel_with(bearer)
        except AegisError as error:
            failure = Failure(FailureScope.DESTINATION, error.message, fix_needed=True)
            answer = NoToken(FaultKind.PROTOCOL, error.message, 0, failure)
            self._loop.call_soon(one.ended, one.token, answer)
            return
        opened.under_way += 1
        opened.channel.start(one.request, lambda _, answer: self._heard(one, opened, answer), one)

    def _channel_with(self, bearer: str) -> _Opened:
        """Return the channel of this token; those of other tokens are closed as soon as nothing is under way in them."""
        if self._opened and self._opened[-1].bearer == bearer:
            return self._opened[-1]
        headers = ((TOKEN_HEADER, f"{SCHEME}{bearer}"), *self._route.headers)
        if self._trace is not None:
            self._trace.restart(Stage.TOKEN)
        opened = _Opened(self._sender.open(replace(self._route, headers=headers), self._trace), bearer)
        for old in [one for one in self._opened if not one.under_way]:
            self._end(old)
        self._opened.append(opened)
        return opened

    def _heard(self, one: _Attempt, opened: _Opened, answer: Answer) -> None:
        opened.under_way -= 1
        if not opened.under_way and opened is not self._opened[-1]:
            self._end(opened)
        if isinstance(answer, Response) and answer.status == STATUS_UNAUTHORIZED:
            if not one.again and not self._closed and self._source.refuse(opened.bearer):
                one.again = True
                self._begin(one)
                return
            answer = replace_struct(
                answer, failure=_REFUSED
            )  # about the token, whatever the format would read from it
        one.ended(one.token, answer)

    def _end(self, opened: _Opened) -> None:
        self._opened.remove(opened)
        opened.channel.close()


def _answer(answered: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)
