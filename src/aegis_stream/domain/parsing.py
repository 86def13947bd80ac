"""From submitted bytes to a checked event: what is accepted, what is rejected and why, what is filled in.

`api/ingest.py` splits a request into raw items; `parse_event` turns each into a NewEvent, or says what is wrong with it. From
then on its bytes never change. Only the fields of the envelope are interpreted; everything else is checked as JSON and kept.
"""

import unicodedata
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .compact import parse_compact
from .decode_errors import TIME_NEEDED, describe
from .envelope import Ambiguity, Envelope, add_id, decode_envelope, has_dotted_names, id_of, nest
from .event import (
    DATASET_CHARACTERS_MAX,
    DEFAULT_LIMITS,
    EVENT_ID_CHARACTERS_MAX,
    PREFLIGHT_DATASET,
    RESERVED_DATASETS,
    EventLimits,
    NewEvent,
    Rejection,
    checksum,
)
from .ids import Micros, OrganizationId
from .json_checks import check_shape, decode_whole, repeated_key
from .private_text import check_preflight
from .times import is_time, to_text

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_convert = msgspec.convert
_ID_LOST = (
    "is missing: an event from another Aegis Audit Stream must keep its id, or a delivery loop would never end; "
    "choose format json, ndjson or json_array for that destination"
)
_PREFLIGHT_TEXT: Final = b'"' + PREFLIGHT_DATASET.encode() + b'"'


def parse_event(
    raw: bytes,
    organization_id: OrganizationId,
    now: Micros,
    make_id: Callable[[], str] | None,
    *,
    reserved: bool = False,
    limits: EventLimits = DEFAULT_LIMITS,
) -> NewEvent | Rejection:
    """Check one submitted event and fill in what is missing: @timestamp, event.id, organization.id.

    Args:
        raw: one JSON document.
        now: the time to fill in, microseconds since 1970.
        make_id: makes an event.id if the event has none; None if the event must have one.
        reserved: the event comes from the service itself and may have a reserved dataset.
    Returns: a NewEvent, whose body equals `raw` if nothing was missing; or a Rejection. Raises nothing.
    """
    # Not `in`: it takes the needle for a number first, and an exception within costs as much as the search.
    if raw.find(_PREFLIGHT_TEXT) >= 0 and (plain := parse_compact(raw, organization_id, limits)) is not None:
        return plain
    return _parse_thoroughly(raw, organization_id, now, make_id, reserved=reserved, limits=limits)


def _parse_thoroughly(
    raw: bytes,
    organization_id: OrganizationId,
    now: Micros,
    make_id: Callable[[], str] | None,
    *,
    reserved: bool,
    limits: EventLimits = DEFAULT_LIMITS,
) -> NewEvent | Rejection:
    """Check any event step by step, and say what is wrong with it."""
    rejection = check_shape(raw, limits)
    if rejection is not None:
        return rejection
    try:
        text = raw.decode()
        reading = _read_envelope(raw, limits)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return describe(error, "")._replace(event_id=_readable_id(raw))
    if isinstance(reading, Rejection):
        return reading
    envelope, as_read = reading
    event, organization = envelope.event, envelope.organization
    event_id = event.id if event is not UNSET else UNSET
    dataset = event.dataset if event is not UNSET and event.dataset is not UNSET else ""
    named = organization.id if organization is not UNSET else UNSET
    rejection = _check_fields(event_id, dataset, reserved=reserved, id_needed=make_id is None)
    if rejection is None and envelope.timestamp is not UNSET and not is_time(envelope.timestamp):
        rejection = Rejection(event_id or None, "@timestamp", TIME_NEEDED)
    if rejection is None and named is not UNSET and named != organization_id:
        message = "does not match the organization in the URL: omit it or correct it"
        rejection = Rejection(event_id or None, "organization.id", message)
    if rejection is not None:
        return rejection
    decision: str | None = None
    if dataset == PREFLIGHT_DATASET:
        preflight = check_preflight(_decode_members(as_read).get("aegis", UNSET), limits)
        if isinstance(preflight, Rejection):
            return preflight._replace(event_id=event_id or None)
        decision = preflight.decision
    if event_id is not UNSET and named is not UNSET and envelope.timestamp is not UNSET:
        return NewEvent(event_id, dataset, decision, text, checksum(raw), None, len(raw))
    event_id = event_id or _new_id(make_id)
    timestamp = None if envelope.timestamp is not UNSET else to_text(now)
    body = _fill(raw, event_id, organization_id, timestamp)
    encoded = body.encode()
    return NewEvent(event_id, dataset, decision, body, checksum(encoded), raw, len(encoded))


def _new_id(make_id: Callable[[], str] | None) -> str:
    assert make_id is not None, "an event without an id is rejected if no id may be made"
    return make_id()


def is_same_submission(new: NewEvent, stored_body: str) -> bool:
    """Tell whether an event is a stored event of the same id, submitted again.

    If the service filled in @timestamp, the second submission got a later time than the first. Then the stored time is
    filled in before the two are compared, so that a client may repeat a request without @timestamp.
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


def _read_envelope(raw: bytes, limits: EventLimits) -> tuple[Envelope, bytes] | Rejection:
    """Decode the envelope as receivers read it: each key once in its object, and dotted names as nested fields.

    Returns: (the envelope, JSON with the envelope in nested form), or a Rejection if receivers could read it differently.
    Raises: msgspec.DecodeError, RecursionError.
    """
    event, keys_may_repeat = decode_whole(raw)
    envelope = _convert(event, Envelope)
    if keys_may_repeat and (repeated := repeated_key(raw)) is not None:
        message = "appears twice in the same object, and receivers could read either value: send it once"
        return Rejection(None, repeated, message, "malformed")
    if not has_dotted_names(event):
        return envelope, raw
    nested = nest(_decode_members(raw), limits.depth_max)
    if isinstance(nested, Ambiguity):
        return Rejection(_readable_id(raw), nested.field, nested.message)
    as_read = _encode(nested)
    return decode_envelope(as_read), as_read


def _check_fields(
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
    """Tell whether a dataset is reserved, ignoring case, surrounding blanks and compatibility characters."""
    plain = dataset if dataset.isascii() else unicodedata.normalize("NFKC", dataset)
    return f"{plain.casefold().strip(' .')}.".startswith(RESERVED_DATASETS)


def _fill(raw: bytes, event_id: str, organization_id: str, timestamp: str | None) -> str:
    """Add the missing fields; every submitted value keeps its bytes."""
    members = _decode_members(raw)
    add_id(members, "event", event_id)
    add_id(members, "organization", organization_id)
    if timestamp is not None:
        members = {"@timestamp": Raw(_encode(timestamp))} | members
    return _encode(members).decode()


def _readable_id(raw: bytes) -> str | None:
    """Return the id of a rejected event, or None if it cannot be read."""
    try:
        return id_of(_decode_members(raw), "event")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
