"""How many events were recorded when, and of which kinds; the cost does not grow with their number."""

from typing import NamedTuple

from aegis_stream.domain.histogram import (
    BUCKETS_MAX,
    SAMPLE_MAX,
    Bar,
    bar,
    edges,
    shortest_step_s,
    usual_step_s,
)
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store import organizations
from aegis_stream.store.database import Unit
from aegis_stream.store.log_shape import buckets

from .caller import Caller
from .deps import ControlDeps
from .organizations import find_with_oldest

SPAN_DEFAULT_US = 24 * 3600 * SECOND
"""Span where only its end is given."""


class HistogramQuery(NamedTuple):
    """Which span, in which steps.

    Args:
        since: None for a day before the end.
        until: None for now.
        whole: without `since`, begin with the oldest event instead.
        step_s: None for a step that fits.
    """

    since: Micros | None = None
    until: Micros | None = None
    step_s: int | None = None
    whole: bool = False


class Histogram(NamedTuple):
    """Events over time: buckets of a step each, without holes."""

    step_s: int
    bars: list[Bar]


async def read(deps: ControlDeps, caller: Caller, query: HistogramQuery) -> Histogram:
    """Count the events of a span. Raises: Invalid for a span that ends before it begins, or too short a step. NotFound, Unavailable."""
    until = deps.clock.now() if query.until is None else query.until
    since = await _since(deps, caller, query, until)
    step_s = _checked_step_s(since, until, query.step_s)
    starts = edges(since, until, step_s)
    sample_max = max(1, SAMPLE_MAX // (len(starts) - 1))

    def work(unit: Unit) -> Histogram:
        found = organizations.find(unit, caller.org_id)
        log = organizations.oldest_sequence(unit, found.no), found.head
        counted = buckets(unit, found.no, starts, log, sample_max)
        return Histogram(step_s, [bar(at, *one) for at, one in zip(starts[:-1], counted, strict=True)])

    return await deps.db.read(work)


async def _since(deps: ControlDeps, caller: Caller, query: HistogramQuery, until: Micros) -> Micros:
    if query.since is not None:
        return query.since
    if query.whole:
        found, oldest = await find_with_oldest(deps, caller.org_id)
        at = await deps.log.received_at(found.no, min(oldest, max(1, found.head)))
        return min(until, at) if at is not None else until
    return Micros(max(0, until - SPAN_DEFAULT_US))


def _checked_step_s(since: Micros, until: Micros, step_s: int | None) -> int:
    if since > until:
        message = "must not be after until"
        raise Invalid(f"since {message}", problems=(FieldProblem("since", message),))
    if step_s is None:
        return usual_step_s(since, until)
    shortest_s = shortest_step_s(since, until)
    if step_s < shortest_s:
        message = f"must be at least {shortest_s} for this span: a histogram has at most {BUCKETS_MAX} steps"
        raise Invalid(f"step_seconds {message}", problems=(FieldProblem("step_seconds", message),))
    return step_s
