"""Console links of an organization: URLs that open its console once, for people who have no key."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from aegis_stream.control import console_links
from aegis_stream.control.console_links import NewLink
from aegis_stream.domain.console_link import ConsoleLink, console_url
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.times import to_text

from .docs import errors
from .organizations import TAGS
from .origin import origin_of
from .requests import PAGE_DEFAULT, decode_strict, read_id_cursor, read_limit
from .schemas.base import time_text
from .schemas.console_links import ConsoleLinkBody, ConsoleLinkList, ConsoleLinkMade, ConsoleLinkWrite
from .scopes import caller_of
from .service import control_of

LINKS = "/api/orgs/{org_id:str}/console-links"
AnyRequest = Request[Any, Any, Any]


@post(LINKS, tags=TAGS, responses=errors(403, 409))
async def create_console_link(request: AnyRequest, data: JSONBody[ConsoleLinkWrite]) -> ConsoleLinkMade:
    """Create a URL that opens the console of this organization once. It is valid no longer than the key that makes it."""
    data = await decode_strict(request, data)
    caller = caller_of(request)
    new = NewLink(Scope(data.scope), data.expires_seconds, data.return_url or "")
    made = await console_links.create(control_of(request), caller, caller.org_id, new)
    link = made.link
    return ConsoleLinkMade(
        link.link_id,
        link.scope,
        console_url(origin_of(request), made.token),
        to_text(link.created_at),
        to_text(link.expires_at),
        link.return_url or None,
    )


@get(LINKS, tags=TAGS, responses=errors(403))
async def list_console_links(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> ConsoleLinkList:
    """List console links that are unused, or were used in the last 12 hours, oldest first, without their URLs."""
    count, after = read_limit(limit), read_id_cursor(cursor) or ""
    found = await console_links.list_of(control_of(request), caller_of(request).org_id, after, count + 1)
    shown = [_body(one) for one in found[:count]]
    return ConsoleLinkList(shown, shown[-1].id if len(found) > count else None)


@delete(LINKS + "/{link_id:str}", status_code=204, tags=TAGS, responses=errors(403))
async def delete_console_link(request: AnyRequest, link_id: FromPath[str]) -> None:
    """Delete a console link; a session that began with it ends at its next request."""
    caller = caller_of(request)
    await console_links.delete(control_of(request), caller, caller.org_id, link_id)


def _body(link: ConsoleLink) -> ConsoleLinkBody:
    return ConsoleLinkBody(
        link.link_id,
        link.scope,
        to_text(link.created_at),
        to_text(link.expires_at),
        time_text(link.used_at),
        link.made_by or None,
        link.return_url or None,
    )


HANDLERS = [create_console_link, list_console_links, delete_console_link]
