"""Sign in by a console link: a page with one button. Opening it does nothing; the button uses the link up.

The token stands behind the # of the link's URL, which browsers send to nobody. A script moves it into the form. Without JavaScript
the link is pasted into the field, which takes the whole URL.
"""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromQuery

from aegis_stream.api.problems import status_of, wait_of
from aegis_stream.api.scopes import address_of
from aegis_stream.api.service import Service, control_of, service_of
from aegis_stream.control import console_links
from aegis_stream.control.console_links import NewLink
from aegis_stream.domain.console_link import LINK_PATH, ConsoleLink, console_url
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import AegisError, Unauthenticated

from . import held
from .gate import form_of, operator_mark, origin_of, seals_of, visit_of
from .page import bare_page, page, see_other
from .session import Session
from .signin import entered

AnyRequest = Request[Any, Any, Any]
OPERATORS_LINK = "/console/operator/link"
GIVEN_S = 86_400
"""How long a link of the operator's waits to be opened, seconds: it is sent to somebody, who reads it later."""
TOKEN_CHARACTERS_MAX = 2000
"""Longest text that is looked at: a URL with a token."""


@get(LINK_PATH)
async def show_link(request: AnyRequest, over: FromQuery[str] = "") -> Response[str]:
    """Show the button that uses a link up; this page knows no link."""
    return _link_page(request, 200, is_over=bool(over))


def ask_for_link(request: AnyRequest, text: str) -> Response[Any]:
    """Ask for a new link, after the session by the last one has ended.

    Args:
        text: the sealed form that was sent meanwhile, "" for none.
    """
    return _link_page(request, 401, text, is_over=True) if text else see_other(f"{LINK_PATH}?over=true")


@post(LINK_PATH, status_code=303)
async def open_link(request: AnyRequest) -> Response[Any]:
    """Begin a session with a link, which is used up by it."""
    form = form_of(request)
    text = form.raw(held.NAME)
    try:
        token = token_in(form.one("token"))
        link = await console_links.use(control_of(request), token, address_of(request))
    except AegisError as error:
        return _link_page(request, status_of(error)[0], text, problem=error.message, wait_s=wait_of(error))
    return entered(request, session_by(service_of(request), link), "", text)


@post(OPERATORS_LINK)
async def make_link(request: AnyRequest) -> Response[str]:
    """Make a link for somebody of an organization, and show it, this once; the operator's session makes no other changes there."""
    visit, form = visit_of(request), form_of(request)
    new = NewLink(Scope.ADMIN, GIVEN_S)
    made = await console_links.create(control_of(request), visit.caller, form.one("org_id"), new)
    return await page(
        request,
        "link_made.html",
        title="Link made",
        status=201,
        link=made.link,
        url=console_url(origin_of(request), made.token),
    )


def token_in(text: str) -> str:
    """Return the token of what was pasted: a token, or the URL that has it behind its #.

    Raises: Unauthenticated for nothing, or a text that is no link.
    """
    token = text.rpartition("#")[2]
    if not token or len(text) > TOKEN_CHARACTERS_MAX:
        raise Unauthenticated(
            "this is no console link: paste the whole link, with the part behind the #, or ask for a new one"
        )
    return token


def session_by(service: Service, link: ConsoleLink) -> Session:
    """Return a new session for whoever used a link up."""
    now_s = service.control.clock.now() // SECOND
    csrf = seals_of(service).new_token()
    if link.is_operators:
        return Session("operator", operator_mark(service), 0, "", csrf, now_s, now_s)
    return Session("link", link.link_id, link.organization_no, link.org_id, csrf, now_s, now_s)


def _link_page(
    request: AnyRequest,
    status: int,
    text: str = "",
    *,
    problem: str = "",
    wait_s: int = 0,
    is_over: bool = False,
) -> Response[str]:
    answer = bare_page(
        request,
        "link.html",
        title="Open the console",
        status=status,
        problem=problem,
        wait_s=wait_s,
        held=text,
        is_over=is_over,
    )
    if wait_s:
        answer.headers["retry-after"] = str(wait_s)
    return answer


HANDLERS = [show_link, open_link, make_link]
