"""Preflight decisions: the strict check of their `aegis` object. compact.py has the short way for whole events."""

import re
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import privacy
from .decode_errors import describe
from .event import (
    PREFLIGHT_DATASET,
    EventLimits,
    Rejection,
)

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A count that fits the integers of every destination."""


class Preflight(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The `aegis` object of a preflight decision: counts of findings, never the values found.

    Unknown keys are rejected, and all texts are searched for values, so that no finding gets in by accident.
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


_CONSTANTS = ("policy_id", "policy_version", "source_type", "input_type")
texts_of = attrgetter("summary", *_CONSTANTS, "actor_id")
"""All texts of a decision but its id and the names of its findings."""
_REMEMBERED_BYTES_MAX = 4096
"""Longest JSON whose texts are remembered, which bounds what they take."""
NUMBERED_ID = r"[a-z]{1,8}_(?:[a-z]?[01789][0-9]{9,23}|[a-z]{3}[01789][0-9]{9,19})"
"""Ids with a counter or a time, such as evt_00000012345."""
_is_identifier = re.compile(
    r"(?:[a-z]{1,16}_)?[0-9a-hjkmnp-tv-z]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rf"|(?:[a-z]{{1,16}}[_\-])?[0-9a-f]{{20,64}}|{NUMBERED_ID}",
    re.ASCII | re.IGNORECASE,
).fullmatch
"""ULIDs, such as the ids that the service makes, UUIDs and other hexadecimal ids longer than any card number: their digits may look
like a card number by chance, once in a thousand. And numbered ids, in which nothing can be found, and of which each is new: searching them costs more than everything else of an event."""
ID_KEYS = frozenset({"preflight_id", "policy_id", "actor_id"})
"""Keys whose text is an id."""
_is_long_numbered_id = re.compile(
    r"(?!(?:card|pan|cc|acct|account)[_\-])[a-z]{1,16}[_\-][0-9]{17,19}", re.ASCII | re.IGNORECASE
).fullmatch
"""A prefix and a random number, such as 63 bits: one in twenty looks like a card number of 17 to 19 digits. Few cards have so
many, and no card has a prefix. Shorter numbers are searched: nearly all cards have 13 to 16 digits."""
_decode_preflight = msgspec.json.Decoder(Preflight).decode


def check_preflight(aegis: Raw | UnsetType, limits: EventLimits) -> Preflight | Rejection:
    """Check the `aegis` object of a preflight event, and all of its texts for values that must not be there."""
    preflight = parse_preflight(aegis)
    if isinstance(preflight, Preflight) and limits.privacy_check:
        found = private_place(preflight, len(aegis) if aegis is not UNSET else 0)
        if found is not None:
            key, kind = found
            advice = "; write an id as a UUID or ULID" if key in ID_KEYS and kind == privacy.CARD else ""
            return Rejection(
                None, f"aegis.{key}", f"contains {kind}: send counts of findings, never values{advice}"
            )
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


def private_kind(text: str | None | UnsetType) -> str | None:
    """Return the kind of value that a text of a decision must not contain ("a card number"), or None."""
    return privacy.find(text) if isinstance(text, str) and not _is_identifier(text) else None


def private_place(preflight: Preflight, size: int) -> tuple[str, str] | None:
    """Return (the key, the kind of value that its text must not contain), or None.

    Most texts are the same in most events, so a text without such a value is remembered; one with it never is. An id that is no
    card number but looks like one is left out, and the other texts are searched again.

    Args:
        size: bytes of the JSON that holds the texts.
    """
    check = _check_clean if size <= _REMEMBERED_BYTES_MAX else _check_clean.__wrapped__
    key = ""
    try:
        check(preflight.policy_id, preflight.policy_version, preflight.source_type, preflight.input_type)
        key = "actor_id"
        check(preflight.actor_id)
        key = "finding_counts_by_type"
        if preflight.finding_counts_by_type:
            check(*preflight.finding_counts_by_type)
        key = "preflight_id"
        _check_clean.__wrapped__(preflight.preflight_id)
        key = "summary"
        _check_clean.__wrapped__(preflight.summary)
    except _PrivateError as found:
        key = key or _CONSTANTS[found.place]
        if found.kind == privacy.CARD and key in ID_KEYS and _is_long_numbered_id(getattr(preflight, key)):
            return private_place(msgspec.structs.replace(preflight, **{key: UNSET}), size)
        return key, found.kind
    return None


class _PrivateError(Exception):
    def __init__(self, place: int, kind: str) -> None:
        super().__init__(kind)
        self.place = place
        self.kind = kind


@lru_cache(maxsize=1024)
def _check_clean(*texts: str | None | UnsetType) -> None:
    """Check texts. Raises: _PrivateError with the place of the first one that contains such a value; this is not remembered."""
    for place, text in enumerate(texts):
        if (kind := private_kind(text)) is not None:
            raise _PrivateError(place, kind)
