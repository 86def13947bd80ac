"""The built-in events of the demonstration: preflight decisions, and a few events of other products."""

import json
from typing import Any

from aegis_stream.domain.event import PREFLIGHT_DATASET
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text

_PREFLIGHTS: tuple[tuple[str, str, str, dict[str, int]], ...] = (
    ("ALLOWED", "AI_TOOL", "Nothing found.", {}),
    ("ALLOWED_WITH_MASKING", "AI_TOOL", "Detected SSN; masked.", {"SSN": 1}),
    ("BLOCKED", "VENDOR", "Two card numbers; policy forbids them here.", {"CREDIT_CARD": 2}),
    ("ALLOWED", "CUSTOMER", "Nothing found.", {}),
    ("ALLOWED_WITH_MASKING", "VENDOR", "Detected e-mail addresses; masked.", {"EMAIL": 14}),
    ("BLOCKED", "AI_TOOL", "A private key in the attachment.", {"PRIVATE_KEY": 1}),
    ("ALLOWED", "AI_TOOL", "Nothing found.", {}),
    ("ALLOWED_WITH_MASKING", "CUSTOMER", "Detected phone numbers; masked.", {"PHONE": 3, "EMAIL": 1}),
    ("BLOCKED", "CUSTOMER", "Health data of 31 people.", {"MEDICAL_RECORD": 31}),
    ("ALLOWED", "VENDOR", "Nothing found. Größe geprüft ✓", {}),
)
_OTHERS: tuple[tuple[str, str, str], ...] = (
    ("okta.system", "user.session.start", "Ada signed in"),
    ("github.audit", "repo.create", "Repository payments-api created"),
    ("anthropic.activity", "admin_api_key_created", "Admin API key created"),
)


def demo_events(now: Micros, name: str = "demo") -> bytes:
    """Return the events as NDJSON, one second apart, the last one at `now`.

    Args:
        name: part of their ids; events with another one are other events.
    """
    events = [_preflight(place, name) for place in range(len(_PREFLIGHTS))]
    events += [_other(place, name) for place in range(len(_OTHERS))]
    first = now - (len(events) - 1) * SECOND
    lines = [
        json.dumps({"@timestamp": to_text(Micros(first + place * SECOND))} | event, ensure_ascii=False)
        for place, event in enumerate(events)
    ]
    return "".join(line + "\n" for line in lines).encode()


def _preflight(place: int, name: str) -> dict[str, Any]:
    decision, destination, summary, counts = _PREFLIGHTS[place]
    event_id = f"pflt_{name}_{place + 1:02}"
    return {
        "event": {
            "id": event_id,
            "kind": "event",
            "category": ["aegis", "preflight"],
            "type": [decision.lower()],
            "action": "preflight_check",
            "outcome": "success",
            "dataset": PREFLIGHT_DATASET,
        },
        "aegis": {
            "decision": decision,
            "preflight_id": event_id,
            "destination": destination,
            "summary": summary,
            "policy_version": "2026-05-01",
            "input_size_bytes": 900 + 137 * place,
            "finding_counts_by_type": counts,
        },
    }


def _other(place: int, name: str) -> dict[str, Any]:
    dataset, action, message = _OTHERS[place]
    inner = {"id": f"{name}_{place + 1:02}", "kind": "event", "action": action, "dataset": dataset}
    return {"event": inner, "message": message}
