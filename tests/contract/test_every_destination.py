"""All events arrive at every destination of the guide, complete and unchanged by that destination's rules.

One service and one organization for all of them, so every event goes to every destination at once. The stubs are written from
the destinations' contracts; what each of them has stored at the end is compared with what was recorded.
"""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.arrival import QUICK, audit_events, forward
from support.formats import leaves
from support.pages import page_names
from support.processes import Client
from support.service import running_service, wait_until
from support.stubs import Stub, serving
from support.stubs.configured import COMPRESSED, CONFIGURED, OTHER_FORMS, Configured
from support.stubs.trial import session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ALL = CONFIGURED | OTHER_FORMS | COMPRESSED
APART_S = 20
"""Seconds from event to event, so that all of them are younger than what any destination drops for its age."""
EXACT_MAX = 2**53
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1


class Arrived(dict[str, tuple[Stub, dict[str, Any]]]):
    """By name of the destination: its stub, and how the service shows the destination at the end."""

    events: dict[str, bytes]


def recent(events: dict[str, bytes]) -> dict[str, bytes]:
    """Return the events with times in the last hours, like those of a running service."""
    begin = datetime.now(UTC) - timedelta(seconds=APART_S * len(events))
    found = {}
    for number, (event_id, body) in enumerate(events.items()):
        at = begin + timedelta(seconds=APART_S * number, microseconds=number)
        event = json.loads(body) | {"@timestamp": at.isoformat()}
        found[event_id] = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return found


ROOM: dict[str, dict[str, Any]] = {
    # Sixty vendors' documents have more fields than a dataset takes: map them there.
    "axiom": {"fields_max": 100_000},
    # Requests that go out at once span hours here, and none of their lines must be too far behind: see max_chunk_age there.
    "loki": {"behind_max_s": math.inf},
}
"""By the first word of a destination's name: what its page tells people to make larger."""


def make(name: str, one: Configured) -> Stub:
    """Make the stub of a destination, with room for all events."""
    return one.make(**ROOM.get(name.partition(" ")[0], {}))


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    """Send all events to all destinations."""
    found = Arrived()
    stubs = {name: make(name, one) for name, one in ALL.items()}
    with (
        serving(*stubs.values()),
        running_service(tmp_path_factory.mktemp("service"), **QUICK) as service,
        session(service) as client,
    ):
        found.events = recent(audit_events(client.organization.org_id))
        *others, last = ALL
        made = {name: client.add_destination(stubs[name].url, **ALL[name].fields) for name in others}
        made[last] = forward(client, found.events, stubs[last].url, **ALL[last].fields)["id"]
        for name, dst_id in made.items():
            found[name] = (stubs[name], ended(client, dst_id, len(found.events)))
    return found


def ended(client: Client, dst_id: str, count: int) -> dict[str, Any]:
    """Wait until a destination has no pending events; return it as the API shows it."""

    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = client.request("GET", f"/forwarding-destinations/{dst_id}")
        return shown if shown["stats"]["delivered"] + shown["stats"]["dead_letters"] >= count else None

    found: dict[str, Any] = wait_until(look, seconds=60)
    return found


@pytest.mark.parametrize("name", ALL)
def test_everything_is_stored_in_the_destinations_own_terms(name: str, arrived: Arrived) -> None:
    """Every event is stored once, with its id, its time and all of its content, and counted as delivered; nothing else is."""
    stub, shown = arrived[name]

    assert shown["format"] == ALL[name].chosen
    assert shown["stats"]["delivered"] == len(arrived.events)
    assert shown["stats"]["dead_letters"] == shown["stats"]["retrying"] == 0
    ids = stub.ids()
    assert len(ids) == len(arrived.events)
    assert set(ids) == set(arrived.events)
    stored = dict(zip(ids, stub.stored, strict=True))
    read, expected = READINGS[name.partition(" ")[0]]
    changed = [
        event_id
        for event_id, body in arrived.events.items()
        if read(stored[event_id]) != expected(json.loads(body))
    ]
    assert changed == [], (read(stored[changed[0]]), expected(json.loads(arrived.events[changed[0]])))


def test_every_page_of_the_guide_is_here() -> None:
    """Every page about a destination has a stub, except those about custom receivers."""
    assert {one.page for one in CONFIGURED.values() if one.page} == set(page_names()) - {"generic-https"}


# ── what a destination has of an event, and what it should have ──


def as_it_is(event: dict[str, Any]) -> dict[str, Any]:
    """Expect an event unchanged."""
    return event


def moment(event: dict[str, Any]) -> datetime:
    """Return when an event happened."""
    return datetime.fromisoformat(event["@timestamp"])


def line_for_a_person(event: dict[str, Any]) -> str:
    """Return the text that stands for the event where a destination shows one line of it."""
    aegis = event.get("aegis")
    candidates = [
        event.get("message"),
        aegis.get("summary") if isinstance(aegis, dict) else None,
        event["event"].get("action"),
        event["event"].get("dataset"),
    ]
    return next(one for one in candidates if isinstance(one, str) and one)


def from_logstash(item: dict[str, Any]) -> dict[str, Any]:
    """Take away what Logstash adds; the events here have no url, http and user_agent of their own, which it would overwrite."""
    added = {"@version", "http", "url", "user_agent"}
    found = {name: value for name, value in item.items() if name not in added}
    host = {name: value for name, value in found.pop("host").items() if name != "ip"}
    return found | ({"host": host} if host else {})


def from_vector(item: dict[str, Any]) -> dict[str, Any]:
    """Take away what Vector adds."""
    return {name: value for name, value in item.items() if name not in ("path", "source_type", "timestamp")}


def from_datadog(item: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return source and service as they are shown, and the rest of the log."""
    rest = dict(item)
    return rest.pop("ddsource"), rest.pop("service"), rest


def at_datadog(event: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Expect a line for a person, and other names for members that are reserved."""
    reserved = ("service", "host", "source", "status", "hostname", "ddsource", "ddtags")
    log = {f"ecs_{name}" if name in reserved else name: value for name, value in event.items()}
    message = line_for_a_person(event)
    if event.get("message", message) != message:
        log["ecs_message"] = event["message"]
    return "aegis", "aegis-audit-stream", log | {"message": message}


def flat(event: dict[str, Any], write: Callable[[Any], Any]) -> dict[str, Any]:
    """Return dotted name → value as written; a value of None is left out by writing `LEFT_OUT`."""
    pairs = [(".".join(path), write(value)) for path, value in leaves(event)]
    found = {name: value for name, value in pairs if value is not LEFT_OUT}
    assert len(found) == sum(value is not LEFT_OUT for _, value in pairs), "two paths with one name"
    return found


LEFT_OUT = object()


def at_new_relic(event: dict[str, Any]) -> dict[str, Any]:
    """Expect flat attributes: arrays as text, large numbers as text, nothing for null and for empty objects."""

    def write(value: Any) -> Any:
        if value is None or value == {}:
            return LEFT_OUT
        if isinstance(value, list):
            joinable = all(isinstance(one, str) and one and "," not in one for one in value)
            return ",".join(value) if joinable else compact(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT_MAX:
            return str(value)
        return value

    message = line_for_a_person(event)
    attributes = flat(event, write)
    if attributes.pop("message", message) != message:
        attributes["ecs.message"] = event["message"]
    if message.lstrip()[:1] in ("{", "["):
        message = f"message: {message}"
    millis = int(moment(event).timestamp() * 1000)
    common = {"logtype": "aegis", "service": "aegis-audit-stream"}
    return common | attributes | {"timestamp": millis, "message": message}


def at_honeycomb(event: dict[str, Any]) -> tuple[datetime, dict[str, Any]]:
    """Expect flat fields: arrays and empty objects as JSON text."""
    return moment(event), flat(
        event, lambda value: compact(value) if isinstance(value, list | dict) else value
    )


def compact(value: Any) -> str:
    """Write JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def from_otlp(record: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """Return time, body and attributes of a record, as a collector reads them."""
    attributes = {pair["key"]: any_value(pair["value"]) for pair in record["attributes"]}
    assert len(attributes) == len(record["attributes"]), "a key twice"
    return int(record["timeUnixNano"]), record["body"]["stringValue"], attributes


def any_value(value: dict[str, Any]) -> Any:
    """Read an AnyValue of OTLP."""
    match value:
        case {"intValue": text}:
            return int(text)
        case {"arrayValue": inner}:
            return [any_value(one) for one in inner["values"]]
        case {"kvlistValue": inner}:
            return {pair["key"]: any_value(pair["value"]) for pair in inner["values"]}
        case _:
            return next(iter(value.values()), None)


def at_otlp(event: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """Expect a record: the line for a person as body, all else as flat attributes; what 64 bits cannot hold as text."""

    def write(value: Any) -> Any:
        beyond = isinstance(value, int) and not LONG_MIN <= value <= LONG_MAX
        return str(value) if beyond else value

    attributes = flat(event, write)
    del attributes["@timestamp"]
    message = line_for_a_person(event)
    if attributes.get("message") == message:
        del attributes["message"]
    return nanos(event), message, attributes


def nanos(event: dict[str, Any]) -> int:
    """Return when an event happened, in nanoseconds since 1970."""
    return (moment(event) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def from_sentinel(row: dict[str, Any]) -> tuple[datetime, dict[str, Any]]:
    """Return the time of a row and the members that its columns hold; both columns for the time must agree."""
    columns = {
        name: value for name, value in row.items() if name not in ("TimeGenerated", "timestamp", "more")
    }
    assert moment({"@timestamp": row["timestamp"]}) == datetime.fromisoformat(row["TimeGenerated"])
    return datetime.fromisoformat(row["TimeGenerated"]), columns | row.get("more", {})


def at_sentinel(event: dict[str, Any]) -> tuple[datetime, dict[str, Any]]:
    """Expect every member but the time, which has a column of its own."""
    return moment(event), {name: value for name, value in event.items() if name != "@timestamp"}


def seconds(event: dict[str, Any]) -> float:
    """Return when an event happened, in seconds since 1970 with milliseconds."""
    return nanos(event) // 1_000_000 / 1000


READINGS: dict[str, tuple[Callable[[Any], Any], Callable[[dict[str, Any]], Any]]] = {
    "sumo": (json.loads, as_it_is),
    "cribl": (lambda item: item, lambda event: (seconds(event), event)),
    "logstash": (from_logstash, as_it_is),
    "fluentd": (lambda item: (item[0], item[2]), lambda event: ("aegis.audit", event)),
    "vector": (from_vector, as_it_is),
    "fluent-bit": (lambda item: item, lambda event: ("aegis_audit", event)),
    "panther": (lambda item: item, as_it_is),
    "secops": (json.loads, as_it_is),
    "new-relic": (lambda item: item, at_new_relic),
    "datadog": (from_datadog, at_datadog),
    "sentinel": (from_sentinel, at_sentinel),
    "axiom": (lambda item: item, lambda event: event | {"_time": event["@timestamp"]}),
    "better-stack": (
        lambda item: (datetime.fromisoformat(item[0]), item[1]),
        lambda event: (moment(event), event),
    ),
    "honeycomb": (lambda item: (datetime.fromisoformat(item[0]), item[1]), at_honeycomb),
    "elasticsearch": (lambda item: (item[0], item[2]), lambda event: ("logs-aegis.preflight-default", event)),
    "opensearch": (lambda item: (item[0], item[2]), lambda event: ("logs-aegis.preflight-default", event)),
    "victorialogs": (lambda item: item, as_it_is),
    "splunk": (
        lambda item: item,
        lambda event: {"time": seconds(event), "source": "aegis-audit-stream", "event": event},
    ),
    "loki": (
        lambda item: (item[0], item[1], json.loads(item[2])),
        lambda event: ({"service_name": "aegis-audit-stream"}, nanos(event), event),
    ),
    "otlp": (from_otlp, at_otlp),
}
"""By the first word of a destination's name: how to read what is stored, and what is expected of an event."""
