"""Attempts, for people: of a destination, and of the whole organization."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import UNSET

from aegis_stream.control import deliveries as control
from aegis_stream.control import one_delivery
from aegis_stream.control.deliveries import START, Delivery, DeliveryPage, DeliveryQuery
from aegis_stream.control.one_delivery import FullDelivery, response_headers
from aegis_stream.domain.dead_letters import ERROR_CHARACTERS_MAX
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store.attempt_lists import STATUS_CLASSES, AttemptFilter

from .destinations import ONE, TAGS
from .docs import errors
from .requests import PAGE_DEFAULT, moment, read_cursor, read_limit
from .schemas.base import time_text
from .schemas.deliveries import (
    DeliveryBody,
    DeliveryDetail,
    DeliveryList,
    HeaderBody,
    Scanned,
    TimingBody,
    request_body,
)
from .scopes import caller_of
from .service import control_of

AnyRequest = Request[Any, Any, Any]
STATES = ("delivered", "failed")


@get(ONE + "/deliveries", tags=TAGS, responses=errors(403))
async def list_deliveries(  # noqa: PLR0913, PLR0917 - query parameters
    request: AnyRequest,
    destination_id: FromPath[str],
    wanted: Annotated[str | None, QueryParameter(name="state")] = None,
    event_id: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    status_class: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeliveryList:
    """List attempts, newest first. The latency of first attempts that succeeded together is their mean."""
    which = read_filter(wanted, (since, until), status_class, error)
    query = DeliveryQuery(which, event_id, read_place(cursor), read_limit(limit))
    return _list(await control.list_of(control_of(request), caller_of(request), destination_id, query))


@get("/api/orgs/{org_id:str}/deliveries", tags=TAGS, responses=errors(403))
async def list_all_deliveries(  # noqa: PLR0913, PLR0917 - query parameters
    request: AnyRequest,
    wanted: Annotated[str | None, QueryParameter(name="state")] = None,
    event_id: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    status_class: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeliveryList:
    """List attempts at all destinations, newest first."""
    which = read_filter(wanted, (since, until), status_class, error)
    query = DeliveryQuery(which, event_id, read_place(cursor), read_limit(limit))
    return _list(await control.list_of(control_of(request), caller_of(request), None, query))


@get(ONE + "/deliveries/{delivery_id:str}", tags=TAGS, responses=errors(403))
async def read_delivery(
    request: AnyRequest, destination_id: FromPath[str], delivery_id: FromPath[str]
) -> DeliveryDetail:
    """Read one attempt in full: the request as it was sent, its times, and all attempts of the event there."""
    found = await one_delivery.read(control_of(request), caller_of(request), destination_id, delivery_id)
    return _detail(found)


def read_filter(
    state: str | None, span: tuple[str | None, str | None], status_class: str | None, error: str | None
) -> AttemptFilter:
    """Check the query parameters that choose attempts.

    Args:
        span: `since` and `until`.
    Raises: Invalid.
    """
    _check_choice("state", state, STATES)
    _check_choice("status_class", status_class, tuple(STATUS_CLASSES))
    if error is not None and not 1 <= len(error) <= ERROR_CHARACTERS_MAX:
        message = f"must be 1 to {ERROR_CHARACTERS_MAX} characters: a part of the failure's explanation"
        raise Invalid(f"error {message}", problems=(FieldProblem("error", message),))
    since, until = span
    return AttemptFilter(state, moment(since, "since"), moment(until, "until"), status_class, error)


def read_place(cursor: str | None) -> tuple[int, int]:
    """Read the query parameter `cursor` of a list of attempts. Raises: Invalid."""
    row, below = read_cursor(cursor, START)
    return row, below


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        message = f"must be {', '.join(choices[:-1])} or {choices[-1]}"
        raise Invalid(f"{name} {message}", problems=(FieldProblem(name, message),))


def _list(page: DeliveryPage) -> DeliveryList:
    following = page.following and ".".join(str(one) for one in page.following)
    looked = page.looked
    scanned = Scanned(looked.rows, to_text(looked.back_to)) if looked is not None else UNSET
    return DeliveryList([delivery_body(one) for one in page.found], following, scanned)


def delivery_body(one: Delivery) -> DeliveryBody:
    """Return an attempt as it is shown."""
    row = one.row
    return DeliveryBody(
        id=one.id,
        destination_id=one.dst_id,
        event_id=one.event_id,
        sequence=one.sequence,
        attempt=row.attempt,
        state="delivered" if row.state == "delivered" else "failed",
        status_code=row.status_code,
        error=row.message,
        latency_ms=round(row.latency_us / 1000, 2),
        at=to_text(row.at),
    )


def _detail(found: FullDelivery) -> DeliveryDetail:
    sent, timing, row, answer = found.request, found.timing, found.delivery.row, found.answer
    waited_us = timing.began_at - timing.recorded_at if timing.recorded_at is not None else None
    return DeliveryDetail(
        **msgspec.structs.asdict(delivery_body(found.delivery)),
        attempts_max=found.attempts_max,
        request=request_body(sent),
        response_at=time_text(answer.at) if answer is not None else None,
        response_headers=[HeaderBody(*one) for one in response_headers(answer)],
        response_excerpt=answer.excerpt if answer is not None else None,
        timing=TimingBody(
            time_text(timing.recorded_at),
            to_text(timing.began_at),
            to_text(timing.ended_at),
            max(0.0, round(waited_us / 1000, 2)) if waited_us is not None else None,
            round(row.latency_us / 1000, 2),
            timing.is_mean,
        ),
        attempts=[delivery_body(one) for one in found.attempts],
    )


HANDLERS = [list_deliveries, list_all_deliveries, read_delivery]
