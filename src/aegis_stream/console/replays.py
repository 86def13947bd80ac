"""The replays of a destination: which range, what it would cover, and how far each is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from aegis_stream.api.requests import moment, read_id_cursor
from aegis_stream.api.service import control_of
from aegis_stream.control import replays as control
from aegis_stream.control.caller import Caller
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.replays import Preview, SequenceRange, TimeRange
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Conflict, FieldProblem, Invalid

from .commands import shown_call
from .destination import destination_page, path_of
from .forms import Form
from .gate import form_of, origin_of, visit_of
from .page import done, problems_of
from .progress import Bar, bar_of_replay, following
from .rights import DESTINATION
from .words import counted
from .zone import zone_in

AnyRequest = Request[Any, Any, Any]
TAB = "Replays"
HERE = DESTINATION + "/replays"
REPLAYS = "replays"
"""How the stream of a page names them."""
ROWS = 25
HOUR_US = 3600 * SECOND


OWN = "own"
"""The range that the fields of date and time give."""


class Preset(NamedTuple):
    """A range to choose.

    Args:
        back_us: how far back from now it begins, microseconds; 0 where it does not.
    """

    name: str
    label: str
    back_us: int = 0


PRESETS = (
    Preset("hour", "The last hour", HOUR_US),
    Preset("day", "The last 24 hours", 24 * HOUR_US),
    Preset("week", "The last 7 days", 7 * 24 * HOUR_US),
    Preset("everything", "Everything that is kept"),
    Preset(OWN, "From … to …, as given below"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The form as it was filled in.

    Args:
        since, until: as a field of date and time has them, in the zone of the page.
    """

    preset: str = "day"
    since: str = ""
    until: str = ""


@get(HERE)
async def show_replays(
    request: AnyRequest, destination_id: FromPath[str], cursor: FromQuery[str | None] = None
) -> Response[str]:
    """Show the form, and replays with their progress."""
    return await _shown(request, destination_id, Asked(), before=read_id_cursor(cursor or None) or "~")


@post(HERE, status_code=200)
async def start_replay(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Say what a replay would cover, or start the one whose preview was shown."""
    form, deps, caller = form_of(request), control_of(request), visit_of(request).caller
    if form.has("start"):
        wanted = SequenceRange(_sequence(form, "first"), _sequence(form, "last"))
        started = await control.start(deps, caller, destination_id, wanted)
        here = path_of(visit_of(request).org_id, destination_id) + "/replays"
        if started.replay_id is None:
            raise Conflict("retention has removed these events meanwhile, so nothing was started")
        told = f"The replay of {counted(started.events, 'event')} has started: see how far it is below."
        return done(request, here, told)
    asked = asked_in(form)
    try:
        wanted_times = range_of(asked, deps.clock.now(), zone_in(request.url.query).info)
        preview = await control.preview(deps, caller, destination_id, wanted_times)
    except Invalid as error:
        return await _shown(request, destination_id, asked, problems=problems_of(error), status=422)
    return await _shown(request, destination_id, asked, preview=preview, wanted=wanted_times)


@post(HERE + "/{replay_id:str}/cancel", status_code=303)
async def cancel(
    request: AnyRequest, destination_id: FromPath[str], replay_id: FromPath[str]
) -> Response[bytes]:
    """Stop a replay where it is. Raises: NotFound when it is not running."""
    await control.cancel(control_of(request), visit_of(request).caller, destination_id, replay_id)
    here = path_of(visit_of(request).org_id, destination_id) + "/replays"
    return done(request, here, "The replay is cancelled: what it has sent stays sent.")


def asked_in(form: Form) -> Asked:
    """Return what a form asks for: who has typed times since the page was shown means these, whatever else is chosen."""
    since, until = form.one("from"), form.one("to")
    typed = (since or until) and [since, until] != [form.one("shown_from"), form.one("shown_to")]
    return Asked(OWN if typed else form.one("range", Asked().preset), since, until)


def range_of(asked: Asked, now: Micros, zone: tzinfo = UTC) -> TimeRange:
    """Return the range that a form means, with both ends; pure.

    A time that the zone's clocks show twice, or skip, is taken so that the range is the longer one.
    Raises: Invalid, with what is wrong with each field.
    """
    for one in PRESETS:
        if one.name == asked.preset and one.back_us:
            return TimeRange(Micros(now - one.back_us), now)
    if asked.preset == "everything":
        return TimeRange(Micros(0), now)
    since, until = _time(asked.since, "from", zone, min), _time(asked.until, "to", zone, max)
    if since is None:
        raise _wrong("from", "choose where the range begins")
    return TimeRange(since, until if until is not None else now)


async def bars_of(deps: ControlDeps, caller: Caller, dst_id: str, before: str, limit: int) -> list[Bar]:
    """Return the bars of replays with an id below `before`, newest first. Raises: NotFound, Unavailable."""
    return [bar_of_replay(one) for one in await control.progress_list(deps, caller, dst_id, before, limit)]


async def _shown(  # noqa: PLR0913 - what the page shows beside the replays
    request: AnyRequest,
    dst_id: str,
    asked: Asked,
    *,
    before: str = "~",
    preview: Preview | None = None,
    wanted: TimeRange | None = None,
    problems: dict[str, str] | None = None,
    status: int = 200,
) -> Response[str]:
    deps, visit = control_of(request), visit_of(request)
    here = path_of(visit.org_id, dst_id) + "/replays"
    found = await bars_of(deps, visit.caller, dst_id, before, ROWS + 1)
    bars, more = found[:ROWS], len(found) > ROWS
    answer = await destination_page(
        request,
        "replays.html",
        TAB,
        asked=asked,
        presets=PRESETS,
        preview=preview,
        wanted=wanted,
        problems=problems or {},
        bars=bars,
        drawn_live=following(REPLAYS, bars),
        first=here if before != "~" else "",
        following=f"{here}?cursor={bars[-1].id}" if more else "",
        shown=_call(request, dst_id, wanted),
    )
    answer.status_code = status
    return answer


def _call(request: AnyRequest, dst_id: str, wanted: TimeRange | None) -> Any:
    since = to_text(wanted.since) if wanted is not None else "2026-05-15T10:00:00Z"
    until = to_text(wanted.until) if wanted is not None and wanted.until is not None else None
    body = {"from": since} | ({"to": until} if until is not None else {})
    options = f"--from {since}" + (f" --to {until}" if until is not None else "")
    path = f"/api/orgs/{visit_of(request).org_id}/forwarding-destinations/{dst_id}/replay"
    aegis = f"aegis destination replay {dst_id} {options}"
    return shown_call(origin_of(request), "POST", path, body, aegis=aegis)


def _time(text: str, field: str, zone: tzinfo, one_of: Callable[[list[datetime]], datetime]) -> Micros | None:
    """Read a field of date and time, which names no zone. Raises: Invalid."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = one_of([at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)])
            text = at.isoformat()
    except (ValueError, OverflowError):
        raise _wrong(field, "must be a date and a time, such as 2026-05-15T10:00") from None
    return moment(text, field)


def _sequence(form: Form, name: str) -> int:
    text = form.one(name)
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise _wrong(name, "must be a sequence: open the page again, and look at the preview")
    return int(text)


def _wrong(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))


HANDLERS = [show_replays, start_replay, cancel]
