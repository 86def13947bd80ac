"""What an event is for the rest of the program: its limits, a checked event, and why one is rejected.

`parsing.parse_event` makes these from submitted bytes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

try:
    from isal.isal_zlib import crc32
except ImportError:  # there is no build of it for this machine: the same numbers in three times the time
    from zlib import crc32

EVENT_ID_CHARACTERS_MAX = 256
"""Longest event.id."""
DATASET_CHARACTERS_MAX = 256
"""Longest event.dataset."""

PREFLIGHT_DATASET = "aegis.preflight"
TEST_DATASET = "aegis.audit_stream.test"
RESERVED_DATASETS = "aegis.audit_stream."
"""Only the service itself makes events of datasets that begin so."""


checksum = crc32
"""Checksum of a body's bytes: 32 bits, which find what a disk does to a stored event, not what a forger does to it."""


@dataclass(frozen=True, slots=True)
class EventLimits:
    """Limits of an event; the settings of the same names have ranges and reasons.

    Args:
        bytes_max: bytes of JSON.
        depth_max: nesting of objects and arrays, the event itself being 1; at least 4.
        number_digits_max: characters of a number; at least 20.
        privacy_check: reject a preflight event with a card number, a secret key or the like in a text of `aegis`.
    """

    bytes_max: int = 256 * 1024
    depth_max: int = 32
    number_digits_max: int = 400
    privacy_check: bool = True


DEFAULT_LIMITS = EventLimits()


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """A checked event, ready to be appended to the log. The first five fields are what the log stores, in its order.

    Args:
        event_id: unique within the organization.
        dataset: event.dataset, "" if the event has none.
        decision: aegis.decision of a preflight event, else None.
        body: the JSON text to store and to deliver, byte for byte (UTF-8).
        checksum: `checksum` of the body, which is stored beside it.
        raw: the bytes as submitted, if something was filled in; else None.
        size: bytes of the body in UTF-8.
    """

    event_id: str
    dataset: str
    decision: str | None
    body: str
    checksum: int
    raw: bytes | None
    size: int


class Rejection(NamedTuple):
    """Why an event is rejected.

    Args:
        event_id: the event's own id, if it has a readable one.
        field: dotted path of the wrong field, "" for the event as a whole.
        message: what is wrong, and what to do; reads on from the field.
        kind: "malformed" (cannot be read), "too-large", "conflict" (another event has its id) or "invalid".
    """

    event_id: str | None
    field: str
    message: str
    kind: str = "invalid"
