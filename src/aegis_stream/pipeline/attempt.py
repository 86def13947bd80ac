"""One attempt: events → request → answer → verdicts (steps 5 to 7), for the delivery and for the test button alike.

    request_of      encode, and refuse what is too large          pure
    compressed      see `compress`
    Channel.post    the only step that does I/O
    verdicts_of     what the answer means for each event          pure

`attempt` runs them one after the other. The delivery calls the pure halves itself, because it makes many attempts at once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Request, Verdict
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.trace import Trace
from aegis_stream.formats import Format, oversize, resolve, when_compressed
from aegis_stream.formats.status import by_status
from aegis_stream.ports import Sender
from aegis_stream.telemetry import place_of

from .compress import compressed

OVERSIZE_LOOK_BYTES = 64 * 1024
"""Request bodies up to this size are within the limits of every format."""
_DAMAGED = Failure(
    FailureScope.EVENT,
    "the stored event is damaged or missing, so it was not sent: restore the database from a backup, or purge this dead letter",
    permanent=True,
    damaged=True,
)


class Attempted(NamedTuple):
    """What one attempt came to.

    Args:
        answer: None when nothing was sent, and the verdict says why.
        verdicts: one for each event, or one for all of them.
    """

    answer: Answer | None
    verdicts: Verdict | list[Verdict]


async def attempt(
    sender: Sender,
    spec: DestinationSpec,
    route: Route,
    bodies: Sequence[bytes],
    trace: Trace | None = None,
) -> Attempted:
    """Send events to a destination once, over a connection of their own; ends within `route.attempt_s_max`.

    Args:
        bodies: events as stored; only one where the format does not batch.
        trace: gets a mark for each stage that is passed.
    Raises: what `Sender.open` raises. After cancellation the connection is closed.
    """
    format_ = format_of(spec)
    request = request_of(format_, bodies)
    if isinstance(request, Failure):
        return Attempted(None, request)
    channel = sender.open(route, trace)
    try:
        answer = await channel.post(compressed(request, spec.compression))
    finally:
        channel.close()
    return Attempted(answer, verdicts_of(format_, answer, len(bodies)))


def format_of(spec: DestinationSpec) -> Format:
    """Return the format in which a destination gets its events."""
    return when_compressed(resolve(spec.format, spec.url), spec.compression)


def request_of(format_: Format, bodies: Sequence[bytes]) -> Request | Failure:
    """Encode events; the body is not compressed yet. Total, even when the format has a bug.

    Args:
        bodies: as stored; an empty one stands for an event that is damaged or missing in the store.

    Returns: the request; or why nothing can be sent, which is about one event: a batch must be halved to find it.
    """
    if not all(bodies):
        return _DAMAGED
    try:
        request = format_.encode(bodies)
    except Exception as error:  # noqa: BLE001 - a bug in a format must cost one event, not the destination
        return Failure(FailureScope.EVENT, _bug(format_, "encode the event", error), permanent=True, bug=True)
    if len(request.body) > OVERSIZE_LOOK_BYTES and (failure := oversize(format_, request, len(bodies))):
        return failure
    return request


def verdicts_of(format_: Format, answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Return what an answer means: a verdict for each event, or one for all. Total, even when the format has a bug.

    Args:
        format_: in which the events were sent.
        count: how many were sent.
    """
    if answer.failure is not None:
        return answer.failure
    try:
        verdicts = format_.interpret(answer, count)
        if isinstance(verdicts, list) and len(verdicts) != count:
            raise ValueError  # noqa: TRY301 - the same bug as an exception of the format's own
    except Exception as error:  # noqa: BLE001 - as above
        return _judged_without_format(format_, answer, count, error)
    return verdicts


def _judged_without_format(format_: Format, answer: Answer, count: int, error: Exception) -> Failure:
    """Return the failure for an answer on which a format raised: judged by its status if that is an error.

    A 2xx may hide that an event was rejected, so it is about one event: a batch must be halved to find it.
    """
    message = _bug(format_, "interpret the answer", error)
    verdict = by_status(answer, count)
    if isinstance(verdict, Failure):
        return replace(verdict, message=f"{verdict.message}; {message}", bug=True)
    status = verdict.status_code
    return Failure(FailureScope.EVENT, f"answered {status}; {message}", status, permanent=True, bug=True)


def _bug(format_: Format, what: str, error: Exception) -> str:
    """Say which format has a bug: kind and place of the error, never its text, which may quote an event."""
    kind = f"{type(error).__name__} at {place_of(error)}"
    return f"format {format_.name} failed to {what} ({kind}): this is a bug in Aegis Audit Stream, please report it"
