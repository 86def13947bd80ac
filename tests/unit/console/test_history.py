"""Promises of `console.history`: the drawing has every step in its place, and holds the numbers of the timeline."""

import re

import pytest

from aegis_stream.console.history import HEIGHT, LOW, NONE, RANGES, asked_of, chart_of
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
    assert {kind: count for kind, count in drawn.counts.items() if count} == {
        "good": 8,
        "c429": 1,
        "c5xx": 1,
        "cnetwork": 1,
    }
    assert (drawn.failed, drawn.told) == (3, "1 × 429, 1 × 5xx, 1 × no answer")
    assert (drawn.highest, drawn.waiting_max) == (9, 12)
    assert [one.href.rpartition("-")[2] for one in drawn.columns] == ["True", "False", "True"]


def test_bars_lie_where_their_step_is():
    """A bar stands in the place of its step, its layers lie on each other, and the highest one fills the drawing."""
    drawn = chart(timeline(None, (6, [500, 500], [1] * 6, 0), (1, [], [1], 0), None))

    assert [one.kind for one in drawn.places] == [NONE, "bar", "bar", NONE]
    assert [(one.x, one.width) for one in drawn.places[1:3]] == [(161.25, 127.5), (311.25, 127.5)]
    # 6 of 8 from the bottom on, 2 of 8 above them; then 1 of 8.
    assert HEIGHT == 80
    assert drawn.bars["good"] == "M161.25 20h127.5v60h-127.5zM311.25 70h127.5v10h-127.5z"
    assert drawn.bars["c5xx"] == "M161.25 0h127.5v20h-127.5z"
    assert drawn.bars["c429"] == ""


def test_a_place_says_what_it_stands_for():
    """It has its span and all numbers; a step in which nothing was attempted has neither words nor a link."""
    bar, empty = chart(timeline((1411, [500, None], [1], 0), None)).places

    assert (bar.since, bar.until) == (START, START + MINUTE_US)
    assert bar.words == "1,411 delivered, 1 × 5xx, 1 × no answer"
    assert bar.href.endswith("-True")
    assert (empty.words, empty.href) == ("", "")


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

    assert LOW == 40
    assert re.findall(r"M[\d.]+ ([\d.]+)h[\d.]+v([\d.]+)", drawn.waited) == [("1", "39"), ("20", "20")]


def test_marks_of_the_span():
    """What happened within the span has its place; what lies outside has none."""
    found = timeline(None, (1, [], [1], 0))

    drawn = chart(
        found,
        (Micros(START - 1), "made"),
        (Micros(START + MINUTE_US), "changed last"),
        (found.until, "later"),
    )

    left, _, width, _ = map(int, drawn.window.split())
    assert [(one.x - left, one.text) for one in drawn.marks] == [(width / 2, "changed last")]


def test_marks_stay_while_the_span_moves_on():
    """A mark has the same place in the drawing a minute later; only the part that is seen is another one."""
    found = timeline(None, (1, [], [1], 0), None)
    later = found._replace(since=Micros(found.since + MINUTE_US), until=Micros(found.until + MINUTE_US))
    happened = (Micros(START + MINUTE_US), "changed last")

    first, second = chart(found, happened), chart(later, happened)

    assert first.marks[0].x == second.marks[0].x
    assert int(second.window.split()[0]) - int(first.window.split()[0]) == 60


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
