"""Promises of `console.strip`: each quarter of an hour of the last day has its cell, and every cell says what it stands for."""

from aegis_stream.console.strip import CELLS, STEP_US, strip_of
from aegis_stream.control.timeline import Result
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import began_at

NOW = Micros(1_780_000_000_000_000)
LAST = began_at(NOW, 900)
FIRST = LAST - (CELLS - 1) * STEP_US


def at(place: int, delivered: int, failed: int = 0) -> Result:
    """Build what happened in a cell."""
    return Result(Micros(FIRST + place * STEP_US), delivered, failed, 0)


def drawn(*results: Result, paused_at=None, whole=True):
    """Draw a strip."""
    return strip_of(results, NOW, paused_at=paused_at, whole=whole)


def test_kinds_and_places():
    """Everything taken, some of it, nothing; where nothing was sent there is no cell, and what is older is left out."""
    strip = drawn(at(-1, 9, 9), at(0, 5), at(7, 5, 1), at(95, 0, 1))

    assert [(one.kind, one.x, one.width) for one in strip.cells] == [
        ("ok", 0, 1),
        ("some", 7, 1),
        ("all", 95, 1),
    ]
    assert (strip.delivered, strip.failed) == (10, 2)
    assert strip.told == "Last 24 hours: 10 events delivered, 2 failed attempts in 2 quarters of an hour"


def test_a_cell_says_what_it_stands_for():
    """It has the span, the kind in words and both numbers; the link has the same span."""
    [cell] = drawn(at(95, 1411, 3)).cells

    assert cell.words == "some failed: 1,411 delivered, 3 failed"
    assert (cell.since, cell.until) == (LAST, LAST + STEP_US)
    assert cell.span == "from=2026-05-28T20:15:00Z&to=2026-05-28T20:30:00Z"


def test_neighbours_alike_are_one_where_the_page_would_be_large():
    """They have the sum of their numbers; another kind or a hole between them ends a cell."""
    results = [at(0, 1), at(1, 2), at(2, 3, 1), at(3, 1), at(5, 1)]

    strip = drawn(*results, whole=False)

    assert [(one.kind, one.x, one.width) for one in strip.cells] == [
        ("ok", 0, 2),
        ("some", 2, 1),
        ("ok", 3, 1),
        ("ok", 5, 1),
    ]
    assert "3 delivered" in strip.cells[0].words
    assert len(drawn(*results).cells) == 5


def test_a_pause_is_not_silence():
    """While it is paused an empty quarter says so; one in which something was sent does not."""
    strip = drawn(at(92, 4), paused_at=Micros(FIRST + 90 * STEP_US + 1))

    assert [(one.kind, one.x) for one in strip.cells] == [
        ("paused", 91),
        ("ok", 92),
        ("paused", 93),
        ("paused", 94),
        ("paused", 95),
    ]
