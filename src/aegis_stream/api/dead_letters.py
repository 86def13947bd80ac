"""Dead letters: list, group, redrive, purge; jobs that do so with many."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, UnsetType

from aegis_stream.control import dead_letters as control
from aegis_stream.domain.dead_letters import ERROR_CHARACTERS_MAX, EVERY, DeadLetterFilter
from aegis_stream.errors import FieldProblem, Invalid

from .destinations import ONE
from .docs import errors
from .requests import PAGE_DEFAULT, decode_strict, moment, read_cursor, read_id_cursor, read_limit
from .schemas.dead_letters import (
    DeadLetterGroupList,
    DeadLetterJobBody,
    DeadLetterJobList,
    DeadLetterList,
    Purged,
    Redriven,
    RedriveWrite,
    group_body,
    job_body,
    letter_body,
)
from .scopes import caller_of
from .service import control_of

TAGS = ["Dead letters"]
ALL = ONE + "/dead-letters"
AnyRequest = Request[Any, Any, Any]


@get(ALL, tags=TAGS, responses=errors(403))
async def list_dead_letters(  # noqa: PLR0913, PLR0917 - each is a query parameter
    request: AnyRequest,
    destination_id: FromPath[str],
    about: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeadLetterList:
    """List events that used all their attempts, in log order."""
    count, (after,) = read_limit(limit), read_cursor(cursor, (0,))
    which = filter_of(about, error, before)
    found = await control.list_of(
        control_of(request), caller_of(request), destination_id, which, after, count
    )
    more = str(found.next_after) if found.next_after is not None else None
    return DeadLetterList([letter_body(one) for one in found.found], more)


@get(ALL + "/groups", tags=TAGS, responses=errors(403))
async def list_dead_letter_groups(request: AnyRequest, destination_id: FromPath[str]) -> DeadLetterGroupList:
    """Count dead letters by their cause, the most frequent first."""
    found = await control.groups(control_of(request), caller_of(request), destination_id)
    total = sum(one.letters for one in found)
    return DeadLetterGroupList([group_body(one, total) for one in found], total)


@post(ALL + "/redrive", status_code=202, tags=TAGS, responses=errors(403, 409))
async def redrive_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    data: JSONBody[RedriveWrite | None] = None,
    preview: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> Redriven:
    """Make dead letters pending again: some events, all that match, or all; each gets all its attempts again.

    Many are redriven in small parts, by a job, which takes what had died when it was started. A preview starts nothing.
    """
    deps, caller = control_of(request), caller_of(request)
    data = await decode_strict(request, data)
    if data is not None and data.event_ids is not UNSET:
        _refuse_beside(data, preview=preview)
        return Redriven(await control.redrive(deps, caller, destination_id, data.event_ids))
    which = EVERY
    if data is not None:
        which = filter_of(*(_given(one) for one in (data.about, data.error, data.before)))
    if preview:
        seen = await control.preview(deps, caller, destination_id, which)
        return Redriven(0, matching=seen.events, eta_seconds=seen.seconds)
    done = await control.start(deps, caller, destination_id, "redrive", which)
    if done.job_id is None:
        return Redriven(done.at_once)
    return Redriven(done.at_once, done.job_id, done.total)


@delete(ALL, status_code=200, tags=TAGS, responses=errors(403, 409))
async def purge_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    event_id: FromQuery[str | None] = None,
    about: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
) -> Purged:
    """Delete dead letters: that of one event, all that match, or all. This cannot be undone.

    Many are deleted in small parts, by a job, which takes what had died when it was started.
    """
    deps, caller = control_of(request), caller_of(request)
    which = filter_of(about, error, before)
    if event_id is not None:
        if which != EVERY:
            raise _mixed("event_id")
        return Purged(await control.purge(deps, caller, destination_id, event_id))
    done = await control.start(deps, caller, destination_id, "purge", which)
    if done.job_id is None:
        return Purged(done.at_once)
    return Purged(done.at_once, done.job_id, done.total)


@get(ALL + "/jobs", tags=TAGS, responses=errors(403))
async def list_dead_letter_jobs(
    request: AnyRequest,
    destination_id: FromPath[str],
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeadLetterJobList:
    """List redrives and purges of many dead letters, newest first, with the progress of each."""
    deps, caller = control_of(request), caller_of(request)
    count, before = read_limit(limit), read_id_cursor(cursor)
    rows = await control.jobs(deps, caller, destination_id, before or "~", count + 1)
    shown = [job_body(one) for one in rows[:count]]
    return DeadLetterJobList(shown, shown[-1].id if len(rows) > count else None)


@get(ALL + "/jobs/{job_id:str}", tags=TAGS, responses=errors(403))
async def get_dead_letter_job(
    request: AnyRequest, destination_id: FromPath[str], job_id: FromPath[str]
) -> DeadLetterJobBody:
    """Return one redrive or purge, with its progress."""
    deps, caller = control_of(request), caller_of(request)
    return job_body(await control.find_job(deps, caller, destination_id, job_id))


@delete(ALL + "/jobs/{job_id:str}", status_code=204, tags=TAGS, responses=errors(403, 409))
async def cancel_dead_letter_job(
    request: AnyRequest, destination_id: FromPath[str], job_id: FromPath[str]
) -> None:
    """Stop a redrive or purge where it is; what it has done stays done."""
    await control.cancel_job(control_of(request), caller_of(request), destination_id, job_id)


def filter_of(about: str | None, error: str | None, before: str | None) -> DeadLetterFilter:
    """Return the filter that a request names. Raises: Invalid."""
    if about not in (None, "event", "destination"):
        message = "must be event or destination"
        raise Invalid(f"about {message}", problems=(FieldProblem("about", message),))
    if error is not None and not 1 <= len(error) <= ERROR_CHARACTERS_MAX:
        message = (
            f"must be 1 to {ERROR_CHARACTERS_MAX} characters: the id of a group, or the text of an error"
        )
        raise Invalid(f"error {message}", problems=(FieldProblem("error", message),))
    return DeadLetterFilter(about or "", error or "", moment(before, "before"))


def _given(value: "str | UnsetType") -> str | None:
    return None if isinstance(value, UnsetType) else value


def _refuse_beside(data: RedriveWrite, *, preview: bool) -> None:
    if preview or any(one is not UNSET for one in (data.about, data.error, data.before)):
        raise _mixed("event_ids")


def _mixed(field: str) -> Invalid:
    message = "cannot be combined with about, error, before or preview: name events, or describe them"
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))


HANDLERS = [
    list_dead_letters,
    list_dead_letter_groups,
    redrive_dead_letters,
    purge_dead_letters,
    list_dead_letter_jobs,
    get_dead_letter_job,
    cancel_dead_letter_job,
]
