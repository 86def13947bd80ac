"""Reads fields of an event that may have come back nested or flattened, and its time."""

from __future__ import annotations

import re
from calendar import timegm
from typing import Any

ADMIN_DATASET = "aegis.audit_stream.admin"
CHECKPOINT_DATASET = "aegis.audit_stream.checkpoint"
TEST_DATASET = "aegis.audit_stream.test"
"""Of the events that the test button sends; nobody can record an event with it."""
OWN_DATASETS = b"aegis.audit_stream."
"""What the text of every checkpoint and every administrative event contains."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d{1,12})?(?:[Zz]|([+-])(\d\d):?(\d\d))\Z"
).match


def field(value: Any, *path: str) -> Any:
    """Return a field, nested or spelled with dots at any place; None if there is none."""
    if not path:
        return value
    if not isinstance(value, dict):
        return None
    for length in range(1, len(path) + 1):
        name = ".".join(path[:length])
        if name in value:
            found = field(value[name], *path[length:])
            if found is not None:
                return found
    return None


def text_of(value: Any, *path: str) -> str:
    """Return a field that is a text, else ""."""
    found = field(value, *path)
    return found if isinstance(found, str) else ""


def seconds_of(value: Any) -> int | None:
    """Return an event's @timestamp in whole seconds since 1970, or None if it has none that can be read."""
    found = _TIME(text_of(value, "@timestamp"))
    if not found:
        return None
    year, month, day, hour, minute, second = (int(one) for one in found.groups()[:6])
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        return None
    shift = (int(found[8]) * 60 + int(found[9])) * 60 if found[7] else 0
    at = timegm((year, month, day, hour, minute, second, 0, 0, 0))
    return at + shift if found[7] == "-" else at - shift
