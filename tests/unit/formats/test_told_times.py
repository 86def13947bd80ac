"""Times as formats tell them: no event moves into the next second, whatever its time looks like."""

import json
from datetime import datetime

import pytest

from aegis_stream.domain.times import from_datetime
from aegis_stream.formats import REGISTRY
from support.formats import make_event, stored

TOLD = {
    "splunk_hec": lambda body: float(json.loads(body)["time"]),
    "cribl": lambda body: float(json.loads(body)["_time"]),
    "loki": lambda body: int(json.loads(body)["streams"][0]["values"][0][0]) / 1e9,
    "otlp_logs": lambda body: (
        int(json.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["timeUnixNano"]) / 1e9
    ),
    "new_relic": lambda body: json.loads(body)[0]["logs"][0]["timestamp"] / 1e3,
    "honeycomb": lambda body: seconds(json.loads(body)[0]["time"]),
    "better_stack": lambda body: seconds(json.loads(body)[0]["dt"]),
    "sentinel": lambda body: seconds(json.loads(body)[0]["TimeGenerated"]),
    "elastic_bulk": lambda body: seconds(json.loads(body.splitlines()[1])["@timestamp"]),
    "elastic_doc": lambda body: seconds(json.loads(body)["@timestamp"]),
    "elastic_create": lambda body: seconds(json.loads(body)["@timestamp"]),
}
"""How to read the time, in seconds since 1970."""


def seconds(text: str) -> float:
    """Read a time in a plain spelling; the standard library cuts decimals beyond microseconds off."""
    return from_datetime(datetime.fromisoformat(text)) / 1e6


@pytest.mark.parametrize("name", sorted(TOLD))
@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-12-31T23:59:59.9999999Z", 1798761599),
        ("2026-12-31 23:59:59.9999995+0000", 1798761599),
        ("2026-05-15t10:33:21.99999999999999+00:00", 1778841201),
        ("2016-12-31T23:59:60Z", 1483228799),
        ("2017-01-01T05:29:60.9+05:30", 1483228799),
        ("1970-01-01T00:00:00.0000009Z", 0),
    ],
)
def test_a_time_is_told_within_its_second(name, text, second):
    """A fraction of seven digits or more, and a leap second, stay within the second they belong to."""
    body = REGISTRY[name].encode([stored(make_event() | {"@timestamp": text})]).body

    assert second <= TOLD[name](body) < second + 1
