"""Compact preflight events: the short way from bytes to checked events, for the events that most senders send.

What these functions do not accept takes the long way in parsing.py, which says what is wrong, if anything is.
"""

import re
import sys
from typing import Final

import msgspec
from msgspec import UNSET

from .event import (
    DEFAULT_LIMITS,
    PREFLIGHT_DATASET,
    EventLimits,
    NewEvent,
    checksum,
)
from .ids import OrganizationId
from .plain_event import (
    PlainPreflightEvent,
    decode_plain,
    decode_plain_array,
    decode_plain_lines,
    encode_plain,
    encode_plain_lines,
)
from .private_text import are_clean_ids, private_kind, private_place, texts_of
from .times import is_time

# Bound here, because a compiled module looks the names of one that is not compiled up at each use.
_decode: Final = decode_plain
_decode_array: Final = decode_plain_array
_decode_lines: Final = decode_plain_lines
_encode: Final = encode_plain
_encode_lines: Final = encode_plain_lines
_checksum: Final = checksum
_DATASET: Final = PREFLIGHT_DATASET
_OPENING: Final = ord("{")
_CLOSING: Final = ord("}")
_TIME = r"[12]\d\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]0\d:00)"
"""Times that are certainly valid (RFC 3339 section 5.6). Others, such as the 29th to 31st of a month, get a full check."""
_PLAIN_TIME: Final = re.compile(_TIME, re.ASCII)
_PLAIN_TIMES: Final = re.compile(rf"(?:{_TIME}\n)*+", re.ASCII)


def parse_compact(
    raw: bytes, organization_id: OrganizationId, limits: EventLimits = DEFAULT_LIMITS
) -> NewEvent | None:
    """Accept a complete preflight event in one decoding pass, if its JSON is as short as it can be; else return None.

    The encoder writes the shortest JSON for what was decoded: no spaces, only the required escapes, integers without extra
    signs. If the submitted bytes have the same length, they contain nothing that was not decoded: no unknown field, no
    repeated key, no dotted name and no deeper level, in whatever order the keys are. So comparing two lengths replaces a
    search for each of these. The argument holds only while every field of `PlainPreflightEvent` is a string, an integer, or a list or object of
    these: a float may be written longer than it was submitted. The types alone keep depth and numbers within their limits.
    """
    if len(raw) > limits.bytes_max:
        return None
    try:
        plain = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    event_id = plain.event.id
    if (
        len(_encode(plain)) != len(raw)
        or (_PLAIN_TIME.fullmatch(plain.timestamp) is None and not is_time(plain.timestamp))
        or plain.organization.id != organization_id
        or not event_id.isprintable()
        or (limits.privacy_check and private_place(plain.aegis, len(raw)) is not None)
    ):
        return None
    return NewEvent(event_id, _DATASET, plain.aegis.decision, raw.decode(), _checksum(raw), None, len(raw))


def parse_compact_lines(
    data: bytes, organization_id: OrganizationId, limits: EventLimits = DEFAULT_LIMITS
) -> list[NewEvent] | None:
    """Accept lines of complete preflight events if all of them are as short as they can be; else return None.

    The argument is that of `parse_compact`, for all lines at once. A line break between `}` and `{` is never within a value, so where
    each of n - 1 line breaks is one, n values have one between each two of them. No value is shorter than what the encoder
    writes for it. So if the whole is as long as what the encoder writes, each line is one value and as short as it can be.

    Args:
        data: one event a line, without blank lines; the last line may end with a line break.
    """
    data = data.removesuffix(b"\n")
    lines = data.split(b"\n")
    if (
        not all(lines)
        or {one[0] for one in lines} != {_OPENING}
        or {one[-1] for one in lines} != {_CLOSING}
        or max(map(len, lines)) > limits.bytes_max
    ):
        return None
    try:
        plain = _decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if (
        len(plain) != len(lines)
        or len(_encode_lines(plain)) != len(data) + 1
        or not _are_plain(plain, organization_id, limits)
    ):
        return None
    return _events(plain, lines)


def parse_compact_array(
    data: bytes, organization_id: OrganizationId, limits: EventLimits = DEFAULT_LIMITS
) -> list[NewEvent] | None:
    """Accept an array of complete preflight events if it is as short as it can be; else return None.

    The argument is that of `parse_compact`, for all values at once. n values in an array need two brackets and n - 1 commas, and no
    value is shorter than what the encoder writes for it. So if the whole is as long as that, each value is as short as it can
    be, and where the next one begins follows from its length.

    Args:
        data: a JSON array, without blanks around it.
    """
    if data[:1] != b"[" or data[-1:] != b"]":
        return None
    try:
        plain = _decode_array(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    encoded = _encode_lines(plain)
    # A line break behind each value, where the array has a comma or its last bracket; and the first bracket.
    if not plain or len(encoded) + 1 != len(data):
        return None
    items: list[bytes] = []
    start = 1
    for _ in plain:
        end = encoded.find(b"\n", start - 1) + 1
        items.append(data[start:end])
        start = end + 1
    if max(map(len, items)) > limits.bytes_max or not _are_plain(plain, organization_id, limits):
        return None
    return _events(plain, items)


def _events(plain: list[PlainPreflightEvent], items: list[bytes]) -> list[NewEvent]:
    """Return the events of these bytes, decoded before."""
    return [
        NewEvent(
            one.event.id,
            _DATASET,
            one.aegis.decision,
            item.decode(),
            _checksum(item),
            None,
            len(item),
        )
        for one, item in zip(plain, items, strict=True)
    ]


def _are_plain(
    events: list[PlainPreflightEvent], organization_id: OrganizationId, limits: EventLimits
) -> bool:
    """Tell whether decoded events have ordinary times, ids and texts, and the right organization."""
    times = [one.timestamp for one in events]
    return (
        {one.organization.id for one in events} == {organization_id}
        and "".join([one.event.id for one in events]).isprintable()
        and (_PLAIN_TIMES.fullmatch("\n".join(times) + "\n") is not None or all(map(is_time, times)))
        and not (limits.privacy_check and _has_private_text(events))
    )


def _has_private_text(events: list[PlainPreflightEvent]) -> bool:
    """Tell whether a text contains a value that must not be there; equal texts are searched once."""
    decisions = [one.aegis for one in events]
    texts = {text for some in set(map(texts_of, decisions)) for text in some}
    texts.update(*[one.finding_counts_by_type or () for one in decisions])
    ids = [one.preflight_id for one in decisions if one.preflight_id is not UNSET]
    if are_clean_ids(ids) and not any(private_kind(text) for text in texts):
        return False
    return any(private_place(one, sys.maxsize) is not None for one in decisions)
