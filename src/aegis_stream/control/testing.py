"""The test button: one synthetic event, sent once, at once, with the destination's own format and credential, in no log.

A test must not become a way to explore a network: it is rare for each organization, says the same about every forbidden
address, and shows of an answer the beginning, without secrets (`redaction.py`).
"""

import math
from dataclasses import dataclass

import msgspec

from aegis_stream.domain.attempt import Answer, Failure, Fault, Verdict
from aegis_stream.domain.audit import destination_action
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.event import TEST_DATASET
from aegis_stream.domain.ids import RANDOM_BYTES, new_id
from aegis_stream.domain.times import to_text
from aegis_stream.pipeline.attempt import attempt
from aegis_stream.pipeline.route import route_of
from aegis_stream.pipeline.token_sender import TokenSender

from . import destinations
from .audit import record
from .caller import Caller
from .deps import ControlDeps
from .redaction import EXCERPT_CHARACTERS_MAX, redact, tell_fault

FAULT_LATENCY_STEP_MS = 100
"""Where nothing answered, the time is rounded up to this: how fast a network refuses tells what is in it."""


@dataclass(frozen=True, slots=True)
class SentTest:
    """What became of a test event.

    Args:
        status_code: None when nothing answered.
        error: why it failed; None when it succeeded.
        excerpt: the beginning of a failed answer, redacted.
    """

    status_code: int | None
    latency_ms: float
    error: str | None = None
    excerpt: str = ""


async def send_test(deps: ControlDeps, caller: Caller, dst_id: str) -> SentTest:
    """Send one test event, also to a destination that is paused.

    Raises: NotFound. Limited after too many tests of the organization. Unavailable, also when the test cannot be recorded.
    """
    destination = await destinations.find(deps, caller, dst_id)
    assert caller.principal is not None, "only keys of an organization may call this"
    deps.access.admit_test(caller.principal)
    result = await _attempt(deps, destination)
    after = {"status_code": result.status_code}
    action = destination_action("destination_test", destination, after=after, failure=result.error)
    await record(deps, caller, destination, action)
    return result


async def _attempt(deps: ControlDeps, destination: Destination) -> SentTest:
    """Make one attempt by the function by which workers make them."""
    spec = destination.spec
    sender = TokenSender(deps.sender)
    try:
        route = route_of(spec, deps.settings, destination.org_id)
        answer, verdicts = await attempt(sender, spec, route, [_test_event(deps, destination)])
        bearers = sender.bearers()
    finally:
        sender.close()
    return _result(answer, verdicts[0] if isinstance(verdicts, list) else verdicts, spec, bearers)


def _result(answer: Answer | None, verdict: Verdict, spec: DestinationSpec, bearers: list[str]) -> SentTest:
    if answer is None:
        return SentTest(None, 0.0, verdict.message if isinstance(verdict, Failure) else "")
    if isinstance(answer, Fault):
        steps = math.ceil(answer.latency_us / 1000 / FAULT_LATENCY_STEP_MS)
        message = verdict.message if isinstance(verdict, Failure) else answer.message
        return SentTest(None, float(steps * FAULT_LATENCY_STEP_MS), tell_fault(answer, message, spec))
    latency_ms = round(answer.latency_us / 1000, 1)
    if not isinstance(verdict, Failure):
        return SentTest(answer.status, latency_ms)
    excerpt = redact(answer.body.decode("utf-8", "replace"), spec, bearers)
    return SentTest(answer.status, latency_ms, verdict.message, excerpt[:EXCERPT_CHARACTERS_MAX])


def _test_event(deps: ControlDeps, destination: Destination) -> bytes:
    now = deps.clock.now()
    return msgspec.json.encode(
        {
            "@timestamp": to_text(now),
            "message": "Test event from Aegis Audit Stream: if you can read this, forwarding to this destination works.",
            "event": {
                "id": new_id("test", now, deps.random.random_bytes(RANDOM_BYTES)),
                "kind": "event",
                "action": "forwarding_test",
                "dataset": TEST_DATASET,
            },
            "aegis": {"test": True},
            "organization": {"id": destination.org_id},
        }
    )
