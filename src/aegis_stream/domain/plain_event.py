"""The fields of a complete preflight event, with a type for each, for the short way in compact.py.

They stand apart because compact.py may be compiled, and the compiler does not know these classes.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .event import EVENT_ID_CHARACTERS_MAX
from .preflight import Count, Preflight

_Words = str | list[str] | UnsetType


class _PlainEventFields(msgspec.Struct, gc=False):
    id: Annotated[str, Meta(min_length=1, max_length=EVENT_ID_CHARACTERS_MAX)]
    dataset: Literal["aegis.preflight"]
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


class PlainPreflightEvent(msgspec.Struct, gc=False):
    """A complete preflight event with a type for every value; read `compact.parse_compact` before you add a field."""

    timestamp: str = msgspec.field(name="@timestamp")
    event: _PlainEventFields
    aegis: Preflight
    organization: _PlainOrganizationFields


decode_plain = msgspec.json.Decoder(PlainPreflightEvent).decode
decode_plain_array = msgspec.json.Decoder(list[PlainPreflightEvent]).decode
decode_plain_lines = msgspec.json.Decoder(PlainPreflightEvent).decode_lines
encode_plain = msgspec.json.Encoder().encode
encode_plain_lines = msgspec.json.Encoder().encode_lines
