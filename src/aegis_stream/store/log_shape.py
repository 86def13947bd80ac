"""How many events a log has in each stretch of time, and of which kinds, without a scan: functions of a unit of work."""

import itertools
from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.ids import Micros, OrganizationNo

from .database import Call, Unit

STRETCHES_MAX = 16
"""Most stretches of a log that are looked at, the newest, where its times go back: only a clock that was wrong makes another one."""
PLACES = 4
"""Places of a bucket at which a sample is taken."""


class Bucket(NamedTuple):
    """Events of one step of time.

    Args:
        events: how many, exactly.
        labels: dataset and decision of some of them, or of all.
    """

    events: int
    labels: list[tuple[str, str | None]]


def buckets(
    unit: Unit, organization_no: OrganizationNo, edges: Seq[Micros], log: tuple[int, int], sample_max: int
) -> list[Bucket]:
    """Count the events between each two neighbouring times, the first inclusive, and look at the labels of some.

    The cost grows with the number of edges and of samples, and with the logarithm of the log.

    Args:
        edges: ascending.
        log: sequences of its oldest and its newest event.
        sample_max: most labels that are read for each bucket.
    """
    return [
        _bucket(unit, organization_no, found, sample_max)
        for found in _spans(unit, organization_no, edges, log)
    ]


def counts(
    unit: Unit, organization_no: OrganizationNo, edges: Seq[Micros], log: tuple[int, int]
) -> list[int]:
    """Count the events between each two neighbouring times: as `buckets`, and no label is read."""
    return [
        sum(last - first + 1 for first, last in found) for found in _spans(unit, organization_no, edges, log)
    ]


def _spans(
    unit: Unit, organization_no: OrganizationNo, edges: Seq[Micros], log: tuple[int, int]
) -> list[list[tuple[int, int]]]:
    """Return the first and the last sequence of each step of time, a pair for each stretch of the log that has some of it."""
    spans: list[list[tuple[int, int]]] = [[] for _ in edges[1:]]
    for stretch in _stretches(unit, organization_no, *log):
        starts = _first_at(unit, organization_no, stretch, edges)
        for number, (first, end) in enumerate(itertools.pairwise(starts)):
            if end > first:
                spans[number].append((first, end - 1))
    return spans


def _stretches(unit: Unit, organization_no: OrganizationNo, oldest: int, head: int) -> list[tuple[int, int]]:
    """Cut a log where its times go back; they never do within a stretch."""
    if head < oldest:
        return []
    steps = [row[0] for row in unit.rows("clock_steps", (organization_no, oldest, head))]
    found = list(zip([oldest, *steps], [*(step - 1 for step in steps), head], strict=True))
    return found[-STRETCHES_MAX:]


def _first_at(
    unit: Unit, organization_no: OrganizationNo, stretch: tuple[int, int], times: Seq[Micros]
) -> list[int]:
    """Return for each time the first sequence that was received then or later, the stretch's end + 1 for none.

    All times are searched at once: as many round trips as one search takes.
    """
    lows, highs = [stretch[0]] * len(times), [stretch[1] + 1] * len(times)
    while middles := sorted({(low + high) // 2 for low, high in zip(lows, highs, strict=True) if low < high}):
        calls: list[Call] = [("received_at", (organization_no, middle)) for middle in middles]
        received = {
            middle: row[0] for middle, row in zip(middles, unit.each(calls), strict=True) if row is not None
        }
        for number, at in enumerate(times):
            middle = (lows[number] + highs[number]) // 2
            if lows[number] >= highs[number]:
                continue
            if middle in received and received[middle] < at:
                lows[number] = middle + 1
            else:
                highs[number] = middle
    return lows


def _bucket(
    unit: Unit, organization_no: OrganizationNo, spans: Seq[tuple[int, int]], sample_max: int
) -> Bucket:
    events = sum(last - first + 1 for first, last in spans)
    labels: list[tuple[str, str | None]] = []
    for first, last in spans:
        if events <= sample_max:
            labels += _labels(unit, organization_no, first, last, sample_max)
        else:
            share = max(1, sample_max // (PLACES * len(spans)))
            step = max(1, (last - first + 1) // PLACES)
            for start in range(first, last + 1, step)[:PLACES]:
                labels += _labels(unit, organization_no, start, min(last, start + step - 1), share)
    return Bucket(events, labels)


def _labels(
    unit: Unit, organization_no: OrganizationNo, first: int, last: int, limit: int
) -> list[tuple[str, str | None]]:
    rows = unit.rows("labels_after", (organization_no, first - 1, last, limit))
    return [(row[1], row[2]) for row in rows]
