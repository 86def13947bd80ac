"""The dead letters of a destination: causes first, then rows; redrive, purge, export, and how far jobs are."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from aegis_stream.api.dead_letters import filter_of
from aegis_stream.api.requests import moment, read_cursor
from aegis_stream.api.schemas.dead_letters import letter_body
from aegis_stream.api.service import control_of
from aegis_stream.control import dead_letters as control
from aegis_stream.control import overview
from aegis_stream.control.caller import Caller
from aegis_stream.control.deps import ControlDeps
from aegis_stream.domain.dead_letters import EVERY, DeadLetter, DeadLetterFilter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Conflict

from .commands import ShownCall, quoted, shown_call
from .destination import destination_page, path_of
from .forms import Form
from .gate import form_of, origin_of, visit_of
from .page import done, see_other
from .progress import Bar, bar_of_job, following
from .rights import DESTINATION
from .words import counted, number

AnyRequest = Request[Any, Any, Any]
TAB = "Dead letters"
HERE = DESTINATION + "/dead-letters"
ROWS = 50
JOBS = "jobs"
"""How the stream of a page names them."""
JOBS_SHOWN = 5
GROUPS_SHOWN = 50


@get(HERE)
async def show_dead_letters(
    request: AnyRequest,
    destination_id: FromPath[str],
    about: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show causes, rows, and the jobs on them."""
    which, (after,) = filter_of(about or None, error or None, None), read_cursor(cursor or None, (0,))
    deps, caller = control_of(request), visit_of(request).caller
    subject = await overview.read_one(deps, caller, destination_id)
    groups = await control.groups(deps, caller, destination_id)
    found = await control.list_of(deps, caller, destination_id, which, after, ROWS)
    bars = await bars_of(deps, caller, destination_id, "~")
    here = path_of(visit_of(request).org_id, destination_id) + "/dead-letters"
    by_itself = sum(one.letters for one in groups if one.scope != "event")
    matching = sum(one.letters for one in groups if which.covers(one.group_id, one.scope, one.message))
    return await destination_page(
        request,
        "dead_letters.html",
        TAB,
        subject,
        groups=groups[:GROUPS_SHOWN],
        groups_more=len(groups) - GROUPS_SHOWN,
        total=sum(one.letters for one in groups),
        rows=found.found,
        which=which,
        chosen=next((one for one in groups if one.group_id == which.error), None),
        matching=matching if which != EVERY else subject.standing.dead_letters,
        query=query_of(which),
        query_of_group=lambda group_id: query_of(DeadLetterFilter(error=group_id)),
        first=f"{here}{query_of(which)}" if after else "",
        following=f"{here}{query_of(which, cursor=found.next_after)}" if found.next_after is not None else "",
        bars=bars,
        drawn_live=following(JOBS, bars),
        waits_for_recovery=by_itself if _comes_by_itself(request, subject) else 0,
        listed=_call(request, destination_id, "list", which),
    )


async def bars_of(deps: ControlDeps, caller: Caller, dst_id: str, before: str) -> list[Bar]:
    """Return the bars of the newest jobs with an id below `before`, newest first. Raises: NotFound, Unavailable."""
    return [bar_of_job(one) for one in await control.jobs(deps, caller, dst_id, before, JOBS_SHOWN)]


def _comes_by_itself(request: AnyRequest, subject: overview.Subject) -> bool:
    """Tell whether the service will redrive dead letters about the destination when it takes events again."""
    return control_of(request).settings.delivery.auto_redrive and subject.standing.state.is_wrong


@get(HERE + "/redrive")
async def ask_redrive(
    request: AnyRequest,
    destination_id: FromPath[str],
    about: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
) -> Response[str]:
    """Say what a redrive of all that match will do, before it is done."""
    return await _asked(request, destination_id, "redrive", filter_of(about or None, error or None, None))


@get(HERE + "/purge")
async def ask_purge(
    request: AnyRequest,
    destination_id: FromPath[str],
    about: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
) -> Response[str]:
    """Say what a purge of all that match will do, and ask for their number."""
    return await _asked(request, destination_id, "purge", filter_of(about or None, error or None, None))


async def _asked(
    request: AnyRequest,
    dst_id: str,
    action: str,
    which: DeadLetterFilter,
    problems: dict[str, str] | None = None,
) -> Response[str]:
    deps, caller = control_of(request), visit_of(request).caller
    now = deps.clock.now()
    preview = await control.preview(deps, caller, dst_id, which)
    groups = await control.groups(deps, caller, dst_id)
    return await destination_page(
        request,
        "dead_letters_ask.html",
        TAB,
        action=action,
        which=which,
        matching=preview.events,
        seconds=preview.seconds,
        before=to_text(now),
        causes=[one for one in groups if which.covers(one.group_id, one.scope, one.message)][:ROWS],
        problems=problems or {},
        shown=_call(request, dst_id, action, which),
    )


@post(HERE + "/redrive", status_code=303)
async def redrive(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Redrive the rows that were selected, or all that match; where all were selected, the page that says what it will do comes first."""
    form, deps, caller = form_of(request), control_of(request), visit_of(request).caller
    here = path_of(visit_of(request).org_id, destination_id) + "/dead-letters"
    back = here + query_of(_which(form))
    if form.has("matching"):
        return see_other(f"{here}/redrive{query_of(_which(form))}")
    if not form.has("all"):
        chosen = form.all("event")
        if not chosen:
            return done(request, back, "Nothing was selected, so nothing was done: tick the rows to redrive.")
        count = await control.redrive(deps, caller, destination_id, chosen)
        return done(request, back, _on_their_way(count, len(chosen)))
    which = _which(form)
    await _refuse_when_gone(request, destination_id, which)
    started = await control.start(deps, caller, destination_id, "redrive", which)
    if started.job_id is None:
        return done(request, here, _on_their_way(started.at_once, started.at_once))
    return done(
        request,
        here,
        f"The redrive of {counted(started.total, 'event')} has started: see how far it is below.",
    )


@post(HERE + "/purge", status_code=200)
async def purge(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Delete all that match and had died when the page was shown, if their number was typed."""
    form, deps, caller = form_of(request), control_of(request), visit_of(request).caller
    which = _which(form)
    expected = form.one("shown")
    if not expected:
        raise Conflict(
            "the form does not say how many dead letters the page showed (shown), so nothing was deleted: open it again"
        )
    if form.one("number").replace(",", "") != expected:
        told = {"number": f"Type {expected}, the number of dead letters to delete: nothing was deleted."}
        answer = await _asked(request, destination_id, "purge", which, told)
        answer.status_code = 422
        return answer
    before = moment(form.one("before"), "before")
    await _refuse_when_gone(request, destination_id, which)
    started = await control.start(
        deps, caller, destination_id, "purge", which._replace(before=_after(before))
    )
    here = path_of(visit_of(request).org_id, destination_id) + "/dead-letters"
    if started.job_id is None:
        return done(request, here, f"{counted(started.at_once, 'dead letter')} deleted.")
    return done(request, here, f"The purge of {counted(started.total, 'dead letter')} has started.")


@post(HERE + "/jobs/{job_id:str}/cancel", status_code=303)
async def cancel(
    request: AnyRequest, destination_id: FromPath[str], job_id: FromPath[str]
) -> Response[bytes]:
    """Stop a job where it is. Raises: Conflict when it has ended."""
    await control.cancel_job(control_of(request), visit_of(request).caller, destination_id, job_id)
    here = path_of(visit_of(request).org_id, destination_id) + "/dead-letters"
    return done(request, here, "Cancelled: what was done stays done, and the other dead letters stay.")


@post(HERE + "/export", status_code=200)
async def export(request: AnyRequest, destination_id: FromPath[str]) -> Stream:
    """Send all that match as NDJSON, each with its event; a few at a time are in memory."""
    which = _which(form_of(request))
    first = await control.export_page(control_of(request), visit_of(request).caller, destination_id, which, 0)
    return Stream(
        _lines(request, destination_id, which, first),
        media_type="application/x-ndjson",
        headers={"content-disposition": f'attachment; filename="dead-letters-{destination_id}.ndjson"'},
    )


async def _lines(
    request: AnyRequest, dst_id: str, which: DeadLetterFilter, page: control.ExportPage
) -> AsyncIterator[bytes]:
    deps, caller = control_of(request), visit_of(request).caller
    while True:
        yield b"".join(_line(*one) for one in page.found)
        if page.next_after is None:
            return
        page = await control.export_page(deps, caller, dst_id, which, page.next_after)


def _line(letter: DeadLetter, body: str | None) -> bytes:
    shown = msgspec.json.encode(letter_body(letter))
    return shown[:-1] + b',"event":' + (body or "null").encode() + b"}\n"


def query_of(which: DeadLetterFilter, cursor: int | None = None) -> str:
    """Return the query of a page that shows what a filter selects; "" for all."""
    named = {"about": which.about, "error": which.error, "cursor": cursor or ""}
    given = {name: value for name, value in named.items() if value}
    return f"?{urlencode(given)}" if given else ""


async def _refuse_when_gone(request: AnyRequest, dst_id: str, which: DeadLetterFilter) -> None:
    """Refuse a form whose dead letters are gone by now. Raises: Conflict, NotFound, Unavailable."""
    seen = await control.preview(control_of(request), visit_of(request).caller, dst_id, which)
    if not seen.events:
        raise Conflict(
            "no dead letter matches any more, so nothing was done: somebody has redriven or purged them, or the destination recovered"
        )


def _which(form: Form) -> DeadLetterFilter:
    return filter_of(form.one("about") or None, form.one("error") or None, None)


def _after(shown_at: Micros | None) -> Micros | None:
    """Return the time before which dead letters are meant that had died when a page was shown."""
    return Micros(shown_at + 1) if shown_at is not None else None


def _on_their_way(count: int, chosen: int) -> str:
    told = f"{counted(count, 'event')} {'is' if count == 1 else 'are'} on {'its' if count == 1 else 'their'} way again."
    if count < chosen:
        told += f" {number(chosen - count)} of those selected were no dead letters any more."
    return told


def _call(request: AnyRequest, dst_id: str, action: str, which: DeadLetterFilter) -> ShownCall:
    """Return the call behind a control."""
    path = f"/api/orgs/{visit_of(request).org_id}/forwarding-destinations/{dst_id}/dead-letters"
    named = {"about": which.about, "error": which.error}
    given = {name: value for name, value in named.items() if value}
    options = "".join(f" --{name} {quoted(value)}" for name, value in given.items())
    aegis = f"aegis dead-letter {action} --destination {dst_id}{options}"
    query = f"?{urlencode(given)}" if given else ""
    if action == "redrive":
        return shown_call(origin_of(request), "POST", f"{path}/redrive", given, aegis=aegis)
    return shown_call(origin_of(request), "DELETE" if action == "purge" else "GET", path + query, aegis=aegis)


HANDLERS = [
    show_dead_letters,
    ask_redrive,
    ask_purge,
    redrive,
    purge,
    cancel,
    export,
]
