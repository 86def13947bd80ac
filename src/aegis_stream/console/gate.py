"""Session → visit: who looks at what, and whether the request may do what it asks.

Two hooks of the framework run before every handler: `gate` reads the session and checks the table of rights; `check_form` reads
the form of a POST once, and refuses it unless it came from a page of the same session (OWASP, Cross-Site Request Forgery
Prevention: a token, and Sec-Fetch-Site).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from aegis_stream.api import origin
from aegis_stream.api.scopes import address_of, take_turn
from aegis_stream.api.service import Service
from aegis_stream.control import console_links, keys, organizations
from aegis_stream.control.caller import ALLOWED, Caller, Principal
from aegis_stream.domain.console_link import ConsoleLink, host_of
from aegis_stream.domain.ids import SECOND, KeyId, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import Denied, Limited, NotFound, Unauthenticated, Unavailable

from . import cookies, held
from .forms import Form, parse_form
from .rights import LIVE, NEEDS, Need
from .session import Seals, Session

AnyConnection = ASGIConnection[Any, Any, Any, Any]
AnyRequest = Request[Any, Any, Any]

OWN_SITE = ("same-origin", "none")
"""Values of Sec-Fetch-Site of requests that our own pages, or the person at the browser, make."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in, at one organization or at the operator's pages.

    Args:
        caller: as use cases want it.
        scope: what the visitor may do in the organization.
        link: what the session began with; None where that was a key.
    """

    session: Session
    caller: Caller
    scope: Scope
    link: ConsoleLink | None = None

    @property
    def may_write(self) -> bool:
        """Whether controls that change something are shown."""
        return Scope.ADMIN in ALLOWED[self.scope]

    @property
    def is_operator(self) -> bool:
        """Whether this is the operator."""
        return self.session.kind == "operator"

    @property
    def return_host(self) -> str:
        """Host of the page that "Back to …" leads to, "" for none."""
        return host_of(self.link.return_url) if self.link is not None and self.link.return_url else ""

    @property
    def org_id(self) -> str:
        """The organization that is visited, "" for none."""
        principal = self.caller.principal
        return principal.org_id if principal is not None else ""


async def gate(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """Check every call by the table of rights, and note the visit.

    Raises: Unauthenticated. Denied. NotFound for another organization. Limited. Unavailable.
    """
    scope: Any = connection.scope
    if scope["method"] == "OPTIONS":
        return
    need = NEEDS[scope["method"], scope["path_template"]]
    service: Service = connection.app.state.service
    session = session_of(connection, service)
    scope["aegis.session"] = session
    if need is Need.OPEN:
        return
    try:
        visit = await _visit(connection, service, session, scope["path_params"].get("org_id"))
    except (Unauthenticated, Limited, Unavailable):
        scope["aegis.held"] = await _held(connection, service) if need is not Need.ANY else ""
        raise
    if need is Need.OPERATOR and not visit.is_operator:
        raise Denied("this page is the operator's: sign in with the operator key")
    if need is Need.WRITE and not visit.may_write:
        raise Denied("this session may read and not change anything: sign in with a key of scope admin")
    scope["auth"] = visit
    if visit.caller.principal is not None:
        access = service.control.access
        access.admit_call(visit.caller.principal)
        if visit.session.kind == "key":
            access.uses.note(visit.caller.principal, address_of(connection), access.clock.now())
        # A stream would keep its turn for as long as somebody watches.
        if scope["method"] == "GET" and need is not Need.ANY and scope["path_template"] != LIVE:
            await take_turn(service, connection, visit.caller)


async def check_again(connection: AnyConnection) -> None:
    """Check that whoever was let in may still see the organization: a stream asks again and again.

    Raises: Unauthenticated. Denied. NotFound. Unavailable.
    """
    service: Service = connection.app.state.service
    session = visit_of(connection).session
    if session.is_over(service.control.clock.now() // SECOND):
        raise Unauthenticated("the session has ended: sign in again")
    await _visit(connection, service, session, connection.path_params.get("org_id"))


async def check_form(request: AnyRequest) -> Response[None] | None:
    """Read the form of a POST, and refuse one that another site made the browser send.

    Raises: Denied. Malformed. Unsupported.
    """
    if request.method == "OPTIONS":
        return Response(
            None, status_code=204, headers={"allow": allowed_methods(request.scope["path_template"])}
        )
    if request.method != "POST":
        return None
    form = parse_form(request.headers.get("content-type") or "", await request.body())
    scope: Any = request.scope
    visit = scope.get("auth")
    if not _is_own(request) or (isinstance(visit, Visit) and not visit.session.carries(form.one("csrf"))):
        raise Denied(
            "this form did not come from a page of your session, so nothing was done: open the page again and repeat it",
        )
    if isinstance(visit, Visit):
        service: Service = request.app.state.service
        now_s = service.control.clock.now() // SECOND
        unpacked = held.unpacked(seals_of(service), request.url.path, form, now_s)
        if unpacked is None:
            raise Denied(
                "what you had typed was kept for an hour and is gone, so nothing was done: open the page again and type it again"
            )
        form = unpacked
    scope["aegis.form"] = form
    return None


def held_of(request: AnyRequest) -> str:
    """Return the form of a request that could not be answered, sealed, so that it can be sent again; "" for none."""
    scope = dict(request.scope)
    form = scope.get("aegis.form")
    if not isinstance(scope.get("auth"), Visit) or not isinstance(form, Form):
        return str(scope.get("aegis.held", ""))  # the gate kept it, where it let nobody in
    if form.characters > held.HELD_BYTES_MAX:
        return ""
    service: Service = request.app.state.service
    return held.hold(seals_of(service), request.url.path, form, service.control.clock.now() // SECOND)


def visit_of(request: AnyConnection) -> Visit:
    """Return who visits: the gate has let them in."""
    visit = request.scope["auth"]
    assert isinstance(visit, Visit), "the gate notes it for every call that is not open"
    return visit


def form_of(request: AnyRequest) -> Form:
    """Return the form of a POST."""
    form = dict(request.scope)["aegis.form"]
    assert isinstance(form, Form), "check_form reads it for every POST"
    return form


def session_of(connection: AnyConnection, service: Service) -> Session | None:
    """Return the session of a request; None without one, or when it is over."""
    now_s = service.control.clock.now() // SECOND
    for framed in (False, True):
        text = connection.cookies.get(cookies.name_of(connection, framed=framed))
        session = seals_of(service).open("session", text, Session) if text is not None else None
        if session is not None and not session.is_over(now_s) and (session.kind == "link" or not framed):
            return session
    return None


def seals_of(service: Service) -> Seals:
    """Return what seals and opens texts that a browser keeps."""
    return Seals(service.control.sealer, service.control.random)


def origin_of(connection: AnyConnection) -> str:
    """Return scheme and host by which the browser came here, for commands that somebody copies."""
    return origin.origin_of(connection)


def operator_mark(service: Service) -> str:
    """Return by what a session knows the operator key: another key ends it."""
    return hashlib.sha256(b"console" + service.control.access.operator_digest).hexdigest()[:16]


def allowed_methods(path: str) -> str:
    """Return the value of an Allow header for a path as it is written in the table."""
    return ", ".join(sorted({method for method, one in NEEDS if one == path} | {"OPTIONS"}))


async def _visit(
    connection: AnyConnection, service: Service, session: Session | None, org_id: str | None
) -> Visit:
    if session is None:
        raise Unauthenticated("sign in to see this page")
    address = address_of(connection)
    if session.kind == "operator":
        if session.holder != operator_mark(service):
            raise Unauthenticated("the operator key was changed: sign in again")
        caller = Caller.operator(address)
        if org_id is None:
            return Visit(session, caller, Scope.READ)
        found = await organizations.find(service.control, org_id)
        if session.org_id != found.org_id:
            raise Denied(
                f"you have not entered organization {found.org_id}: press Enter in its row on the page Operator; "
                "that is recorded in its audit trail"
            )
        scope = Scope.ADMIN if session.may_write else Scope.READ
        principal = Principal(found.no, found.org_id, scope, "operator", "operator key")
        return Visit(session, Caller(caller.actor, principal), scope)
    visit = await _member(service, session, address)
    if org_id is not None and org_id != visit.org_id:
        raise NotFound(
            f"organization {org_id[:80]!r} does not exist, or this session belongs to another one: check the address"
        )
    return visit


async def _member(service: Service, session: Session, address: str | None) -> Visit:
    """Return the visit of somebody with a key or a link of one organization. Raises: Unauthenticated when that is gone."""
    no = OrganizationNo(session.organization_no)
    if session.kind == "link":
        link = await console_links.of_session(service.control, no, session.holder)
        return Visit(session, Caller.of_link(link, address), link.scope, link)
    org_id, key_id = OrganizationId(session.org_id), KeyId(session.holder)
    principal = await keys.principal_of(service.control, no, org_id, key_id)
    return Visit(session, Caller.of_key(principal, address), principal.scope)


async def _held(connection: AnyConnection, service: Service) -> str:
    """Keep the form of a request whose session has ended, if a page of ours sent it; return it sealed, "" for none."""
    headers = connection.headers
    told = "sec-fetch-site" in headers or "origin" in headers
    if (
        not isinstance(connection, Request)
        or connection.method != "POST"
        or not told
        or not _is_own(connection)
    ):
        return ""
    body = await connection.body()
    if not 0 < len(body) <= held.HELD_BYTES_MAX:
        return ""
    seals, now_s = seals_of(service), service.control.clock.now() // SECOND
    path = connection.url.path
    form = parse_form(headers.get("content-type") or "", body)
    found = held.unpacked(seals, path, form, now_s)
    return held.hold(seals, path, found, now_s) if found is not None else ""


def _is_own(connection: AnyConnection) -> bool:
    """Tell whether a page of ours, or the person at the browser, made this request."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in OWN_SITE
    origin = connection.headers.get("origin")
    return origin is None or origin.partition("://")[2] == connection.headers.get("host")
