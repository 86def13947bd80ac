"""The one event of all benchmarks: a preflight decision with all its fields, 580 bytes of JSON.

Only its id changes from event to event (in two places, at fixed offsets). So a load generator can write a batch by copying
digits into a template, and every event can be rebuilt from its number to compare it with what arrived.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

EVENT_BYTES = 580
ID_PREFIX = "pflt_"
RUN_CHARACTERS, COUNT_CHARACTERS = 4, 12
"""Characters after the prefix: first the run and the thread, then the count (decimal and time-ordered, or hexadecimal and scattered)."""
ORG_ID = "org_abc"
MULTIPLIER, MODULUS = 0x9E3779B97F4A7C15, 2**48
"""Scatters ids: a multiplication by an odd number is one to one. load.lua uses the same."""


def event_body(run: str, number: int) -> bytes:
    """Return one event.

    Args:
        run: three characters that keep ids of different runs apart.
        number: counts the events of a run.
    """
    event_id = f"{ID_PREFIX}{run:0<4}{number:012d}"
    text = _text(event_id, "")
    padding = EVENT_BYTES - len(text)
    assert padding >= 0, "the event without its padding is too long"
    return _text(event_id, "x" * padding).encode()


def _text(event_id: str, padding: str) -> str:
    event = {
        "@timestamp": "2026-05-15T10:33:21.456789Z",
        "event": {
            "id": event_id,
            "kind": "event",
            "category": ["aegis", "preflight"],
            "type": ["allowed_with_masking"],
            "action": "preflight_check",
            "outcome": "success",
            "dataset": "aegis.preflight",
        },
        "aegis": {
            "preflight_id": event_id,
            "decision": "ALLOWED_WITH_MASKING",
            "destination": "AI_TOOL",
            "summary": "SSN masked." + padding,
            "policy_version": "v1.0",
            "policy_id": "pol_x",
            "source_type": "api",
            "input_type": "text",
            "input_size_bytes": 200,
            "finding_counts_by_type": {"SSN": 1, "EMAIL": 2},
            "actor_id": "a@example.com",
        },
        "organization": {"id": ORG_ID},
    }
    return json.dumps(event, separators=(",", ":"))


def id_offsets(body: bytes) -> list[int]:
    """Return the offsets of the 16 characters after each `pflt_`."""
    offsets, start = [], 0
    while (found := body.find(ID_PREFIX.encode(), start)) >= 0:
        start = found + len(ID_PREFIX)
        offsets.append(start)
    return offsets


@dataclass(frozen=True, slots=True)
class Sent:
    """The events of one run, all of them acknowledged: numbers `first` … `first + count - 1`.

    Args:
        run: three characters, as for `event_body`.
        scattered: the ids are not ordered.
    """

    run: str
    first: int
    count: int
    scattered: bool = False

    @property
    def name(self) -> bytes:
        """The characters after `pflt_` that all ids of this run share."""
        return f"{self.run:0<{RUN_CHARACTERS}}".encode()

    def key(self, number: int) -> bytes:
        """Return the 16 characters after `pflt_` of an event's id."""
        if self.scattered:
            return self.name + f"{number * MULTIPLIER % MODULUS:012x}"[::-1].encode()
        return self.name + b"%012d" % number

    def index(self, key: bytes) -> int | None:
        """Return which of these events has this id (from 0); None if none has."""
        digits = key[RUN_CHARACTERS:]
        try:
            if self.scattered:
                number = int(digits[::-1], 16) * pow(MULTIPLIER, -1, MODULUS) % MODULUS
            else:
                number = int(digits)
        except ValueError:
            return None
        index = number - self.first
        return index if 0 <= index < self.count and self.key(number) == key else None

    def body(self, index: int) -> bytes:
        """Rebuild an event."""
        return _template(self.run).replace(_zeros(self.run), self.key(self.first + index))

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of an event's body."""
        return hashlib.sha256(self.body(index)).digest()

    def bodies(self) -> Iterator[bytes]:
        """Rebuild all of them, in the order of their numbers."""
        return (self.body(index) for index in range(self.count))


@functools.cache
def _template(run: str) -> bytes:
    return event_body(run, 0)


def _zeros(run: str) -> bytes:
    return f"{run:0<{RUN_CHARACTERS}}".encode() + b"0" * COUNT_CHARACTERS
