"""The plain JSON family: one event, events as lines, events as an array. Stored bytes are sent unchanged.

The content type is exactly `application/json` without parameters: Fluent Bit up to 4.2 rejects a charset, and the contract
with destinations promises it.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Response, Verdict

from .answers import read_answer
from .fields import one_line
from .format import Format
from .status import by_status

_OTLP_MARK = b'"partialSuccess"'
_OTLP = (
    "answered {} like an OTLP receiver, which drops events that are not OTLP; any 2xx counts as delivered: "
    "choose format otlp_logs, and end the URL with /v1/logs"
)


class _OtlpReply(msgspec.Struct, gc=False, rename="camel"):
    partial_success: dict[str, Raw] | None


_STATUS_CONFLICT = 409
_CONFLICT = (
    "answered 409: the destination says that it has an event with this id, or that the event conflicts with what it has: "
    "compare the two; an event that is redriven counts as delivered at the next 409"
)

_decode_otlp = msgspec.json.Decoder(_OtlpReply).decode


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status; an OTLP success gets a warning, since an OTLP receiver drops events that are not OTLP.

    409 is about one event: a receiver that stores each event once answers so to an event that it has.
    """
    if isinstance(answer, Response) and answer.status == _STATUS_CONFLICT:
        return Failure(
            FailureScope.EVENT,
            _CONFLICT,
            status_code=answer.status,
            permanent=True,
            conflict=True,
            repeated=answer.repeated,
        )
    verdict = by_status(answer, count)
    if (
        isinstance(answer, Response)
        and _OTLP_MARK in answer.body
        and isinstance(verdict, Accepted)
        and read_answer(_decode_otlp, answer) is not None
    ):
        return Accepted(answer.status, warning=_OTLP.format(answer.status))
    return verdict


def encode_single(bodies: Sequence[bytes]) -> Request:
    """Send one event as stored, byte for byte."""
    (body,) = bodies
    return Request(body)


def encode_lines(bodies: Sequence[bytes]) -> Request:
    """Send events as lines, each with a newline at its end.

    Submitted white space between tokens may contain line breaks; they become spaces. That changes no value, since JSON does
    not allow line breaks in strings.
    """
    together = b"".join(bodies)
    if b"\n" in together or b"\r" in together:
        bodies = [one_line(body) for body in bodies]
    return Request(b"\n".join([*bodies, b""]), "application/x-ndjson")


def encode_array(bodies: Sequence[bytes]) -> Request:
    """Send events as one JSON array."""
    return Request(b"[" + b",".join(bodies) + b"]")


JSON = Format("json", encode_single, interpret, batches=False)
NDJSON = Format("ndjson", encode_lines, interpret, batches=True, frame_bytes=1)
JSON_ARRAY = Format("json_array", encode_array, interpret, batches=True, frame_bytes=1)
