"""The other side of every format: events to send, and readers that extract the events from a request as its receiver does.

The readers use only the standard library, and no code under test.
"""

import json
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Request

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No deadline, so that no test fails on a busy machine."""
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
AWKWARD_NAMES = st.sampled_from(
    [
        *(
            "service",
            "host",
            "source",
            "status",
            "ddsource",
            "ecs_service",
            "message",
            "aegis",
            "entity",
            "eventType",
        ),
        *("timestamp", "_time", "dt", "time", "event_", "event_id", "log.level", "a.b", "ecs"),
    ]
)
IDS = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(' "\\/é😀'), min_size=1, max_size=12
).filter(str.isprintable)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(timezones=OFFSETS).map(lambda one: one.isoformat())


@st.composite
def events(draw: Any) -> dict[str, Any]:
    """Draw an event as ingest accepts it: any members, and the three that are always present."""
    extra = draw(st.dictionaries(AWKWARD_NAMES | st.text(max_size=5), JSON_VALUES, max_size=4))
    labels = draw(
        st.fixed_dictionaries({}, optional={"dataset": IDS, "action": JSON_VALUES, "kind": JSON_VALUES})
    )
    event = {
        "@timestamp": draw(TIMES),
        **{
            name: value
            for name, value in extra.items()
            if name not in ("@timestamp", "event", "organization")
        },
        "event": {"id": draw(IDS), **labels},
        "organization": {"id": "org_abc"},
    }
    # Dotted names in the envelope are drawn by tests/unit/formats/test_dotted.py.
    assume(not any(_has_dot(event.get(name)) for name in ("event", "aegis")))
    return event


def _has_dot(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return any("." in name or _has_dot(one) for name, one in value.items())


EVENTS = st.lists(events(), min_size=1, max_size=5)


def make_event(event_id: str = "evt_1", **members: Any) -> dict[str, Any]:
    """Return a small event."""
    return {
        "@timestamp": "2026-05-15T10:33:21.456789+00:00",
        "event": {"id": event_id, "dataset": "crm.audit"},
        "organization": {"id": "org_abc"},
    } | members


def stored(event: dict[str, Any], indent: int | None = None) -> bytes:
    """Return an event as bytes that ingest would store."""
    return json.dumps(event, ensure_ascii=False, indent=indent).encode()


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, value) of everything in an event except non-empty objects."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    else:
        yield path, value


def read_ids(name: str, request: Request) -> list[str]:
    """Return the event.id of every event of a request, in their order."""
    return (
        [one["event"]["id"] for one in read_events(name, request)]
        if name in WHOLE
        else FLAT_IDS[name](request)
    )


def read_events(name: str, request: Request) -> list[dict[str, Any]]:
    """Return the events of a request of a format that sends them whole, without what the format adds."""
    return WHOLE[name](request.body)


def _documents(text: str) -> list[Any]:
    """Read concatenated JSON documents."""
    found, place = [], 0
    while place < len(text):
        value, place = json.JSONDecoder().raw_decode(text, place)
        found.append(value)
    return found


def _lines(body: bytes) -> list[Any]:
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body[:-1].split(b"\n")]


def _bulk(body: bytes) -> list[Any]:
    lines = _lines(body)
    actions, sources = lines[::2], lines[1::2]
    assert [list(one) for one in actions] == [["create"]] * len(sources)
    for action, source in zip(actions, sources, strict=True):
        assert action["create"] == {"_id": source["event"]["id"]}
    return sources


def _splunk(body: bytes) -> list[Any]:
    envelopes = _documents(body.decode())
    assert all(set(one) == {"time", "source", "event"} for one in envelopes)
    return [one["event"] for one in envelopes]


def _loki(body: bytes) -> list[Any]:
    return [json.loads(line) for stream in json.loads(body)["streams"] for _, line in stream["values"]]


def _without(name: str, found: list[Any]) -> list[Any]:
    return [{key: value for key, value in one.items() if key != name} for one in found]


WHOLE = {
    "json": lambda body: [json.loads(body)],
    "elastic_doc": lambda body: [json.loads(body)],
    "elastic_create": lambda body: [json.loads(body)],
    "ndjson": _lines,
    "axiom": _lines,
    "json_array": json.loads,
    "elastic_bulk": _bulk,
    "splunk_hec": _splunk,
    "loki": _loki,
    "cribl": lambda body: _without("_time", _lines(body)),
    "better_stack": lambda body: _without("dt", json.loads(body)),
    "datadog": json.loads,
}
FLAT_IDS = {
    "new_relic": lambda request: [
        one["attributes"]["event.id"] for one in json.loads(request.body)[0]["logs"]
    ],
    "otlp_logs": lambda request: [
        next(pair["value"]["stringValue"] for pair in record["attributes"] if pair["key"] == "event.id")
        for record in otlp_records(request)
    ],
    "honeycomb": lambda request: [one["data"]["event.id"] for one in json.loads(request.body)],
    "sentinel": lambda request: [one["event"]["id"] for one in json.loads(request.body)],
}


def otlp_records(request: Request) -> list[dict[str, Any]]:
    """Return the records of an OTLP request."""
    (resource,) = json.loads(request.body)["resourceLogs"]
    (scope,) = resource["scopeLogs"]
    records: list[dict[str, Any]] = scope["logRecords"]
    return records
