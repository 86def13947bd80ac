"""Dead letters: list, redrive, purge."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aegis_stream.control import dead_letters as control
from aegis_stream.domain.times import to_text

from .destinations import ONE
from .docs import errors
from .requests import PAGE_DEFAULT, decode_strict, read_cursor, read_limit
from .schemas.deliveries import DeadLetterBody, DeadLetterList, Purged, Redriven, RedriveWrite
from .scopes import caller_of
from .service import control_of

TAGS = ["Dead letters"]
AnyRequest = Request[Any, Any, Any]


@get(ONE + "/dead-letters", tags=TAGS, responses=errors(403))
async def list_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeadLetterList:
    """List events that used all their attempts, in log order."""
    count, (after,) = read_limit(limit), read_cursor(cursor, (0,))
    found = await control.list_of(control_of(request), caller_of(request), destination_id, after, count + 1)
    shown = [
        DeadLetterBody(
            one.event_id,
            one.sequence,
            one.attempts,
            one.status_code,
            one.message,
            "event" if one.scope == "event" else "destination",
            to_text(one.dead_at),
        )
        for one in found[:count]
    ]
    return DeadLetterList(shown, str(shown[-1].sequence) if len(found) > count else None)


@post(ONE + "/dead-letters/redrive", status_code=202, tags=TAGS, responses=errors(403))
async def redrive_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    data: JSONBody[RedriveWrite | None] = None,
) -> Redriven:
    """Make dead letters pending again, all or some; each gets all its attempts again."""
    data = await decode_strict(request, data)
    event_ids = None if data is None or data.event_ids is UNSET else data.event_ids
    return Redriven(await control.redrive(control_of(request), caller_of(request), destination_id, event_ids))


@delete(ONE + "/dead-letters", status_code=200, tags=TAGS, responses=errors(403))
async def purge_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    event_id: FromQuery[str | None] = None,
) -> Purged:
    """Delete dead letters, all or that of one event. This cannot be undone."""
    return Purged(await control.purge(control_of(request), caller_of(request), destination_id, event_id))


HANDLERS = [list_dead_letters, redrive_dead_letters, purge_dead_letters]
