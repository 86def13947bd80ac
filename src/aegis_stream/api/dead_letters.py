"""Dead letters: listed, sent again, thrown away."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aegis_stream.domain.audit import destination_action
from aegis_stream.domain.times import to_text

from .audit import recorded_by
from .destinations import ONE
from .docs import errors
from .schemas import DeadLetterBody, DeadLetterList, Purged, Redriven, RedriveWrite
from .scopes import caller_of
from .service import PAGE_DEFAULT, decode_strict, read_cursor, read_limit, service_of

TAGS = ["Dead letters"]
AnyRequest = Request[Any, Any, Any]


@get(ONE + "/dead-letters", tags=TAGS, responses=errors(403))
async def list_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeadLetterList:
    """List events that used up their attempts, in log order."""
    service = service_of(request)
    destination = await service.destination(caller_of(request), destination_id)
    count, (after,) = read_limit(limit), read_cursor(cursor, (0,))
    found = await service.directory.dead_letters(destination, after, count + 1)
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
    """Make dead letters pending again, all or some; each gets all its attempts anew."""
    service = service_of(request)
    data = await decode_strict(request, data)
    destination = await service.destination(caller_of(request), destination_id)
    event_ids = None if data is None or data.event_ids is UNSET else data.event_ids
    directory = recorded_by(
        request, lambda count: destination_action("dead_letters_redrive", destination, count=count)
    )
    count = await directory.redrive(destination, event_ids, service.clock.now())
    service.notifier.notify_changes()
    return Redriven(count)


@delete(ONE + "/dead-letters", status_code=200, tags=TAGS, responses=errors(403))
async def purge_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    event_id: FromQuery[str | None] = None,
) -> Purged:
    """Throw dead letters away, all or that of one event; this cannot be undone."""
    service = service_of(request)
    destination = await service.destination(caller_of(request), destination_id)
    directory = recorded_by(
        request, lambda count: destination_action("dead_letters_purge", destination, count=count)
    )
    purged = await directory.purge(destination, event_id)
    service.notifier.notify_changes()  # there is room for others, perhaps
    return Purged(purged)


HANDLERS = [list_dead_letters, redrive_dead_letters, purge_dead_letters]
