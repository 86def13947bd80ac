"""The events that a vendor's client and we send."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.arrival import audit_events
from support.formats import leaves

ORGANIZATION = "org_abc"
GOLDEN = (Path(__file__).parents[1] / "golden" / "events.txt").read_bytes().removesuffix(b"\n").split(b"\n\n")
"""The events of the golden files, as stored."""
CORPUS = list(audit_events(ORGANIZATION).values())
"""Events in the shapes of some sixty products, where they are at hand, and awkward ones, as stored."""


def is_plain(body: bytes) -> bool:
    """Tell whether Python's JSON reads the event without loss: a number beyond a double becomes infinite there."""
    return "Infinity" not in json.dumps(json.loads(body))


PLAIN = [body for body in [*GOLDEN, *CORPUS] if is_plain(body)]


def read(bodies: list[bytes]) -> list[Any]:
    """Return events as a program would pass them to a client."""
    return [json.loads(body) for body in bodies]


def picked(is_carried: Callable[[Any], bool]) -> list[bytes]:
    """Return the events that a client can send unchanged, which are most."""
    bodies = [body for body, event in zip(PLAIN, read(PLAIN), strict=True) if is_carried(event)]
    assert len(bodies) > len(PLAIN) / 2, f"only {len(bodies)} of {len(PLAIN)}"
    return bodies


def line_of(event: dict[str, Any]) -> str:
    """Return the line for a person, as the formats' pages say: the first text of message, summary, action and dataset."""
    described, aegis = event["event"], event.get("aegis")
    summary = aegis.get("summary") if isinstance(aegis, dict) else None
    candidates = (event.get("message"), summary, described.get("action"), described.get("dataset"))
    return next((one for one in candidates if isinstance(one, str) and one), "audit event")


def is_flat(event: dict[str, Any]) -> bool:
    """Tell whether an event can be flattened with dots only, without two members of the same name."""
    names = [".".join(path) for path, _ in leaves(event)]
    return len(names) == len(set(names))
