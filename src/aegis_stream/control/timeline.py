"""What a destination did over time: the same number of rows is read however much it was."""

from typing import Final, NamedTuple

from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import (
    HOURS,
    MINUTES,
    QUARTERS,
    Resolution,
    Rollup,
    added,
    began_at,
    nothing,
    resolution_of,
    usual_step_s,
)
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store import attempt_lists, destinations, log_shape, organizations, rollups
from aegis_stream.store.database import Unit
from aegis_stream.store.records import key_of
from aegis_stream.store.rollups import Result

from .caller import Caller
from .deps import ControlDeps

__all__ = ("LastHour", "Result", "Timeline", "TimelineQuery", "last_day", "last_hour", "read")

STEPS_MAX: Final = 750
"""Most steps of a timeline."""
SPAN_DEFAULT_US: Final = 86_400 * SECOND
"""Span where only its end is given."""
STEP_S_MAX: Final = 90 * 86_400
MINUTES_SHOWN: Final = 60


class TimelineQuery(NamedTuple):
    """Which span, in which steps.

    Args:
        since: None for a day before the end.
        until: None for now.
        step_s: seconds, a multiple of 60; None for a step that fits.
    """

    since: Micros | None = None
    until: Micros | None = None
    step_s: int | None = None


class Timeline(NamedTuple):
    """What a destination did, step by step.

    Args:
        since: where the first step begins: the last whole multiple of the step before the span.
        until: where the last step ends.
        steps: in order, without holes. One without a settlement is all zeros: nothing was attempted in it.
    """

    since: Micros
    until: Micros
    step_s: int
    steps: list[Rollup]

    @property
    def total(self) -> Rollup:
        """All steps added up."""
        return added(self.since, self.steps)


class LastHour(NamedTuple):
    """What an organization did in each of the last 60 whole minutes, the newest last.

    Args:
        recorded: events.
        delivered: events at all destinations.
        waiting: the most events that waited at all destinations together; 0 where nothing was attempted.
        dead_letters: events that became dead letters, at all destinations.
    """

    recorded: list[int]
    delivered: list[int]
    waiting: list[int]
    dead_letters: list[int]


async def read(deps: ControlDeps, caller: Caller, dst_id: str, query: TimelineQuery) -> Timeline:
    """Return what a destination did over time.

    Raises: Invalid for a span or a step that cannot be answered, with what can. NotFound, Unavailable.
    """
    now = deps.clock.now()
    until = now if query.until is None else min(query.until, now)
    since = Micros(max(0, until - SPAN_DEFAULT_US)) if query.since is None else query.since
    resolution, step_s = _checked(since, until, query.step_s, now)
    first, step_us = began_at(since, step_s), step_s * SECOND
    end = Micros(max(began_at(Micros(until - 1), step_s), first) + step_us)

    def work(unit: Unit) -> list[Rollup]:
        found = destinations.find(unit, deps.sealer, caller.organization_no, dst_id, damaged_too=True)
        return rollups.between(unit, key_of(found), resolution, step_s, (first, end))

    settled = {one.at: one for one in await deps.db.read(work)}
    starts = (Micros(at) for at in range(first, end, step_us))
    return Timeline(first, end, step_s, [settled.get(at) or nothing(at) for at in starts])


async def last_day(deps: ControlDeps, caller: Caller) -> dict[str, list[Result]]:
    """Return what each destination of the organization did in each quarter of an hour of the last day, by its id.

    Steps without a settlement are missing. Raises: Unavailable.
    """
    no = caller.organization_no
    since = began_at(Micros(deps.clock.now() - SPAN_DEFAULT_US), QUARTERS.step_s)

    def work(unit: Unit) -> dict[str, list[Result]]:
        return {
            dst_id: rollups.results(unit, DestinationKey(no, found), QUARTERS, since)
            for found, dst_id in attempt_lists.destinations_of(unit, no).items()
        }

    return await deps.db.read(work)


async def last_hour(deps: ControlDeps, caller: Caller) -> LastHour:
    """Return what the organization did in the last hour. Raises: NotFound, Unavailable."""
    no, step_us = caller.organization_no, MINUTES.step_s * SECOND
    end = began_at(deps.clock.now(), MINUTES.step_s)
    starts = [Micros(end - number * step_us) for number in range(MINUTES_SHOWN, -1, -1)]

    def work(unit: Unit) -> LastHour:
        found = organizations.find(unit, caller.org_id)
        log = organizations.oldest_sequence(unit, no), found.head
        delivered, waiting, dead = (dict.fromkeys(starts[:-1], 0) for _ in range(3))
        for number in attempt_lists.destinations_of(unit, no):
            for one in rollups.results(unit, DestinationKey(no, number), MINUTES, starts[0]):
                if one.at in delivered:
                    delivered[one.at] += one.delivered
                    waiting[one.at] += one.waiting
                    dead[one.at] += one.dead_letters
        recorded = log_shape.counts(unit, no, starts, log)
        return LastHour(recorded, list(delivered.values()), list(waiting.values()), list(dead.values()))

    return await deps.db.read(work)


def _checked(since: Micros, until: Micros, step_s: int | None, now: Micros) -> tuple[Resolution, int]:
    """Return which rollups to read, and the step. Raises: Invalid."""
    if since > until:
        raise _invalid("from", "must not be after to, nor after the present time")
    if step_s is None:
        step_s = usual_step_s(since, until, now)
    resolution = resolution_of(step_s)
    if resolution is None or step_s > STEP_S_MAX:
        raise _invalid("step", f"must be a multiple of 60, in seconds, up to {STEP_S_MAX}")
    shortest_s = -(-(until - since) // ((STEPS_MAX - 1) * 60 * SECOND)) * 60
    if step_s < shortest_s:
        message = f"must be at least {shortest_s} for this span: a timeline has at most {STEPS_MAX} steps"
        raise _invalid("step", message)
    if began_at(since, step_s) < now - HOURS.kept_s * SECOND:
        raise _invalid("from", "must not be more than 90 days ago: nothing older is kept")
    if began_at(since, step_s) < now - resolution.kept_s * SECOND:
        message = f"must be a multiple of {HOURS.step_s} where from is more than 48 hours ago: shorter steps are no longer kept"
        raise _invalid("step", message)
    return resolution, step_s


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
