"""The log for people: listed, looked up with what became of each event; and preflight decisions, which arrive flat."""

from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Raw

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.event import PREFLIGHT_DATASET, Preflight
from aegis_stream.domain.ids import RANDOM_BYTES, new_id
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid, NotFound
from aegis_stream.ports import LogEntry

from .docs import errors
from .ingest import refusal
from .schemas import (
    EventBody,
    EventDelivery,
    EventDetail,
    EventList,
    PreflightRecorded,
    PreflightWrite,
)
from .scopes import caller_of
from .service import PAGE_DEFAULT, Service, decode_strict, moment, read_cursor, read_limit, service_of

EVENTS = "/api/orgs/{org_id:str}/events"
SCAN_MAX = 20_000
"""Events that one listing looks through for those that match; the next page goes on from there."""
SCAN_STEP = 1000
DESTINATIONS_SHOWN_MAX = 200
DECISIONS = ("ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED")
TAGS = ["Events"]
AnyRequest = Request[Any, Any, Any]


@post(
    "/api/orgs/{org_id:str}/preflight-decisions", status_code=202, tags=TAGS, responses=errors(400, 403, 413)
)
async def record_preflight(request: AnyRequest, data: JSONBody[PreflightWrite]) -> PreflightRecorded:
    """Record a preflight decision; durable when this answers."""
    service = service_of(request)
    data = await decode_strict(request, data)
    principal = caller_of(request)
    now = service.clock.now()
    made_up = new_id("pflt", now, service.random.random_bytes(RANDOM_BYTES))
    event_id = data.preflight_id if data.preflight_id is not UNSET else made_up
    fields = {name: getattr(data, name) for name in Preflight.__struct_fields__} | {"preflight_id": event_id}
    at = moment(data.timestamp, "timestamp") if data.timestamp is not UNSET else None
    # Without a time of its own it is filled in, so that the same decision sent again is the same event.
    event = ({"@timestamp": to_text(at)} if at is not None else {}) | {
        "event": {
            "id": event_id,
            "kind": "event",
            "category": ["aegis", "preflight"],
            "type": [data.decision.lower()],
            "action": "preflight_check",
            "outcome": "success",
            "dataset": PREFLIGHT_DATASET,
        },
        "aegis": {name: value for name, value in fields.items() if value is not UNSET},
        "organization": {"id": principal.org_id},
    }
    recorded = await service.ingest.record(
        principal.organization_no, principal.org_id, [msgspec.json.encode(event)]
    )
    if recorded.appended is None or recorded.rejected:
        raise refusal(recorded, single=True, renamed={"event.id": "preflight_id"})
    sequence = recorded.appended.duplicates.get(0, recorded.appended.first)
    return PreflightRecorded(event_id, sequence)


@get(EVENTS, tags=TAGS, responses=errors(403))
async def list_events(  # noqa: PLR0913, PLR0917 - query parameters
    request: AnyRequest,
    org_id: FromPath[str],
    after_sequence: FromQuery[int] = 0,
    dataset: FromQuery[str | None] = None,
    decision: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> EventList:
    """List events as stored, in log order."""
    service = service_of(request)
    principal = caller_of(request)
    organization, oldest = await service.directory.organization(org_id)
    if decision is not None and decision not in DECISIONS:
        message = f"must be one of {', '.join(DECISIONS)}"
        raise Invalid(f"decision {message}", problems=(FieldProblem("decision", message),))
    count, (after,) = read_limit(limit), read_cursor(cursor, (max(0, after_sequence),))
    last, no = organization.head, principal.organization_no
    if (begin := moment(since, "since")) is not None:
        after = max(after, await service.log.sequence_at(no, begin, oldest, last) - 1)
    if (end := moment(until, "until")) is not None:
        last = await service.log.last_until(no, end, oldest, last)
    found: list[LogEntry] = []
    looked_at = 0
    while len(found) <= count and after < last and looked_at < SCAN_MAX:
        step = await service.log.entries(no, after, last, SCAN_STEP if dataset or decision else count + 1)
        if not step:
            after = last
            break
        after, looked_at = step[-1].sequence, looked_at + len(step)
        found += [one for one in step if dataset in (None, one.dataset) and decision in (None, one.decision)]
    shown = [
        EventBody(one.sequence, to_text(one.received_at), Raw(one.body.encode())) for one in found[:count]
    ]
    more = len(found) > count
    following = shown[-1].sequence if more else after
    return EventList(shown, str(following) if more or after < last else None)


@get(EVENTS + "/{event_id:path}", tags=TAGS, responses=errors(403))
async def read_event(request: AnyRequest, event_id: FromPath[str]) -> EventDetail:
    """Read an event, and what became of it at every destination that it was meant for."""
    service = service_of(request)
    principal = caller_of(request)
    # From the raw path: an id may hold slashes, which the framework folds.
    raw = request.scope["raw_path"].decode("ascii", "replace").partition("/events/")[2]
    entry = await service.log.entry(principal.organization_no, unquote(raw) or event_id)
    if entry is None:
        raise NotFound(
            "there is no event with this id in this organization; it may be older than the retention time"
        )
    destinations = await service.directory.destinations_of(
        principal.organization_no, "", DESTINATIONS_SHOWN_MAX
    )
    states = [await _state_at(service, one, entry) for one in destinations]
    shown = [state for state in states if state is not None]
    return EventDetail(entry.sequence, to_text(entry.received_at), Raw(entry.body.encode()), shown)


async def _state_at(service: Service, destination: Destination, entry: LogEntry) -> EventDelivery | None:
    """Tell what became of an event at one destination; None when it was recorded before the destination was made."""
    directory, sequence = service.directory, entry.sequence
    progress = await directory.progress(destination)
    tried = await directory.attempts(destination, state=None, sequence=sequence, before=2**62, limit=1)
    newest = tried[0] if tried else None
    attempts = newest.attempt if newest else 0
    status_code, message = (newest.status_code, newest.message) if newest else (None, None)
    if (retry := await directory.retry_of(destination, sequence)) is not None:
        state: Literal["retrying", "pending"] = "retrying" if retry.attempts else "pending"
        return EventDelivery(
            destination.dst_id,
            state,
            retry.attempts,
            retry.status_code or status_code,
            retry.message or message,
            to_text(retry.due_at),
        )
    if (dead := await directory.dead_letter_of(destination, sequence)) is not None:
        return EventDelivery(
            destination.dst_id, "dead_letter", dead.attempts, dead.status_code, dead.message, None
        )
    if newest is not None and newest.state == "delivered":
        return EventDelivery(destination.dst_id, "delivered", attempts, status_code, None, None)
    replayed_through = await directory.replay_cursor(destination, sequence)
    if sequence <= progress.start_sequence and replayed_through is None:
        return None
    if not destination.spec.filter.wants(entry.dataset, entry.decision):
        return EventDelivery(destination.dst_id, "filtered", 0, None, None, None)
    if sequence > (progress.cursor if replayed_through is None else replayed_through):
        return EventDelivery(destination.dst_id, "pending", attempts, status_code, message, None)
    if newest is not None:  # failed for good, and its dead letter was purged
        return EventDelivery(destination.dst_id, "dead_letter", attempts, status_code, message, None)
    # Its row in the attempt log is older than the retention time.
    return EventDelivery(destination.dst_id, "delivered", 1, None, None, None)


HANDLERS = [record_preflight, list_events, read_event]
