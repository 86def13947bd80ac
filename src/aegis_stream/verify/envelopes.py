"""Recognizes the envelopes that SIEMs and tools put around events: by the names of members, and how their values begin."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

from . import walk
from .walk import Span


class Envelope(NamedTuple):
    """An object that is looked at: its text and where its members stand."""

    text: str
    span: Span
    parts: Dict[str, Span]

    def begins(self, name: str, sign: str) -> bool:
        """Tell whether there is a member of this name, and its value begins with this character."""
        part = self.parts.get(name)
        return part is not None and self.text[part.start] == sign

    def inner(self, name: str) -> Envelope:
        """Return the object that is a member's value."""
        part = self.parts[name]
        return Envelope(self.text, part, walk.members(self.text, part.start))


_BULK_ACTIONS = ("index", "create", "update", "delete")
_BULK_FIELDS = {"_index", "_id", "_type", "routing", "require_alias", "pipeline", "if_seq_no", "op_type"}
HOLDERS = ("data", "content", "payload", "record", "fields", "jsonPayload", "attributes", "map")
"""Names of members in which tools put the whole event, beside fields of their own."""


def has_event(envelope: Envelope) -> bool:
    """Tell whether this is an event itself, or has fields of one beside each other."""
    return any(name in envelope.parts for name in ("event", "event.id", "@timestamp", "aegis"))


def is_bulk_action(envelope: Envelope) -> bool:
    """Tell whether this is an action line of an Elastic bulk request: an event stands on the next line."""
    if len(envelope.parts) != 1:
        return False
    (name,) = envelope.parts
    return (
        name in _BULK_ACTIONS
        and envelope.begins(name, "{")
        and set(envelope.inner(name).parts) <= _BULK_FIELDS
    )


def is_hit(envelope: Envelope) -> bool:
    """Tell whether this is a hit of Elasticsearch or OpenSearch."""
    return envelope.begins("_source", "{") and not has_event(envelope)


def is_answer_of_elastic(envelope: Envelope) -> bool:
    """Tell whether this is the whole answer to a search."""
    return (
        envelope.begins("hits", "{")
        and not has_event(envelope)
        and envelope.inner("hits").begins("hits", "[")
    )


def is_raw(envelope: Envelope) -> bool:
    """Tell whether the event's text stands in _raw, as in Splunk, Sumo Logic and Cribl."""
    return envelope.begins("_raw", '"')


def is_splunk_row(envelope: Envelope) -> bool:
    """Tell whether this is a row of Splunk's export."""
    return envelope.begins("result", "{") and not has_event(envelope)


def is_splunk_rest(envelope: Envelope) -> bool:
    """Tell whether this is the line that Splunk puts at the end, or before the first row."""
    return "preview" in envelope.parts and set(envelope.parts) <= {
        "preview",
        "lastrow",
        "offset",
        "init_offset",
    }


def is_collector_event(envelope: Envelope) -> bool:
    """Tell whether this is the envelope of the Splunk HTTP Event Collector."""
    if "@timestamp" in envelope.parts or not envelope.begins("event", "{"):
        return envelope.begins("event", '"') and is_json(walk.value(envelope.text, envelope.parts["event"]))
    return has_event(envelope.inner("event"))


def is_json(text: Any) -> bool:
    """Tell whether a value is a text that begins like a JSON object."""
    return isinstance(text, str) and text.lstrip(" \t\r\n")[:1] == "{"


def is_loki_stream(envelope: Envelope) -> bool:
    """Tell whether this is a stream of Loki's answer or push request."""
    return envelope.begins("values", "[") and not has_event(envelope)


def is_line(envelope: Envelope) -> bool:
    """Tell whether this is a line of Loki's command line, logcli."""
    return envelope.begins("line", '"') and not has_event(envelope)


def is_log(envelope: Envelope) -> bool:
    """Tell whether a container log driver or Fluent Bit put the text into log."""
    return envelope.begins("log", '"') and not has_event(envelope) and is_json(value(envelope, "log"))


def is_message(envelope: Envelope) -> bool:
    """Tell whether a shipper put the text into message, and made no event of it."""
    return (
        envelope.begins("message", '"')
        and "event" not in envelope.parts
        and is_json(value(envelope, "message"))
    )


def value(envelope: Envelope, name: str) -> Any:
    """Return a member's value."""
    return walk.value(envelope.text, envelope.parts[name])


def is_datadog(envelope: Envelope) -> bool:
    """Tell whether an event stands in `attributes`, with Datadog's own fields around it."""
    return (
        envelope.begins("attributes", "{") and "event" not in envelope.parts and "aegis" not in envelope.parts
    )


def lists_in(*path: str) -> Callable[[Envelope], bool]:
    """Return what tells whether there is a list at this path, in something that is no event."""

    def is_it(envelope: Envelope) -> bool:
        one = envelope
        if has_event(envelope):
            return False
        for name in path[:-1]:
            if not one.begins(name, "{"):
                return False
            one = one.inner(name)
        return one.begins(path[-1], "[")

    return is_it


def is_holder(envelope: Envelope) -> bool:
    """Tell whether a tool put the whole event into one of HOLDERS."""
    return not has_event(envelope) and any(holds(envelope, name) for name in HOLDERS)


def holds(envelope: Envelope, name: str) -> bool:
    """Tell whether this member holds an event."""
    return envelope.begins(name, "{") and any(
        inner in envelope.inner(name).parts for inner in ("event", "_raw", "attributes", "@timestamp")
    )
