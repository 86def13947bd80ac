"""Compact preflight events: the short way from bytes to checked events, for the events that most senders send.

What these functions do not accept takes the long way in parsing.py, which says what is wrong, if anything is.
"""

import re
import sys

import msgspec
from msgspec import UNSET, UnsetType

from .event import (
    DEFAULT_LIMITS,
    EVENT_ID_CHARACTERS_MAX,
    PREFLIGHT_DATASET,
    EventLimits,
    NewEvent,
    checksum,
)
from .ids import OrganizationId
from .preflight import Count, Preflight, private_kind, private_place, texts_of
from .times import is_time

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
_decode_plain_lines = msgspec.json.Decoder(_PlainPreflightEvent).decode_lines
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
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
        or (limits.privacy_check and private_place(plain.aegis, len(raw)) is not None)
    ):
        return None
    return NewEvent(event_id, dataset, plain.aegis.decision, raw.decode(), None, checksum(raw))


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
    if max(map(len, lines)) > limits.bytes_max or {(one[:1], one[-1:]) for one in lines} != {(b"{", b"}")}:
        return None
    try:
        plain = _decode_plain_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if (
        len(plain) != len(lines)
        or len(_encode_lines(plain)) != len(data) + 1
        or not _are_plain(plain, organization_id, limits)
    ):
        return None
    return [
        NewEvent(one.event.id, PREFLIGHT_DATASET, one.aegis.decision, line.decode(), None, checksum(line))
        for one, line in zip(plain, lines, strict=True)
    ]


def _are_plain(
    events: list[_PlainPreflightEvent], organization_id: OrganizationId, limits: EventLimits
) -> bool:
    """Tell whether decoded events have ordinary times, ids and texts, the right dataset and organization."""
    ids = [one.event.id for one in events]
    lengths = list(map(len, ids))
    return (
        {one.event.dataset for one in events} == {PREFLIGHT_DATASET}
        and {one.organization.id for one in events} == {organization_id}
        and min(lengths) > 0
        and max(lengths) <= EVENT_ID_CHARACTERS_MAX
        and "".join(ids).isprintable()
        and all(_PLAIN_TIME.fullmatch(one.timestamp) or is_time(one.timestamp) for one in events)
        and not (limits.privacy_check and _has_private_text(events))
    )


def _has_private_text(events: list[_PlainPreflightEvent]) -> bool:
    """Tell whether a text contains a value that must not be there; equal texts are searched once."""
    decisions = [one.aegis for one in events]
    texts = {text for some in set(map(texts_of, decisions)) for text in some}
    texts.update(*{tuple(one.finding_counts_by_type or ()) for one in decisions})
    texts.update([one.preflight_id for one in decisions])
    suspects = {text for text in texts if private_kind(text) is not None}
    return bool(suspects) and any(
        private_place(one, sys.maxsize) is not None
        for one in decisions
        if not suspects.isdisjoint((*texts_of(one), *(one.finding_counts_by_type or ()), one.preflight_id))
    )
