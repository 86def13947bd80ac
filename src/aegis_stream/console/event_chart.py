"""Events over time as bars: shapes for a drawing, and the same numbers for a table; pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.histogram import Bar
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text

WIDTH, HEIGHT = 600.0, 80.0
GAP = 0.15
"""Share of a bar's place that stays empty."""
LAYERS = (("BLOCKED", "bad"), ("ALLOWED_WITH_MASKING", "warn"), ("ALLOWED", "good"), (None, "plain"))
"""Decisions from the bottom to the top, and the class of each."""


class Piece(NamedTuple):
    """One layer of a bar."""

    kind: str
    y: float
    height: float


class Column(NamedTuple):
    """One bar.

    Args:
        events: how many events it stands for.
        href: the list of just these.
        parts: numbers by the words of their decision, for the table.
    """

    at: Micros
    until: Micros
    events: int
    href: str
    x: float
    width: float
    pieces: list[Piece]
    parts: dict[str, int]


class Chart(NamedTuple):
    """The drawing.

    Args:
        is_estimate: whether some numbers were estimated from samples.
    """

    columns: list[Column]
    total: int
    is_estimate: bool


def chart_of(
    bars: Sequence[Bar], step_s: int, wanted: EventFilter, href_of: Callable[[str, str], str]
) -> Chart:
    """Draw bars of the events that have the dataset and the decision that are looked for.

    Args:
        href_of: since, until → where the list of a span is.
    """
    is_narrowed = wanted.dataset is not None or wanted.decision is not None
    parts = [_parts(bar, wanted) for bar in bars]
    counts = [sum(one.values()) if is_narrowed else bar.events for bar, one in zip(bars, parts, strict=True)]
    highest = max([*counts, 1])
    place = WIDTH / max(1, len(bars))
    columns = []
    for number, (bar, part, count) in enumerate(zip(bars, parts, counts, strict=True)):
        end = Micros(bar.at + step_s * SECOND)
        columns.append(
            Column(
                bar.at,
                end,
                count,
                href_of(moment_text(bar.at), moment_text(Micros(end - 1))),
                round(number * place + place * GAP / 2, 2),
                round(place * (1 - GAP), 2),
                _pieces(part, count, highest),
                {decision or "no decision": part[decision] for decision, _ in LAYERS if part[decision]},
            )
        )
    is_estimate = any(bar.sampled < bar.events for bar in bars)
    return Chart(columns, sum(counts), is_estimate)


def moment_text(at: Micros) -> str:
    """Write a time as short as it is exact."""
    return to_text(at).replace(".000000Z", "Z")


def _parts(bar: Bar, wanted: EventFilter) -> dict[str | None, int]:
    """Return how many events of a bar have each decision, of those with the labels that are looked for."""
    found: dict[str | None, int] = {decision: 0 for decision, _ in LAYERS}
    for one in bar.groups:
        if wanted.accepts_label(one.dataset, one.decision) and one.decision in found:
            found[one.decision] += one.events
    return found


def _pieces(part: dict[str | None, int], count: int, highest: int) -> list[Piece]:
    """Return the layers of a bar; what belongs to no known kind is plain."""
    top, pieces = HEIGHT, []
    rest = max(0, count - sum(part.values()))
    for decision, kind in LAYERS:
        events = part[decision] + (rest if decision is None else 0)
        if events:
            height = max(1.0, events / highest * HEIGHT)
            top -= height
            pieces.append(Piece(kind, round(max(0.0, top), 2), round(height, 2)))
    return pieces
