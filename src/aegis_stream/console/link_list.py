"""Console links of an organization: who made them, what they allow, which are used; revoke one, which ends its session."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from aegis_stream.api.requests import read_id_cursor
from aegis_stream.api.service import control_of
from aegis_stream.control import console_links
from aegis_stream.domain.console_link import ConsoleLink
from aegis_stream.errors import Conflict

from .commands import ShownCall, quoted, shown_call
from .gate import form_of, origin_of, visit_of
from .page import base_of, done, page, path_part
from .rights import LINK, LINKS

AnyRequest = Request[Any, Any, Any]
SHOWN_MAX = 100
"""Links on one page."""


@get(LINKS)
async def show_links(request: AnyRequest, after: FromQuery[str] = "") -> Response[str]:
    """List links that are open, or whose session may go on, oldest first."""
    after, org_id = read_id_cursor(after or None) or "", visit_of(request).org_id
    found = await console_links.list_of(control_of(request), org_id, after, SHOWN_MAX + 1)
    shown = found[:SHOWN_MAX]
    return await page(
        request,
        "links.html",
        title="Console links",
        links=shown,
        state_of=state_of,
        own_id=_own_id(request),
        after=after,
        following=shown[-1].link_id if len(found) > SHOWN_MAX else "",
        call=_call(request, "GET", "", f"aegis console links --org {quoted(org_id)}"),
    )


@get(LINK)
async def show_link(request: AnyRequest, link_id: FromPath[str]) -> Response[str]:
    """Show one link, and ask before it is revoked."""
    org_id = visit_of(request).org_id
    link = await console_links.find(control_of(request), org_id, link_id)
    command = f"aegis console revoke {quoted(link.link_id)} --org {quoted(org_id)}"
    return await page(
        request,
        "link_one.html",
        title=f"Console link {link.link_id}",
        link=link,
        state=state_of(link),
        is_own=link.link_id == _own_id(request),
        call=_call(request, "DELETE", f"/{path_part(link.link_id)}", command),
    )


@post(LINK + "/revoke", status_code=303)
async def revoke_link(request: AnyRequest, link_id: FromPath[str]) -> Response[bytes]:
    """Delete a link that is still in the state that the page showed. Raises: Conflict, NotFound, Unavailable."""
    visit, shown = visit_of(request), form_of(request).one("state")

    def check(link: ConsoleLink) -> None:
        if state_of(link) != shown:
            raise Conflict(
                f"this link is {state_of(link)} by now, and the form does not say so; nothing was done: open the page again"
            )

    await console_links.delete(control_of(request), visit.caller, visit.org_id, link_id, check=check)
    ended = (
        "the session that began with it ends at its next request" if shown == "used" else "it opens nothing"
    )
    return done(request, f"{base_of(visit.org_id)}/links", f"The link is revoked: {ended}.")


def state_of(link: ConsoleLink) -> str:
    """Return "open" for a link that nobody has used, else "used"."""
    return "open" if link.used_at is None else "used"


def _own_id(request: AnyRequest) -> str:
    """Return the link by which the visitor came; "" for none."""
    link = visit_of(request).link
    return link.link_id if link is not None else ""


def _call(request: AnyRequest, method: str, rest: str, command: str) -> ShownCall:
    path = f"/api/orgs/{visit_of(request).org_id}/console-links{rest}"
    return shown_call(origin_of(request), method, path, aegis=command)


HANDLERS = [show_links, show_link, revoke_link]
