"""Who may call what: one table of all calls, and the gate that checks it before anything else of a request is read.

The routes answer nothing while table and routes differ, so that no new route can be open by accident.
"""

import enum
from typing import Any
from urllib.parse import parse_qsl

from litestar import Litestar, Response
from litestar.connection import ASGIConnection, Request
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as AsgiScope

from aegis_stream.control.access import Access
from aegis_stream.control.caller import Caller
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import FieldProblem, Invalid

from .service import Service

AnyConnection = ASGIConnection[Any, Any, Any, Any]


class Right(enum.StrEnum):
    """What a call needs."""

    OPEN = "open"  # no key
    OPERATOR = "operator"  # the operator key, and no other
    ANY = "any"  # any key of the organization in the URL
    ADMIN = "admin"  # a key of it with this scope; admin includes the two below
    INGEST = "ingest"
    READ = "read"


_TURN = "aegis.turn"
"""Where the scope of a call notes whose turn it has."""

ORGANIZATION = "/api/orgs/{org_id}"
_KEYS = ORGANIZATION + "/api-keys"
_LINKS = ORGANIZATION + "/console-links"
_ALL = ORGANIZATION + "/forwarding-destinations"
_ONE = _ALL + "/{destination_id}"
INGEST_CALL = ("POST", ORGANIZATION + "/events")
"""The one call that does not reach the framework."""
FIELD = "field."
"""How query parameters begin that name a field of an event."""
FIELD_CALLS = frozenset({("GET", ORGANIZATION + "/events")})
"""Calls that have such parameters."""

OPTIONAL_NUMBERS = frozenset({"first", "last", "from_size", "to_size"})
"""Query parameters that are numbers or omitted: the framework reads the word null as omitted."""

STREAM = ORGANIZATION + "/stream"

RIGHTS: dict[tuple[str, str], Right] = {
    ("GET", "/healthz"): Right.OPEN,
    ("GET", "/readyz"): Right.OPEN,
    ("GET", "/metrics"): Right.OPEN,
    ("GET", "/docs"): Right.OPEN,
    ("GET", "/openapi.json"): Right.OPEN,
    ("GET", "/api/destination-types"): Right.OPEN,
    ("GET", "/api/status"): Right.OPERATOR,
    ("GET", "/api/orgs"): Right.OPERATOR,
    ("POST", "/api/orgs"): Right.OPERATOR,
    ("GET", ORGANIZATION): Right.ANY,
    ("PATCH", ORGANIZATION): Right.ADMIN,
    ("PATCH", ORGANIZATION + "/quotas"): Right.OPERATOR,
    ("POST", _KEYS): Right.ADMIN,
    ("GET", _KEYS): Right.ADMIN,
    ("GET", _KEYS + "/{key_id}/requests"): Right.ADMIN,
    ("DELETE", _KEYS + "/{key_id}"): Right.ADMIN,
    ("POST", _KEYS + "/{key_id}/rotate"): Right.ADMIN,
    ("POST", _LINKS): Right.ADMIN,
    ("GET", _LINKS): Right.ADMIN,
    ("DELETE", _LINKS + "/{link_id}"): Right.ADMIN,
    INGEST_CALL: Right.INGEST,
    ("POST", ORGANIZATION + "/preflight-decisions"): Right.INGEST,
    ("GET", STREAM): Right.READ,
    ("GET", ORGANIZATION + "/deliveries"): Right.READ,
    ("GET", ORGANIZATION + "/events"): Right.READ,
    ("GET", ORGANIZATION + "/events/histogram"): Right.READ,
    ("GET", ORGANIZATION + "/events/{event_id}"): Right.READ,
    ("POST", ORGANIZATION + "/events/{event_id}/send"): Right.ADMIN,
    ("POST", _ALL): Right.ADMIN,
    ("GET", _ALL): Right.READ,
    ("POST", _ALL + "/test"): Right.ADMIN,
    ("GET", _ONE): Right.READ,
    ("PATCH", _ONE): Right.ADMIN,
    ("DELETE", _ONE): Right.ADMIN,
    ("POST", _ONE + "/pause"): Right.ADMIN,
    ("POST", _ONE + "/resume"): Right.ADMIN,
    ("POST", _ONE + "/test"): Right.ADMIN,
    ("POST", _ONE + "/replay"): Right.ADMIN,
    ("GET", _ONE + "/replays"): Right.READ,
    ("DELETE", _ONE + "/replays/{replay_id}"): Right.ADMIN,
    ("GET", _ONE + "/deliveries"): Right.READ,
    ("GET", _ONE + "/deliveries/{delivery_id}"): Right.READ,
    ("GET", _ONE + "/timeline"): Right.READ,
    ("GET", ORGANIZATION + "/proof/checkpoint"): Right.READ,
    ("POST", ORGANIZATION + "/proof/checkpoint"): Right.ADMIN,
    ("GET", ORGANIZATION + "/proof/keys"): Right.READ,
    ("POST", ORGANIZATION + "/proof/keys/rotate"): Right.OPERATOR,
    ("GET", ORGANIZATION + "/proof/tile/{level}/{number}"): Right.READ,
    ("GET", ORGANIZATION + "/proof/consistency"): Right.READ,
    ("GET", ORGANIZATION + "/proof/hashes"): Right.READ,
    ("GET", ORGANIZATION + "/proof/events/{event_id}"): Right.READ,
    ("GET", ORGANIZATION + "/proof/bundle"): Right.READ,
    ("GET", _ONE + "/dead-letters"): Right.READ,
    ("GET", _ONE + "/dead-letters/groups"): Right.READ,
    ("POST", _ONE + "/dead-letters/redrive"): Right.ADMIN,
    ("GET", _ONE + "/dead-letters/jobs"): Right.READ,
    ("GET", _ONE + "/dead-letters/jobs/{job_id}"): Right.READ,
    ("DELETE", _ONE + "/dead-letters/jobs/{job_id}"): Right.ADMIN,
    ("DELETE", _ONE + "/dead-letters"): Right.ADMIN,
}
"""Every call, and what it needs."""

SCOPES = {Right.ANY: None, Right.ADMIN: Scope.ADMIN, Right.INGEST: Scope.INGEST, Right.READ: Scope.READ}
"""The scope that a right requires of a key; None for any."""


def calls_of(routes: Litestar) -> set[tuple[str, str]]:
    """Return every call that the framework answers, without OPTIONS, which it adds itself."""
    return {
        (method, route.path_format)
        for route in routes.routes
        for method in getattr(route, "methods", ())
        if method != "OPTIONS"
    }


def check_rights(routes: Litestar) -> None:
    """Check that every call has its row in the table, and every row its call. Raises: RuntimeError."""
    answered = calls_of(routes) | {INGEST_CALL}
    lacking, idle = answered - RIGHTS.keys(), RIGHTS.keys() - answered
    if lacking or idle:
        raise RuntimeError(
            f"api/scopes.py must have a row for every call: missing {sorted(lacking)}, left over {sorted(idle)}"
        )


def queries_of(routes: Litestar) -> dict[tuple[str, str], frozenset[str]]:
    """Return the query parameters of every call."""
    return {
        (method, route.path_format): frozenset(one.field_alias for one in model.expected_query_params)
        for route in routes.routes
        if isinstance(route, HTTPRoute)
        for method, (_, model) in route.route_handler_map.items()
    }


async def before_request(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer OPTIONS with all methods of a path, of which the framework knows only some; reject an unknown query parameter.

    Returns: None for every other call, which then goes on.
    Raises: Invalid when a query parameter does not belong to the call, or appears twice.
    """
    scope = request.scope
    if request.method == "OPTIONS":
        return Response(None, status_code=204, headers={"allow": allowed_methods(scope["path_template"])})
    if scope["query_string"] and "auth" in scope:
        call = request.method, scope["path_template"]
        _check_query(request, request.app.state.queries[call], FIELD if call in FIELD_CALLS else None)
    return None


def _check_query(request: Request[Any, Any, Any], known: frozenset[str], beginning: str | None) -> None:
    """Check the names of a query's parameters: those of the call, and any with a beginning that it allows."""
    seen: set[str] = set()
    for name, value in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name not in known and (beginning is None or not name.startswith(beginning)):
            message = "is not a query parameter of this call: omit it, or see /docs for its spelling"
        elif name in seen:
            message = "appears twice in the query: send it once"
        elif name in OPTIONAL_NUMBERS and value.lower() == "null":
            message = "must be a whole number: omit it for the default"
        else:
            seen.add(name)
            continue
        raise Invalid(f"{name[:100]} {message}", problems=(FieldProblem(name[:100], message),))


def allowed_methods(path: str) -> str:
    """Return the value of an Allow header for a path as it is written in the table."""
    return ", ".join(sorted({method for method, one in RIGHTS if one == path} | {"OPTIONS"}))


async def admit(access: Access, connection: AnyConnection) -> None:
    """Check that the key of a call allows it, and note who calls; runs before the body is read.

    Raises: Unauthenticated, NotFound (another organization's), Denied (scope), Limited, Unavailable.
    """
    scope: Any = connection.scope
    if scope["method"] == "OPTIONS":
        return
    right = RIGHTS[scope["method"], scope["path_template"]]
    if right is Right.OPEN:
        return
    authorization, address = connection.headers.get("authorization"), address_of(connection)
    if right is Right.OPERATOR:
        access.require_operator(authorization, address)
        return
    org_id = str(scope["path_params"]["org_id"])
    principal = await access.authorize(authorization, org_id, SCOPES[right], address)
    if right is Right.INGEST:
        access.admit(principal, access.clock.now())
    else:
        access.admit_call(principal)
    scope["auth"] = Caller.of_key(principal, address)


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who calls an organization: the gate has accepted its key."""
    caller = request.scope["auth"]
    assert isinstance(caller, Caller), "admit notes it for every call on an organization"
    return caller


def address_of(connection: AnyConnection) -> str | None:
    """Return the address of the client, None when unknown."""
    return connection.client.host if connection.client is not None else None


async def gate(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """Check every call, and let reads of an organization wait for its turn; the framework calls this guard."""
    service: Service = connection.app.state.service
    await admit(service.control.access, connection)
    scope: Any = connection.scope
    caller = scope.get("auth")
    if (
        scope["method"] == "GET"
        and isinstance(caller, Caller)
        and scope["path_template"] != STREAM  # it would keep its turn for as long as somebody watches
    ):
        await take_turn(service, connection, caller)


async def take_turn(service: Service, connection: AnyConnection, caller: Caller) -> None:
    """Let a read of an organization wait for its turn; `in_turn` ends it. Raises: Limited when too many wait."""
    await service.turns.enter(caller.organization_no)
    scope: Any = connection.scope
    scope[_TURN] = service.turns, caller.organization_no


def leave_turn(connection: AnyConnection) -> None:
    """End the turn that a call has, before the call ends: what it sends from now on keeps nobody waiting."""
    scope: Any = connection.scope
    given = scope.pop(_TURN, None)
    if given is not None:
        turns, no = given
        turns.leave(no)


def in_turn(app: ASGIApp) -> ASGIApp:
    """End the turn that the gate has given to a call, however the call ends; the framework calls this middleware."""

    async def serve(scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            given: Any = scope.get(_TURN)
            if given is not None:
                turns, no = given
                turns.leave(no)

    return serve
