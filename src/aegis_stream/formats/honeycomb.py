"""Honeycomb events, `/1/batch/<dataset>`: an array of times with flat fields; the answer has a status for each event."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Verdict
from aegis_stream.domain.times import to_text

from .answers import is_success, read_answer, rejected, unexpected
from .fields import micros_of, read_all
from .flat import flatten
from .format import Format


class _Result(msgspec.Struct, gc=False):
    status: Annotated[int, msgspec.Meta(ge=100, le=999)]


_decode = msgspec.json.Decoder(list[_Result]).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send an array; nested objects become fields with dotted names, arrays become JSON text."""
    return Request(b"[" + b",".join([_event_of(body) for body in bodies]) + b"]")


def interpret(answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Judge every event by its own result, in the order of the request."""
    if not is_success(answer):
        return rejected(answer, count)
    results = read_answer(_decode, answer)
    if results is None or len(results) != count:
        return unexpected(answer, "Honeycomb")
    return [_judge(one.status) for one in results]


def _judge(status: int) -> Verdict:
    if 200 <= status < 300:
        return Accepted(status)
    busy = status == 429 or status >= 500
    what = (
        "Honeycomb limits the request rate"
        if busy
        else "Honeycomb rejected the event: check its size and its number of fields"
    )
    return Failure(
        FailureScope.DESTINATION if busy else FailureScope.EVENT,
        f"answered {status} for the event: {what}",
        status_code=status,
        overload=busy,
        permanent=not busy,
    )


def _event_of(body: bytes) -> bytes:
    data = {name: _field(value) for name, value in flatten(read_all(body), len(body)).items()}
    return msgspec.json.encode({"time": to_text(micros_of(body)), "data": data})


def _field(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


HONEYCOMB = Format(
    "honeycomb",
    encode,
    interpret,
    batches=True,
    frame_bytes=64,
    growth=1.6,
    events_max=500,
    body_bytes_max=5_000_000,
    event_bytes_max=1_000_000,
    answer_bytes_max=64 * 1024,
    compressions=frozenset({"gzip", "zstd"}),
)
