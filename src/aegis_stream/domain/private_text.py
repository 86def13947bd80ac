"""The texts of a preflight decision: none may contain a card number, a secret key or the like.

`privacy` knows what such values look like; here stands which texts are searched, and which ids only look like a value. Most texts
are the same in most events, so texts without a value are remembered.
"""

import re
from operator import attrgetter
from typing import Final

from msgspec import UNSET, Raw, UnsetType

from . import privacy
from .event import EventLimits, Rejection
from .preflight import Preflight, parse_preflight

_CONSTANTS = ("policy_id", "policy_version", "source_type", "input_type")
_NAMES = "finding_counts_by_type"
texts_of = attrgetter("summary", *_CONSTANTS, "actor_id")
"""All texts of a decision but its id and the names of its findings."""
REMEMBERED_MAX: Final = 1024
"""Most texts, or groups of texts, that are remembered."""
_REMEMBERED_BYTES_MAX: Final = 4096
"""Longest JSON whose texts are remembered, which bounds what they take."""
_A, _HEX, _ULID = "[A-Za-z]", "[0-9A-Fa-f]", "[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]"
NUMBERED_ID = rf"{_A}{{1,8}}+_(?:{_A}?[01789][0-9]{{9,23}}+|{_A}{{3}}[01789][0-9]{{9,19}}+)"
"""Ids with a counter or a time, such as evt_00000012345."""
IDENTIFIER = (
    rf"{NUMBERED_ID}|{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
    rf"|(?:{_A}{{1,16}}+_)?+{_ULID}{{26}}|(?:{_A}{{1,16}}+[_\-])?+{_HEX}{{20,64}}"
)
"""Numbered ids, in which nothing can be found, and of which each is new: searching them costs more than everything else of an event.
And UUIDs, ULIDs, such as the ids that the service makes, and other hexadecimal ids longer than any card number: their digits may look
like a card number by chance, once in a thousand. Both cases of letters are written out, and what is repeated is not tried with fewer:
that takes half the time."""
_IDENTIFIER_MIN: Final = 12
"""Characters of the shortest identifier."""
_is_identifier: Final = re.compile(IDENTIFIER, re.ASCII).fullmatch
_are_identifiers: Final = re.compile(rf"(?:(?:{IDENTIFIER})\n)*+", re.ASCII).fullmatch
ID_KEYS = frozenset({"preflight_id", "policy_id", "actor_id"})
"""Keys whose text is an id."""
_is_long_numbered_id = re.compile(
    r"(?!(?:card|pan|cc|acct|account)[_\-])[a-z]{1,16}[_\-][0-9]{17,19}", re.ASCII | re.IGNORECASE
).fullmatch
"""A prefix and a random number, such as 63 bits: one in twenty looks like a card number of 17 to 19 digits. Few cards have so
many, and no card has a prefix. Shorter numbers are searched: nearly all cards have 13 to 16 digits."""

_clean: Final[set[object]] = set()
"""Texts, and tuples of texts, that contain no such value."""


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


def private_kind(text: object) -> str | None:
    """Return the kind of value that a text of a decision must not contain ("a card number"), or None; None for what is no text."""
    if not isinstance(text, str) or (len(text) >= _IDENTIFIER_MIN and _is_identifier(text) is not None):
        return None
    return privacy.find(text)


def are_clean_ids(ids: list[str]) -> bool:
    """Tell whether no id contains such a value. Most ids are of a known form, and those are looked at all at once."""
    return _are_identifiers("\n".join(ids) + "\n") is not None or not any(map(private_kind, set(ids)))


def private_place(preflight: Preflight, size: int) -> tuple[str, str] | None:
    """Return (the key, the kind of value that its text must not contain), or None.

    A text without such a value is remembered; one with it never is.

    Args:
        size: bytes of the JSON that holds the texts.
    """
    counts = preflight.finding_counts_by_type
    names = tuple(counts) if counts is not UNSET else ()
    constants = (
        preflight.policy_id,
        preflight.policy_version,
        preflight.source_type,
        preflight.input_type,
        names,
    )
    if constants not in _clean:
        for key, text in [*zip(_CONSTANTS, constants, strict=False), *[(_NAMES, name) for name in names]]:
            if (kind := _kind_at(key, text)) is not None:
                return key, kind
        _remember(constants, size)
    actor = preflight.actor_id
    if actor not in _clean:
        if (kind := _kind_at("actor_id", actor)) is not None:
            return "actor_id", kind
        _remember(actor, size)
    if (kind := _kind_at("preflight_id", preflight.preflight_id)) is not None:
        return "preflight_id", kind
    if (kind := private_kind(preflight.summary)) is not None:
        return "summary", kind
    return None


def _kind_at(key: str, text: object) -> str | None:
    """Return the kind of value in the text of a key; None too for an id that is no card number but looks like one."""
    kind = private_kind(text)
    if kind is privacy.CARD and key in ID_KEYS and _is_long_numbered_id(str(text)):
        return None
    return kind


def _remember(texts: object, size: int) -> None:
    if size > _REMEMBERED_BYTES_MAX:
        return
    if len(_clean) >= REMEMBERED_MAX:
        _clean.clear()
    _clean.add(texts)
