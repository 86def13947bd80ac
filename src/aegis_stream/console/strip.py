"""The last day of a destination as a strip: a cell for each quarter of an hour; pure."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from aegis_stream.control.timeline import Result
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import QUARTERS, began_at

from .event_chart import moment_text
from .words import counted, number

CELLS = 96
WHOLE_MAX = 10
"""On a page with more strips than this a strip has no cells but one shape for each kind, so that the page stays small."""
STEP_US = QUARTERS.step_s * SECOND
WORDS = {"ok": "all taken", "some": "some failed", "all": "all failed", "paused": "paused"}
"""Kinds of cells."""
NONE = "none"
"""The kind where nothing was sent."""
HEIGHTS = {"ok": (4, 8), "some": (2, 12), "all": (0, 16), "paused": (7, 2)}
"""Top and height of each kind in a drawing that is 16 high, as in the style: none is told by colour alone."""


class Cell(NamedTuple):
    """A quarter of an hour.

    Args:
        x: its place, from 0.
        since, until: its span.
        words: what happened in it; "" for nothing.
        span: as the query of the page that shows it in minutes; "" where nothing happened.
    """

    kind: str
    x: int
    since: Micros
    until: Micros
    words: str = ""
    span: str = ""


class Strip(NamedTuple):
    """The last day.

    Args:
        cells: all of them; none where `shapes` are drawn.
        shapes: a path for each kind, "" where it does not occur; none where there are cells.
        delivered: events.  failed: attempts.
        told: the whole strip in words.
    """

    cells: list[Cell]
    shapes: dict[str, str]
    delivered: int
    failed: int
    told: str

    @property
    def counts(self) -> str:
        """What stands below the strip."""
        return f"{number(self.delivered)} delivered, {number(self.failed)} failed"


class _Step(NamedTuple):
    place: int
    kind: str
    delivered: int
    failed: int


def strip_of(results: Sequence[Result], now: Micros, *, paused_at: Micros | None, whole: bool) -> Strip:
    """Draw the last day.

    Args:
        results: by quarter of an hour.
        paused_at: since when the destination is surely paused; None while it runs.
        whole: with a cell for each quarter, which has a title and leads to it.
    """
    first = Micros(began_at(now, QUARTERS.step_s) - (CELLS - 1) * STEP_US)
    by_place = {(one.at - first) // STEP_US: one for one in results if first <= one.at <= now}
    steps = [_step(place, by_place.get(place), first, paused_at) for place in range(CELLS)]
    delivered, failed = sum(one.delivered for one in steps), sum(one.failed for one in steps)
    cells = [_cell(one, first) for one in steps] if whole else []
    return Strip(cells, {} if whole else _shapes(steps), delivered, failed, _told(steps, delivered, failed))


def _step(place: int, found: Result | None, first: Micros, paused_at: Micros | None) -> _Step:
    if found is not None and (found.delivered or found.failed):
        kind = "ok" if not found.failed else "some" if found.delivered else "all"
        return _Step(place, kind, found.delivered, found.failed)
    is_paused = paused_at is not None and first + place * STEP_US >= paused_at
    return _Step(place, "paused" if is_paused else NONE, 0, 0)


def _cell(step: _Step, first: Micros) -> Cell:
    since = Micros(first + step.place * STEP_US)
    until = Micros(since + STEP_US)
    if step.kind == NONE:
        return Cell(NONE, step.place, since, until)
    words = WORDS[step.kind]
    if step.kind != "paused":
        words = f"{words}: {number(step.delivered)} delivered, {number(step.failed)} failed"
    span = f"from={moment_text(since)}&to={moment_text(until)}"
    return Cell(step.kind, step.place, since, until, words, span)


def _shapes(steps: Sequence[_Step]) -> dict[str, str]:
    """Return a path for each kind: a rectangle for neighbours alike."""
    paths = dict.fromkeys(HEIGHTS, "")
    for kind, group in groupby(steps, key=lambda one: one.kind):
        alike = list(group)
        if kind != NONE:
            top, height = HEIGHTS[kind]
            paths[kind] += f"M{alike[0].place} {top}h{len(alike) - 0.2:g}v{height}h{0.2 - len(alike):g}z"
    return paths


def _told(steps: Sequence[_Step], delivered: int, failed: int) -> str:
    bad = sum(one.failed > 0 for one in steps)
    text = f"Last 24 hours: {counted(delivered, 'event')} delivered, {counted(failed, 'failed attempt')}"
    return f"{text} in {counted(bad, 'quarter of an hour', 'quarters of an hour')}" if bad else text
