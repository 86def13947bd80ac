"""What the status of an answer says: success, or what failed and what to do about it."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from aegis_stream.domain.attempt import (
    RETRY_AFTER_MAX_S,
    Accepted,
    Answer,
    Failure,
    FailureScope,
    Fault,
    FaultKind,
    Response,
    Verdict,
)
from aegis_stream.domain.ids import SECOND, Micros

_EVENT_STATUSES = frozenset({400, 413, 422})
"""Statuses about the sent body: another event may be accepted."""
_FIX_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 410, 415})
"""Statuses that do not go away until a person changes something."""
_OVERLOAD_STATUSES = frozenset({429, 503})
_WAIT_STATUSES = frozenset({408, 413, 429, 502, 503})
"""Statuses with which a Retry-After is respected: the same request may be accepted later."""
_SECONDS = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
_PAGE_STARTS = frozenset({b"<", b" ", b"\t", b"\r", b"\n"})

_ADVICE = {
    400: "the destination could not read the event: check that the URL accepts JSON in this format",
    401: "the destination does not accept the credential: check auth_header_name and auth_header_value",
    402: "the destination's quota is used up: check its plan",
    403: "the credential may not write here: check its permissions",
    404: "there is nothing at this path: check the URL",
    405: "this path does not accept POST: check the URL",
    407: "a proxy asks for credentials: use the URL of the receiver itself",
    408: "the destination gave up waiting for the request",
    410: "the destination has been removed: check the URL",
    413: "the request is too large for the destination: lower batch.max_bytes",
    415: "the destination does not accept this content type: choose another format",
    422: "the destination rejected the event's content",
    429: "the destination limits the request rate",
    500: "the destination had an internal error: check its log",
    502: "a gateway got no answer from the destination",
    503: "the destination is overloaded or down for maintenance",
    504: "a gateway timed out waiting for the destination",
}
_ODD_SUCCESSES = {
    207: "answered 207, which may hide failures that this format cannot read; any 2xx counts as delivered",
    260: "answered 260, which means that Loki blocks ingestion; any 2xx counts as delivered: choose format loki",
}
"""Successes for the plain formats that other products use to report a loss."""
_BLOCKED_STATUSES = frozenset({403, 406})
_BLOCKED = "; the answer is a web page: a firewall in front of the receiver may block what an event says"
_PAGE = "answered {} with a web page: check that the URL is that of a receiver; any 2xx counts as delivered"
_ACCEPTED = {status: Accepted(status, warning=_ODD_SUCCESSES.get(status)) for status in range(200, 300)}
_FAULT_ADVICE = {
    FaultKind.DNS: "check the host name in the URL",
    FaultKind.CONNECT: "check that the receiver is running and that no firewall blocks the connection",
    FaultKind.TIMEOUT: "the receiver must answer before it does slow work",
}


def by_status(answer: Answer, count: int) -> Verdict:  # noqa: ARG001 - the signature of every interpret
    """Give all events of a request the same verdict: 2xx is success, everything else a failed attempt.

    Total: every status from 0 to 999 and every fault has a verdict. A 2xx with a web page gets a warning.
    """
    if isinstance(answer, Fault):
        advice = _FAULT_ADVICE.get(answer.kind)
        return Failure(
            FailureScope.DESTINATION,
            f"{answer.message}: {advice}" if advice else answer.message,
            fix_needed=answer.kind in (FaultKind.TLS, FaultKind.FORBIDDEN),
            overload=answer.kind is FaultKind.TIMEOUT,
        )
    accepted = _ACCEPTED.get(answer.status)
    if accepted is not None:
        if answer.body and is_page(answer.body):
            return Accepted(answer.status, warning=_PAGE.format(answer.status))
        return accepted
    wait_s, wait_until = (
        wait_of(answer) if answer.retry_after and answer.status in _WAIT_STATUSES else (None, None)
    )
    return Failure(
        FailureScope.EVENT if answer.status in _EVENT_STATUSES else FailureScope.DESTINATION,
        _message(answer),
        status_code=answer.status,
        retry_after_s=wait_s,
        retry_at=wait_until,
        fix_needed=answer.status in _FIX_STATUSES or 300 <= answer.status < 400,
        overload=answer.status in _OVERLOAD_STATUSES,
    )


def is_page(body: bytes) -> bool:
    """Tell whether an answer's body is HTML or XML, which no destination sends on purpose."""
    return body[:1] in _PAGE_STARTS and body.lstrip()[:1] == b"<"


def wait_of(answer: Response) -> tuple[float | None, Micros | None]:
    """Read the Retry-After of an answer: seconds, at most an hour; or a date.

    With the answer's own Date a date is a difference, and no clocks need to agree.
    Returns: (seconds, None); (None, date) without a Date to compare with; (None, None) when there is nothing that can be read.
    Source: RFC 9110 section 10.2.3.
    """
    text = answer.retry_after
    seconds = retry_after_seconds(text)
    until = _date(text) if seconds is None else None
    if until is None:
        return seconds, None
    sent = _date(answer.date)
    if sent is None:
        return None, until
    return min(max(0.0, (until - sent) / SECOND), float(RETRY_AFTER_MAX_S)), None


def retry_after_seconds(text: str | None) -> float | None:
    """Read a Retry-After in seconds, at most an hour; decimals, which some destinations send, are accepted. None for all else."""
    found = _SECONDS.fullmatch(text.strip(" \t")) if text is not None else None
    return min(float(found[0]), float(RETRY_AFTER_MAX_S)) if found is not None else None


def _date(text: str | None) -> Micros | None:
    """Read an HTTP date, in any of its three spellings (RFC 9110 section 5.6.7); None if it is none."""
    if text is None or not text.isascii():
        return None
    try:
        found = parsedate_to_datetime(text)
        seconds = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, IndexError, OverflowError):
        return None
    return Micros(int(seconds) * SECOND)


def _message(answer: Response) -> str:
    status = answer.status
    if 300 <= status < 400:
        where = f" to host {answer.location_host}" if answer.location_host else ""
        return f"answered {status}, a redirect{where}: redirects are not followed; enter the final URL"
    advice = _ADVICE.get(status)
    if advice is None:
        advice = "the destination rejected the request" if 400 <= status < 500 else "the destination failed"
    blocked = status in _BLOCKED_STATUSES and answer.body and is_page(answer.body)
    return f"answered {status}: {advice}{_BLOCKED if blocked else ''}"
