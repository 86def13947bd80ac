"""Promises of `console.strip`: each quarter of an hour of the last day has its cell, and every cell says what it stands for."""

from aegis_stream.console.strip import CELLS, NONE, STEP_US, strip_of
from aegis_stream.control.timeline import Result
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import began_at

NOW = Micros(1_780_000_000_000_000)
LAST = began_at(NOW, 900)
FIRST = LAST - (CELLS - 1) * STEP_US


def at(place: int, delivered: int, failed: int = 0) -> Result:
    """Build what happened in a cell."""
    return Result(Micros(FIRST + place * STEP_US), delivered, failed, 0, 0)


def drawn(*results: Result, paused_at=None, whole=True):
    """Draw a strip."""
    return strip_of(results, NOW, paused_at=paused_at, whole=whole)


def happened(strip) -> list:
    """Return the cells in which something happened."""
    return [(one.kind, one.x) for one in strip.cells if one.kind != NONE]


def test_kinds_and_places():
    """Everything taken, some of it, nothing; where nothing was sent the cell is not shown, and what is older is left out."""
    strip = drawn(at(-1, 9, 9), at(0, 5), at(7, 5, 1), at(95, 0, 1))

    assert happened(strip) == [("ok", 0), ("some", 7), ("all", 95)]
    assert [one.x for one in strip.cells] == list(range(CELLS))
    assert (strip.delivered, strip.failed) == (10, 2)
    assert strip.told == "Last 24 hours: 10 events delivered, 2 failed attempts in 2 quarters of an hour"
    assert strip.counts == "10 delivered, 2 failed"


def test_a_cell_says_what_it_stands_for():
    """It has the span, the kind in words and both numbers; the link has the same span."""
    cell = drawn(at(95, 1411, 3)).cells[95]

    assert cell.words == "some failed: 1,411 delivered, 3 failed"
    assert (cell.since, cell.until) == (LAST, LAST + STEP_US)
    assert cell.span == "from=2026-05-28T20:15:00Z&to=2026-05-28T20:30:00Z"


def test_one_shape_for_each_kind_where_the_page_would_be_large():
    """Neighbours alike are one rectangle, as high as the kind; a hole or another kind between them ends it."""
    results = [at(0, 1), at(1, 2), at(2, 3, 1), at(3, 1), at(5, 1)]

    strip = drawn(*results, whole=False)

    assert strip.cells == []
    assert strip.shapes["ok"] == "M0 4h1.8v8h-1.8zM3 4h0.8v8h-0.8zM5 4h0.8v8h-0.8z"
    assert strip.shapes["some"] == "M2 2h0.8v12h-0.8z"
    assert strip.shapes["all"] == strip.shapes["paused"] == ""
    assert drawn(*results).shapes == {}


def test_a_pause_is_not_silence():
    """While it is paused an empty quarter says so; one in which something was sent does not."""
    strip = drawn(at(92, 4), paused_at=Micros(FIRST + 90 * STEP_US + 1))

    assert happened(strip) == [
        ("paused", 91),
        ("ok", 92),
        ("paused", 93),
        ("paused", 94),
        ("paused", 95),
    ]
