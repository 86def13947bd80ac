"""Better Stack logs (Logtail): an array of events, each with `dt`, from which alone Better Stack reads the time."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from msgspec import UNSET, Raw, UnsetType

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Verdict
from aegis_stream.domain.times import to_text

from .answers import is_success, rejected, unexpected
from .fields import micros_of, splice
from .format import Format
from .status import is_page

_UNPARSABLE = 406


class _Event(msgspec.Struct, gc=False):
    dt: Raw | UnsetType = UNSET


_read = msgspec.json.Decoder(_Event).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send an array; an event with its own `dt` keeps it."""
    return Request(b"[" + b",".join([_log_of(body) for body in bodies]) + b"]")


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status: 202 without a body is success, 402 is a quota, 406 is about an event."""
    if not is_success(answer):
        verdict = rejected(answer, count)
        if isinstance(verdict, Failure) and verdict.status_code == _UNPARSABLE:
            return replace(verdict, scope=FailureScope.EVENT, permanent=True)
        return verdict
    if answer.status != 202 or is_page(answer.body):
        return unexpected(answer, "Better Stack")
    return Accepted(202)


def _log_of(body: bytes) -> bytes:
    if _read(body).dt is not UNSET:
        return body
    return splice(b'"dt":"%s"' % to_text(micros_of(body)).encode(), body)


BETTER_STACK = Format(
    "better_stack",
    encode,
    interpret,
    batches=True,
    frame_bytes=38,
    events_max=1000,
    body_bytes_max=5_000_000,
)
