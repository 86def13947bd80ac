"""The test button: one synthetic event, sent once, at once, with the destination's own format and credential, in no log.

A test must not become a way to explore a network: it is rare for each organization, says the same about every forbidden
address, and shows of an answer the beginning, without secrets (`tested.py`).
"""

from collections.abc import Callable

import msgspec

from aegis_stream.domain.attempt import Response
from aegis_stream.domain.audit import AdminAction, destination_action
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.event import TEST_DATASET
from aegis_stream.domain.ids import RANDOM_BYTES, OrganizationId, new_id
from aegis_stream.domain.patch import DestinationPatch
from aegis_stream.domain.times import to_text
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import Invalid
from aegis_stream.pipeline.attempt import attempt
from aegis_stream.pipeline.route import route_of
from aegis_stream.pipeline.token_sender import TokenSender

from . import destinations
from .audit import record
from .caller import Caller
from .checks import NOWHERE, check_spec
from .deps import ControlDeps
from .tested import Made, SentTest, nowhere, result_of

OnStage = Callable[[Stage], None]
"""Is told at once which stage of a test is passed; of one that fails, the result tells."""


async def send_test(
    deps: ControlDeps, caller: Caller, dst_id: str, on_stage: OnStage | None = None
) -> SentTest:
    """Send one test event, also to a destination that is paused.

    Args:
        on_stage: is called with each stage as it is passed; after its first call nothing but Unavailable is raised.
    Raises: NotFound. Limited after too many tests of the organization. Unavailable, also when the test cannot be recorded.
    """
    destination = await destinations.find(deps, caller, dst_id)
    assert caller.principal is not None, "only keys of an organization may call this"
    deps.access.admit_test(caller.principal)
    result = await _attempt(deps, destination.spec, destination.org_id, on_stage)
    after = {"status_code": result.status_code}
    action = destination_action("destination_test", destination, after=after, failure=result.error)
    await record(deps, caller, destination, action)
    return result


async def send_unsaved_test(
    deps: ControlDeps, caller: Caller, spec: DestinationSpec, on_stage: OnStage | None = None
) -> SentTest:
    """Send one test event to a destination that is not saved; nothing but the record of the test is stored.

    A host that does not exist or is forbidden is a test that failed, the same for both.

    Args:
        on_stage: as for `send_test`.
    Raises: Invalid with a problem for each field. Limited after too many tests of the organization. Unavailable, also when
        the test cannot be recorded.
    """
    principal = caller.principal
    assert principal is not None, "only keys of an organization may call this"
    try:
        await check_spec(deps, caller, spec)
    except Invalid as error:
        if not error.problems or not all(one.message.startswith(NOWHERE) for one in error.problems):
            raise
        result = nowhere(spec, error.problems)
    else:
        deps.access.admit_test(principal)
        result = await _attempt(deps, spec, caller.org_id, on_stage)
    # Only the host is recorded: somebody who tries values may have typed a secret into any other field.
    host = parse_url(spec.url, allow_http=True).host
    after = {"saved": False, "status_code": result.status_code}
    action = AdminAction("destination_test", "destination", "", host, after=after, failure=result.error)
    await record(deps, caller, principal, action)
    return result


async def send_changed_test(
    deps: ControlDeps, caller: Caller, dst_id: str, change: DestinationPatch
) -> SentTest:
    """Send one test event to a destination as it would be after a change, which is not stored.

    Raises: as `destinations.review`; Limited after too many tests of the organization.
    """
    found = await destinations.review(deps, caller, dst_id, change)
    principal = caller.principal
    assert principal is not None, "only keys of an organization may call this"
    deps.access.admit_test(principal)
    result = await _attempt(deps, found.after, caller.org_id)
    after = {"saved": False, "status_code": result.status_code}
    name = found.before.name
    action = AdminAction("destination_test", "destination", dst_id, name, after=after, failure=result.error)
    await record(deps, caller, principal, action)
    return result


async def _attempt(
    deps: ControlDeps, spec: DestinationSpec, org_id: OrganizationId, on_stage: OnStage | None = None
) -> SentTest:
    """Make one attempt by the function by which workers make them."""
    sender, trace = TokenSender(deps.sender), Trace(deps.clock.steady, on_stage)
    event = _test_event(deps, org_id)
    try:
        route = route_of(spec, deps.settings, org_id)
        answer, verdicts = await attempt(sender, spec, route, [event], trace)
        bearers = sender.bearers()
    finally:
        sender.close()
    if isinstance(answer, Response):
        trace.mark(Stage.ANSWER)
    verdict = verdicts[0] if isinstance(verdicts, list) else verdicts
    return result_of(Made(spec, route, event, trace, answer, verdict, bearers), deps.clock.now())


def _test_event(deps: ControlDeps, org_id: OrganizationId) -> bytes:
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
            "organization": {"id": org_id},
        }
    )
