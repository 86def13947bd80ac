"""Undoes what destinations' formats do to an event: flat names, columns, renamed members, attributes of OpenTelemetry.

A version is only a guess. It counts if its content digest is a recorded one, so that a wrong guess does no harm.
"""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any, Dict, List

from .content import Unreadable, loads

VERSIONS_MAX = 16
_RENAMED = ("service", "host", "source", "status", "hostname", "ddsource", "ddtags")
"""Names that Datadog reserves: an event's own members of these names travel as ecs_service and so on."""
_DEPTH_MAX = 32


def versions_of(value: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return what the event may have been, if it shows that a format changed it; [] if it does not."""
    found: List[Dict[str, Any]] = []
    if "ddsource" in value or any(name.startswith("ecs_") for name in value):
        found += from_attributes(value, {})
    if is_columns(value):
        found.append(_from_columns(value))
    if is_flat(value):
        found += _nested_versions(value)
    return found[:VERSIONS_MAX]


def is_changed(value: Any) -> bool:
    """Tell whether an event came back in a form from which its content may not be had again, though nobody altered it."""
    return isinstance(value, dict) and (is_flat(value) or is_columns(value))


def is_flat(value: Dict[str, Any]) -> bool:
    """Tell whether names with dots stand for nested objects, as at New Relic and Honeycomb."""
    return any("." in name for name in value)


def is_columns(value: Dict[str, Any]) -> bool:
    """Tell whether this is a row of Microsoft Sentinel."""
    return "TimeGenerated" in value


def from_attributes(attributes: Dict[str, Any], holder: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the versions of an event whose members were Datadog's attributes; `holder` may have its message."""
    event = dict(attributes)
    for name in ("service", "ddsource"):
        if isinstance(event.get(name), str):
            del event[name]
    if "message" not in event and isinstance(holder.get("message"), str):
        event["message"] = holder["message"]
    back: Dict[str, Any] = {}
    for name, one in event.items():
        own = name.removeprefix("ecs_")
        back[own if own in _RENAMED else name] = one
    without = {name: one for name, one in back.items() if name != "message"}
    versions = [back, without]
    if "ecs_message" in without:
        own_message = without.pop("ecs_message")
        versions.insert(0, {**without, "message": own_message})
    return versions + [nested for one in versions if is_flat(one) for nested in _nested_versions(one)]


def from_record(record: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the versions of an event that was a log record of OpenTelemetry."""
    attributes = record.get("attributes")
    flat = _members(attributes, _DEPTH_MAX) if isinstance(attributes, list) else {}
    message = _plain(record.get("body"), _DEPTH_MAX)
    events = [flat if "message" in flat else {**flat, "message": message}, flat]
    times = _times(record.get("timeUnixNano")) if "@timestamp" not in flat else []
    events = [{"@timestamp": at, **event} for event in events for at in times] or events
    nested = [_nested(event) for event in events]
    return [one for one in nested if one is not None][:VERSIONS_MAX]


def _from_columns(value: Dict[str, Any]) -> Dict[str, Any]:
    event = {name: one for name, one in value.items() if name not in ("TimeGenerated", "timestamp", "more")}
    if "timestamp" in value:
        event = {"@timestamp": value["timestamp"], **event}
    more = value.get("more")
    return {**event, **more} if isinstance(more, dict) else event


def _nested_versions(flat: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the event with objects for names with dots: with texts as they are, and with texts that are arrays parsed."""
    parsed = {name: _array_of(one) for name, one in flat.items()}
    nested = [_nested(one) for one in ([flat, parsed] if parsed != flat else [flat])]
    return [one for one in nested if one is not None]


def _array_of(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] != "[":
        return value
    try:
        return loads(value)
    except Unreadable:
        return value


def _nested(flat: Dict[str, Any]) -> Dict[str, Any] | None:
    """Return objects for names with dots; None if two names contradict each other."""
    event: Dict[str, Any] = {}
    for name, one in flat.items():
        *path, last = name.split(".")
        if len(path) > _DEPTH_MAX:
            return None
        place = event
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                return None
        if last in place:
            return None
        # A copy: the next name may lead into it, and the event as it was read must stay what it is.
        place[last] = deepcopy(one)
    return event


def _members(pairs: List[Any], left: int) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for pair in pairs:
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            found[pair["key"]] = _plain(pair.get("value"), left)
    return found


def _plain(value: Any, left: int) -> Any:
    """Return what an AnyValue means; None for one without a kind, and for one that is nested too deep."""
    if not isinstance(value, dict) or len(value) != 1 or not left:
        return None
    ((kind, inner),) = value.items()
    if kind == "intValue":
        digits = str(inner)
        return int(digits) if digits.removeprefix("-").isdigit() and len(digits) <= 20 else None
    if kind in ("arrayValue", "kvlistValue"):
        values = inner.get("values", []) if isinstance(inner, dict) else []
        if not isinstance(values, list):
            return None
        if kind == "kvlistValue":
            return _members(values, left - 1)
        return [_plain(one, left - 1) for one in values]
    return inner


def _times(nanos: Any) -> List[str]:
    """Return the spellings that a time may have had, in UTC."""
    text = str(nanos)
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return []
    seconds, rest = divmod(int(text), 1_000_000_000)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f"{rest:09}"
    ends = [f".{digits[:3]}", f".{digits[:6]}", "", f".{digits.rstrip('0')}", f".{digits}"]
    return [f"{at}{end}{zone}" for zone in ("Z", "+00:00") for end in ends if end != "."]
