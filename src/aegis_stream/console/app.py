"""The pages put together: hooks before every handler, headers of every answer, and errors as pages."""

from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from aegis_stream.api.problems import bug_problem, status_of, wait_of
from aegis_stream.api.scopes import calls_of, in_turn
from aegis_stream.api.service import Service, service_of
from aegis_stream.domain.console_link import LINK_PATH
from aegis_stream.domain.ids import SECOND
from aegis_stream.errors import AegisError, Unauthenticated

from . import (
    assets,
    attempts,
    audit,
    brand,
    dead_letters,
    deliveries,
    destination,
    event,
    event_proof,
    events,
    field_check,
    fleet,
    health,
    keys,
    link_list,
    links,
    live,
    overview,
    proof,
    replays,
    sample,
    settings_tab,
    signin,
    sources,
    wizard,
)
from .cookies import FRAMED, OWN, may_be_framed
from .gate import check_form, gate, held_of
from .links import ask_for_link
from .page import bare_page, see_other
from .redraw import Redraw
from .rights import LIVE, check_needs
from .session import REFRESH_S, Session
from .signin import ask_again, session_cookie
from .zone import kept, zone_in

AnyRequest = Request[Any, Any, Any]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors "
)
_SESSIONS = tuple(f"{name}=".encode() for name in (OWN, FRAMED))
NOWHERE = "'none'"
"""The frames in which pages may stand, unless they are those of a session by link."""
POLICY_HEADER = b"content-security-policy"
HEADERS = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Headers of every answer that does not say otherwise."""

PAGES = [
    *assets.HANDLERS,
    *brand.HANDLERS,
    *signin.HANDLERS,
    *links.HANDLERS,
    *overview.HANDLERS,
    *live.HANDLERS,
    *sample.HANDLERS,
    *keys.HANDLERS,
    *link_list.HANDLERS,
    *audit.HANDLERS,
    *sources.HANDLERS,
    *fleet.HANDLERS,
    *destination.HANDLERS,
    *health.HANDLERS,
    *attempts.HANDLERS,
    *deliveries.HANDLERS,
    *dead_letters.HANDLERS,
    *replays.HANDLERS,
    *events.HANDLERS,
    *event.HANDLERS,
    *event_proof.HANDLERS,
    *proof.HANDLERS,
    *settings_tab.HANDLERS,
    *wizard.HANDLERS,
    *field_check.HANDLERS,
]


def console_of(service: Service) -> ASGIApp:
    """Return the console as an application. Raises: RuntimeError when the table of rights and the routes differ."""
    return with_headers(create_console(service))


def create_console(service: Service) -> Litestar:
    """Put the pages together, without the headers of every answer: `console_of` adds them. Raises: RuntimeError as that does."""
    console = Litestar(
        route_handlers=PAGES,
        state=State(state_of(service)),
        exception_handlers={
            Unauthenticated: _sign_in_first,
            AegisError: _ours,
            HTTPException: _frameworks,
            Exception: _bug,
        },
        request_max_body_size=service.control.settings.api.call_bytes_max,
        guards=[gate],
        before_request=check_form,
        middleware=[in_turn],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    check_needs(calls_of(console))
    return console


def state_of(service: Service) -> dict[str, Any]:
    """Return what the handlers of one application share: the service, checks of fields by session, tests that go on, drawings."""
    return {
        "service": service,
        "field_checks": field_check.new_limits(),
        "tests": set(),
        "redraw": Redraw(),
    }


def with_headers(app: ASGIApp) -> ASGIApp:
    """Add the headers of every answer, and keep a session alive that is used."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                names = {name.lower() for name, _ in headers}
                headers += [one for one in HEADERS if one[0] not in names]
                headers += [(POLICY_HEADER, f"{POLICY}{_frames_of(scope)}".encode())]
                headers += _refreshed(scope, headers)
                headers = _in_the_zone(scope, headers)
                message["headers"] = headers
            await send(message)

        await app(scope, receive, send_on)

    return serve


def _in_the_zone(scope: Any, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that leads on to another page in the same time zone."""
    zone = zone_in(scope["query_string"].decode("latin-1"))
    return [
        (
            name,
            kept(value.decode("latin-1"), zone).encode("latin-1") if name.lower() == b"location" else value,
        )
        for name, value in headers
    ]


def _frames_of(scope: Any) -> str:
    """Return which sites may show a page in a frame: those of the settings, where somebody comes by a link; else none."""
    service: Service = scope["litestar_app"].state.service
    sites = service.control.settings.console.frame_ancestors
    framed = scope["path"] == LINK_PATH or may_be_framed(service, scope.get("aegis.session"))
    return " ".join(sites) if sites and framed else NOWHERE


def _refreshed(scope: Any, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the header that writes the session's cookie anew, once a minute while it is used."""
    session = scope.get("aegis.session")
    if not isinstance(session, Session) or scope.get("auth") is None or scope["path_template"] == LIVE:
        return []  # a page that is only left open does not use its session
    request: AnyRequest = Request(scope)
    now_s = service_of(request).control.clock.now() // SECOND
    is_set = any(name in value for _, value in headers for name in _SESSIONS)
    if now_s - session.seen_s < REFRESH_S or is_set:
        return []
    fresh = msgspec.structs.replace(session, seen_s=now_s)
    return [session_cookie(request, fresh).to_encoded_header()]


def _sign_in_first(request: AnyRequest, _: Unauthenticated) -> Response[Any]:
    """Lead to the sign-in page, and from there back; a form that was sent is kept on the way, a script is told by the status.

    Whoever came by a link has no key to sign in with, and neither has whoever looks at a frame in another page.
    """
    if request.scope["path_template"] == LIVE:
        return Response("sign in again", status_code=401, media_type="text/plain")
    session = request.scope.get("aegis.session")
    came_by_link = isinstance(session, Session) and session.kind == "link"
    sites = service_of(request).control.settings.console.frame_ancestors
    if came_by_link or (sites and request.headers.get("sec-fetch-dest") == "iframe"):
        return ask_for_link(request, held_of(request))
    if text := held_of(request):
        return ask_again(request, text)
    asked = request.url.path
    if request.method == "GET" and request.url.query:
        asked += f"?{request.url.query}"
    return see_other(f"/console?next_path={quote(asked, safe='/')}")


def _ours(request: AnyRequest, error: AegisError) -> Response[Any]:
    status, title = status_of(error)
    return _error_page(request, (status, title, error.code), error.message, wait_of(error))


def _frameworks(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Reword an error of the framework."""
    status = error.status_code
    title, code, message = {
        404: ("Not found", "no-such-path", "The console has no such page: check the address."),
        405: (
            "Not allowed",
            "method-not-allowed",
            "This address does not support that: open the page again.",
        ),
        413: ("Too large", "too-large", "The form is too large, so nothing was done: send less at once."),
    }.get(status, ("The request cannot be read", "request", "Check the address and the values in it."))
    return _error_page(request, (status, title, code), message)


def _bug(request: AnyRequest, error: Exception) -> Response[Any]:
    bug_problem(service_of(request).telemetry, request.url.path, error)  # logged there
    message = "A bug in Aegis Audit Stream: nothing is lost, and the log of the service says where it is."
    return _error_page(request, (500, "Internal error", "internal"), message)


def _error_page(
    request: AnyRequest, kind: tuple[int, str, str], message: str, wait_s: int = 0
) -> Response[Any]:
    """Return an error as a page.

    Args:
        kind: status, title, and the code by which docs/reference/errors.md explains it.
        wait_s: after how many seconds to try again; 0 for never.
    """
    status, title, code = kind
    session = request.scope.get("aegis.session")
    answer = bare_page(
        request,
        "error.html",
        title=title,
        status=status,
        message=message,
        code=code,
        wait_s=wait_s,
        nothing_done=status == 503,
        held=held_of(request) if wait_s and isinstance(session, Session) else "",
        token=session.csrf if isinstance(session, Session) else "",
    )
    if wait_s:
        answer.headers["retry-after"] = str(wait_s)
    return answer
