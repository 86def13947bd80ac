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
"""On a page with more strips than this, neighbouring cells of one kind are one, so that the page stays small."""
STEP_US = QUARTERS.step_s * SECOND
WORDS = {"ok": "all taken", "some": "some failed", "all": "all failed", "paused": "paused"}
"""Kinds of cells; where nothing was sent there is none."""


class Cell(NamedTuple):
    """A quarter of an hour, or several alike.

    Args:
        x, width: in cells.
        since, until: its span.
        words: what happened in it.
        span: as the query of the page that shows it in minutes.
    """

    kind: str
    x: int
    width: int
    since: Micros
    until: Micros
    words: str
    span: str


class Strip(NamedTuple):
    """The last day.

    Args:
        delivered: events.  failed: attempts.
        told: the whole strip in words.
    """

    cells: list[Cell]
    delivered: int
    failed: int
    told: str


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
        whole: a cell for each quarter, also where neighbours are alike.
    """
    first = Micros(began_at(now, QUARTERS.step_s) - (CELLS - 1) * STEP_US)
    by_place = {(one.at - first) // STEP_US: one for one in results if first <= one.at <= now}
    steps = [_step(place, by_place.get(place), first, paused_at) for place in range(CELLS)]
    cells = []
    for _, group in groupby(steps, key=lambda one: (one.kind, one.place if whole else 0)):
        alike = list(group)
        if alike[0].kind:
            cells.append(_cell(alike, first))
    delivered, failed = sum(one.delivered for one in steps), sum(one.failed for one in steps)
    return Strip(cells, delivered, failed, _told(steps, delivered, failed))


def _step(place: int, found: Result | None, first: Micros, paused_at: Micros | None) -> _Step:
    if found is not None and (found.delivered or found.failed):
        kind = "ok" if not found.failed else "some" if found.delivered else "all"
        return _Step(place, kind, found.delivered, found.failed)
    is_paused = paused_at is not None and first + place * STEP_US >= paused_at
    return _Step(place, "paused" if is_paused else "", 0, 0)


def _cell(alike: Sequence[_Step], first: Micros) -> Cell:
    kind, place = alike[0].kind, alike[0].place
    since = Micros(first + place * STEP_US)
    until = Micros(first + (alike[-1].place + 1) * STEP_US)
    words = WORDS[kind]
    if kind != "paused":
        delivered, failed = sum(one.delivered for one in alike), sum(one.failed for one in alike)
        words = f"{words}: {number(delivered)} delivered, {number(failed)} failed"
    return Cell(
        kind, place, len(alike), since, until, words, f"from={moment_text(since)}&to={moment_text(until)}"
    )


def _told(steps: Sequence[_Step], delivered: int, failed: int) -> str:
    bad = sum(one.failed > 0 for one in steps)
    text = f"Last 24 hours: {counted(delivered, 'event')} delivered, {counted(failed, 'failed attempt')}"
    return f"{text} in {counted(bad, 'quarter of an hour', 'quarters of an hour')}" if bad else text
