"""What a token endpoint's answer means: a token and its life, or why there is none. Pure; called by `token_sender`.

Nothing of an answer but its status is in a message: it may quote the client's secret.
"""

import math
import re
from dataclasses import dataclass, field, replace

import msgspec

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX
from aegis_stream.formats.status import by_status

LIFE_UNKNOWN_S = 300.0
"""Life of a token whose answer does not tell it, seconds."""
LIFE_MIN_S, LIFE_MAX_S = 10.0, 86_400.0
"""Bounds of what an answer may tell of a life, seconds: below, everything would be spent on renewals."""
SCHEME = "Bearer "

_VISIBLE = re.compile(r"[!-~]+")
_FIX_STATUSES = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class NoToken(Fault):
    """Nothing was sent, because there was no token to send with it; `failure` says why."""


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
    failure = Failure(FailureScope.DESTINATION, message, retry_after_s=wait_s, fix_needed=fix_needed)
    return NoToken(FaultKind.PROTOCOL, message, answer.latency_us, failure)


def _fits_header(token: str) -> bool:
    return bool(_VISIBLE.fullmatch(token)) and len(SCHEME + token) <= HEADER_VALUE_CHARACTERS_MAX


def _life_s(told: float | str | None) -> float:
    try:
        life_s = float(told) if told is not None else LIFE_UNKNOWN_S
    except (ValueError, OverflowError):
        return LIFE_UNKNOWN_S
    return min(max(life_s, LIFE_MIN_S), LIFE_MAX_S) if math.isfinite(life_s) else LIFE_UNKNOWN_S
