"""New Relic Log API, US and EU: one block of logs with flat attributes, epoch milliseconds and arrays joined to texts.

Everything that New Relic would drop silently is converted: arrays, nested objects, reserved names, and more attributes than
it keeps. What does not fit into the attributes is sent as JSON text in `aegis.more`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Request, Verdict

from .answers import is_success, read_answer, rejected, unexpected
from .fields import SOURCE, message_of, micros_of, read_all, read_described, text_of
from .flat import flatten
from .format import Format

ATTRIBUTES_MAX = 250
"""Most attributes of a log. New Relic keeps 255, including `message`, `timestamp` and the common ones."""
NAME_BYTES_MAX = 255
EXACT_MAX = 2**53
"""Integers up to here are exact in a double; larger ones are sent as text."""
AGE_MAX_S = 48 * 3600
"""New Relic may drop a log with an older timestamp after the 202."""
MORE = "aegis.more"

_RESERVED = frozenset({"eventType", "accountId", "timestamp", "message", MORE})
_COMMON = b'[{"common":{"attributes":{"logtype":"aegis","service":"%s"}},"logs":[' % SOURCE.encode()


class _Reply(msgspec.Struct, gc=False):
    requestId: str | None = None  # noqa: N815 - New Relic's spelling


_decode_reply = msgspec.json.Decoder(_Reply).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send one block of logs."""
    return Request(_COMMON + b",".join([_log_of(body) for body in bodies]) + b"]}]")


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status; success is a 202 with an empty body or New Relic's object. It does not report what it drops later."""
    if not is_success(answer):
        return rejected(answer, count)
    if answer.status == 202 and (not answer.body.strip() or read_answer(_decode_reply, answer) is not None):
        return Accepted(202)
    return unexpected(answer, "New Relic")


def _log_of(body: bytes) -> bytes:
    event = read_all(body)
    message = text_of(message_of(read_described(body)))
    if event.get("message") == message:
        del event["message"]
    attributes, more = _attributes_of(flatten(event, len(body)))
    if more:
        attributes[MORE] = msgspec.json.encode(more).decode()
    return msgspec.json.encode(
        {"timestamp": micros_of(body) // 1000, "message": _plain(message), "attributes": attributes}
    )


def _attributes_of(flat: dict[str, Any]) -> tuple[dict[str, str | int | float | bool], dict[str, Any]]:
    """Return the attributes that New Relic keeps, and the rest."""
    attributes: dict[str, str | int | float | bool] = {}
    more: dict[str, Any] = {}
    for name, value in flat.items():
        kept = f"ecs.{name}" if name in _RESERVED or name.startswith("entity.") else name
        if value is None or value == {}:
            continue  # the same as no attribute
        full = kept in attributes or len(attributes) >= ATTRIBUTES_MAX or len(kept.encode()) > NAME_BYTES_MAX
        if full or isinstance(value, dict):
            more[name] = value
        else:
            attributes[kept] = _attribute(value)
    return attributes, more


def _attribute(value: Any) -> str | int | float | bool:
    if isinstance(value, list):
        return _joined(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT_MAX:
        return str(value)
    return value  # type: ignore[no-any-return] # a scalar of JSON, as `flatten` leaves it


def _joined(values: list[Any]) -> str:
    """Join texts with commas; anything ambiguous is written as JSON."""
    if all(isinstance(one, str) and one and "," not in one for one in values):
        return ",".join(values)
    return msgspec.json.encode(values).decode()


def _plain(message: str) -> str:
    """Prevent New Relic from parsing a message that is JSON into attributes."""
    return f"message: {message}" if message.lstrip()[:1] in ("{", "[") else message


NEW_RELIC = Format(
    "new_relic",
    encode,
    interpret,
    batches=True,
    frame_bytes=64,
    growth=1.6,
    events_max=1000,
    body_bytes_max=1_000_000,
    event_bytes_max=1_000_000,
    age_max_s=AGE_MAX_S,
)
