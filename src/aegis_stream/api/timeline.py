"""What a destination did over time, for people and their dashboards."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from aegis_stream.control import timeline as control
from aegis_stream.control.timeline import TimelineQuery
from aegis_stream.domain.times import to_text

from .destinations import ONE, TAGS
from .docs import errors
from .requests import moment
from .schemas.timeline import TimelineBody, step_body, total_body
from .scopes import caller_of
from .service import control_of

AnyRequest = Request[Any, Any, Any]


@get(ONE + "/timeline", tags=TAGS, responses=errors(403))
async def read_timeline(
    request: AnyRequest,
    destination_id: FromPath[str],
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    step: FromQuery[int] = 0,
) -> TimelineBody:
    """Read what a destination did over time; by default the last 24 hours.

    `step` is in seconds: a multiple of 60, and of 3600 where `from` is more than 48 hours ago. Without it, or with 0, a step is chosen that fits.
    Steps are kept for 90 days. An attempt counts when its outcome is stored, a moment after it ended.
    """
    query = TimelineQuery(moment(since, "from"), moment(until, "to"), step or None)
    found = await control.read(control_of(request), caller_of(request), destination_id, query)
    return TimelineBody(
        to_text(found.since),
        to_text(found.until),
        found.step_s,
        total_body(found.total),
        [step_body(one) for one in found.steps],
    )


HANDLERS = [read_timeline]
