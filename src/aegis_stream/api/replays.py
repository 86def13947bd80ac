"""Replays of a destination: start, list, cancel."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, UnsetType

from aegis_stream.control import replays as control
from aegis_stream.control.replays import SequenceRange, TimeRange, progress_of
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store.replays import ReplayRow

from .destinations import ONE, TAGS
from .docs import errors
from .requests import PAGE_DEFAULT, decode_strict, moment, read_id_cursor, read_limit
from .schemas.base import time_text
from .schemas.deliveries import ReplayAccepted, ReplayBody, ReplayList, ReplayWrite
from .scopes import caller_of
from .service import control_of

AnyRequest = Request[Any, Any, Any]


@post(ONE + "/replay", status_code=202, tags=TAGS, responses=errors(403, 409))
async def start_replay(
    request: AnyRequest,
    destination_id: FromPath[str],
    data: JSONBody[ReplayWrite],
    preview: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> ReplayAccepted:
    """Send a range of the log again, beside the new events. A preview counts the events, and starts nothing."""
    deps, caller = control_of(request), caller_of(request)
    data = await decode_strict(request, data)
    if preview:
        seen = await control.preview(deps, caller, destination_id, range_of(data))
        return ReplayAccepted(seen.events, None, seen.seconds)
    started = await control.start(deps, caller, destination_id, range_of(data))
    return ReplayAccepted(started.events, started.replay_id)


@get(ONE + "/replays", tags=TAGS, responses=errors(403))
async def list_replays(
    request: AnyRequest,
    destination_id: FromPath[str],
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> ReplayList:
    """List replays, newest first, with the progress of each."""
    deps, caller = control_of(request), caller_of(request)
    count, before = read_limit(limit), read_id_cursor(cursor)
    rows = await control.list_of(deps, caller, destination_id, before or "~", count + 1)
    now = deps.clock.now()
    shown = [_body(row, now) for row in rows[:count]]
    return ReplayList(shown, shown[-1].id if len(rows) > count else None)


@delete(ONE + "/replays/{replay_id:str}", status_code=204, tags=TAGS, responses=errors(403))
async def cancel_replay(request: AnyRequest, destination_id: FromPath[str], replay_id: FromPath[str]) -> None:
    """Stop a replay where it is."""
    await control.cancel(control_of(request), caller_of(request), destination_id, replay_id)


def range_of(data: ReplayWrite) -> TimeRange | SequenceRange:
    """Return the range that a request names, by time or by sequence. Raises: Invalid when it names both or neither."""
    if (data.from_ is UNSET) == (data.from_sequence is UNSET):
        message = "give either from (and to) as times, or from_sequence (and to_sequence)"
        raise Invalid(message, problems=(FieldProblem("from", message),))
    if data.from_ is not UNSET:
        if data.to_sequence is not UNSET:
            raise _mixed("to_sequence", "from", "to")
        since = moment(data.from_, "from")
        assert since is not None, "it was given, as checked above"
        return TimeRange(since, moment(data.to, "to") if data.to is not UNSET else None)
    if data.to is not UNSET:
        raise _mixed("to", "from_sequence", "to_sequence")
    assert not isinstance(data.from_sequence, UnsetType), "one of the two is set, as checked above"
    return SequenceRange(data.from_sequence, data.to_sequence if data.to_sequence is not UNSET else None)


def _mixed(field: str, beside: str, instead: str) -> Invalid:
    message = f"cannot be combined with {beside}: use {instead}"
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))


def _body(row: ReplayRow, now: Micros) -> ReplayBody:
    progress = progress_of(row, now)
    return ReplayBody(
        row.replay_id,
        row.first,
        row.last,
        row.cursor,
        progress.total,
        progress.done,
        _rounded(progress.rate),
        _rounded(progress.eta_seconds),
        progress.state,
        to_text(row.created_at),
        time_text(row.finished_at),
    )


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if value is not None else None


HANDLERS = [start_replay, list_replays, cancel_replay]
