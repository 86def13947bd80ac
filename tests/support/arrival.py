"""Sends events through a running service to one destination, until each has arrived or failed.

    with running_service(tmp_path, **QUICK) as service:
        client = Client(service.url, service.make_organization())
        events = audit_events(client.organization.org_id)
        stats = forward(client, events, receiver.url, format="ndjson")

Only the receiver knows what arrived: tests ask it, and compare with `events`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aegis_stream.cli.demo_events import demo_events
from aegis_stream.domain.ids import Micros
from support.processes import Client
from support.service import wait_until

QUICK = {"AEGIS_RETRY_BASE_SECONDS": "0.05"}
"""Settings for retries without a long wait."""
VENDOR_AUDIT = Path(__file__).parents[3] / "shared" / "data" / "vendor-audit.ndjson"
"""Audit logs of some sixty products, if they are beside the project; tests must pass without them too."""
MADE_COUNT = 300
"""Number of generated events if there are no vendors' events."""
_BATCH = 200
_AWKWARD: tuple[dict[str, Any], ...] = (
    {"message": 'Grüße №   𝄞 \u0000 \u2028 </script> "quoted" \\ back\tslash'},
    {"message": "", "related": {"ip": ["10.0.0.1", "2001:db8::1"], "user": []}},
    {"message": "no text", "labels": {"a.b": "dotted", "empty": {}, "null": None, "yes": True}},
    {"message": "numbers", "n": {"big": 2**63 - 1, "small": -(2**63), "float": 0.1, "zero": 0}},
    {"message": "service, host and source are objects", "service": {"name": "s"}, "host": {"name": "h"}},
    {"message": "long " + "x" * 30_000},
)


def audit_events(org_id: str) -> dict[str, bytes]:
    """Return complete events by id, as they are stored and as a receiver must get them: vendors' events if they are available,
    generated ones if not, and always some that are hard to transport.
    """
    found = {}
    for event in [*_vendor_events(), *_awkward_events()]:
        event["organization"] = event.get("organization", {}) | {"id": org_id}
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        found[event["event"]["id"]] = body
    return found


def forward(
    client: Client, events: dict[str, bytes], url: str, *, seconds: float = 60, **fields: Any
) -> dict[str, Any]:
    """Create a destination, record the events, and wait until none of them is pending.

    Args:
        fields: fields of the destination besides its URL.
    Returns: the destination as the API returns it, with its counts in `stats`.
    """
    dst_id = client.add_destination(url, **fields)
    bodies = list(events.values())
    for first in range(0, len(bodies), _BATCH):
        client.record(bodies[first : first + _BATCH])

    def ended() -> dict[str, Any] | None:
        found = client.request("GET", f"/forwarding-destinations/{dst_id}")
        stats = found["stats"]
        return found if stats["delivered"] + stats["dead_letters"] >= len(events) else None

    try:
        return wait_until(ended, seconds=seconds)
    except AssertionError:
        raise AssertionError(client.request("GET", f"/forwarding-destinations/{dst_id}")) from None


def _vendor_events() -> Iterator[dict[str, Any]]:
    if VENDOR_AUDIT.is_file():
        yield from map(json.loads, VENDOR_AUDIT.read_text().splitlines())
        return
    shapes = [json.loads(line) for line in demo_events(Micros(1_772_323_200_000_000)).splitlines()]
    for number in range(MADE_COUNT):
        event = json.loads(json.dumps(shapes[number % len(shapes)]))
        event["event"]["id"] = f"made-{number:04d}"
        if "preflight_id" in event.get("aegis", {}):
            event["aegis"]["preflight_id"] = event["event"]["id"]
        yield event


def _awkward_events() -> Iterator[dict[str, Any]]:
    for number, fields in enumerate(_AWKWARD):
        yield {
            "@timestamp": f"2026-03-02T00:00:{number:02d}.123456Z",
            "event": {"id": f"awkward-{number}", "kind": "event", "dataset": "app.awkward"},
            **fields,
        }
