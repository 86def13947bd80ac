"""Attempts at a destination, for people."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from aegis_stream.control import deliveries as control
from aegis_stream.control.deliveries import START, Delivery, DeliveryQuery
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid

from .destinations import ONE, TAGS
from .docs import errors
from .requests import PAGE_DEFAULT, read_cursor, read_limit
from .schemas.deliveries import DeliveryBody, DeliveryList
from .scopes import caller_of
from .service import control_of

AnyRequest = Request[Any, Any, Any]


@get(ONE + "/deliveries", tags=TAGS, responses=errors(403))
async def list_deliveries(
    request: AnyRequest,
    destination_id: FromPath[str],
    wanted: Annotated[str | None, QueryParameter(name="state")] = None,
    event_id: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeliveryList:
    """List attempts, newest first. The latency of first attempts that succeeded together is their mean."""
    if wanted not in (None, "delivered", "failed"):
        message = "must be delivered or failed"
        raise Invalid(f"state {message}", problems=(FieldProblem("state", message),))
    row, below = read_cursor(cursor, START)
    query = DeliveryQuery(wanted, event_id, (row, below), read_limit(limit))
    page = await control.list_of(control_of(request), caller_of(request), destination_id, query)
    following = page.following and ".".join(str(one) for one in page.following)
    return DeliveryList([_body(one) for one in page.found], following)


def _body(one: Delivery) -> DeliveryBody:
    row = one.row
    return DeliveryBody(
        id=f"{row.attempt_no}.{one.sequence}",
        event_id=one.event_id,
        sequence=one.sequence,
        attempt=row.attempt,
        state="delivered" if row.state == "delivered" else "failed",
        status_code=row.status_code,
        error=row.message,
        latency_ms=round(row.latency_us / 1000, 2),
        at=to_text(row.at),
    )


HANDLERS = [list_deliveries]
