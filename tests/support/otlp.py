"""Reads OTLP logs in JSON as a receiver does: records with plain values. It uses only the standard library.

A receiver may omit empty things: a list without values, an attribute without a name, a time of zero.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """A log record.

    Args:
        attributes: by name; `pairs` shows whether a name was repeated.
        service: the service.name of its resource.
        scope: the name of its instrumentation scope.
    """

    time_unix_nano: int
    severity_number: int
    body: Any
    attributes: dict[str, Any]
    pairs: int
    service: Any
    scope: str


def records_of(document: str | bytes) -> Iterator[Record]:
    """Yield the records of a request, or of a line that a collector's file exporter wrote."""
    for resource in json.loads(document)["resourceLogs"]:
        described = attributes_of(resource["resource"])
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                yield Record(
                    int(record.get("timeUnixNano", 0)),
                    record.get("severityNumber", 0),
                    value_of(record.get("body", {})),
                    attributes_of(record),
                    len(record["attributes"]),
                    described["service.name"],
                    scope["scope"]["name"],
                )


def attributes_of(described: dict[str, Any]) -> dict[str, Any]:
    """Return attributes by name."""
    return {pair.get("key", ""): value_of(pair["value"]) for pair in described.get("attributes", [])}


def value_of(any_value: dict[str, Any]) -> Any:
    """Return the value of an AnyValue; without a kind it is null."""
    if not any_value:
        return None
    ((kind, value),) = any_value.items()
    match kind:
        case "intValue":
            return int(value)
        case "doubleValue":
            return float(value)
        case "arrayValue":
            return [value_of(one) for one in value.get("values", [])]
        case "kvlistValue":
            return {pair.get("key", ""): value_of(pair["value"]) for pair in value.get("values", [])}
        case "stringValue" | "boolValue":
            return value
    raise AssertionError(f"no kind of value in OTLP: {kind}")
