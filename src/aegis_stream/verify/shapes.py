"""The shapes in which SIEMs and tools hand events back: which part of a line of an export is an event.

An event's text is cut out, never written anew. Where a tool keeps several versions of an event, all are candidates.
`SHAPES` has a row for each kind of envelope; what no row knows is an event by itself.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, NamedTuple, Tuple

from . import envelopes, rebuild, walk
from .content import Unreadable, loads
from .envelopes import Envelope
from .walk import Span

EVENTS_A_LINE_MAX = 1_000_000
NESTED_MAX = 6
"""Envelopes within envelopes that are opened."""

ORIGINAL = "original"
"""Kind of a candidate that a tool keeps within the event that it made of it: in event.original, message or log."""
TEXT = "text"
"""Kind of a candidate that is the event's text."""
BUILT = "built"
"""Kind of a candidate that had to be put together from parts."""


class Candidate(NamedTuple):
    """One version of an event.

    Args:
        kind: ORIGINAL, TEXT or BUILT.
        text: JSON; "" if it is BUILT.
        value: what was put together, or what the text says if that is known already; else None.
    """

    kind: str
    text: str
    value: Any = None


Candidates = Tuple[Candidate, ...]
Found = Iterator[Candidates]


def events_of(text: str) -> Found:
    """Yield the candidates of each event in a line or document.

    Raises: Unreadable if it is malformed, or holds more than EVENTS_A_LINE_MAX.
    """
    bare = _bare(text)
    if bare:
        yield bare
        return
    count = 0
    for span in list(walk.values(text)):  # all of it must be JSON before a part of it counts
        for candidates in _open(text, span, NESTED_MAX):
            count += 1
            if count > EVENTS_A_LINE_MAX:
                raise Unreadable(f"holds more than {EVENTS_A_LINE_MAX} events: export as NDJSON")
            yield candidates


def _bare(text: str) -> Candidates:
    """Return what a line holds that is one event and nothing else, the commonest case; () if it is something else."""
    if len(text) > _BARE_CHARACTERS_MAX or text.startswith(_BEGINS_OTHERWISE):
        return ()
    try:
        value = loads(text)
    except Unreadable:  # it may be several values, which follow each other
        return ()
    if type(value) is not dict or "@timestamp" not in value or "_raw" in value:
        return ()
    event = value.get("event")
    if type(event) is not dict:
        return ()
    texts = (value.get("message"), value.get("log"), event.get("original"))
    kept = (_kept_text(one) for one in texts if envelopes.is_json(one))
    built = (Candidate(BUILT, "", version) for version in rebuild.versions_of(value))
    return (Candidate(TEXT, text, value), *built, *kept)


_BEGINS_OTHERWISE = ('{"_', '{"preview"', "[")
"""How lines begin that are no bare events: they need not be parsed to find out."""
_BARE_CHARACTERS_MAX = 1_000_000
"""A longer line is a document with many events in all likelihood, and parsing it as a whole takes ten times its length."""


def _kept_text(text: Any) -> Candidate:
    return Candidate(ORIGINAL, text.strip(" \t\r\n"))


def _open(text: str, span: Span, left: int) -> Found:
    sign = text[span.start]
    if sign == "[":
        yield from _array(text, span, left)
    elif sign == "{":
        if not left:
            raise Unreadable(f"has more than {NESTED_MAX} envelopes within each other")
        envelope = Envelope(text, span, walk.members(text, span.start))
        for is_it, unwrap in SHAPES:
            if is_it(envelope):
                yield from unwrap(envelope, left - 1)
                return
        yield _event(envelope)
    elif sign == '"':
        yield from _line_in(walk.value(text, span), left)
    else:
        raise Unreadable("is no JSON object")


def _array(text: str, span: Span, left: int) -> Found:
    """Open an array of events; Fluent Bit's records are pairs of a time and an object."""
    spans = walk.elements(text, span.start)
    for number, one in enumerate(spans):
        is_time = number == 0 and (text[one.start] in "0123456789" or _is_pair(text, one))
        if not is_time:
            yield from _open(text, one, left)


def _is_pair(text: str, span: Span) -> bool:
    """Tell whether this is `[time, {}]`, which Fluent Bit 2.1 puts in place of the time."""
    value = walk.value(text, span) if text[span.start] == "[" else None
    return isinstance(value, list) and len(value) == 2 and type(value[0]) in (int, float) and value[1] == {}


def _line_in(line: str, left: int) -> Found:
    """Open a text that a tool keeps as a text: it is an event's, or not JSON."""
    stripped = line.strip(" \t\r\n")
    if not left or stripped[:1] != "{":
        raise Unreadable("has a text that is not an event's JSON")
    yield from _open(stripped, Span(0, len(stripped)), left - 1) if _is_whole(stripped) else ()


def _is_whole(text: str) -> bool:
    loads(text)
    return True


def _event(envelope: Envelope) -> Candidates:
    """Return the versions of what is an event by itself, the strongest first."""
    text, span, parts = envelope
    texts = [
        walk.value(text, parts[name]) if envelope.begins(name, '"') else "" for name in ("message", "log")
    ]
    texts.append(_original(envelope))
    kept = (_kept_text(one) for one in texts if envelopes.is_json(one))
    return (Candidate(TEXT, text[span.start : span.end]), *_rebuilt(envelope), *kept)


def _rebuilt(envelope: Envelope) -> Iterator[Candidate]:
    names = envelope.parts
    if any("." in name or name.startswith("ecs_") or name in _SIGNS for name in names):
        for version in rebuild.versions_of(walk.value(envelope.text, envelope.span)):
            yield Candidate(BUILT, "", version)


_SIGNS = ("ddsource", "TimeGenerated")
"""Members that show that a format changed an event."""


def _original(envelope: Envelope) -> Any:
    value: Any = None
    if envelope.begins("event", "{"):
        value = walk.value(envelope.text, envelope.parts["event"]).get("original")
    elif envelope.begins("event.original", '"'):
        value = walk.value(envelope.text, envelope.parts["event.original"])
    return value


def _each_in(*path: str) -> Callable[[Envelope, int], Found]:
    def unwrap(envelope: Envelope, left: int) -> Found:
        one = envelope
        for name in path[:-1]:
            one = one.inner(name)
        for span in walk.elements(one.text, one.parts[path[-1]].start):
            yield from _open(one.text, span, left)

    return unwrap


def _in(name: str) -> Callable[[Envelope, int], Found]:
    def unwrap(envelope: Envelope, left: int) -> Found:
        yield from _open(envelope.text, envelope.parts[name], left)

    return unwrap


def _nothing(_envelope: Envelope, _left: int) -> Found:
    return iter(())


def _values(envelope: Envelope, left: int) -> Found:
    """Open Loki's pairs of a time in nanoseconds and a line."""
    for span in walk.elements(envelope.text, envelope.parts["values"].start):
        pair = walk.value(envelope.text, span)
        if not isinstance(pair, list) or len(pair) < 2 or not isinstance(pair[1], str):
            raise Unreadable("has an entry of a Loki stream that is no pair of a time and a line")
        yield from _line_in(pair[1], left)


def _datadog(envelope: Envelope, _left: int) -> Found:
    """Put the event together from the custom attributes, and the message beside them."""
    outer = envelopes.value(envelope, "attributes")
    inner = outer.get("attributes")
    holder = outer if isinstance(inner, dict) else walk.value(envelope.text, envelope.span)
    versions = rebuild.from_attributes(inner if isinstance(inner, dict) else outer, holder)
    yield tuple(Candidate(BUILT, "", version) for version in versions)


def _records(envelope: Envelope, _left: int) -> Found:
    """Put events together from the log records of OpenTelemetry."""
    for resource in walk.elements(envelope.text, envelope.parts["resourceLogs"].start):
        value = walk.value(envelope.text, resource)
        for scope in _list(value, "scopeLogs"):
            for record in _list(scope, "logRecords"):
                if isinstance(record, dict):
                    yield tuple(Candidate(BUILT, "", version) for version in rebuild.from_record(record))


def _list(value: Any, name: str) -> List[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _held(envelope: Envelope, left: int) -> Found:
    name = next(name for name in envelopes.HOLDERS if envelopes.holds(envelope, name))
    yield from _open(envelope.text, envelope.parts[name], left)


_NEW_RELIC = ("data", "actor", "account", "nrql", "results")
"""Where New Relic's answer to a query has its rows."""

SHAPES: Tuple[Tuple[Callable[[Envelope], bool], Callable[[Envelope, int], Found]], ...] = (
    (envelopes.is_bulk_action, _nothing),
    (envelopes.is_hit, _in("_source")),
    (envelopes.is_answer_of_elastic, _each_in("hits", "hits")),
    (envelopes.is_raw, _in("_raw")),
    (envelopes.is_splunk_row, _in("result")),
    (envelopes.is_splunk_rest, _nothing),
    (envelopes.lists_in("results"), _each_in("results")),
    (envelopes.is_collector_event, _in("event")),
    (envelopes.lists_in("data", "result"), _each_in("data", "result")),
    (envelopes.lists_in("streams"), _each_in("streams")),
    (envelopes.is_loki_stream, _values),
    (envelopes.is_line, _in("line")),
    (envelopes.is_log, _in("log")),
    (envelopes.is_message, _in("message")),
    (envelopes.lists_in("messages"), _each_in("messages")),
    (envelopes.lists_in("resourceLogs"), _records),
    (envelopes.lists_in("logs"), _each_in("logs")),
    (envelopes.lists_in(*_NEW_RELIC), _each_in(*_NEW_RELIC)),
    (envelopes.lists_in("data"), _each_in("data")),
    (envelopes.lists_in("events"), _each_in("events")),
    (envelopes.is_datadog, _datadog),
    (envelopes.is_holder, _held),
)
"""Envelope → the events in it; the first that fits counts."""
