"""What destinations did over time, as it is stored: written by settlements, read by people. Functions of a unit of work."""

from typing import NamedTuple

from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import CLASSES, LATENCY_PLACES, RESOLUTIONS, Resolution, Rollup, began_at

from .database import Call, Row, Unit

REMOVED_MAX = 1000
"""Most rollups of one length that one transaction removes."""
_LATENCIES_FROM = 2 + len(CLASSES)
_LATENCIES_TO = _LATENCIES_FROM + LATENCY_PLACES


class Result(NamedTuple):
    """What a destination did in one step of time.

    Args:
        at: where the step begins.
        delivered: events.  failed: attempts.
        waiting: the most events that waited.
        dead_letters: how many events became dead letters.
    """

    at: Micros
    delivered: int
    failed: int
    waiting: int
    dead_letters: int


def writes(key: DestinationKey, one: Rollup | None) -> list[Call]:
    """Return the statement that adds a settlement to its rollups; none where there is nothing to add."""
    if one is None:
        return []
    starts = (began_at(one.at, resolution.step_s) for resolution in RESOLUTIONS)
    return [
        (
            "add_rollup",
            (*key, *starts, one.delivered, *one.failed, *one.latencies, one.waiting, one.dead_letters),
        )
    ]


def between(
    unit: Unit, key: DestinationKey, resolution: Resolution, step_s: int, span: tuple[Micros, Micros]
) -> list[Rollup]:
    """Return what a destination did in a span, step by step, in order; steps without a settlement are missing.

    Args:
        resolution: which rollups are added up.
        step_s: a multiple of its step.
        span: whole steps; the end is not part of it.
    """
    rows = unit.rows("rollups", (*key, resolution.step_s, step_s * SECOND, *span))
    return [_rollup(row) for row in rows]


def results(unit: Unit, key: DestinationKey, resolution: Resolution, since: Micros) -> list[Result]:
    """Return what a destination did in each step since a time; steps without a settlement are missing."""
    limit = resolution.kept_s // resolution.step_s + 1
    rows = unit.rows("rollup_results", (*key, resolution.step_s, since, limit))
    return [Result(*row) for row in rows]


def remove_old(unit: Unit, now: Micros) -> int:
    """Remove some rollups that are over their time; returns how many, 0 when there is no more."""
    return sum(
        unit.run("delete_rollups", (one.step_s, now - one.kept_s * SECOND, REMOVED_MAX))
        for one in RESOLUTIONS
    )


def _rollup(row: Row) -> Rollup:
    failed, latencies = row[2:_LATENCIES_FROM], row[_LATENCIES_FROM:_LATENCIES_TO]
    return Rollup(row[0], row[1], tuple(failed), tuple(latencies), *row[_LATENCIES_TO:])
