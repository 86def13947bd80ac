"""A test as a ladder of stages: which were passed, how long each took, and which one failed; pure.

Every forbidden address gives the same ladder, without any time, and no ladder tells how many addresses a name has: a test must
not become a way to look around in a network.
"""

import math
from typing import NamedTuple

from aegis_stream.domain.attempt import Accepted, Answer, Fault, FaultKind, Verdict
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.trace import PeerCertificate, Stage, Trace
from aegis_stream.pipeline.token_answer import NoToken

FAULT_LATENCY_STEP_MS = 100
"""Where nothing answered, times are rounded up to this: how fast a network refuses tells what is in it."""
DAY_S = 86_400

_STAGE_OF = {
    FaultKind.DNS: Stage.RESOLVE,
    FaultKind.FORBIDDEN: Stage.GUARD,
    FaultKind.CONNECT: Stage.CONNECT,
    FaultKind.TLS: Stage.TLS,
}
"""Where a fault of a kind happens; of the others, how far the attempt came tells."""


class StageResult(NamedTuple):
    """One stage of a test.

    Args:
        ok: None when the test did not come so far.
        ms: milliseconds since the stage before; None where no time is told.
        detail: what is known of it, or why it failed; "" for nothing.
    """

    name: Stage
    ok: bool | None
    ms: float | None = None
    detail: str = ""


class Certificate(NamedTuple):
    """A certificate that was trusted.

    Args:
        issuer: who signed it, as it names itself.
        expires_at: microseconds since 1970.
        days_left: whole days until then.
    """

    issuer: str
    expires_at: Micros
    days_left: int


class Ended(NamedTuple):
    """How a test ended.

    Args:
        answer: None when nothing could be sent.
        error: why it failed, as it may be shown; None when it succeeded.
        sent_bytes: length of the body as it was written.
        certificate: None where it may not be shown, or there is none.
    """

    answer: Answer | None
    verdict: Verdict
    error: str | None
    sent_bytes: int
    certificate: Certificate | None


def names_of(*, has_token: bool, has_tls: bool) -> tuple[Stage, ...]:
    """Return the stages that a test goes through, in their order."""
    left_out = {Stage.TOKEN: not has_token, Stage.TLS: not has_tls}
    return tuple(one for one in Stage if not left_out.get(one, False))


def stages_of(names: tuple[Stage, ...], trace: Trace, ended: Ended) -> list[StageResult]:
    """Return how far a test came.

    Returns: a result for each name: those before the one that failed are passed, those after it were not reached. Of a test that
        was answered times are told to a tenth of a millisecond, else in steps of FAULT_LATENCY_STEP_MS, and of a forbidden
        address none.
    """
    failed = failed_stage(names, trace, ended)
    place = names.index(failed) if failed is not None else len(names)
    if failed is Stage.SEND and ended.answer is None:  # no connection was made: the event cannot be written
        return [StageResult(one, None) if one is not failed else _failed(one, ended) for one in names]
    times = _times(names[:place], trace, ended.answer)
    passed = [StageResult(one, True, times.get(one), _detail(one, trace, ended)) for one in names[:place]]
    if failed is None:
        return passed
    ms = _times(names, trace, ended.answer).get(failed) if failed is Stage.ANSWER else None
    rest = [StageResult(one, None) for one in names[place + 1 :]]
    return [*passed, _failed(failed, ended)._replace(ms=ms), *rest]


def failed_stage(names: tuple[Stage, ...], trace: Trace, ended: Ended) -> Stage | None:
    """Return the stage at which a test failed, None if it succeeded."""
    answer = ended.answer
    if ended.error is None:
        return None
    if answer is None:
        return Stage.SEND
    if not isinstance(answer, Fault):
        return Stage.ANSWER
    if isinstance(answer, NoToken):
        return Stage.TOKEN
    known = _STAGE_OF.get(answer.kind)
    if known is not None and known in names:
        return known
    if trace.unread or (answer.kind is FaultKind.PROTOCOL and Stage.SEND not in trace.passed):
        return Stage.SEND
    return next(one for one in names if one is Stage.ANSWER or one not in trace.passed)


def rounded_ms(latency_us: int) -> float:
    """Return the time of a test that was not answered, in steps."""
    return float(math.ceil(latency_us / 1000 / FAULT_LATENCY_STEP_MS) * FAULT_LATENCY_STEP_MS)


def certificate_of(found: PeerCertificate, now: Micros, issuer: str) -> Certificate:
    """Return what is told of a certificate.

    Args:
        issuer: as it may be shown.
    """
    return Certificate(issuer, found.expires_at, (found.expires_at - now) // SECOND // DAY_S)


def _times(names: tuple[Stage, ...], trace: Trace, answer: Answer | None) -> dict[Stage, float]:
    """Return the milliseconds of each stage whose end and beginning are known."""
    if isinstance(answer, Fault) and answer.kind is FaultKind.FORBIDDEN:
        return {}
    found, before = dict[Stage, float](), trace.began_at
    for name in names:
        at = trace.passed.get(name)
        if at is None:
            break
        took_us, before = max(0, at - before), at
        found[name] = rounded_ms(took_us) if isinstance(answer, Fault) else round(took_us / 1000, 1)
    return found


def _failed(stage: Stage, ended: Ended) -> StageResult:
    return StageResult(stage, False, detail=ended.error or "")


def _detail(stage: Stage, trace: Trace, ended: Ended) -> str:
    """Return what is known of a stage that was passed."""
    if stage is Stage.SEND:
        return f"{ended.sent_bytes} bytes"
    if stage is Stage.TLS:
        return ", ".join(_about_tls(trace, ended.certificate))
    if stage is Stage.ANSWER and ended.answer is not None and not isinstance(ended.answer, Fault):
        warning = ended.verdict.warning if isinstance(ended.verdict, Accepted) else None
        return warning or f"answered {ended.answer.status}"
    return ""


def _about_tls(trace: Trace, certificate: Certificate | None) -> list[str]:
    found = [trace.tls_version] if trace.tls_version else []
    if certificate is not None:
        days = "1 day" if certificate.days_left == 1 else f"{certificate.days_left} days"
        found += [f"certificate of {certificate.issuer}" if certificate.issuer else "certificate trusted"]
        found += [f"{days} left"]
    return found
