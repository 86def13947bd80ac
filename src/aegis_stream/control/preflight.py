"""Preflight decisions: one decision becomes one event of the log."""

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from aegis_stream.domain.event import PREFLIGHT_DATASET
from aegis_stream.domain.ids import RANDOM_BYTES, Micros, new_id
from aegis_stream.domain.preflight import Preflight
from aegis_stream.domain.times import to_text

from .caller import Caller
from .deps import ControlDeps
from .rejected import invalid


class RecordedDecision(NamedTuple):
    """Where a decision is in the log."""

    event_id: str
    sequence: int


async def record_preflight(
    deps: ControlDeps, caller: Caller, decision: Preflight, at: Micros | None
) -> RecordedDecision:
    """Record a preflight decision; durable when this returns.

    Args:
        at: time of the decision; None for the time of receipt, which is not compared when the same decision is sent again, so
            that it counts as a duplicate.
    Raises: Invalid (also for what is malformed or too large), Unavailable.
    """
    new = new_id("pflt", deps.clock.now(), deps.random.random_bytes(RANDOM_BYTES))
    event_id = decision.preflight_id if decision.preflight_id is not UNSET else new
    recorded = await deps.ingest.record(
        caller.organization_no, caller.org_id, [msgspec.json.encode(_event(caller, decision, event_id, at))]
    )
    if recorded.appended is None or recorded.rejected:
        raise invalid(recorded, single=True, renamed={"event.id": "preflight_id"})
    if caller.principal is not None:
        deps.access.uses.count(caller.principal.key_id, recorded.accepted)
    return RecordedDecision(event_id, recorded.appended.duplicates.get(0, recorded.appended.first))


def _event(caller: Caller, decision: Preflight, event_id: str, at: Micros | None) -> dict[str, object]:
    fields = {name: getattr(decision, name) for name in Preflight.__struct_fields__}
    fields["preflight_id"] = event_id
    return ({"@timestamp": to_text(at)} if at is not None else {}) | {
        "event": {
            "id": event_id,
            "kind": "event",
            "category": ["aegis", "preflight"],
            "type": [decision.decision.lower()],
            "action": "preflight_check",
            "outcome": "success",
            "dataset": PREFLIGHT_DATASET,
        },
        "aegis": {name: value for name, value in fields.items() if value is not UNSET},
        "organization": {"id": caller.org_id},
    }
