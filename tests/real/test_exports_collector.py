"""What a real OpenTelemetry Collector has written is verified: by content where the flat form allows it, else by id."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.exported import EXPORT, run_page, sealed_service
from real.front import ALLOWED
from real.otelcol import Collector, make_collector

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def export(collector: Collector, tmp_path: Path) -> Path:
    """Export by the command of the page."""
    (tmp_path / EXPORT).unlink(missing_ok=True)
    return run_page("OpenTelemetry Collector", tmp_path, COLLECTOR_FILE=str(collector.file))


def names_of(value: Any) -> Iterator[str]:
    """Yield the names of all members, except those of objects in lists, which stay nested."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from names_of(one)


def rewrite(file: Path, event_id: str, change: Any) -> None:
    """Change the records of an event in the collector's file, or take them out where `change` returns None."""
    lines = []
    for line in file.read_bytes().splitlines():  # a text may have separators of its own
        request = json.loads(line)
        for scope in (one for resource in request["resourceLogs"] for one in resource["scopeLogs"]):
            records = [change(one) if is_of(one, event_id) else one for one in scope["logRecords"]]
            scope["logRecords"] = [one for one in records if one is not None]
        lines.append(json.dumps(request, ensure_ascii=False))
    file.write_text("\n".join(lines) + "\n")


def is_of(record: dict[str, Any], event_id: str) -> bool:
    """Tell whether a record is of this event."""
    return {"key": "event.id", "value": {"stringValue": event_id}} in record["attributes"]


def altered_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with another text."""
    return record | {"body": {"stringValue": "nothing happened"}}


def test_every_record_is_proven_as_far_as_its_form_allows(tmp_path):
    """Events are proven by content, those with dots in names by id; then one is altered and one deleted in the file: both are named."""
    collector = make_collector(tmp_path)
    with sealed_service(tmp_path, AEGIS_ALLOWED_NETWORKS=ALLOWED) as log:
        with collector.running():
            log.forward(collector.url, **collector.fields)
            log.finish()
        dotted = {
            name for name, body in log.bodies.items() if any("." in one for one in names_of(json.loads(body)))
        }
        altered, deleted = [one for one in sorted(log.bodies) if one not in dotted][10:200:189]
        sequence = log.sequence_of(deleted)

        whole = log.verify(export(collector, tmp_path), "--accept", "id")
        strict = log.verify(tmp_path / EXPORT)
        rewrite(collector.file, altered, altered_record)
        rewrite(collector.file, deleted, lambda _: None)
        damaged = log.verify(export(collector, tmp_path))

    log.assert_complete(whole, "content", id=len(dotted))
    assert by_id(whole) == by_id(strict) == dotted
    assert (strict.status, strict.log["damages"]) == (3, [])
    assert damaged.status == 1
    assert damaged.ranges() == [(sequence, sequence)]
    assert by_id(damaged) == dotted | {altered}


def by_id(found: Any) -> set[str]:
    """Return the ids of the events of which only the id is proven."""
    return {one["id"] for one in found.log["by_id_only"]["events"]}
