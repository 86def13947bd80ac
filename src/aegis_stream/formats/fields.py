"""What formats read of a stored event, and how they add members without changing its bytes.

Every stored event is a JSON object with `@timestamp` (RFC 3339), `event.id` and `organization.id`: ingest ensures that. A field
of the envelope may be nested or have a dotted name (`"event.id"`), never both; see `domain.envelope`. Strings are taken as raw
JSON, so that no byte of them changes on the way.
"""

import json
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import MICROS_MAX, from_text, plain_text

SOURCE = "aegis-audit-stream"
"""The name of the service, for destinations that require one."""
NANOS_MAX = 2**63 - 1
"""Latest time in nanoseconds that fits 64 bits, in the year 2262."""


class _Event(msgspec.Struct, gc=False):
    dataset: Raw | UnsetType = UNSET
    action: Raw | UnsetType = UNSET


class _EventId(msgspec.Struct, gc=False):
    id: Raw | UnsetType = UNSET


class _Identified(msgspec.Struct, gc=False):
    event: _EventId | UnsetType = UNSET
    dotted_id: Raw = msgspec.field(name="event.id", default=Raw(b""))


class _Timed(msgspec.Struct, gc=False):
    timestamp: str = msgspec.field(name="@timestamp")


class _Summary(msgspec.Struct, gc=False):
    summary: Raw | UnsetType = UNSET


class Described(msgspec.Struct, gc=False):
    """Fields that describe the event in words: raw, since only `event` is certain to have the right type."""

    event: _Event | UnsetType = UNSET
    message: Raw | UnsetType = UNSET
    aegis: Raw | UnsetType = UNSET
    dotted_summary: Raw | UnsetType = msgspec.field(name="aegis.summary", default=UNSET)
    dotted_action: Raw | UnsetType = msgspec.field(name="event.action", default=UNSET)
    dotted_dataset: Raw | UnsetType = msgspec.field(name="event.dataset", default=UNSET)


_read_identity = msgspec.json.Decoder(_Identified).decode
read_described = msgspec.json.Decoder(Described).decode
_read_timed = msgspec.json.Decoder(_Timed).decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_read_summary = msgspec.json.Decoder(_Summary).decode


def _float_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if number - number == 0 else digits


# The hook is faster, too: msgspec needs 10 µs for a number such as 1.5e300, 0.4 s for an event full of them.
_read_all = msgspec.json.Decoder(dict[str, Any], float_hook=_float_or_text).decode


def id_of(body: bytes) -> Raw:
    """Return `event.id` as the raw JSON string."""
    found = _read_identity(body)
    event = found.event
    return event.id if event is not UNSET and event.id is not UNSET else found.dotted_id


def micros_of(body: bytes) -> Micros:
    """Return `@timestamp` in microseconds since 1970, clamped to what every destination can read: 1970 to 9999, UTC.

    Decimals beyond microseconds are cut off. A time zone west of Greenwich can put the last hours of 9999 into the year 10000
    of UTC, which has no RFC 3339 text.
    """
    at = from_text(_read_timed(body).timestamp)
    assert at is not None, "ingest accepts nothing else"
    return Micros(min(max(0, at), MICROS_MAX))


def with_plain_time(body: bytes) -> bytes:
    """Return the event with its `@timestamp` in a spelling that every reader of ISO 8601 knows; see `times.plain_text`.

    An event that has it already, as almost all have, is returned unchanged.
    """
    text = _read_timed(body).timestamp
    plain = plain_text(text)
    if plain == text:
        return body
    members = _read_members(body)
    members["@timestamp"] = Raw(msgspec.json.encode(plain))
    return msgspec.json.encode(members)


def seconds_of(body: bytes) -> str:
    """Return `@timestamp` as decimal seconds since 1970 with milliseconds: "1778841201.456"."""
    millis = micros_of(body) // 1000
    return f"{millis // 1000}.{millis % 1000:03}"


def nanos_of(body: bytes) -> int:
    """Return `@timestamp` in nanoseconds since 1970, within 64 bits."""
    return min(micros_of(body) * 1000, NANOS_MAX)


def message_of(described: Described) -> Raw | bytes:
    """Return a line for a person as a JSON string: the message, the summary of a decision, the action, or the dataset."""
    summary: Raw | UnsetType = UNSET
    if not _is_text(described.message) and described.aegis is not UNSET:
        try:
            summary = _read_summary(described.aegis).summary
        except msgspec.ValidationError:
            summary = UNSET  # only preflight events are certain to have an object there
    event = described.event if described.event is not UNSET else _Event()
    for one in (
        described.message,
        summary,
        described.dotted_summary,
        event.action,
        described.dotted_action,
        event.dataset,
        described.dotted_dataset,
    ):
        if one is not UNSET and _is_text(one):
            return one
    return b'"audit event"'


def text_of(raw: Raw | bytes) -> str:
    """Decode a raw JSON string."""
    return msgspec.json.decode(raw, type=str)


def read_all(body: bytes) -> dict[str, Any]:
    """Return the whole event as Python values; a number beyond the range of a double becomes a text of its digits."""
    try:
        return _read_all(body)
    except msgspec.ValidationError:
        whole: dict[str, Any] = json.loads(body, parse_float=_float_or_text, parse_int=_int_or_text)
        return whole


def splice(members: bytes, body: bytes) -> bytes:
    """Insert members before those of an event, whose bytes stay the same.

    Args:
        members: without braces: b'"a":1,"b":2'.
    """
    return b"{" + members + b"," + body[1:]


def one_line(body: bytes) -> bytes:
    """Return an event without line breaks: they become spaces between tokens; JSON does not allow them in strings."""
    return body.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in body or b"\r" in body else body


def _is_text(value: Raw | UnsetType) -> bool:
    return value is not UNSET and len(value) > 2 and bytes(value)[:1] == b'"'


def _int_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= 20 else digits
