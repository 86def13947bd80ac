"""Preflight decisions: the strict check of their `aegis` object, and the fast path for a compact preflight event."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import privacy
from .decode_errors import describe
from .event import (
    DEFAULT_LIMITS,
    EVENT_ID_CHARACTERS_MAX,
    PREFLIGHT_DATASET,
    EventLimits,
    NewEvent,
    Rejection,
)
from .ids import OrganizationId
from .times import is_time

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A count that fits the integers of every destination."""


class Preflight(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The `aegis` object of a preflight decision: counts of findings, never the values found.

    Unknown keys are rejected, so that no finding gets in by accident.
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


_Words = str | list[str] | UnsetType


class _PlainEventFields(msgspec.Struct, gc=False):
    id: str
    dataset: str
    kind: str | UnsetType = UNSET
    category: _Words = UNSET
    type: _Words = UNSET
    action: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    severity: Count | UnsetType = UNSET
    provider: str | UnsetType = UNSET


class _PlainOrganizationFields(msgspec.Struct, gc=False):
    id: str
    name: str | UnsetType = UNSET


class _PlainPreflightEvent(msgspec.Struct, gc=False):
    """A complete preflight event with a type for every value; read `parse_compact` before you add a field."""

    timestamp: str = msgspec.field(name="@timestamp")
    event: _PlainEventFields
    aegis: Preflight
    organization: _PlainOrganizationFields


_decode_plain = msgspec.json.Decoder(_PlainPreflightEvent).decode
_decode_preflight = msgspec.json.Decoder(Preflight).decode
_encode = msgspec.json.Encoder().encode
_PLAIN_TIME = re.compile(
    r"[12]\d\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]0\d:00)",
    re.ASCII,
)
"""Times that are certainly valid (RFC 3339 section 5.6). Others, such as the 29th to 31st of a month, get a full check."""


def parse_compact(
    raw: bytes, organization_id: OrganizationId, limits: EventLimits = DEFAULT_LIMITS
) -> NewEvent | None:
    """Accept a complete preflight event in one decoding pass, if its JSON is as short as it can be; else return None.

    The encoder writes the shortest JSON for what was decoded: no spaces, only the required escapes, integers without extra
    signs. If the submitted bytes have the same length, they contain nothing that was not decoded: no unknown field, no
    repeated key, no dotted name and no deeper level, in whatever order the keys are. So comparing two lengths replaces a
    search for each of these. The argument holds only while every field above is a string, an integer, or a list or object of
    these: a float may be written longer than it was submitted. The types alone keep depth and numbers within their limits.
    """
    if len(raw) > limits.bytes_max:
        return None
    try:
        plain = _decode_plain(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    event = plain.event
    event_id, dataset = event.id, event.dataset
    if (
        len(_encode(plain)) != len(raw)
        or (_PLAIN_TIME.fullmatch(plain.timestamp) is None and not is_time(plain.timestamp))
        or dataset != PREFLIGHT_DATASET
        or plain.organization.id != organization_id
        or not (0 < len(event_id) <= EVENT_ID_CHARACTERS_MAX and event_id.isprintable())
        or _private_value(plain.aegis, limits) is not None
    ):
        return None
    return NewEvent(event_id, dataset, plain.aegis.decision, raw.decode(), None)


def check_preflight(aegis: Raw | UnsetType, limits: EventLimits) -> Preflight | Rejection:
    """Check the `aegis` object of a preflight event, and its summary for values that must not be there."""
    preflight = parse_preflight(aegis)
    if isinstance(preflight, Preflight) and (kind := _private_value(preflight, limits)) is not None:
        return Rejection(None, "aegis.summary", f"contains {kind}: send counts of findings, never values")
    return preflight


def parse_preflight(aegis: Raw | UnsetType) -> Preflight | Rejection:
    """Decode the `aegis` object of a preflight event: known keys with the right types, nothing else."""
    if aegis is UNSET:
        return Rejection(
            None,
            "aegis",
            f"is missing: an event of dataset {PREFLIGHT_DATASET} needs it, with aegis.decision",
        )
    try:
        return _decode_preflight(aegis)
    except (msgspec.DecodeError, RecursionError) as error:
        return describe(error, "aegis")


def _private_value(preflight: Preflight, limits: EventLimits) -> str | None:
    """Return the kind of value that the summary must not contain ("a card number"), or None."""
    summary = preflight.summary
    return privacy.find(summary) if limits.privacy_check and isinstance(summary, str) else None
