"""The health of a destination: what it does now, what it did over time, and what its failures have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import FromPath

from aegis_stream.api.service import control_of
from aegis_stream.control import deliveries, event_search, overview, timeline
from aegis_stream.control.caller import Caller
from aegis_stream.control.deliveries import AttemptFilter, Delivery, DeliveryQuery
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.event_search import EventQuery
from aegis_stream.control.overview import Subject
from aegis_stream.control.timeline import Timeline
from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text

from .actions import ShownAction, shown_action
from .commands import ShownCall, shown_call
from .destination import destination_page, path_of
from .event_chart import moment_text
from .gate import origin_of, visit_of
from .history import KINDS, RANGES, Chart, asked_of, chart_of
from .rights import DESTINATION

AnyRequest = Request[Any, Any, Any]
FAILURES_MAX = 200
"""The newest failures that are grouped by their cause."""
ACTIONS_MAX = 100
"""The newest actions of the organization in a span, among which those on the destination are marked."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Failures with one status and message.

    Args:
        share: of all failures that were looked at, 0 to 1.
        sample: event of the newest one; None when retention has removed it.
    """

    status_code: int | None
    message: str
    count: int
    first_at: Micros
    last_at: Micros
    share: float
    sample: str | None


@get(DESTINATION)
async def show_health(request: AnyRequest, destination_id: FromPath[str]) -> Response[str]:
    """Show the health of a destination, and what it did in the span that the URL names."""
    deps, caller = control_of(request), visit_of(request).caller
    subject = await overview.read_one(deps, caller, destination_id)
    asked = asked_of(request.query_params, deps.clock.now())
    found = await timeline.read(deps, caller, destination_id, asked.query)
    wanted = DeliveryQuery(AttemptFilter("failed", found.since, Micros(found.until - 1)), limit=FAILURES_MAX)
    failed = await deliveries.list_of(deps, caller, destination_id, wanted)
    return await destination_page(
        request,
        "health.html",
        "Health",
        subject,
        asked=asked,
        ranges=RANGES,
        timeline=found,
        kinds=KINDS,
        chart=_chart(caller, destination_id, found, await _events(deps, caller, subject, found)),
        drawn_live=asked.range,
        timeline_call=_call(request, destination_id, found),
        causes=causes_of(failed.found),
        looked_at=len(failed.found),
        more=failed.following is not None,
    )


async def chart_now(deps: ControlDeps, caller: Caller, dst_id: str, span: str) -> tuple[Chart, Timeline]:
    """Draw a span that ends now, without marks. Raises: NotFound, Unavailable.

    Args:
        span: name of one of RANGES.
    """
    found = await timeline.read(deps, caller, dst_id, asked_of({"range": span}, deps.clock.now()).query)
    return _chart(caller, dst_id, found, ()), found


def _chart(caller: Caller, dst_id: str, found: Timeline, events: Sequence[tuple[Micros, str]]) -> Chart:
    here = path_of(caller.org_id, dst_id)
    return chart_of(found, events, lambda *span: f"{here}/attempts?{_filters(*span)}")


async def _events(
    deps: ControlDeps, caller: Caller, subject: Subject, found: Timeline
) -> list[tuple[Micros, str]]:
    """Return what was done to the destination in a span: by the newest actions of the audit trail, or by its own times without one."""
    destination = subject.destination
    if not deps.audit_actions:
        made, changed = (destination.created_at, "made"), (destination.updated_at, "changed last")
        return [made, changed] if changed[0] > made[0] else [made]
    newest = EventQuery(
        EventFilter(ADMIN_DATASET),
        found.since,
        Micros(found.until - 1),
        limit=ACTIONS_MAX,
        newest_first=True,
    )
    acted = await event_search.list_of(deps, caller, newest)
    actions = [shown_action(one, "") for one in reversed(acted.found)]
    return [
        (one.at, _sentence(one))
        for one in actions
        if one.target_id == destination.dst_id and one.action != "destination_test"
    ]


def _sentence(one: ShownAction) -> str:
    fields = ", ".join(change.field for change in one.changes) if one.action == "destination_change" else ""
    return f"{one.actor} {one.words}" + (f" ({fields})" if fields else "")


def _filters(since: Micros, until: Micros, only_failed: bool) -> str:  # noqa: FBT001 - as history.chart_of calls it
    named = {"state": "failed" if only_failed else "any", "since": to_text(since), "until": to_text(until)}
    return urlencode(named)


def _call(request: AnyRequest, dst_id: str, found: Timeline) -> ShownCall:
    since, until, step_s = moment_text(found.since), moment_text(found.until), found.step_s
    path = f"/api/orgs/{visit_of(request).org_id}/forwarding-destinations/{dst_id}/timeline"
    return shown_call(
        origin_of(request),
        "GET",
        f"{path}?from={since}&to={until}&step={step_s}",
        aegis=f"aegis destination timeline {dst_id} --from {since} --to {until} --step {step_s}",
    )


def causes_of(failures: Sequence[Delivery]) -> list[Cause]:
    """Group failures, newest first, by status and message; the most frequent cause first."""
    groups: dict[tuple[int | None, str], list[Delivery]] = {}
    for one in failures:
        groups.setdefault((one.row.status_code, one.row.message or ""), []).append(one)
    causes = [
        Cause(
            status_code,
            message,
            len(group),
            group[-1].row.at,
            group[0].row.at,
            len(group) / len(failures),
            next((one.event_id for one in group if one.event_id is not None), None),
        )
        for (status_code, message), group in groups.items()
    ]
    return sorted(causes, key=lambda one: (-one.count, -one.last_at))


HANDLERS = [show_health]
