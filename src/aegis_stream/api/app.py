"""The ASGI application: the hot path in front, the routes behind, and the mapping of errors to HTTP."""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from aegis_stream import __version__
from aegis_stream.control import destinations as destination_control
from aegis_stream.control.audit import RefusalLog
from aegis_stream.errors import AegisError, FieldProblem, Invalid, Malformed, Unavailable
from aegis_stream.telemetry import METRICS, place_of

from . import dead_letters, deliveries, destinations, events, organizations, replays
from .ingest import IngestEndpoint, Receive, RequestBounds, Send
from .openapi import docs_page, make_document
from .problems import plain_problem, problem_of
from .scopes import before_request, check_rights, gate, queries_of
from .service import Service, control_of, service_of

AnyRequest = Request[Any, Any, Any]


@dataclass(slots=True)
class Application:
    """What the server calls: ingest goes straight to its endpoint, everything else to the framework.

    Args:
        only: the paths that this listener serves; None for all but the hidden ones.
        hidden: paths that another listener serves.
    """

    ingest: IngestEndpoint
    routes: Litestar
    only: frozenset[str] | None = None
    hidden: frozenset[str] = frozenset()

    def split_metrics(self) -> "tuple[Application, Application]":
        """Return the application without /metrics, and one that serves nothing else (but health)."""
        public = Application(self.ingest, self.routes, hidden=frozenset({"/metrics"}))
        return public, Application(
            self.ingest, self.routes, only=frozenset({"/metrics", "/healthz", "/readyz"})
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            path = scope["path"]
            if path in self.hidden or (self.only is not None and path not in self.only):
                scope = {**scope, "path": "/not-served-here", "raw_path": b"/not-served-here"}
            org_id = self.ingest.org_of(scope)
            if org_id is not None:
                await self.ingest(org_id, scope, receive, send)
                return
        await self.routes(scope, receive, send)  # type: ignore[arg-type] # two spellings of ASGI's types


def create_app(service: Service) -> Application:
    """Build the application."""
    routes = Litestar(
        route_handlers=[*DOCUMENTED, healthz, readyz, metrics, docs, openapi_json],
        state=State({"service": service}),
        exception_handlers={
            AegisError: _ours,
            UnicodeDecodeError: _unreadable,
            RecursionError: _too_deep,
            HTTPException: _frameworks,
            Exception: _bug,
        },
        request_max_body_size=service.control.settings.api.call_bytes_max,
        guards=[gate],
        before_request=before_request,
        openapi_config=None,  # the framework's own pages load scripts from other hosts
        logging_config=None,
        debug=False,
    )
    check_rights(routes)
    routes.state["queries"] = queries_of(routes)
    service.control.access.refusals = RefusalLog(service.control)
    return Application(make_ingest(service), routes)


def make_ingest(service: Service) -> IngestEndpoint:
    """Build the hot path."""

    def on_bug(path: str, error: Exception) -> tuple[int, dict[str, str], bytes]:
        return _bug_problem(service, path, error)

    settings = service.control.settings
    bounds = RequestBounds(
        settings.ingest.request_bytes_max,
        settings.ingest.request_events_max,
        settings.api.body_timeout_seconds,
        settings.ingest.decompression_ratio_max,
    )
    return IngestEndpoint(service.control.access, service.control.ingest, service.counts, on_bug, bounds)


DOCUMENTED = [
    *organizations.HANDLERS,
    *destinations.HANDLERS,
    *replays.HANDLERS,
    *deliveries.HANDLERS,
    *dead_letters.HANDLERS,
    *events.HANDLERS,
]


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document, made at the first call."""
    return make_document(DOCUMENTED)


@get("/healthz", include_in_schema=False, sync_to_thread=False)
def healthz() -> dict[str, str]:
    """Report that the process answers."""
    return {"status": "ok", "version": __version__}


@get("/readyz", include_in_schema=False)
async def readyz(request: AnyRequest) -> dict[str, str]:
    """Report that the store answers. Raises: Unavailable."""
    try:
        async with asyncio.timeout(2):
            await destination_control.totals(control_of(request))
    except TimeoutError as error:
        raise Unavailable(
            "the store did not answer within 2 s: check the load of its disk", code="store-slow"
        ) from error
    return {"status": "ready"}


@get("/metrics", include_in_schema=False, media_type="text/plain; version=0.0.4")
async def metrics(request: AnyRequest) -> str:
    """Return all metrics in the text format of Prometheus."""
    service = service_of(request)
    totals = await destination_control.totals(service.control)
    values: dict[str, list[tuple[str, int]]] = {
        f"aegis_{name}": [("", value)] for name, value in totals._asdict().items()
    }
    counts = service.counts
    for name, label, counted in (
        ("aegis_ingest_requests_total", "status", counts.requests()),
        ("aegis_ingest_events_total", "result", counts.events()),
    ):
        values[name] = [(f'{{{label}="{value}"}}', count) for value, count in counted.items()]
    lines = []
    for name, (kind, meaning) in METRICS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value}" for labels, value in values[name]]
    return "\n".join(lines) + "\n"


@get("/docs", include_in_schema=False, media_type="text/html", sync_to_thread=False)
def docs() -> Response[str]:
    """Show the documentation of the API; it loads nothing from other hosts."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(
        docs_page(document()), media_type="text/html", headers={"content-security-policy": policy}
    )


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return document()


def _ours(_: AnyRequest, error: AegisError) -> Response[bytes]:
    return _response(problem_of(error))


def _frameworks(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Reword an error of the framework."""
    if isinstance(error, ValidationException):
        return _ours(request, _as_invalid(error))
    if error.status_code == 400:
        cause = error.__cause__
        reason = "it is empty" if cause is None or isinstance(cause, KeyError) else str(cause)
        return _ours(request, Malformed(f"the body cannot be read: {reason}: send a JSON object"))
    path, method = request.url.path[:200], request.method
    bytes_max = control_of(request).settings.api.call_bytes_max
    code, title, detail = {
        404: ("no-such-path", "Not found", f"the API has no path {path}: see /docs"),
        405: ("method-not-allowed", "Method not allowed", f"this path does not support {method}: see /docs"),
        413: (
            "too-large",
            "Too large",
            f"the body is larger than {bytes_max} bytes, the limit of this call: send less",
        ),
    }.get(error.status_code, ("request", "Request rejected", str(error.detail)[:200]))
    status, headers, body = plain_problem(error.status_code, code, title, detail)
    headers |= dict(error.headers or {})
    if "allow" in headers and IngestEndpoint.org_of({"method": "POST", "path": path.rstrip("/")}) is not None:
        headers["allow"] += ", POST"  # the framework does not know the ingest call in front of it
    return _response((status, headers, body))


def _unreadable(request: AnyRequest, error: UnicodeDecodeError) -> Response[bytes]:
    return _ours(request, Malformed(f"the body is not UTF-8 (byte {error.start}): encode it as UTF-8"))


def _too_deep(request: AnyRequest, _: RecursionError) -> Response[bytes]:
    return _ours(request, Malformed("the body is nested too deeply: no call needs more than 5 levels"))


def _bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    return _response(_bug_problem(service_of(request), request.url.path, error))


def _bug_problem(service: Service, path: str, error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Log an unexpected error: its kind and place, never its text, which may contain what a user sent."""
    service.telemetry.error(
        "service.failed", path=path[:200], kind=type(error).__name__, place=place_of(error)
    )
    return plain_problem(
        500,
        "internal",
        "Internal error",
        "this is a bug: the service's log has the details; please report it",
    )


def _as_invalid(error: ValidationException) -> Invalid:
    """Turn the framework's list of errors into field problems."""
    problems = []
    extra = error.extra if isinstance(error.extra, list) else []
    for one in extra:
        message = str(one.get("message", "is invalid"))
        key = str(one.get("key", "") or "").removeprefix("data.")
        if "unknown field" in message:
            unknown = message.partition("`")[2].partition("`")[0]
            key = f"{key}.{unknown}" if key and key != "data" else unknown
            message = "is not a field of this call: omit it, or see /docs for its spelling"
        elif "missing required field" in message:
            missing = message.partition("`")[2].partition("`")[0]
            key, message = missing, "is required"
        problems.append(
            FieldProblem(
                "" if key == "data" else key, message.replace("`", "").replace("Expected", "expected")
            )
        )
    if not extra or any(one.get("message") == "'data'" for one in extra):
        return Malformed(
            "the body is missing, or is not a JSON object: send one with Content-Type: application/json"
        )
    detail = "; ".join(f"{one.field} {one.message}".lstrip() for one in problems) or "the request is invalid"
    return Invalid(detail, problems=tuple(problems))


def _response(problem: tuple[int, dict[str, str], bytes]) -> Response[bytes]:
    status, headers, body = problem
    media_type = headers.pop("content-type")
    return Response(body, status_code=status, headers=headers, media_type=media_type)
