"""What a destination did over time: which span a page shows, and shapes for its drawing beside the same numbers for a table; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aegis_stream.api.requests import moment
from aegis_stream.api.schemas.timeline import latencies_ms
from aegis_stream.control.timeline import Timeline, TimelineQuery
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import CLASSES, Rollup

from .words import DAY_S, HOUR_S

RANGES = (
    ("1h", "1 h", HOUR_S),
    ("24h", "24 h", DAY_S),
    ("7d", "7 d", 7 * DAY_S),
    ("30d", "30 d", 30 * DAY_S),
)
"""Spans that end now: name in the URL, label, seconds."""
RANGE_DEFAULT = "24h"
WIDTH, HEIGHT, LOW = 600.0, 80.0, 40.0
"""Size of the drawing of attempts; and the height of those of latency and of what waits."""
GAP = 0.15
"""Share of a bar's place that stays empty."""


class Asked(NamedTuple):
    """Which span a page was asked to show.

    Args:
        range: one of RANGES; "" for a span of its own.
    """

    range: str
    query: TimelineQuery


class Piece(NamedTuple):
    """One layer of a bar."""

    kind: str
    y: float
    height: float


class Column(NamedTuple):
    """One step.

    Args:
        failed: attempts by class, those that there are.
        href: the attempts of just this step.
        waiting_y: top of what waited in the drawing; None where nothing was attempted.
    """

    at: Micros
    until: Micros
    delivered: int
    failed: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    waiting: int
    href: str
    x: float
    width: float
    pieces: list[Piece]
    waiting_y: float | None


class Mark(NamedTuple):
    """Something that happened to the destination, where it lies in the drawing."""

    x: float
    at: Micros
    text: str


class Chart(NamedTuple):
    """The drawing.

    Args:
        columns: steps in which something was attempted.
        delivered, failed: of all steps; the classes that there are.
        highest: most events and failed attempts of one step.
        slowest_ms: highest 99th percentile of one step; None without a latency.
        waiting_max: most events that waited.
        p50, p99: their lines, as paths.
    """

    columns: list[Column]
    delivered: int
    failed: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    highest: int
    slowest_ms: float | None
    waiting_max: int
    p50: str
    p99: str
    marks: list[Mark]


def asked_of(query: Mapping[str, str], now: Micros) -> Asked:
    """Read the span in a URL: `range`, or `from` and `to`. Raises: Invalid for a time that is none."""
    since, until = moment(query.get("from") or None, "from"), moment(query.get("to") or None, "to")
    if since is not None or until is not None:
        return Asked("", TimelineQuery(since, until))
    spans = {name: seconds for name, _, seconds in RANGES}
    name = query.get("range", "")
    name = name if name in spans else RANGE_DEFAULT
    return Asked(name, TimelineQuery(Micros(max(0, now - spans[name] * SECOND)), now))


def chart_of(
    found: Timeline,
    events: Sequence[tuple[Micros, str]],
    href_of: Callable[[Micros, Micros, bool], str],
) -> Chart:
    """Draw a timeline.

    Args:
        events: what happened to the destination, and when; what lies outside the span is left out.
        href_of: since, until, whether only failures → where the list of attempts is.
    """
    steps, total = found.steps, found.total
    place = WIDTH / len(steps)
    latencies = [latencies_ms(one) for one in steps]
    highest = max(one.delivered + one.failures for one in steps)
    slowest_ms = max((p99 for _, p99 in latencies if p99 is not None), default=None)
    columns = []
    for number, (one, (p50, p99)) in enumerate(zip(steps, latencies, strict=True)):
        if not _is_used(one):
            continue
        until = Micros(one.at + found.step_s * SECOND)
        columns.append(
            Column(
                one.at,
                until,
                one.delivered,
                _failed(one),
                p50,
                p99,
                one.waiting,
                href_of(one.at, Micros(until - 1), one.failures > 0),
                round(number * place + place * GAP / 2, 2),
                round(place * (1 - GAP), 2),
                _pieces(one, highest),
                _y(one.waiting, total.waiting),
            )
        )
    return Chart(
        columns,
        total.delivered,
        _failed(total),
        *latencies_ms(total),
        highest,
        slowest_ms,
        total.waiting,
        _line([p50 for p50, _ in latencies], slowest_ms, place),
        _line([p99 for _, p99 in latencies], slowest_ms, place),
        _marks(found, events),
    )


def _is_used(one: Rollup) -> bool:
    return bool(one.delivered or one.failures)


def _failed(one: Rollup) -> dict[str, int]:
    return {name: count for name, count in zip(CLASSES, one.failed, strict=True) if count}


def _pieces(one: Rollup, highest: int) -> list[Piece]:
    """Return the layers of a bar, what was delivered at the bottom; each is high enough to be seen."""
    top, pieces = HEIGHT, []
    for name, count in {
        "good": one.delivered,
        **{f"c{name}": count for name, count in _failed(one).items()},
    }.items():
        if count:
            height = max(2.0, count / highest * HEIGHT)
            top -= height
            pieces.append(Piece(name, round(max(0.0, top), 2), round(height, 2)))
    return pieces


def _line(values: Sequence[float | None], highest: float | None, place: float) -> str:
    """Return a line of steps as a path; it has a hole where there is no value."""
    path, is_open = [], False
    for number, value in enumerate(values):
        if value is not None:
            path.append(
                f"{'L' if is_open else 'M'}{number * place:.1f} {_y(value, highest or 0):.1f}h{place:.1f}"
            )
        is_open = value is not None
    return "".join(path)


def _y(value: float, highest: float) -> float:
    """Return how far from the top a value is drawn; a line along an edge would be cut in half."""
    return round(LOW - 1 - value / (highest or 1) * (LOW - 2), 2)


def _marks(found: Timeline, events: Sequence[tuple[Micros, str]]) -> list[Mark]:
    length = found.until - found.since
    return [
        Mark(round((at - found.since) / length * WIDTH, 2), at, text)
        for at, text in events
        if found.since <= at < found.until
    ]
