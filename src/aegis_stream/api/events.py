"""The log for people, and preflight decisions."""

from typing import Any
from urllib.parse import unquote

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Raw

from aegis_stream.control import events as control
from aegis_stream.control import preflight
from aegis_stream.control.events import DeliveryState, EventQuery
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid

from .docs import errors
from .requests import PAGE_DEFAULT, decode_strict, moment, read_cursor, read_limit
from .schemas.base import time_text
from .schemas.events import (
    EventBody,
    EventDelivery,
    EventDetail,
    EventList,
    PreflightRecorded,
    PreflightWrite,
)
from .scopes import caller_of
from .service import control_of

EVENTS = "/api/orgs/{org_id:str}/events"
DECISIONS = ("ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED")
TAGS = ["Events"]
AnyRequest = Request[Any, Any, Any]


@post(
    "/api/orgs/{org_id:str}/preflight-decisions", status_code=202, tags=TAGS, responses=errors(400, 403, 413)
)
async def record_preflight(request: AnyRequest, data: JSONBody[PreflightWrite]) -> PreflightRecorded:
    """Record a preflight decision; it is durable when this call answers."""
    data = await decode_strict(request, data)
    at = moment(data.timestamp, "timestamp") if data.timestamp is not UNSET else None
    recorded = await preflight.record_preflight(control_of(request), caller_of(request), data, at)
    return PreflightRecorded(recorded.event_id, recorded.sequence)


@get(EVENTS, tags=TAGS, responses=errors(403))
async def list_events(  # noqa: PLR0913, PLR0917 - query parameters
    request: AnyRequest,
    after_sequence: FromQuery[int] = 0,
    dataset: FromQuery[str | None] = None,
    decision: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> EventList:
    """List events as stored, in log order."""
    if decision is not None and decision not in DECISIONS:
        message = f"must be one of {', '.join(DECISIONS)}"
        raise Invalid(f"decision {message}", problems=(FieldProblem("decision", message),))
    count, (after,) = read_limit(limit), read_cursor(cursor, (max(0, after_sequence),))
    query = EventQuery(dataset, decision, moment(since, "since"), moment(until, "until"), after, count)
    page = await control.list_of(control_of(request), caller_of(request), query)
    shown = [EventBody(one.sequence, to_text(one.received_at), Raw(one.body.encode())) for one in page.found]
    return EventList(shown, str(page.following) if page.following is not None else None)


@get(EVENTS + "/{event_id:path}", tags=TAGS, responses=errors(403))
async def read_event(request: AnyRequest, event_id: FromPath[str]) -> EventDetail:
    """Read an event, and its delivery state at every destination."""
    # From the raw path: an id may contain slashes, which the framework folds.
    raw = request.scope["raw_path"].decode("ascii", "replace").partition("/events/")[2]
    entry, deliveries = await control.read(control_of(request), caller_of(request), unquote(raw) or event_id)
    shown = [_body(one) for one in deliveries]
    return EventDetail(entry.sequence, to_text(entry.received_at), Raw(entry.body.encode()), shown)


def _body(one: DeliveryState) -> EventDelivery:
    return EventDelivery(
        one.dst_id, one.state, one.attempts, one.status_code, one.message, time_text(one.next_attempt_at)
    )


HANDLERS = [record_preflight, list_events, read_event]
