"""The log for people, and preflight decisions."""

from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Raw

from aegis_stream.control import event_histogram, event_search, preflight, resending
from aegis_stream.control import events as control
from aegis_stream.control.event_histogram import HistogramQuery
from aegis_stream.control.event_search import EventQuery
from aegis_stream.control.events import DeliveryState
from aegis_stream.domain.event_filter import DECISIONS, FIELDS_MAX, EventFilter
from aegis_stream.domain.search_line import LineProblem, check_field, parse_words
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid

from .docs import errors
from .event_paths import event_id_of
from .requests import PAGE_DEFAULT, decode_strict, moment, read_cursor, read_limit
from .schemas.base import time_text
from .schemas.events import (
    EventBody,
    EventBucket,
    EventDelivery,
    EventDetail,
    EventGroup,
    EventHistogram,
    EventList,
    EventsScanned,
    PreflightRecorded,
    PreflightWrite,
    SendWrite,
    SentAgain,
    SentTo,
)
from .scopes import FIELD, caller_of
from .service import control_of

EVENTS = "/api/orgs/{org_id:str}/events"
ORDERS = ("asc", "desc")
STEP_S_MAX = 366 * 86_400
ONE_EVENT = EVENTS + "/{event_id:str}"
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
    before_sequence: FromQuery[int] = 0,
    order: FromQuery[str] = "asc",
    dataset: FromQuery[str | None] = None,
    decision: FromQuery[str | None] = None,
    q: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> EventList:
    """List events as stored, in log order or the newest first.

    `q` is text that must occur in the event; `field.<path>=<value>`, as in `field.user.id=alice`, is the value of a field.
    A call looks at 20,000 events at most: `scanned` says how far it came, and `next_cursor` goes on there.
    """
    _check_choice("decision", decision, DECISIONS)
    _check_choice("order", order, ORDERS)
    wanted = EventFilter(dataset, decision, _words(q), _fields(request))
    after, before = max(0, after_sequence), before_sequence if before_sequence > 0 else None
    if cursor is not None:
        (reached,) = read_cursor(cursor, (0,))
        after, before = (after, reached) if order == "desc" else (reached, before)
    query = EventQuery(
        wanted,
        moment(since, "since"),
        moment(until, "until"),
        after,
        before,
        read_limit(limit),
        order == "desc",
    )
    page = await event_search.list_of(control_of(request), caller_of(request), query)
    shown = [EventBody(one.sequence, to_text(one.received_at), Raw(one.body.encode())) for one in page.found]
    following = str(page.following) if page.following is not None else None
    if page.scanned is None:
        return EventList(shown, following)
    events, sequence, at = page.scanned
    return EventList(shown, following, EventsScanned(events, sequence, to_text(at)))


@get(EVENTS + "/histogram", tags=TAGS, responses=errors(403))
async def read_histogram(
    request: AnyRequest,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    step_seconds: FromQuery[int] = 0,
) -> EventHistogram:
    """Count events over time, by dataset and decision; by default those of the last 24 hours.

    `events` of a bucket is exact. Its `groups` are estimated from `sampled` events, and exact where these are all.
    """
    if not 0 <= step_seconds <= STEP_S_MAX:
        message = f"must be 1 to {STEP_S_MAX}, or 0 for a step that fits"
        raise Invalid(f"step_seconds {message}", problems=(FieldProblem("step_seconds", message),))
    query = HistogramQuery(moment(since, "since"), moment(until, "until"), step_seconds or None)
    found = await event_histogram.read(control_of(request), caller_of(request), query)
    return EventHistogram(
        found.step_s,
        sum(one.events for one in found.bars),
        [
            EventBucket(
                to_text(one.at), one.events, one.sampled, [EventGroup(*group) for group in one.groups]
            )
            for one in found.bars
        ],
    )


@get(ONE_EVENT, tags=TAGS, responses=errors(403))
async def read_event(request: AnyRequest, event_id: FromPath[str]) -> EventDetail:  # noqa: ARG001 - from the raw path
    """Read an event, and its delivery state at every destination."""
    entry, deliveries = await control.read(control_of(request), caller_of(request), event_id_of(request))
    shown = [_body(one) for one in deliveries]
    return EventDetail(entry.sequence, to_text(entry.received_at), Raw(entry.body.encode()), shown)


@post(ONE_EVENT + "/send", status_code=202, tags=TAGS, responses=errors(403))
async def send_event_again(
    request: AnyRequest,
    event_id: FromPath[str],  # noqa: ARG001 - from the raw path
    data: JSONBody[SendWrite],
) -> SentAgain:
    """Send an event again to some destinations, whatever their filters say. It is sent when this call has answered."""
    data = await decode_strict(request, data)
    queued = await resending.send_again(
        control_of(request), caller_of(request), event_id_of(request), data.destination_ids
    )
    return SentAgain([SentTo(one.dst_id, "queued" if one.queued else "waiting") for one in queued])


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        message = f"must be one of {', '.join(choices)}"
        raise Invalid(f"{name} {message}", problems=(FieldProblem(name, message),))


def _words(q: str | None) -> tuple[str, ...]:
    """Read the query parameter `q`: texts with blanks between them, those in quotes as one. Raises: Invalid."""
    words = parse_words(q or "")
    if isinstance(words, LineProblem):
        raise Invalid(f"q: {words.message}", problems=(FieldProblem("q", words.message),))
    return words


def _fields(request: AnyRequest) -> tuple[tuple[str, str], ...]:
    """Read the query parameters `field.<path>`. Raises: Invalid."""
    sent = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    found = tuple((name.removeprefix(FIELD), value) for name, value in sent if name.startswith(FIELD))
    if len(found) > FIELDS_MAX:
        message = f"at most {FIELDS_MAX} fields are allowed: send fewer"
        raise Invalid(message, problems=(FieldProblem("field", message),))
    for path, value in found:
        if problem := check_field(path, value):
            name = f"{FIELD}{path[:100]}"
            raise Invalid(f"{name}: {problem}", problems=(FieldProblem(name, problem),))
    return found


def _body(one: DeliveryState) -> EventDelivery:
    return EventDelivery(
        one.dst_id, one.state, one.attempts, one.status_code, one.message, time_text(one.next_attempt_at)
    )


HANDLERS = [record_preflight, list_events, read_histogram, read_event, send_event_again]
