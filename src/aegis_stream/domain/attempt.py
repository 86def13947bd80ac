"""One attempt: what came back, what it means, what happens next.

    answer (Response | Fault)  ── formats.interpret ──►  verdict per event (Accepted | Failure)
    verdict                    ── decide ─────────────►  outcome (Delivered | Retry | Dead)

Everything here is a value, and every function is total: a failed delivery is never an exception. Types that are made for
every delivery are msgspec Structs, which cost a tenth of a frozen dataclass.
"""

import enum
from dataclasses import dataclass, replace
from typing import assert_never

import msgspec

from .ids import SECOND, Micros

RETRY_AFTER_MAX_S = 3600
"""Longest Retry-After that we honour, seconds: one header must not delay events for days."""


class FaultKind(enum.StrEnum):
    """Why there was no usable answer."""

    DNS = "dns"  # the name did not resolve
    FORBIDDEN = "forbidden"  # the guard forbids the address
    CONNECT = "connect"  # refused or unreachable
    TLS = "tls"  # no trusted session
    TIMEOUT = "timeout"  # the attempt took too long
    CLOSED = "closed"  # the peer closed before its answer was complete
    PROTOCOL = "protocol"  # what came back was not HTTP/1.1
    LIMIT = "limit"  # a limit of our own: nothing was sent, so it is no attempt


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP POST, ready to be written.

    Args:
        body: the request body, sent byte for byte.
        content_type: value of Content-Type.
        path_suffix: what follows the URL's path, before its query; percent-encoded, "" for nothing.
    """

    body: bytes
    content_type: str = "application/json"
    path_suffix: str = ""


class Response(msgspec.Struct, frozen=True, gc=False):
    """An HTTP answer.

    Args:
        status: 100–999, as the peer sent it.
        body: the beginning of the answer's body, at most Route.answer_bytes_max bytes, never decompressed.
        latency_us: microseconds from the start of the attempt to the end of the answer.
        retry_after: value of Retry-After as sent, if any.
        location_host: host of Location, if any: the target of a redirect, which we do not follow.
        failure: what the answer means, where the sender knows it whatever the format; None where the format interprets it.
        date: value of Date as sent, if any: what the destination's clock showed.
        head: status line and headers as sent, at most 4 KiB; empty for a 2xx and for an answer that was hard to read.
        repeated: the request was sent twice, since the first connection closed without an answer.
    """

    status: int
    body: bytes
    latency_us: int
    retry_after: str | None = None
    location_host: str | None = None
    failure: "Failure | None" = None
    date: str | None = None
    repeated: bool = False
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Fault:
    """No usable answer.

    Args:
        kind: what went wrong.
        message: one clause for a person, without secrets: "connection refused by 192.0.2.7 port 443".
        latency_us: microseconds from the start of the attempt to the fault.
        failure: as for Response.
    """

    kind: FaultKind
    message: str
    latency_us: int
    failure: "Failure | None" = None


Answer = Response | Fault


class FailureScope(enum.StrEnum):
    """What a failure is about: decides whether a batch is split, and whether a dead letter is redriven automatically."""

    DESTINATION = "destination"
    EVENT = "event"


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The destination has the event.

    Args:
        overload: it accepted the event and reports that it is close to its limits: send more slowly.
        warning: what a person should know although the event was accepted, and what to do about it.
        ack_id: the number with which the destination later confirms that it has stored the event; None if its answer is
            the confirmation.
    """

    status_code: int | None = None
    overload: bool = False
    warning: str | None = None
    ack_id: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The destination does not have the event.

    Args:
        scope: about the destination (all events would fail) or about this one event.
        message: for a person: what was answered, and what to do about it.
        status_code: HTTP status, or None if there was no answer.
        retry_after_s: seconds the destination asked us to wait (already bounded), or None.
        retry_at: until when it asked us to wait, by a clock of which we know nothing, or None; `waiting_from` makes it seconds.
        fix_needed: a person must change something (credentials, URL, certificate) before an attempt can succeed.
        overload: the destination said or showed that it is too busy (429, 503, timeout).
        permanent: the event would be rejected again, so no further attempt is made.
        unjudged: the answer covers only earlier events of the request. This event may be sent again at once without
            counting an attempt. Only the last events of a request can be unjudged, and never all of them, so that sending
            again comes to an end.
        bug: our format has a bug; it is logged.
        conflict: the destination says that it has the event already. That is a success for an event that was sent before.
        repeated: as for Response.
        damaged: the stored event is damaged or missing, so nothing was sent; it is logged and counted.
    """

    scope: FailureScope
    message: str
    status_code: int | None = None
    retry_after_s: float | None = None
    fix_needed: bool = False
    overload: bool = False
    permanent: bool = False
    unjudged: bool = False
    bug: bool = False
    retry_at: Micros | None = None
    damaged: bool = False
    conflict: bool = False
    repeated: bool = False

    def waiting_from(self, now: Micros) -> "Failure":
        """Return the same failure with the wait in seconds, at most an hour, as if our clocks agreed."""
        if self.retry_at is None:
            return self
        seconds = min(max(0.0, (self.retry_at - now) / SECOND), float(RETRY_AFTER_MAX_S))
        return replace(self, retry_at=None, retry_after_s=max(seconds, self.retry_after_s or 0.0))


Verdict = Accepted | Failure


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When the next attempt is due.

    Args:
        max_attempts: attempts before the dead letter, 1–20.
        base_seconds: delay before the second attempt, 0.001–86,400.
        multiplier: growth of the delay from attempt to attempt, 1–10.
        max_seconds: longest delay, base_seconds–604,800.
        jitter: share of the delay by which it is randomly shortened or lengthened, 0–1.
    """

    max_attempts: int = 3
    base_seconds: float = 60.0
    multiplier: float = 2.0
    max_seconds: float = 3600.0
    jitter: float = 0.1

    def delay_seconds(self, attempt: int, chance: float) -> float:
        """Return the delay after attempt number `attempt` (from 1): base · multiplier^(attempt-1), ± jitter.

        Args:
            chance: random number in [0, 1) from the caller.
        Returns: seconds, at most max_seconds · (1 + jitter); never negative.
        """
        # The exponent is limited so that many attempts cannot overflow a float.
        delay = min(self.max_seconds, self.base_seconds * self.multiplier ** min(attempt - 1, 64))
        return delay * (1 + self.jitter * (2 * chance - 1))


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """The destination has the event."""

    status_code: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The event is tried again at `at`."""

    at: Micros
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dead:
    """No attempt is left, or none would succeed: the event becomes a dead letter."""

    failure: Failure


Outcome = Delivered | Retry | Dead


def decide(verdict: Verdict, attempt: int, policy: RetryPolicy, *, now: Micros, chance: float) -> Outcome:
    """Decide what happens after one attempt.

    Args:
        attempt: number of the attempt just made, from 1.
        chance: random number in [0, 1) from the caller.
    Returns: Delivered, Retry with now < at, or Dead. Total; raises nothing.
    Source: Retry-After, RFC 9110 section 10.2.3; it can only lengthen the delay, to at most an hour.
    """
    match verdict:
        case Accepted():
            return Delivered(verdict.status_code)
        case Failure() if verdict.permanent or attempt >= policy.max_attempts:
            return Dead(verdict)
        case Failure():
            delay_s = max(policy.delay_seconds(attempt, chance), verdict.retry_after_s or 0.0)
            return Retry(Micros(now + max(1, int(delay_s * SECOND))), verdict)
        case _:
            assert_never(verdict)
