"""What the status of an answer says: success, or what failed and what to do about it."""

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

_EVENT_STATUSES = frozenset({400, 413, 422})
"""Statuses about the sent body: another event may be accepted."""
_FIX_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 410, 415})
"""Statuses that do not go away until a person changes something."""
_OVERLOAD_STATUSES = frozenset({429, 503})
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
    return Failure(
        FailureScope.EVENT if answer.status in _EVENT_STATUSES else FailureScope.DESTINATION,
        _message(answer),
        status_code=answer.status,
        retry_after_s=retry_after_seconds(answer.retry_after)
        if answer.status in _OVERLOAD_STATUSES
        else None,
        fix_needed=answer.status in _FIX_STATUSES or 300 <= answer.status < 400,
        overload=answer.status in _OVERLOAD_STATUSES,
    )


def is_page(body: bytes) -> bool:
    """Tell whether an answer's body is HTML or XML, which no destination sends on purpose."""
    return body[:1] in _PAGE_STARTS and body.lstrip()[:1] == b"<"


def retry_after_seconds(text: str | None) -> float | None:
    """Read a Retry-After in seconds, at most an hour; anything else counts as absent.

    A date is ignored: it would need both clocks to agree, and a wrong clock must not delay events.
    Source: RFC 9110 section 10.2.3.
    """
    digits = text.strip(" \t") if text is not None else ""
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        return None
    return float(min(int(digits), RETRY_AFTER_MAX_S))


def _message(answer: Response) -> str:
    status = answer.status
    if 300 <= status < 400:
        where = f" to host {answer.location_host}" if answer.location_host else ""
        return f"answered {status}, a redirect{where}: redirects are not followed; enter the final URL"
    advice = _ADVICE.get(status)
    if advice is None:
        advice = "the destination rejected the request" if 400 <= status < 500 else "the destination failed"
    return f"answered {status}: {advice}"
