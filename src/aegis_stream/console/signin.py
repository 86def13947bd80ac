"""Sign in and out. One field takes an API key or the operator key; the key's text goes no further than this module."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromQuery

from aegis_stream.api.problems import status_of, wait_of
from aegis_stream.api.scopes import address_of
from aegis_stream.api.service import Service, service_of
from aegis_stream.control.caller import ALLOWED, Principal
from aegis_stream.domain.console_link import LINK_PATH
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import AegisError, Denied

from . import held
from .cookies import kept_cookie, no_session_cookies, session_cookies
from .gate import AnyConnection, form_of, operator_mark, seals_of, visit_of
from .page import bare_page, base_of, done, own_path, see_other
from .session import Session

AnyRequest = Request[Any, Any, Any]


@get("/")
async def root() -> Response[bytes]:
    """Lead to the console."""
    return see_other("/console")


@get("/console")
async def sign_in_page(request: AnyRequest, next_path: FromQuery[str] = "") -> Response[Any]:
    """Show the field for a key; whoever is signed in goes on."""
    session = dict(request.scope).get("aegis.session")
    if isinstance(session, Session) and not next_path:
        return see_other(home_of(session))
    return _field(request, 200, own_path(next_path))


@post("/console", status_code=303)
async def sign_in(request: AnyRequest) -> Response[Any]:
    """Begin a session with a key."""
    form = form_of(request)
    next_path = own_path(form.one("next_path"))
    try:
        session = await new_session(service_of(request), form.one("key"), address_of(request))
    except AegisError as error:
        return _refused(request, error, next_path, form.raw(held.NAME))
    return entered(request, session, next_path, form.raw(held.NAME))


def entered(request: AnyRequest, session: Session, next_path: str, text: str) -> Response[Any]:
    """Answer somebody whose session begins.

    Args:
        next_path: the page that was asked for, "" for the first one.
        text: the sealed form that was kept meanwhile, "" for none.
    """
    service = service_of(request)
    kept = held.opened(seals_of(service), text, service.control.clock.now() // SECOND)
    answer: Response[Any]
    if kept is None:
        answer = done(request, next_path or home_of(session))
    else:
        answer = bare_page(
            request,
            "held.html",
            title="Signed in again",
            held=text,
            where=kept.path,
            token=session.csrf,
            home=home_of(session),
        )
    answer.cookies.extend(session_cookies(request, session, seals_of(service).seal("session", session)))
    return answer


def ask_again(request: AnyRequest, text: str) -> Response[str]:
    """Ask for the key in the middle of a form, which stays on the page, sealed."""
    return _field(request, 401, "", held=text)


def _refused(request: AnyRequest, error: AegisError, next_path: str, text: str) -> Response[str]:
    """Show the field again, with the words and the status that the API has for the error: 503 when the store is gone."""
    wait_s = wait_of(error)
    answer = _field(request, status_of(error)[0], next_path, held=text, problem=error.message, wait_s=wait_s)
    if wait_s:
        answer.headers["retry-after"] = str(wait_s)
    return answer


def _field(
    request: AnyRequest, status: int, next_path: str, *, held: str = "", problem: str = "", wait_s: int = 0
) -> Response[str]:
    return bare_page(
        request,
        "signin.html",
        title="Sign in",
        status=status,
        next_path=next_path,
        problem=problem,
        wait_s=wait_s,
        held=held,
    )


@post("/console/sign-out", status_code=303)
async def sign_out(request: AnyRequest) -> Response[bytes]:
    """End the session."""
    answer = see_other("/console" if visit_of(request).link is None else LINK_PATH)
    answer.cookies.extend(no_session_cookies(request))
    return answer


async def new_session(service: Service, key: str, address: str | None) -> Session:
    """Return a session for the holder of a key.

    Raises: Unauthenticated. Denied for a key that may not read. Limited after too many wrong keys. Unavailable.
    """
    access = service.control.access
    now_s = service.control.clock.now() // SECOND
    csrf = seals_of(service).new_token()
    if access.is_operator_key(key):
        return Session("operator", operator_mark(service), 0, "", csrf, now_s, now_s)
    principal: Principal = await access.principal(f"Bearer {key}" if key else None, address)
    if Scope.READ not in ALLOWED[principal.scope]:
        raise Denied(
            "this key has scope ingest and can only send events: sign in with a key of scope read or admin"
        )
    return Session("key", principal.key_id, principal.organization_no, principal.org_id, csrf, now_s, now_s)


def session_cookie(connection: AnyConnection, session: Session) -> Cookie:
    """Return the cookie of a session that goes on."""
    service: Service = connection.app.state.service
    return kept_cookie(connection, session, seals_of(service).seal("session", session))


def home_of(session: Session) -> str:
    """Return the page that a session begins with."""
    return "/console/operator" if session.kind == "operator" else base_of(session.org_id)


HANDLERS = [root, sign_in_page, sign_in, sign_out]
