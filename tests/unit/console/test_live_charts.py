"""Promises of what the drawings of an open page are told."""

from aegis_stream.console.history import chart_of
from aegis_stream.console.live_cells import SETTABLE
from aegis_stream.console.live_charts import Shown, history_cells, overview_cells
from aegis_stream.console.progress import Bar
from aegis_stream.console.progress import cells_of as bars_told
from aegis_stream.console.strip import strip_of
from aegis_stream.console.zone import Zone, zone_in
from aegis_stream.control.timeline import LastHour, Result, Timeline
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import began_at, nothing, rollup

NOW = Micros(1_780_000_000_000_000)
BASE = "/console/o/org_abc"
UTC_NOW = Shown(NOW, Zone())
HOUR = LastHour([0] * 60, [0] * 59 + [7], [0] * 60, [0] * 58 + [3, 0])
RESULTS = [Result(began_at(NOW, 900), 5, 1, 0, 0)]


def cells_of(*, whole: bool):
    """Return the cells of an overview with one destination."""
    strip = strip_of(RESULTS, NOW, paused_at=None, whole=whole)
    return overview_cells({"dst_one": strip}, HOUR, BASE, UTC_NOW)


def test_lines_and_strips():
    """A line and a cell have path, words and link; where nothing happened only the class says so."""
    cells = cells_of(whole=True)

    assert cells["hour.delivered.told"].text == "7 in the last minute, at most 7"
    assert cells["hour.delivered.line"].set["d"].startswith("M0 ")
    assert cells["hour.recorded"].kind == "sparkline none"
    assert cells["hour.dead_letters.told"].text == "0 in the last minute, at most 3"
    assert cells["dst_one.day"].set["aria-label"].startswith("Last 24 hours: 5 events delivered")
    assert cells["dst_one.day.told"].text == "5 delivered, 1 failed"
    newest = cells["dst_one.day.95"]
    assert (newest.kind, newest.parts) == ("some", ("20:15–20:30 UTC, some failed: 5 delivered, 1 failed",))
    assert newest.set["href"].startswith(f"{BASE}/d/dst_one?from=")
    assert (cells["dst_one.day.94"].kind, cells["dst_one.day.94"].set) == ("none", None)


def test_shapes_of_many_strips():
    """Where strips have no cells, each kind has its path."""
    cells = cells_of(whole=False)

    assert cells["dst_one.day.some"].set == {"d": "M95 2h0.8v12h-0.8z"}
    assert cells["dst_one.day.ok"].set == {"d": ""}


def test_a_chart():
    """Bars, lines, numbers and the span; what is not there is hidden by its class."""
    first = began_at(NOW, 60)
    steps = [nothing(first), rollup(Micros(first + 60 * SECOND), 3, [500], [4000] * 3, 2)]
    timeline = Timeline(first, Micros(first + 120 * SECOND), 60, steps)
    chart = chart_of(timeline, (), lambda *_: "/attempts")
    cells = history_cells(chart, timeline, UTC_NOW)

    assert [cells[f"history.{place}"].kind for place in (0, 1)] == ["none", "bar"]
    assert cells["history.1"].set == {"href": "/attempts"}
    assert (cells["history.total.good"].text, cells["history.total.c5xx"].text) == ("3", "1")
    assert [cells[f"history.of.{kind}"].kind for kind in ("good", "c5xx", "c4xx")] == [
        "shown",
        "shown",
        "none",
    ]
    assert cells["history.bars.good"].set == {"d": chart.bars["good"]}
    assert (cells["history.drawn"].kind, cells["history.nothing"].kind) == ("shown", "none")
    assert cells["history.until"].at.endswith("Z")
    assert cells["history.latency"].kind == "over-time low"


def test_nothing_but_these_attributes():
    """No cell sets an attribute that the script would leave out."""
    timeline = Timeline(NOW, Micros(NOW + 60 * SECOND), 60, [rollup(NOW, 1, [], [1], 1)])
    drawn = history_cells(chart_of(timeline, (), lambda *_: "/a"), timeline, UTC_NOW)
    bars = bars_told([Bar("rpl_a", "Replay", "running", 3, 10, "3 of 10 events", NOW)])
    told = [
        *cells_of(whole=True).values(),
        *cells_of(whole=False).values(),
        *drawn.values(),
        *bars.values(),
    ]

    assert {name for one in told for name in one.set or ()} == set(SETTABLE)


def test_times_are_those_of_the_page():
    """Titles, links and the ends of the span are in the page's zone."""
    shown = Shown(NOW, zone_in("zone=Asia/Kathmandu"))
    strip = strip_of(RESULTS, NOW, paused_at=None, whole=True)
    cell = overview_cells({"dst_one": strip}, HOUR, BASE, shown)["dst_one.day.95"]
    timeline = Timeline(NOW, Micros(NOW + 60 * SECOND), 60, [rollup(NOW, 1, [], [1], 1)])
    drawn = history_cells(chart_of(timeline, (), lambda *_: f"{BASE}/d/x"), timeline, shown)

    assert cell.parts[0].startswith("02:00–02:15 UTC+05:45, some failed")
    assert cell.set["href"].endswith("&zone=Asia/Kathmandu")
    assert drawn["history.0"].parts[0].endswith("UTC+05:45: 1 delivered")
    assert drawn["history.0"].set["href"] == f"{BASE}/d/x?zone=Asia/Kathmandu"
    assert drawn["history.since"].text == "2026-05-29 02:11:40 UTC+05:45"
