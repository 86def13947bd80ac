"""What a test told, without our secrets and without what would tell of a network; pure.

Called by `testing`. The ladder is made by `stages`, texts go through `redaction`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.domain.attempt import Accepted, Answer, Failure, Fault, FaultKind, Verdict
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.errors import FieldProblem

from .kept_answers import shown_answer
from .one_delivery import SentRequest, lines_of, request_shown
from .redaction import EXCERPT_CHARACTERS_MAX, redact, tell_fault
from .stages import Certificate, Ended, StageResult, certificate_of, names_of, rounded_ms, stages_of

NOT_SENT = "nothing was sent: this is what would have been"
NO_CONNECTION = "no connection was tried"


@dataclass(frozen=True, slots=True)
class SentTest:
    """What became of a test event.

    Args:
        status_code: None when nothing answered.
        latency_ms: in steps of 100 when nothing answered; 0 for a forbidden address.
        error: why it failed; None when it succeeded.
        excerpt: the beginning of a failed answer, redacted.
        stages: how far it came; never empty.
        certificate: of the destination, if it was trusted.
        request: as it was sent, secret values masked; without a URL where no connection was tried.
        response_headers: of a failed answer, redacted.
        warning: what a person should know although the event was taken; "" for nothing.
    """

    status_code: int | None
    latency_ms: float
    error: str | None = None
    excerpt: str = ""
    stages: Sequence[StageResult] = ()
    certificate: Certificate | None = None
    request: SentRequest = field(default_factory=lambda: SentRequest("", note=NO_CONNECTION))
    response_headers: Sequence[tuple[str, str]] = ()
    warning: str = ""


class Made(NamedTuple):
    """A test that was made.

    Args:
        event: as it would be stored.
        answer: None when nothing could be sent.
        bearers: the tokens that were fetched.
    """

    spec: DestinationSpec
    route: Route
    event: bytes
    trace: Trace
    answer: Answer | None
    verdict: Verdict
    bearers: list[str]


def result_of(made: Made, now: Micros) -> SentTest:
    """Return what may be shown of a test."""
    spec, answer, verdict = made.spec, made.answer, made.verdict
    names = names_of(has_token=spec.oauth2 is not None, has_tls=made.route.endpoint.scheme == "https")
    error = _error(made)
    forbidden = isinstance(answer, Fault) and answer.kind is FaultKind.FORBIDDEN
    certificate = None
    if made.trace.certificate is not None and not forbidden:
        issuer = redact(made.trace.certificate.issuer, spec, made.bearers)
        certificate = certificate_of(made.trace.certificate, now, issuer)
    written = Stage.SEND in made.trace.passed or (answer is not None and not isinstance(answer, Fault))
    request = request_shown(spec, made.route, [made.event], [] if written else [NOT_SENT])
    excerpt, headers = "", list[tuple[str, str]]()
    if answer is not None and not isinstance(answer, Fault) and error is not None:
        excerpt = redact(answer.body.decode("utf-8", "replace"), spec, made.bearers)
        headers = lines_of(shown_answer(answer, spec, made.bearers).headers)
    ended = Ended(answer, verdict, error, _sent_bytes(request), certificate)
    return SentTest(
        answer.status if answer is not None and not isinstance(answer, Fault) else None,
        _latency_ms(answer),
        error,
        excerpt[:EXCERPT_CHARACTERS_MAX],
        stages_of(names, made.trace, ended),
        certificate,
        request,
        headers,
        (verdict.warning or "") if isinstance(verdict, Accepted) else "",
    )


def nowhere(spec: DestinationSpec, problems: Sequence[FieldProblem]) -> SentTest:
    """Return the test of a host that does not exist or is forbidden: the same for both, so that nothing tells them apart.

    Args:
        problems: of `url`, of `oauth2.token_url`, or of both.
    """
    failed = Stage.RESOLVE if all(one.field == "url" for one in problems) else Stage.TOKEN
    message = next(one.message for one in problems if (one.field == "url") == (failed is Stage.RESOLVE))
    names = names_of(has_token=spec.oauth2 is not None, has_tls=spec.url.lower().startswith("https:"))
    stages = [
        StageResult(one, False, None, message) if one is failed else StageResult(one, None) for one in names
    ]
    return SentTest(None, 0.0, message, stages=stages)


def _error(made: Made) -> str | None:
    """Say why a test failed; None when it succeeded."""
    answer, verdict = made.answer, made.verdict
    message = verdict.message if isinstance(verdict, Failure) else None
    if isinstance(answer, Fault):
        return tell_fault(answer, message or answer.message, made.spec)
    return message


def _latency_ms(answer: Answer | None) -> float:
    if answer is None:
        return 0.0
    if isinstance(answer, Fault):
        return 0.0 if answer.kind is FaultKind.FORBIDDEN else rounded_ms(answer.latency_us)
    return round(answer.latency_us / 1000, 1)


def _sent_bytes(request: SentRequest) -> int:
    """Return the length of the body as it is written, which its own header tells."""
    return next((int(value) for name, value in request.headers if name == "Content-Length"), 0)
