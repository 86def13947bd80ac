"""The overview of an organization: how its destinations stand, the worst first; who sends, and what was changed last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get

from aegis_stream.api.service import control_of
from aegis_stream.control import event_search, overview
from aegis_stream.control.destination_types import destination_types
from aegis_stream.control.event_search import EventQuery
from aegis_stream.control.overview import Overview
from aegis_stream.control.timeline import Result, last_day, last_hour
from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.standing import Standing, State

from .actions import shown_action
from .gate import origin_of, visit_of
from .page import base_of, page
from .rights import ORGANIZATION
from .snippets import snippets
from .sources import sending_keys
from .sparkline import sparkline
from .strip import WHOLE_MAX, Strip, strip_of

AnyRequest = Request[Any, Any, Any]
FIRST_TYPES = (
    *("elasticsearch", "splunk", "microsoft-sentinel", "datadog"),
    *("sumo-logic", "grafana-loki", "opentelemetry-collector", "generic-https"),
)
"""The kinds of destinations that the first steps offer; the others are one click further."""
DAY = "day"
"""What the overview draws: the last day of each destination, and the last hour of all."""
SOURCES_SHOWN = 5
"""Keys that send, those that sent last first."""
ACTIONS_SHOWN = 5
"""Newest actions of the audit trail."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The four figures on top.

    Args:
        oldest_at: when the event was recorded that has waited longest; None for none.
    """

    delivered: int
    waiting: int
    oldest_at: Micros | None
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Which of the first three steps are done."""

    recorded: bool
    configured: bool
    delivered: bool


@get(ORGANIZATION)
async def show_overview(request: AnyRequest) -> Response[str]:
    """Show the overview."""
    visit = visit_of(request)
    control, base = control_of(request), base_of(visit.org_id)
    found = await overview.read(control, visit.caller)
    newest = EventQuery(EventFilter(ADMIN_DATASET), limit=ACTIONS_SHOWN, newest_first=True)
    acted = await event_search.list_of(control, visit.caller, newest)
    days = await last_day(control, visit.caller)
    hour = await last_hour(control, visit.caller)
    return await page(
        request,
        "overview.html",
        title="Overview",
        known=found,
        organization=found.organization,
        destinations=worst_first(found.standings),
        strips=strips_of(found.standings, days, control.clock.now()),
        figures=figures_of(found.standings),
        lines={name: sparkline(values) for name, values in hour._asdict().items()},
        drawn_live=DAY,
        steps=steps_of(found),
        snippets=snippets(origin_of(request), visit.org_id),
        sources=(await sending_keys(control, visit))[:SOURCES_SHOWN],
        actions=[shown_action(one, base) for one in acted.found],
        first_types=[one for one in destination_types() if one.id in FIRST_TYPES],
    )


def steps_of(found: Overview) -> Steps | None:
    """Return what is left to do before events are delivered; None when an event has arrived somewhere, or something else comes first."""
    steps = first_steps_of(found)
    return None if steps.delivered or any(one.state.is_wrong for one in found.standings) else steps


def first_steps_of(found: Overview) -> Steps:
    """Return which of the first steps are done."""
    return Steps(
        recorded=found.has_events,
        configured=bool(found.standings),
        delivered=any(one.delivered for one in found.standings),
    )


def worst_first(standings: Sequence[Standing]) -> list[Standing]:
    """Return destinations in the order in which somebody should look at them."""
    return sorted(standings, key=lambda one: (one.state.badness, -one.waiting, one.name.lower(), one.dst_id))


def strips_of(
    standings: Sequence[Standing], days: Mapping[str, Sequence[Result]], now: Micros
) -> dict[str, Strip]:
    """Draw the last day of each destination, by its id."""
    whole = len(standings) <= WHOLE_MAX
    return {
        one.dst_id: strip_of(
            days.get(one.dst_id, ()),
            now,
            # Its newest change was the pause, or came after it.
            paused_at=one.updated_at if one.state is State.PAUSED else None,
            whole=whole,
        )
        for one in standings
    }


def figures_of(standings: Sequence[Standing]) -> Figures:
    """Add up what all destinations have."""
    oldest = [one.waiting_since for one in standings if one.waiting_since is not None]
    return Figures(
        delivered=sum(one.delivered for one in standings),
        waiting=sum(one.waiting + one.retrying for one in standings),
        oldest_at=min(oldest, default=None),
        dead_letters=sum(one.dead_letters for one in standings),
    )


HANDLERS = [show_overview]
