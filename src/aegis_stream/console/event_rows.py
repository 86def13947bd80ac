"""An event as one row of a list: what people look at first, and a mark for each destination; pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from aegis_stream.control.event_states import STATES, EventState, State
from aegis_stream.domain.event_filter import first_text
from aegis_stream.domain.ids import Micros
from aegis_stream.ports import LogEntry

from .page import path_part

MESSAGE_CHARACTERS_MAX = 200
MARKS_MAX = 8
"""With more destinations their states are counted."""
ACTION = ("event.action",)
USER = ("user.id", "user.name", "user.email", "aegis.actor_id", "actor.id")
MESSAGE = ("message", "aegis.summary", "event.reason", "error.message")
SHAPES: dict[State, str] = {
    "dead_letter": "✗",
    "retrying": "⟳",
    "paused": "‖",
    "pending": "…",
    "filtered": "∅",
    "delivered": "✓",
}


class Mark(NamedTuple):
    """The state of an event at a destination, or at several: a shape, and the same in words."""

    state: State
    shape: str
    words: str


class Row(NamedTuple):
    """One event of a list."""

    sequence: int
    event_id: str
    href: str
    at: Micros
    dataset: str
    action: str
    decision: str
    user: str
    message: str
    marks: list[Mark]


def row_of(entry: LogEntry, states: Sequence[EventState], base: str) -> Row:
    """Return an event as a row.

    Args:
        base: path of the organization's pages.
    """
    event = decoded(entry.body)
    return Row(
        entry.sequence,
        entry.event_id,
        event_path(base, entry.event_id),
        entry.received_at,
        entry.dataset,
        _cut(first_text(event, *ACTION), 60),
        entry.decision or "",
        _cut(first_text(event, *USER), 60),
        _cut(first_text(event, *MESSAGE), MESSAGE_CHARACTERS_MAX),
        marks_of(states),
    )


def marks_of(states: Sequence[EventState]) -> list[Mark]:
    """Return a mark for each destination; where there are many, one for each state that occurs, the worst first."""
    if len(states) <= MARKS_MAX:
        return [Mark(one.state, SHAPES[one.state], f"{one.name}: {words_of(one.state)}") for one in states]
    counted = Counter(one.state for one in states)
    return [
        Mark(
            state,
            f"{SHAPES[state]} {counted[state]}",
            f"{words_of(state)} at {counted[state]} of {len(states)} destinations",
        )
        for state in STATES
        if counted[state]
    ]


def words_of(state: State) -> str:
    """Return a state in words."""
    return state.replace("_", " ")


def event_path(base: str, event_id: str) -> str:
    """Return the path of an event's page."""
    return f"{base}/events/{path_part(event_id)}"


def decoded(body: str) -> Any:
    """Return an event as values; an empty object where its JSON cannot be read."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
