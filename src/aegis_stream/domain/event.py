"""Audit events: what is taken, what is refused and why, what is filled in.

`api/ingest.py` cuts a request into raw items; `parse_event` turns each into a NewEvent (or says what is wrong with it),
and from then on its bytes are never written anew. Only the envelope fields are decoded; the rest is checked as JSON and
kept as it came.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import privacy
from .envelope import Ambiguity, add_id, has_dotted_names, id_of, nest
from .ids import Micros, OrganizationId
from .times import to_text

EVENT_ID_CHARACTERS_MAX = 256
"""Longest event.id."""
DATASET_CHARACTERS_MAX = 256
"""Longest event.dataset."""

PREFLIGHT_DATASET = "aegis.preflight"
TEST_DATASET = "aegis.audit_stream.test"
RESERVED_DATASETS = "aegis.audit_stream."
"""Datasets with this beginning are made by the service itself and never taken from outside."""

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What every destination's own integer holds."""


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How large and how odd an event may be; the settings of the same names say why.

    Args:
        bytes_max: bytes of JSON.
        depth_max: nesting of objects and arrays, the event itself being 1; at least 4.
        number_digits_max: characters of a number; at least 20.
        privacy_check: refuse a preflight event with a card number, a key and the like in its summary.
    """

    bytes_max: int = 256 * 1024
    depth_max: int = 32
    number_digits_max: int = 400
    privacy_check: bool = True


DEFAULT_LIMITS = EventLimits()


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that is fit for the log.

    Args:
        event_id: unique within the organization.
        dataset: event.dataset, "" where the event has none.
        decision: aegis.decision of a preflight event, else None.
        body: the JSON text to store and to deliver, byte for byte (UTF-8).
        raw: the item as it was submitted, where something was filled in; else None.
    """

    event_id: str
    dataset: str
    decision: str | None
    body: str
    raw: bytes | None


class Rejection(NamedTuple):
    """Why an item was not taken.

    Args:
        event_id: the item's own id, where it has a readable one.
        field: dotted path of what is wrong, "" for the item as a whole.
        message: what is wrong and the way out.
        kind: "malformed" (cannot be read), "too-large", "conflict" (its id is taken) or "invalid".
    """

    event_id: str | None
    field: str
    message: str
    kind: str = "invalid"


class Preflight(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The `aegis` object of a preflight decision: counts of findings, never their values.

    Unknown keys are refused, so that no raw finding can slip through by accident.
    """

    decision: Decision
    preflight_id: str | UnsetType = UNSET
    destination: Literal["AI_TOOL", "VENDOR", "CUSTOMER"] | UnsetType = UNSET
    summary: str | None | UnsetType = UNSET
    policy_version: str | None | UnsetType = UNSET
    policy_id: str | None | UnsetType = UNSET
    source_type: str | None | UnsetType = UNSET
    input_type: str | None | UnsetType = UNSET
    input_size_bytes: Count | None | UnsetType = UNSET
    finding_counts_by_type: dict[str, Count] | UnsetType = UNSET
    actor_id: str | None | UnsetType = UNSET


_Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class _EventFields(msgspec.Struct, gc=False):
    id: str | UnsetType = UNSET
    dataset: str | UnsetType = UNSET


class _OrganizationFields(msgspec.Struct, gc=False):
    id: str | UnsetType = UNSET


class _Envelope(msgspec.Struct, gc=False):
    event: _EventFields | UnsetType = UNSET
    organization: _OrganizationFields | UnsetType = UNSET
    timestamp: _Timestamp | UnsetType = msgspec.field(name="@timestamp", default=UNSET)


Words = str | list[str] | UnsetType


class _PlainEventFields(msgspec.Struct, gc=False):
    id: str
    dataset: str
    kind: str | UnsetType = UNSET
    category: Words = UNSET
    type: Words = UNSET
    action: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    severity: Count | UnsetType = UNSET
    provider: str | UnsetType = UNSET


class _PlainOrganizationFields(msgspec.Struct, gc=False):
    id: str
    name: str | UnsetType = UNSET


class _PlainPreflightEvent(msgspec.Struct, gc=False):
    """A whole preflight event, every value of it typed: see `_parse_plain` before adding a field of another type."""

    timestamp: str = msgspec.field(name="@timestamp")
    event: _PlainEventFields
    aegis: Preflight
    organization: _PlainOrganizationFields


_decode_plain = msgspec.json.Decoder(_PlainPreflightEvent).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_preflight = msgspec.json.Decoder(Preflight).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_convert = msgspec.convert
_PLAIN_TIME = re.compile(
    r"[12]\d\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]0\d:00)",
    re.ASCII,
)
"""Times that need no second look (RFC 3339 section 5.6); the others get one, such as the last days of a month."""
_ID_LOST = (
    "is missing: an event from another Aegis Audit Stream must keep its id, or a delivery loop would never end; "
    "choose format json, ndjson or json_array for that destination"
)
_PREFLIGHT_TEXT = b'"' + PREFLIGHT_DATASET.encode() + b'"'


def parse_event(
    raw: bytes,
    organization_id: OrganizationId,
    now: Micros,
    make_id: Callable[[], str] | None,
    *,
    reserved: bool = False,
    limits: EventLimits = DEFAULT_LIMITS,
) -> NewEvent | Rejection:
    """Check one item and fill in what is missing: @timestamp, event.id, organization.id.

    Args:
        raw: one JSON document.
        now: the time to fill in.
        make_id: called only when the item has no event.id; None where it must have one.
        reserved: the event comes from the service itself, so reserved datasets are welcome.
    Returns: NewEvent, whose body is `raw` to the byte when nothing was missing; or Rejection. Raises nothing.
    """
    if _PREFLIGHT_TEXT in raw and (plain := _parse_plain(raw, organization_id, limits)) is not None:
        return plain
    return _parse_thoroughly(raw, organization_id, now, make_id, reserved=reserved, limits=limits)


def _parse_plain(
    raw: bytes, organization_id: OrganizationId, limits: EventLimits = DEFAULT_LIMITS
) -> NewEvent | None:
    """Take a whole preflight event in one pass, if it is written in as few bytes as its content can be; else None.

    What was decoded, written anew, is the shortest text there is for it: strings with the escapes that must be, integers
    without a sign too many, no spaces. If the item is no longer, then nothing stands in it that was not decoded: no
    unknown field, no key a second time, no deeper level. So one look at its length is what a search for all of these
    would be, whatever the order of its keys. This holds only as long as every field above is a string, an integer, or a
    list or an object of such: a float can be written in more bytes than it was. (Depth and numbers are within the limits
    by the types alone.)
    """
    if len(raw) > limits.bytes_max:
        return None
    try:
        plain = _decode_plain(raw)
        if _PLAIN_TIME.fullmatch(plain.timestamp) is None:
            _convert(plain.timestamp, _Timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    event = plain.event
    event_id, dataset = event.id, event.dataset
    if (
        len(_encode(plain)) != len(raw)
        or dataset != PREFLIGHT_DATASET
        or plain.organization.id != organization_id
        or not (0 < len(event_id) <= EVENT_ID_CHARACTERS_MAX and event_id.isprintable())
        or _private_value(plain.aegis, limits) is not None
    ):
        return None
    return NewEvent(event_id, dataset, plain.aegis.decision, raw.decode(), None)


def _parse_thoroughly(
    raw: bytes,
    organization_id: OrganizationId,
    now: Micros,
    make_id: Callable[[], str] | None,
    *,
    reserved: bool,
    limits: EventLimits = DEFAULT_LIMITS,
) -> NewEvent | Rejection:
    """Check any item, step by step; says what is wrong with it."""
    refusal = _refuse_shape(raw, limits)
    if refusal is not None:
        return refusal
    try:
        text = raw.decode()
        reading = _read_envelope(raw, limits)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _describe(error, "")._replace(event_id=_readable_id(raw))
    if isinstance(reading, Rejection):
        return reading
    envelope, as_read = reading
    event, organization = envelope.event, envelope.organization
    event_id = event.id if event is not UNSET else UNSET
    dataset = event.dataset if event is not UNSET and event.dataset is not UNSET else ""
    named = organization.id if organization is not UNSET else UNSET
    refusal = _refuse_fields(event_id, dataset, reserved=reserved, id_needed=make_id is None)
    if refusal is None and named is not UNSET and named != organization_id:
        message = "does not match the organization in the URL: omit it or correct it"
        refusal = Rejection(event_id or None, "organization.id", message)
    if refusal is not None:
        return refusal
    decision: str | None = None
    if dataset == PREFLIGHT_DATASET:
        preflight = _fit_preflight(_decode_members(as_read).get("aegis", UNSET), limits)
        if isinstance(preflight, Rejection):
            return preflight._replace(event_id=event_id or None)
        decision = preflight.decision
    if event_id is not UNSET and named is not UNSET and envelope.timestamp is not UNSET:
        return NewEvent(event_id, dataset, decision, text, None)
    event_id = event_id or _new_id(make_id)
    timestamp = None if envelope.timestamp is not UNSET else to_text(now)
    return NewEvent(event_id, dataset, decision, _fill(raw, event_id, organization_id, timestamp), raw)


def _new_id(make_id: Callable[[], str] | None) -> str:
    assert make_id is not None, "an event without an id was refused where none may be made"
    return make_id()


def _fit_preflight(aegis: Raw | UnsetType, limits: EventLimits) -> Preflight | Rejection:
    preflight = parse_preflight(aegis)
    if isinstance(preflight, Preflight) and (kind := _private_value(preflight, limits)) is not None:
        return Rejection(None, "aegis.summary", f"contains {kind}: send counts of findings, never values")
    return preflight


def parse_preflight(aegis: Raw | UnsetType) -> Preflight | Rejection:
    """Check the `aegis` object of a preflight event: known keys with the right types, nothing else."""
    if aegis is UNSET:
        return Rejection(
            None,
            "aegis",
            f"is missing: an event of dataset {PREFLIGHT_DATASET} needs it, with aegis.decision",
        )
    try:
        return _decode_preflight(aegis)
    except (msgspec.DecodeError, RecursionError) as error:
        return _describe(error, "aegis")


def is_same_submission(new: NewEvent, stored_body: str) -> bool:
    """Tell whether an event with a stored event's id is the same event sent again.

    Where we filled in the time, the second submission got another one than the first: then both are compared with the
    stored time filled in, so that a client that repeats a request without @timestamp is not told of a conflict.
    """
    if new.body == stored_body:
        return True
    if new.raw is None:
        return False
    stored = _decode_members(stored_body.encode())
    timestamp, organization_id = stored.get("@timestamp"), id_of(stored, "organization")
    if timestamp is None or organization_id is None:
        return False
    return (
        _fill(new.raw, new.event_id, organization_id, msgspec.json.decode(timestamp, type=str)) == stored_body
    )


def _read_envelope(raw: bytes, limits: EventLimits) -> tuple[_Envelope, bytes] | Rejection:
    """Decode the envelope as receivers read it: each key once in its object, and names with dots as nested fields.

    Returns: the envelope, and JSON with the envelope in nested form; or why it cannot be read in one way only.
    Raises: msgspec.DecodeError, RecursionError.
    """
    event, keys_may_repeat = _decode_whole(raw)
    envelope = _convert(event, _Envelope)
    if keys_may_repeat and (repeated := _repeated_key(raw)) is not None:
        message = "appears twice in the same object, and receivers could read either value: send it once"
        return Rejection(None, repeated, message, "malformed")
    if not has_dotted_names(event):
        return envelope, raw
    nested = nest(_decode_members(raw), limits.depth_max)
    if isinstance(nested, Ambiguity):
        return Rejection(_readable_id(raw), nested.field, nested.message)
    as_read = _encode(nested)
    return _decode_envelope(as_read), as_read


def _decode_whole(raw: bytes) -> tuple[dict[str, Any], bool]:
    """Return the event and, at little cost, whether a key may stand twice in one object, at any depth.

    That answer is wrong only in saying yes. A decoder takes the last of two equal keys and a destination perhaps the first:
    what was checked would not be what is delivered. What was decoded has lost the first, and with it two quotation marks at
    least; nothing can make up for them but a quotation mark that is spelled by its number.

    Raises: msgspec.DecodeError.
    """
    try:
        event = _decode_any(raw)
    except msgspec.ValidationError:  # a number that no double holds
        _decode_members(raw)
        return json.loads(raw, parse_int=len, parse_float=len), True
    try:
        return event, _encode(event).count(b'"') != raw.count(b'"') or (b"\\" in raw and rb"\u0022" in raw)
    except (msgspec.MsgspecError, OverflowError):  # a number that the encoder does not write
        return event, True


def _repeated_key(raw: bytes) -> str | None:
    """Return a key that stands twice in one object, at any depth, or None."""
    found: list[str] = []

    def check(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            found.append(next(name for name in names if names.count(name) > 1))

    json.loads(raw, object_pairs_hook=check, parse_int=len, parse_float=len)
    return found[0][:100] if found else None


def _private_value(preflight: Preflight, limits: EventLimits) -> str | None:
    """Return what stands in the summary that must not, in words, or None."""
    summary = preflight.summary
    return privacy.find(summary) if limits.privacy_check and isinstance(summary, str) else None


def _refuse_shape(raw: bytes, limits: EventLimits) -> Rejection | None:
    """Refuse what is too large, too deep or has absurd numbers before any parser sees it."""
    if len(raw) > limits.bytes_max:
        return Rejection(
            None,
            "",
            f"the event has {len(raw)} bytes; the limit is {limits.bytes_max}: shorten it or split it",
            "too-large",
        )
    # An upper bound of the depth that costs next to nothing; only what exceeds it is looked at more closely.
    if (
        raw.count(b"{") + raw.count(b"[") > limits.depth_max
        and _depth(raw, limits.depth_max) > limits.depth_max
    ):
        message = f"the event is nested deeper than {limits.depth_max} levels: flatten it"
        return Rejection(None, "", message)
    if _has_long_number(raw, limits.number_digits_max):
        message = (
            f"the event has a number of more than {limits.number_digits_max} characters: send it as a string"
        )
        return Rejection(None, "", message)
    return None


_NUMBER_BYTES = b"0123456789+-.eE"


def _has_long_number(raw: bytes, most: int) -> bool:
    """Tell whether a number has more characters than `most`."""
    # A stretch that long covers one of these pieces whole; only what has such a piece is looked at more closely.
    piece = (most + 1) // 2
    for at in range(0, len(raw) - piece + 1, piece):
        if not raw[at : at + piece].strip(_NUMBER_BYTES):
            break
    else:
        return False
    found: list[int] = []
    try:
        json.loads(
            raw,
            parse_int=lambda text: found.append(len(text)),
            parse_float=lambda text: found.append(len(text)),
        )
    except (ValueError, RecursionError):
        return False  # no JSON at all: the next one to read it says so
    return max(found, default=0) > most


def _depth(raw: bytes, most: int) -> int:
    """Return how deep objects and arrays are nested, brackets inside of strings left out."""
    depth = deepest = 0
    for index, piece in enumerate(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')):
        if index % 2:
            continue  # between quotes
        for byte in piece:
            if byte in b"{[":
                depth += 1
                deepest = max(deepest, depth)
            elif byte in b"}]":
                depth -= 1
        if deepest > most:
            break
    return deepest


def _refuse_fields(
    event_id: str | UnsetType, dataset: str, *, reserved: bool, id_needed: bool
) -> Rejection | None:
    if event_id is UNSET and id_needed:
        return Rejection(None, "event.id", _ID_LOST)
    if event_id is not UNSET and not (
        0 < len(event_id) <= EVENT_ID_CHARACTERS_MAX and event_id.isprintable()
    ):
        return Rejection(None, "event.id", f"must be 1 to {EVENT_ID_CHARACTERS_MAX} printable characters")
    if not reserved and ("_" in dataset or not dataset.isascii()) and _is_reserved(dataset):
        message = f"{RESERVED_DATASETS}* is reserved for the service's own events: choose another dataset"
        return Rejection(event_id or None, "event.dataset", message)
    if len(dataset) > DATASET_CHARACTERS_MAX or not dataset.isprintable():
        return Rejection(
            event_id or None,
            "event.dataset",
            f"must be at most {DATASET_CHARACTERS_MAX} printable characters",
        )
    return None


def _is_reserved(dataset: str) -> bool:
    """Tell whether a dataset is one of the service's own, as a person or a rule that ignores case and blanks reads it."""
    plain = dataset if dataset.isascii() else unicodedata.normalize("NFKC", dataset)
    return f"{plain.casefold().strip(' .')}.".startswith(RESERVED_DATASETS)


def _fill(raw: bytes, event_id: str, organization_id: str, timestamp: str | None) -> str:
    """Add what is missing and leave every value that came as it came, down to its spelling."""
    members = _decode_members(raw)
    add_id(members, "event", event_id)
    add_id(members, "organization", organization_id)
    if timestamp is not None:
        members = {"@timestamp": Raw(_encode(timestamp))} | members
    return _encode(members).decode()


def _readable_id(raw: bytes) -> str | None:
    """Return the id of an event that is refused, where it can be read."""
    try:
        return id_of(_decode_members(raw), "event")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _describe(error: Exception, parent: str) -> Rejection:
    """Put a decoder's error into our words: the field, what is wrong with it, and what is right.

    Args:
        parent: path of the object that was decoded, "" for the event.
    """
    if isinstance(error, UnicodeDecodeError):
        message = f"the event is not UTF-8 (byte {error.start}): send JSON in UTF-8"
        return Rejection(None, parent, message, "malformed")
    if isinstance(error, RecursionError):
        return Rejection(None, parent, "the event is nested too deeply to be read: flatten it")
    message, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    field = ".".join(part for part in (parent, place) if part)
    if not isinstance(error, msgspec.ValidationError):
        reason = message.removeprefix("JSON is malformed: ")
        return Rejection(
            None, field, f"the event is not valid JSON: {reason[:1].lower()}{reason[1:]}", "malformed"
        )
    plain = _in_our_words(message.replace("`", ""), field)
    return Rejection(None, field, plain if field else f"the event {plain}")


_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
}
_CHOICES = {
    "aegis.decision": "ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
    "aegis.destination": "AI_TOOL, VENDOR or CUSTOMER",
}
_BOUNDS = {">=": "at least", "<=": "at most"}


def _in_our_words(message: str, field: str) -> str:
    """Word a validation error without the value, which may be a finding."""
    if "datetime" in message:
        return "must be a time with a zone (RFC 3339), such as 2026-05-15T10:33:21Z"
    if message == "Number out of range":
        return "is a number out of range: send a smaller one"
    if message.startswith("Invalid enum value"):
        return f"must be {_CHOICES[field]}"
    if (name := message.removeprefix("Object contains unknown field ")) != message:
        return f"has the unknown key {name}: send the documented keys only, counts and no values"
    if (name := message.removeprefix("Object missing required field ")) != message:
        return f"lacks the key {name}: add it"
    expected, _, found = message.removeprefix("Expected ").partition(", got ")
    if found:
        wanted = " or ".join(_TYPES.get(one, one) for one in expected.split(" | "))
        return f"must be {wanted}, not {_TYPES.get(found, found)}"
    kind, _, bound = expected.partition(" ")
    sign, _, limit = bound.partition(" ")
    return (
        f"must be {_TYPES.get(kind, kind)} of {_BOUNDS[sign]} {limit}"
        if sign in _BOUNDS
        else f"cannot be read: {message}"
    )
