"""What a destination did over time: which span a page shows, and shapes for its drawing beside the same numbers for a table; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aegis_stream.api.requests import moment
from aegis_stream.api.schemas.timeline import latencies_ms
from aegis_stream.control.timeline import Timeline, TimelineQuery
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import CLASSES, Rollup

from .words import DAY_S, HOUR_S, milliseconds, number

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
MARKS_FROM_S = 90 * DAY_S
"""Marks have places in seconds after a multiple of this, so that they stay where they are while the span moves on; browsers draw numbers
of this size exactly enough."""
GAP = 0.15
"""Share of a bar's place that stays empty."""


class Asked(NamedTuple):
    """Which span a page was asked to show.

    Args:
        range: one of RANGES; "" for a span of its own.
    """

    range: str
    query: TimelineQuery


CLASS_WORDS = {
    "3xx": "3xx",
    "4xx": "4xx",
    "429": "429",
    "5xx": "5xx",
    "network": "no answer",
    "other": "other",
}
"""Classes of failed attempts in words."""
KINDS = {
    "good": "Delivered",
    **{f"c{name}": words[:1].upper() + words[1:] for name, words in CLASS_WORDS.items()},
}
"""Layers of a bar, the lowest first, by their class in the style: what the legend calls them."""
NONE = "none"
"""The class of what is not shown."""


class Place(NamedTuple):
    """The place of a step in the drawing, which leads to its attempts.

    Args:
        kind: NONE where nothing was attempted.
        words, href: what was; "" there.
    """

    kind: str
    x: float
    width: float
    since: Micros
    until: Micros
    words: str = ""
    href: str = ""


class Column(NamedTuple):
    """One step of the table.

    Args:
        failed: attempts by class, those that there are.
        told: these in words.
        href: the attempts of just this step.
    """

    at: Micros
    until: Micros
    delivered: int
    failed: dict[str, int]
    told: str
    p50_ms: float | None
    p99_ms: float | None
    waiting: int
    href: str


class Mark(NamedTuple):
    """Something that happened to the destination.

    Args:
        x: seconds after a multiple of MARKS_FROM_S.
    """

    x: int
    at: Micros
    text: str


class Chart(NamedTuple):
    """The drawing.

    Args:
        columns: steps in which something was attempted.
        places: all steps.
        counts: of all steps together, by KINDS.
        told: the failed ones of these in words.
        bars: a path for each of KINDS.
        waited: a path of what waited.
        highest: most events and failed attempts of one step.
        slowest_ms: highest 99th percentile of one step; None without a latency.
        waiting_max: most events that waited.
        p50, p99: their lines, as paths.
        window: the part of the marks' drawing that is seen.
    """

    columns: list[Column]
    places: list[Place]
    counts: dict[str, int]
    told: str
    bars: dict[str, str]
    waited: str
    p50_ms: float | None
    p99_ms: float | None
    highest: int
    slowest_ms: float | None
    waiting_max: int
    p50: str
    p99: str
    window: str
    marks: list[Mark]

    @property
    def failed(self) -> int:
        """Failed attempts of all steps."""
        return sum(self.counts.values()) - self.counts["good"]

    @property
    def latency(self) -> tuple[str, str, str]:
        """What is said of latency: of half of the answers, of 99 %, and of the slowest step."""
        return milliseconds(self.p50_ms), milliseconds(self.p99_ms), milliseconds(self.slowest_ms)


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
    width = WIDTH / len(steps)
    latencies = [latencies_ms(one) for one in steps]
    highest = max(one.delivered + one.failures for one in steps)
    slowest_ms = max((p99 for _, p99 in latencies if p99 is not None), default=None)
    columns, places = [], []
    bars, waited = dict.fromkeys(KINDS, ""), ""
    for place, (one, (p50, p99)) in enumerate(zip(steps, latencies, strict=True)):
        x, wide = round(place * width + width * GAP / 2, 2), round(width * (1 - GAP), 2)
        until = Micros(one.at + found.step_s * SECOND)
        if not (one.delivered or one.failures):
            places.append(Place(NONE, x, wide, one.at, until))
            continue
        href = href_of(one.at, Micros(until - 1), one.failures > 0)
        places.append(Place("bar", x, wide, one.at, until, _words(one), href))
        columns.append(
            Column(
                *(one.at, until, one.delivered, _failed(one), _told(one)),
                *(p50, p99, one.waiting, href),
            )
        )
        for kind, y, height in _pieces(one, highest):
            bars[kind] += _rectangle(x, y, wide, height)
        if one.waiting:
            y = _y(one.waiting, total.waiting)
            waited += _rectangle(x, y, wide, LOW - y)
    p50_ms, p99_ms = latencies_ms(total)
    return Chart(
        columns=columns,
        places=places,
        counts={"good": total.delivered, **_classes(total)},
        told=_told(total),
        bars=bars,
        waited=waited,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        highest=highest,
        slowest_ms=slowest_ms,
        waiting_max=total.waiting,
        p50=_line([one for one, _ in latencies], slowest_ms, width),
        p99=_line([one for _, one in latencies], slowest_ms, width),
        window=f"{_second(found.since, found)} 0 {(found.until - found.since) // SECOND} {HEIGHT:g}",
        marks=_marks(found, events),
    )


def _failed(one: Rollup) -> dict[str, int]:
    return {name: count for name, count in zip(CLASSES, one.failed, strict=True) if count}


def _classes(one: Rollup) -> dict[str, int]:
    return {f"c{name}": count for name, count in zip(CLASSES, one.failed, strict=True)}


def _told(one: Rollup) -> str:
    """Return failed attempts by class, in words."""
    found = [f"{number(count)} × {CLASS_WORDS[name]}" for name, count in _failed(one).items()]
    return ", ".join(found) or "–"


def _words(one: Rollup) -> str:
    return f"{number(one.delivered)} delivered" + (f", {_told(one)}" if one.failures else "")


def _pieces(one: Rollup, highest: int) -> list[tuple[str, float, float]]:
    """Return kind, top and height of the layers of a bar, what was delivered at the bottom; each is high enough to be seen."""
    top, pieces = HEIGHT, []
    for kind, count in ({"good": one.delivered} | _classes(one)).items():
        if count:
            height = max(2.0, count / highest * HEIGHT)
            top -= height
            pieces.append((kind, round(max(0.0, top), 2), round(height, 2)))
    return pieces


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}z"


def _line(values: Sequence[float | None], highest: float | None, place: float) -> str:
    """Return a line of steps as a path; it has a hole where there is no value."""
    path, is_open = [], False
    for step, value in enumerate(values):
        if value is not None:
            path.append(
                f"{'L' if is_open else 'M'}{step * place:.1f} {_y(value, highest or 0):.1f}h{place:.1f}"
            )
        is_open = value is not None
    return "".join(path)


def _y(value: float, highest: float) -> float:
    """Return how far from the top a value is drawn; a line along an edge would be cut in half."""
    return round(LOW - 1 - value / (highest or 1) * (LOW - 2), 2)


def _second(at: Micros, found: Timeline) -> int:
    """Return where a time lies in the drawing of the marks."""
    since_s = found.since // SECOND
    return at // SECOND - since_s + since_s % MARKS_FROM_S


def _marks(found: Timeline, events: Sequence[tuple[Micros, str]]) -> list[Mark]:
    return [Mark(_second(at, found), at, text) for at, text in events if found.since <= at < found.until]
