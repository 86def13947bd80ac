"""The one event of all benchmarks: a preflight decision with all its fields, 580 bytes of JSON.

Only its id changes from event to event (in two places, at fixed offsets), so that a load generator can write a batch by
copying digits into a template.
"""

import json

EVENT_BYTES = 580
ID_PREFIX = "pflt_"
RUN_CHARACTERS, COUNT_CHARACTERS = 4, 12
"""After the prefix: those that name the run and the thread, then those that count (decimal, time-ordered; or hexadecimal, scattered)."""
ORG_ID = "org_abc"


def event_body(run: str, number: int, org_id: str = ORG_ID) -> bytes:
    """Return one event.

    Args:
        run: three characters that keep ids of different runs apart.
        number: counts the events of a run.
    """
    event_id = f"{ID_PREFIX}{run:0<4}{number:012d}"
    text = _text(event_id, org_id, "")
    padding = EVENT_BYTES - len(text)
    assert padding >= 0, "the event without its padding is too long"
    return _text(event_id, org_id, "x" * padding).encode()


def _text(event_id: str, org_id: str, padding: str) -> str:
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
        "organization": {"id": org_id},
    }
    return json.dumps(event, separators=(",", ":"))


def id_offsets(body: bytes) -> list[int]:
    """Return where the 16 characters after each `pflt_` begin."""
    offsets, start = [], 0
    while (found := body.find(ID_PREFIX.encode(), start)) >= 0:
        start = found + len(ID_PREFIX)
        offsets.append(start)
    return offsets
