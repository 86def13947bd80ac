"""OTLP/HTTP logs in JSON, `/v1/logs`: OpenTelemetry collectors and the destinations that speak their protocol.

A success can hide rejected records, without saying which. The protocol allows retries only after 429, 502, 503, 504 and a lost
connection; other failures are dead-lettered at once, unless a person must fix something first (401, 403, 404 …).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Response, Verdict

from .answers import USUAL_SUCCESSES, is_success, read_answer, unexpected
from .fields import NANOS_MAX, SOURCE, message_of, nanos_of, read_all, read_described, text_of
from .flat import flatten
from .format import Format
from .status import by_status

SEVERITY_INFO = 9
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
RETRIED = frozenset({429, 502, 503, 504})
"""The only statuses after which the protocol allows a retry."""

_FINER = re.compile(r"\.\d{6}\d*[1-9]")
"""A time with more precision than microseconds."""
_WARNING = "the receiver accepted the events with a warning: check its log"
_BEGIN = (
    b'{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]},'
    b'"scopeLogs":[{"scope":{"name":"aegis"},"logRecords":['
) % SOURCE.encode()


class _Partial(msgspec.Struct, gc=False, rename="camel"):
    rejected_log_records: int | str | None = None
    error_message: str | None = None


class _Reply(msgspec.Struct, gc=False, rename="camel"):
    partial_success: _Partial | None = None


_decode_reply = msgspec.json.Decoder(_Reply).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send one resource with a record for each event."""
    return Request(_BEGIN + b",".join([_record_of(body) for body in bodies]) + b"]}]}]}")


def interpret(answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Judge by status and partialSuccess, which does not say which records were rejected.

    So all events of such a request count as failed, and none is retried: the protocol forbids it.
    """
    if not is_success(answer):
        return _failed(answer, count)
    if answer.status not in USUAL_SUCCESSES:
        return unexpected(answer, "an OTLP receiver")
    reply = read_answer(_decode_reply, answer) if answer.body.strip() else _Reply()
    rejected = _rejected(reply) if reply is not None else None
    if reply is None or rejected is None:
        return unexpected(answer, "an OTLP receiver")
    if rejected:
        which = (
            "the event" if count == 1 else f"{min(rejected, count)} of {count} events, without saying which"
        )
        message = f"answered {answer.status}, but rejected {which}: check the receiver's log"
        return [Failure(FailureScope.EVENT, message, status_code=answer.status, permanent=True)] * count
    if reply.partial_success is not None and reply.partial_success.error_message:
        return Accepted(answer.status, warning=_WARNING)
    return Accepted(answer.status)


def _failed(answer: Answer, count: int) -> Verdict:
    """Judge by status; a failure that may not be retried and needs no fix is permanent."""
    verdict = by_status(answer, count)
    if isinstance(verdict, Failure) and isinstance(answer, Response):
        return replace(verdict, permanent=answer.status not in RETRIED and not verdict.fix_needed)
    return verdict


def _rejected(reply: _Reply) -> int | None:
    """Return how many records were rejected; None if it is not a count. JSON has 64-bit integers as text."""
    partial = reply.partial_success
    number = partial.rejected_log_records if partial is not None else None
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdecimal() and len(number) <= 20 else -1
    number = number or 0
    return number if number >= 0 else None


def _record_of(body: bytes) -> bytes:
    event = read_all(body)
    message = text_of(message_of(read_described(body)))
    nanos = nanos_of(body)
    if _is_whole(event["@timestamp"], nanos):
        del event["@timestamp"]
    if event.get("message") == message:
        del event["message"]
    return msgspec.json.encode(
        {
            "timeUnixNano": str(nanos),
            "severityNumber": SEVERITY_INFO,
            "body": {"stringValue": message},
            "attributes": _pairs(flatten(event, len(body))),
        }
    )


def _is_whole(timestamp: str, nanos: int) -> bool:
    """Tell whether the record's time equals the event's: within the limits, and not rounded to microseconds."""
    return 0 < nanos < NANOS_MAX and _FINER.search(timestamp) is None


def _pairs(members: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name or _free(members), "value": _value(one)} for name, one in members.items()]


def _free(members: dict[str, Any]) -> str:
    """Return a name for the member with an empty name, which the protocol does not allow; receivers drop it silently."""
    name = "_"
    while name in members:
        name += "_"
    return name


def _value(value: Any) -> dict[str, Any]:
    """Convert a JSON value to an AnyValue: 64-bit integers as text, null as a value without a kind."""
    return _BY_TYPE[type(value)](value)


def _number(value: int) -> dict[str, Any]:
    return {"intValue" if INT_MIN <= value <= INT_MAX else "stringValue": str(value)}


def _list(values: list[Any]) -> dict[str, Any]:
    return {"arrayValue": {"values": [_BY_TYPE[type(one)](one) for one in values]}}


_BY_TYPE: dict[type, Callable[[Any], dict[str, Any]]] = {
    NoneType: lambda _: {},
    bool: lambda value: {"boolValue": value},
    int: _number,
    float: lambda value: {"doubleValue": value},
    str: lambda value: {"stringValue": value},
    list: _list,
    dict: lambda members: {"kvlistValue": {"values": _pairs(members)}},
}
"""How each type of a decoded event is written: a look-up, because an event may have tens of thousands of values."""

OTLP_LOGS = Format(
    "otlp_logs",
    encode,
    interpret,
    batches=True,
    frame_bytes=128,
    growth=2.5,
    events_max=1000,
    body_bytes_max=4_000_000,
)
