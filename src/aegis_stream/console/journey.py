"""The journey of an event as a drawing: a lane for each destination on one axis of time; pure.

Attempts follow each other after milliseconds or after hours, so the axis is logarithmic: both are seen.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from aegis_stream.control.journey import Attempt, Journey, Lane
from aegis_stream.domain.destination import Filter
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.ports import LogEntry

from .words import counted, duration, milliseconds

WIDTH = 600.0
BAR_MIN = 6.0
UNIT_US = 100_000
"""Times below this are next to the begin of the axis, microseconds."""
TICKS = (
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (86_400, "1 d"),
    (604_800, "7 d"),
)


class AttemptBar(NamedTuple):
    """One attempt: a bar, and the same in words."""

    state: str
    x: float
    width: float
    at: Micros
    words: str


class LaneView(NamedTuple):
    """One destination.

    Args:
        state: in a word: delivered, retrying, pending, paused, dead letter, filtered, made later.
        note: what the state means here, and since when.
        next_at: when the next attempt is due; None for none.
        next_x: where that is on the axis.
    """

    dst_id: str
    name: str
    state: str
    note: str
    bars: list[AttemptBar]
    next_at: Micros | None
    next_x: float | None


class Tick(NamedTuple):
    """A mark on the axis."""

    x: float
    label: str


class JourneyView(NamedTuple):
    """All lanes, and the marks of the axis."""

    lanes: list[LaneView]
    ticks: list[Tick]


def journey_view(journey: Journey, now: Micros) -> JourneyView:
    """Draw a journey. What needs somebody comes first: dead letters, retries, what waits."""
    begin = journey.entry.received_at
    span = max([UNIT_US * 10, *(_end(one) - begin for one in journey.lanes)])
    lanes = [lane_view(one, journey.entry, span, now) for one in journey.lanes]
    order = ("dead letter", "retrying", "paused", "pending", "delivered", "filtered", "made later")
    ticks = [Tick(place(s * SECOND, span), label) for s, label in TICKS if s * SECOND < span]
    return JourneyView(sorted(lanes, key=lambda one: order.index(one.state)), ticks)


def place(since_us: int, span_us: int) -> float:
    """Return where a time after the beginning stands on the axis."""
    share = math.log1p(max(0, since_us) / UNIT_US) / math.log1p(span_us / UNIT_US)
    return round(min(1.0, share) * WIDTH, 1)


def lane_view(lane: Lane, entry: LogEntry, span: int, now: Micros) -> LaneView:
    """Draw one lane."""
    state, note = _state_of(lane, entry, now)
    bars = [_bar(one, entry.received_at, span) for one in lane.attempts]
    next_at = lane.state.next_attempt_at if lane.state is not None and state == "retrying" else None
    spec = lane.destination.spec
    return LaneView(
        lane.destination.dst_id,
        spec.name or lane.destination.dst_id,
        state,
        note,
        bars,
        next_at,
        place(next_at - entry.received_at, span) if next_at is not None else None,
    )


def rule_of(chosen: Filter, dataset: str, decision: str | None) -> str:
    """Say which rule of a destination's filter keeps an event away."""
    if chosen.datasets and dataset not in chosen.datasets:
        return f"its dataset {dataset or '(none)'} is not among {_listed(chosen.datasets)}"
    return f"its decision {decision or '(none)'} is not among {_listed(chosen.decisions)}"


def _state_of(lane: Lane, entry: LogEntry, now: Micros) -> tuple[str, str]:
    """Return the state of a lane in a word, and what it means here."""
    state, spec = lane.state, lane.destination.spec
    if state is None:
        return "made later", "the destination was created after this event: a replay would send it"
    match state.state:
        case "filtered":
            return "filtered", f"not sent: {rule_of(spec.filter, entry.dataset, entry.decision)}"
        case "dead_letter":
            return "dead letter", f"{counted(state.attempts, 'attempt')}, all failed: {_cause(state.message)}"
        case "delivered":
            took = lane.attempts[-1] if lane.attempts else None
            after = f", {_span(took.at - entry.received_at)} after it was recorded" if took else ""
            return "delivered", f"attempt {state.attempts}{after}"
        case "retrying" if spec.enabled:
            made = counted(state.attempts, "attempt")
            return "retrying", f"{made} failed: {_cause(state.message)}"
    if not spec.enabled:
        return "paused", "waits until the destination is resumed"
    waited = duration((now - entry.received_at) / SECOND)
    return "pending", f"waits for its attempt since {waited}"


def _span(micros: int) -> str:
    return milliseconds(max(0, micros) / 1000) if micros < SECOND else duration(micros / SECOND)


def _cause(message: str | None) -> str:
    return (message or "no message").partition("\n")[0][:200]


def _bar(one: Attempt, begin: Micros, span: int) -> AttemptBar:
    start = place(one.at - one.latency_us - begin, span)
    width = max(BAR_MIN, place(one.at - begin, span) - start)
    answer = str(one.status_code) if one.status_code is not None else _cause(one.message)
    alike = (
        f", one of {counted(one.last - one.first + 1, 'event')} answered alike"
        if one.last > one.first
        else ""
    )
    words = f"attempt {one.attempt}: {one.state}, {answer}, {milliseconds(one.latency_us / 1000)}{alike}"
    return AttemptBar(one.state, min(start, WIDTH - width), round(width, 1), one.at, words)


def _end(lane: Lane) -> int:
    due = lane.state.next_attempt_at if lane.state is not None else None
    return max([0, *(one.at for one in lane.attempts), due or 0])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
