"""Identifiers: their form, and how new ones are made from a given time and random bytes."""

import base64
import re
from typing import NewType

OrganizationId = NewType("OrganizationId", str)
DestinationId = NewType("DestinationId", str)
KeyId = NewType("KeyId", str)
EventId = NewType("EventId", str)
ReplayId = NewType("ReplayId", str)
WorkerId = NewType("WorkerId", str)

OrganizationNo = NewType("OrganizationNo", int)
"""The store's short number of an organization, 1 to 2**22; never leaves the service."""
DestinationNo = NewType("DestinationNo", int)
"""The store's short number of a destination; never leaves the service."""
Sequence = NewType("Sequence", int)
"""Position of an event in its organization's log: 1, 2, 3 … without gaps."""
Micros = NewType("Micros", int)
"""Microseconds since 1970-01-01 UTC."""

SECOND = 1_000_000
"""Microseconds in a second."""

RANDOM_BYTES = 10
"""Random bytes in an identifier: 80 bits, as in a ULID."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, lower case: no i, l, o, u
_ORGANIZATION_ID = re.compile(r"org_[A-Za-z0-9_-]{1,60}")


def new_id(prefix: str, now: Micros, chance: bytes) -> str:
    """Make an identifier that sorts by time: prefix, underscore, 26 characters.

    Args:
        prefix: "org", "dst", "key", "pflt" …
        chance: exactly RANDOM_BYTES random bytes.
    """
    number = (now // 1000) << 80 | int.from_bytes(chance, "big")
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_secret(prefix: str, chance: bytes) -> str:
    """Make the text of a key: prefix, underscore, 32 random bytes as base64url without padding."""
    return f"{prefix}_" + base64.urlsafe_b64encode(chance).rstrip(b"=").decode()


def is_organization_id(text: str) -> bool:
    """Tell whether a person may choose this as an organization's id: org_ and 1–60 of A–Z a–z 0–9 _ -."""
    return _ORGANIZATION_ID.fullmatch(text) is not None
