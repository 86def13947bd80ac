"""What the drawings of an open page show now, as cells by key; pure. `redraw.py` reads what they are drawn from.

Only values change: numbers, paths, classes, titles and links of elements that the page has already. The table beside the health chart
stays as it was, and says of when it is.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aegis_stream.control.timeline import LastHour, Timeline
from aegis_stream.domain.ids import Micros

from .history import NONE, Chart
from .live_cells import Cell
from .sparkline import sparkline
from .strip import Strip
from .words import iso, moment, number, offset, span
from .zone import Zone, kept


class Shown(NamedTuple):
    """When it is, and in which zone the page writes times."""

    now: Micros
    zone: Zone

    def title(self, since: Micros, until: Micros, mark: str, words: str) -> str:
        """Return what stands for a span, as in `templates/charts.html`."""
        return f"{span(since, until, self.now, self.zone.info)}{mark} {words}"

    def time(self, at: Micros) -> Cell:
        """Return a time in full."""
        return Cell(f"{moment(at, self.zone.info)} {offset(at, self.zone.info)}", at=iso(at, self.zone.info))


def overview_cells(strips: Mapping[str, Strip], hour: LastHour, base: str, shown: Shown) -> dict[str, Cell]:
    """Return the cells of the overview's strips and lines.

    Args:
        strips: by the id of their destination.
        base: path of the organization's pages.
    """
    cells = dict(_lines(hour))
    for dst_id, strip in strips.items():
        cells.update(_strip(strip, f"{dst_id}.day", f"{base}/d/{dst_id}", shown))
    return cells


def history_cells(chart: Chart, timeline: Timeline, shown: Shown) -> dict[str, Cell]:
    """Return the cells of the chart on a destination's page."""
    return dict(_numbers(chart, timeline, shown)) | dict(_drawing(chart, shown))


def _lines(hour: LastHour) -> Iterator[tuple[str, Cell]]:
    for name, values in hour._asdict().items():
        drawn = sparkline(values)
        yield f"hour.{name}", Cell(parts=(drawn.told,), kind=drawn.kind)
        yield f"hour.{name}.line", Cell(set={"d": drawn.path})
        yield f"hour.{name}.told", Cell(drawn.told)


def _strip(strip: Strip, key: str, here: str, shown: Shown) -> Iterator[tuple[str, Cell]]:
    yield f"{key}.told", Cell(strip.counts)
    for kind, path in strip.shapes.items():
        yield f"{key}.{kind}", Cell(set={"d": path})
    if strip.cells:
        yield key, Cell(set={"aria-label": strip.told})
    for one in strip.cells:
        if not one.words:
            yield f"{key}.{one.x}", Cell(kind=one.kind)
            continue
        title = shown.title(one.since, one.until, ",", one.words)
        href = kept(f"{here}?{one.span}", shown.zone)
        yield f"{key}.{one.x}", Cell(parts=(title,), kind=one.kind, set={"href": href})


def _numbers(chart: Chart, timeline: Timeline, shown: Shown) -> Iterator[tuple[str, Cell]]:
    yield "history.drawn", Cell(kind="shown" if chart.columns else NONE)
    yield "history.nothing", Cell(kind=NONE if chart.columns else "muted")
    for kind, count in chart.counts.items():
        yield f"history.total.{kind}", Cell(number(count))
        yield f"history.of.{kind}", Cell(kind="shown" if count or kind == "good" else NONE)
    yield "history.highest", Cell(number(chart.highest))
    yield "history.waiting", Cell(number(chart.waiting_max))
    for name, text in zip(("p50", "p99", "slowest"), chart.latency, strict=True):
        yield f"history.{name}", Cell(text)
    yield (
        "history.latency",
        Cell(kind="over-time low" if chart.slowest_ms is not None else "over-time low none"),
    )
    yield "history.since", shown.time(timeline.since)
    yield "history.until", shown.time(timeline.until)


def _drawing(chart: Chart, shown: Shown) -> Iterator[tuple[str, Cell]]:
    for kind, path in chart.bars.items():
        yield f"history.bars.{kind}", Cell(set={"d": path})
    yield "history.waited", Cell(set={"d": chart.waited})
    yield "history.line.p50", Cell(set={"d": chart.p50})
    yield "history.line.p99", Cell(set={"d": chart.p99})
    for place, one in enumerate(chart.places):
        if not one.words:
            yield f"history.{place}", Cell(kind=one.kind)
            continue
        title = shown.title(one.since, one.until, ":", one.words)
        href = kept(one.href, shown.zone)
        yield f"history.{place}", Cell(parts=(title,), kind=one.kind, set={"href": href})
    yield "history.marks", Cell(set={"viewBox": chart.window})
