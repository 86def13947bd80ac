"""Tokens of destinations that want one: fetched, kept in memory, renewed before their end (within step 6).

Where a route has a grant, its channel is a `TokenChannel`: what is sent through it carries a token. A token that is missing is
fetched once, whoever waits for it; one that comes near its end is renewed beside the requests that it still carries. No token
is an answer like any other, about the destination: nothing was sent, and pacing treats it as the outage that it is.
"""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from aegis_stream.domain.attempt import (
    Answer,
    Failure,
    Fault,
    FaultKind,
    Request,
    Response,
    Scope,
    Verdict,
)
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX
from aegis_stream.domain.endpoint import Grant, Route
from aegis_stream.domain.oauth2 import TOKEN_HEADER
from aegis_stream.errors import AegisError
from aegis_stream.formats import Format
from aegis_stream.formats.status import by_status
from aegis_stream.ports import Channel, Sender

RENEW_BEFORE_S = 300.0
"""A token is renewed so many seconds before its end, or after half its life where that is later."""
LIFE_UNKNOWN_S = 300.0
"""Life of a token whose answer does not tell it, seconds."""
LIFE_MIN_S, LIFE_MAX_S = 10.0, 86_400.0
"""Bounds of what an answer may tell of a life, seconds: below, everything would be spent on renewals."""
FETCH_PAUSE_S = 1.0
"""After a fetch that failed the next one begins so much later, seconds; whoever wants a token meanwhile gets the same failure."""
RENEWAL_PAUSE_S = 30.0
"""The same while there is a token that still holds."""
REFUSED_PAUSE_S = 60.0
"""Shortest time between two renewals because a destination answered 401, seconds."""
SPANS_MAX = 4
"""An attempt may last so many times what one of its requests may: a token, the attempt, after a 401 both once more."""
STATUS_UNAUTHORIZED = 401

_FORM = "application/x-www-form-urlencoded"
_SCHEME = "Bearer "
_VISIBLE = re.compile(r"[!-~]+")
_FIX_STATUSES = frozenset({400, 401, 403})
_REFUSED = "answered 401: the destination does not accept the token: check oauth2.scope, and what the client may do there"


@dataclass(frozen=True, slots=True)
class NoToken(Fault):
    """Nothing was sent, because there was no token to send with it."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how long it holds, seconds from when it was asked for."""

    bearer: str = field(repr=False)
    life_s: float


class _Granted(msgspec.Struct):
    """What of a token endpoint's answer is read. Source: RFC 6749 section 5.1; some write the number as text."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a type
    expires_in: int | float | str | None = None


_decode = msgspec.json.Decoder(_Granted).decode


def judge(format_: Format, answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Say what an answer to a request with a token means: as the format does, where it is not about the token.

    Args:
        count: events that were sent.
    """
    if isinstance(answer, NoToken):
        return answer.failure
    if isinstance(answer, Response) and answer.status == STATUS_UNAUTHORIZED:
        return Failure(Scope.DESTINATION, _REFUSED, status_code=answer.status, fix_needed=True)
    return format_.interpret(answer, count)


def read_token(answer: Answer) -> Token | NoToken:
    """Read what a token endpoint answered; total. Nothing of the answer but its status is in a message."""
    if isinstance(answer, Fault):
        verdict = by_status(answer, 1)
        assert isinstance(verdict, Failure), "a fault is never a success"
        failure = replace(verdict, message=f"the token endpoint: {verdict.message}", overload=False)
        return NoToken(answer.kind, failure.message, answer.latency_us, failure)
    if not 200 <= answer.status < 300:
        return _refused(answer)
    try:
        granted = _decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _no_token(answer, "without a token: check that token_url is a token endpoint")
    if granted.token_type.lower() != "bearer" or not _fits_header(granted.access_token):
        return _no_token(answer, "with a token that is no bearer token, or cannot stand in a header")
    return Token(granted.access_token, _life_s(granted.expires_in))


def _refused(answer: Response) -> NoToken:
    if 300 <= answer.status < 400:
        return _no_token(answer, ": redirects are not followed; check token_url")
    if answer.status in _FIX_STATUSES:
        what = "client_id, client_secret and scope" if answer.status == 400 else "client_id and client_secret"
        return _no_token(answer, f": check {what}", fix_needed=True)
    return _no_token(answer, ": check token_url, and how it fares")


def _no_token(answer: Response, what: str, *, fix_needed: bool = False) -> NoToken:
    space = "" if what.startswith(":") else " "
    message = f"the token endpoint answered {answer.status}{space}{what}"
    verdict = by_status(answer, 1)
    wait_s = verdict.retry_after_s if isinstance(verdict, Failure) else None
    failure = Failure(Scope.DESTINATION, message, retry_after_s=wait_s, fix_needed=fix_needed)
    return NoToken(FaultKind.PROTOCOL, message, answer.latency_us, failure)


def _fits_header(token: str) -> bool:
    return bool(_VISIBLE.fullmatch(token)) and len(_SCHEME + token) <= HEADER_VALUE_CHARACTERS_MAX


def _life_s(told: float | str | None) -> float:
    try:
        life_s = float(told) if told is not None else LIFE_UNKNOWN_S
    except (ValueError, OverflowError):
        return LIFE_UNKNOWN_S
    return min(max(life_s, LIFE_MIN_S), LIFE_MAX_S) if math.isfinite(life_s) else LIFE_UNKNOWN_S


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
        """Return the token if there is one that holds; near its end another one is fetched beside."""
        now_s = self._loop.time()
        if self.bearer is None or now_s >= self.ends_at_s:
            return None
        if now_s >= self._next_at_s:
            self._fetch()
        return self.bearer

    def want(self, told: Callable[[str | NoToken], None]) -> None:
        """Have a token fetched; `told` is called later with it, or with why there is none."""
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


class Tokens:
    """The tokens of a worker, by what they are fetched with: they outlive the channels that use them.

    Two destinations of an organization that are granted alike share one.
    """

    def __init__(self) -> None:
        self._sources: dict[Grant, _Source] = {}

    def open(self, sender: Sender, route: Route) -> Channel:
        """Return a channel for a route, with tokens where it has a grant. Raises: what `Sender.open` raises."""
        if route.grant is None:
            return sender.open(route)
        source = self._sources.get(route.grant)
        if source is None:
            source = _Source(sender.open(route.grant.route), route.grant.form)
            self._forget_old()
            self._sources[route.grant] = source
        return TokenChannel(sender, replace(route, grant=None), source)

    def bearers(self) -> list[str]:
        """Return the tokens that there are."""
        return [one.bearer for one in self._sources.values() if one.bearer is not None]

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
    """A channel whose requests carry a token; implements ports.Channel. Made by Tokens.open.

    An attempt that is answered 401 is made once more with another token, where one may be had; the caller sees one answer.
    """

    __slots__ = ("_closed", "_loop", "_opened", "_route", "_sender", "_source", "_waiting")

    def __init__(self, sender: Sender, route: Route, source: _Source) -> None:
        self._sender = sender
        self._route = route
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._opened: list[_Opened] = []  # the last one is used; older ones carry what began with their token
        self._waiting: set[_Attempt] = set()
        self._closed = False

    @property
    def waits(self) -> bool:
        """True while attempts wait for a token: more of them would only share its fate."""
        return bool(self._waiting)

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        """Begin one attempt, as ports.Channel.start does; it lasts SPANS_MAX times as long at worst."""
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
            failure = Failure(Scope.DESTINATION, error.message, fix_needed=True)
            answer = NoToken(FaultKind.PROTOCOL, error.message, 0, failure)
            self._loop.call_soon(one.ended, one.token, answer)
            return
        opened.under_way += 1
        opened.channel.start(one.request, lambda _, answer: self._heard(one, opened, answer), one)

    def _channel_with(self, bearer: str) -> _Opened:
        """Return the channel of this token; those of other tokens are closed as soon as nothing is under way in them."""
        if self._opened and self._opened[-1].bearer == bearer:
            return self._opened[-1]
        headers = ((TOKEN_HEADER, f"{_SCHEME}{bearer}"), *self._route.headers)
        opened = _Opened(self._sender.open(replace(self._route, headers=headers)), bearer)
        for old in [one for one in self._opened if not one.under_way]:
            self._end(old)
        self._opened.append(opened)
        return opened

    def _heard(self, one: _Attempt, opened: _Opened, answer: Answer) -> None:
        opened.under_way -= 1
        if not opened.under_way and opened is not self._opened[-1]:
            self._end(opened)
        refused = isinstance(answer, Response) and answer.status == STATUS_UNAUTHORIZED
        if refused and not one.again and not self._closed and self._source.refuse(opened.bearer):
            one.again = True
            self._begin(one)
        else:
            one.ended(one.token, answer)

    def _end(self, opened: _Opened) -> None:
        self._opened.remove(opened)
        opened.channel.close()


def _answer(answered: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)
