"""What every page has: frame, first sentence, notices; and how an error becomes words beside a field."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Request, Response
from litestar.datastructures import Cookie

from aegis_stream import __version__
from aegis_stream.api.problems import wait_of
from aegis_stream.api.service import Service, service_of
from aegis_stream.control import overview
from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import Micros
from aegis_stream.errors import AegisError

from . import assets
from .cookies import cookie, may_be_framed
from .gate import Visit, seals_of
from .headline import Headline, organization_headline
from .news import news_of
from .words import FILTERS, IN_A_ZONE
from .zone import Zone, kept_in_page, without_zone, zone_in

AnyRequest = Request[Any, Any, Any]
NOTICE_COOKIE = "aegis-notice"
NOTICE_CHARACTERS_MAX = 500
NOTICE_S = 60
"""How long a notice waits for the page that shows it, seconds."""


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """A sentence that the next page shows once: what was done.

    Args:
        href: where to see it, "" for nowhere.
    """

    text: str
    href: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """What the frame of a page shows of the organization.

    Args:
        overview: None on pages outside an organization.
        news: what lists compare with what the stream tells.
    """

    base: str
    overview: Overview | None
    headline: Headline | None
    now: Micros
    news: dict[str, int] = dataclasses.field(default_factory=dict)


@cache
def environment() -> Environment:
    """Return the templates: everything is escaped, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    made.filters.update({name: _in_the_zone(write) for name, write in IN_A_ZONE.items()})
    made.globals.update(asset=assets.url_of, version=__version__, path_part=path_part)
    return made


def _in_the_zone(write: Callable[..., str]) -> Callable[..., str]:
    """Return the filter that writes a time in the zone of the page."""

    @pass_context
    def written(context: Context, *times: Micros) -> str:
        zone: Zone = context["zone"]
        return write(*times, zone=zone.info)

    return written


async def page(
    request: AnyRequest,
    template: str,
    *,
    title: str,
    status: int = 200,
    headline: Headline | None = None,
    known: Overview | None = None,
    **context: Any,
) -> Response[str]:
    """Render a page for whoever visits.

    Args:
        headline: the first sentence; None for that of the organization.
        known: how the organization stands, where the page has read it already.
        context: what the template shows. `drawn_live`: which drawings the stream keeps up to date, as `redraw.wanted_of` reads it.
    Raises: NotFound, Unavailable.
    """
    frame = await frame_of(service_of(request), _visit(request), known)
    return _rendered(request, frame, template, title=title, status=status, headline=headline, **context)


def bare_page(
    request: AnyRequest, template: str, *, title: str, status: int = 200, **context: Any
) -> Response[str]:
    """Render a page that reads nothing from the store: errors."""
    visit = _visit(request)
    base = base_of(visit.org_id) if visit is not None and visit.org_id else ""
    frame = Frame(base, None, None, service_of(request).control.clock.now())
    return _rendered(request, frame, template, title=title, status=status, headline=None, **context)


async def frame_of(service: Service, visit: Visit | None, known: Overview | None = None) -> Frame:
    """Return what the frame shows; `known` as for `page`. Raises: NotFound, Unavailable."""
    now = service.control.clock.now()
    if visit is None or not visit.org_id:
        return Frame("", None, None, now)
    found = known or await overview.read(service.control, visit.caller)
    base = base_of(visit.org_id)
    told = organization_headline(found.standings, found.last_event_at, base, now)
    return Frame(base, found, told, now, news_of(found, found.standings))


def _rendered(
    request: AnyRequest,
    frame: Frame,
    template: str,
    *,
    status: int,
    headline: Headline | None,
    **context: Any,
) -> Response[str]:
    visit, query = _visit(request), request.url.query
    zone = zone_in(query)
    notice, spent = _notice(request)
    told = headline or frame.headline
    if told is not None and visit is not None:
        told = told.seen_by(may_write=visit.may_write or not visit.org_id)
    text = (
        environment()
        .get_template(template)
        .render(
            headline=told,
            frame=frame,
            base=frame.base,
            now=frame.now,
            visit=visit,
            csrf=visit.session.csrf if visit is not None else "",
            notice=notice,
            path=request.url.path,
            zone=zone,
            other_parameters=without_zone(query) if request.method == "GET" else None,
            brand=service_of(request).control.settings.console,
            **({"drawn_live": ""} | context),
        )
    )
    return Response(
        kept_in_page(text, zone),
        status_code=status,
        media_type="text/html",
        cookies=[spent] if spent else [],
    )


def done(request: AnyRequest, path: str, text: str = "", *, href: str = "") -> Response[bytes]:
    """Lead the browser on after a POST, to a page that shows a sentence once.

    Args:
        path: of this console.
        text: what was done, "" for nothing to say.
        href: where to see it.
    """
    cookies = []
    if text:
        sealed = seals_of(service_of(request)).seal("notice", Notice(text[:NOTICE_CHARACTERS_MAX], href))
        cookies.append(cookie(request, NOTICE_COOKIE, sealed, NOTICE_S, framed=_is_framed(request)))
    answer = see_other(path)
    answer.cookies.extend(cookies)
    return answer


def see_other(path: str) -> Response[bytes]:
    """Lead the browser to another page, which it opens with GET."""
    return Response(b"", status_code=303, headers={"location": path}, media_type="text/plain")


def problems_of(error: AegisError) -> dict[str, str]:
    """Return what is wrong with each field, by its name; "" for the whole form, with the seconds to wait where that helps."""
    found = {one.field: one.message for one in error.problems}
    wait_s = wait_of(error)
    return found or {"": f"{error.message}. Try again in {wait_s} s." if wait_s else error.message}


def base_of(org_id: str) -> str:
    """Return the path of an organization's pages."""
    return f"/console/o/{path_part(org_id)}"


def path_part(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def raw_id(request: AnyRequest, before: str) -> str:
    """Return the event's id from the raw path: an id may contain slashes, which the framework folds."""
    raw: str = request.scope["raw_path"].decode("ascii", "replace")
    return unquote(raw.partition(before)[2])


def own_path(text: str) -> str:
    """Return a path of this console that somebody asked for before signing in; "" for anything else."""
    is_ours = text == "/console" or text.startswith("/console/")
    return (
        text
        if is_ours and text.isprintable() and text.isascii() and "\\" not in text and "//" not in text
        else ""
    )


def _visit(request: AnyRequest) -> Visit | None:
    visit = request.scope.get("auth")
    return visit if isinstance(visit, Visit) else None


def _is_framed(request: AnyRequest) -> bool:
    visit = _visit(request)
    return visit is not None and may_be_framed(service_of(request), visit.session)


def _notice(request: AnyRequest) -> tuple[Notice | None, Cookie | None]:
    """Return what the page before this one did, and the cookie that forgets it."""
    text = request.cookies.get(NOTICE_COOKIE)
    if text is None:
        return None, None
    spent = cookie(request, NOTICE_COOKIE, "", 0, framed=_is_framed(request))
    return seals_of(service_of(request)).open("notice", text, Notice), spent
