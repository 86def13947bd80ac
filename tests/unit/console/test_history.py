"""Promises of `console.history`: the drawing has every step in its place, and holds the numbers of the timeline."""

import pytest

from aegis_stream.console.history import HEIGHT, LOW, RANGES, WIDTH, asked_of, chart_of
from aegis_stream.control.timeline import Timeline, TimelineQuery
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import nothing, rollup
from aegis_stream.errors import Invalid

START = Micros(1_780_000_020_000_000)
MINUTE_US = 60 * SECOND


def timeline(*steps) -> Timeline:
    """Build a timeline in minutes: for each (delivered, statuses, latencies in microseconds, waiting), None for an empty one."""
    at = [Micros(START + number * MINUTE_US) for number in range(len(steps))]
    made = [
        rollup(when, one[0], one[1], one[2], one[3]) if one else nothing(when)
        for when, one in zip(at, steps, strict=True)
    ]
    return Timeline(START, Micros(START + len(steps) * MINUTE_US), 60, made)


def chart(found: Timeline, *events):
    """Draw it."""
    return chart_of(found, events, lambda since, until, failed: f"{since}-{until}-{failed}")


def test_the_chart_has_the_numbers_of_the_timeline():
    """Bars and table show each step in which something was attempted; their sums are the totals."""
    found = timeline((7, [500, None], [4000] * 7, 3), None, (1, [], [9000], 0), (0, [429], [], 12))

    drawn = chart(found)

    assert [(one.delivered, one.failed, one.waiting) for one in drawn.columns] == [
        (7, {"5xx": 1, "network": 1}, 3),
        (1, {}, 0),
        (0, {"429": 1}, 12),
    ]
    assert (drawn.delivered, drawn.failed) == (8, {"429": 1, "5xx": 1, "network": 1})
    assert (drawn.highest, drawn.waiting_max) == (9, 12)
    assert [one.href.rpartition("-")[2] for one in drawn.columns] == ["True", "False", "True"]


def test_bars_lie_where_their_step_is():
    """A bar stands in the place of its step, its layers lie on each other, and the highest one fills the drawing."""
    drawn = chart(timeline(None, (6, [500, 500], [1] * 6, 0), (1, [], [1], 0), None))

    tall, low = drawn.columns

    assert WIDTH / 4 < tall.x < tall.x + tall.width < WIDTH / 2 < low.x
    assert [(one.kind, one.y, one.height) for one in tall.pieces] == [
        ("good", 20.0, 60.0),
        ("c5xx", 0.0, 20.0),
    ]
    assert sum(one.height for one in tall.pieces) == HEIGHT
    assert [one.height for one in low.pieces] == [HEIGHT / 8]


def test_lines_have_holes():
    """A step without a latency is a hole in the line; the slowest step touches the top."""
    drawn = chart(
        timeline((1, [], [100_000], 0), (1, [], [100_000], 0), (0, [500], [], 0), (1, [], [1500], 0))
    )

    assert drawn.p99.count("M") == 2
    assert drawn.p99.count("L") == 1
    assert drawn.p99.startswith("M0.0 1.0h150.0")
    assert chart(timeline((0, [500], [], 0))).slowest_ms is None


def test_what_waits_stays_inside():
    """The most that waited is drawn to the top, nothing at the bottom."""
    drawn = chart(timeline((1, [], [1], 40), (1, [], [1], 0), (1, [], [1], 20)))

    assert [one.waiting_y for one in drawn.columns] == [1.0, LOW - 1, 20.0]


def test_marks_of_the_span():
    """What happened within the span has its place; what lies outside has none."""
    found = timeline(None, (1, [], [1], 0))

    drawn = chart(
        found,
        (Micros(START - 1), "made"),
        (Micros(START + MINUTE_US), "changed last"),
        (found.until, "later"),
    )

    assert [(one.x, one.text) for one in drawn.marks] == [(WIDTH / 2, "changed last")]


@pytest.mark.parametrize(
    ("query", "span_s"),
    [({}, 86_400), ({"range": "1h"}, 3600), ({"range": "7d"}, 7 * 86_400), ({"range": "x"}, 86_400)],
)
def test_a_range_ends_now(query, span_s):
    """A range is one of the links; anything else is the usual one."""
    asked = asked_of(query, START)

    assert asked.query == TimelineQuery(Micros(START - span_s * SECOND), START)
    assert asked.range in [name for name, *_ in RANGES]


def test_a_span_of_its_own():
    """`from` and `to` take precedence, and a time that is none is refused."""
    asked = asked_of({"range": "1h", "from": "2026-05-28T20:00:00Z"}, START)

    assert asked.range == ""
    assert asked.query.since == 1_779_998_400_000_000
    with pytest.raises(Invalid, match="to must be"):
        asked_of({"to": "never"}, START)
