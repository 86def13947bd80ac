"""The routes put together, and the one place where their errors become HTTP; `routes` makes them late."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from aegis_stream import __version__, build
from aegis_stream.control import destinations as destination_control
from aegis_stream.control import organizations as organization_control
from aegis_stream.control import proof as proof_control
from aegis_stream.errors import AegisError, Malformed, Unavailable
from aegis_stream.telemetry import METRICS

from . import (
    console_links,
    dead_letters,
    deliveries,
    destination_types,
    destinations,
    events,
    evidence,
    fleet,
    organizations,
    proof,
    replays,
    stream,
    timeline,
)
from .event_paths import Routes
from .ingest import org_of
from .openapi import docs_page, make_document
from .problems import bug_problem, plain_problem, problem_of
from .scopes import before_request, check_rights, gate, in_turn, queries_of
from .service import Service, control_of, service_of
from .validation import as_invalid

AnyRequest = Request[Any, Any, Any]
DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def create_app(service: Service) -> Litestar:
    """Put the routes together: every call but ingest."""
    routes = Routes(
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
        middleware=[in_turn],
        openapi_config=None,  # the framework's own pages load scripts from other hosts
        logging_config=None,
        debug=False,
    )
    check_rights(routes)
    routes.state["queries"] = queries_of(routes)
    return routes


DOCUMENTED = [
    *organizations.HANDLERS,
    *console_links.HANDLERS,
    *fleet.HANDLERS,
    *destination_types.HANDLERS,
    *destinations.HANDLERS,
    *replays.HANDLERS,
    *stream.HANDLERS,
    *deliveries.HANDLERS,
    *timeline.HANDLERS,
    *dead_letters.HANDLERS,
    *events.HANDLERS,
    *proof.HANDLERS,
    *evidence.HANDLERS,
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
    """Report that this service is not stopping, that the store can be read and written, and that a worker delivers if one should run here. Raises: Unavailable."""
    service = service_of(request)
    if service.counts.standing.draining:
        raise Unavailable("this service is stopping: send requests to another node", code="draining")
    try:
        async with asyncio.timeout(2):
            await destination_control.check_ready(service.control)
            if service.needs_worker and not await destination_control.living_workers(service.control):
                raise Unavailable(
                    "no delivery worker runs: events are recorded and wait; a worker is started again by itself",
                    code="no-worker",
                )
    except TimeoutError as error:
        raise Unavailable(
            "the store did not answer within 2 s: check the load of its disk", code="store-slow"
        ) from error
    return {"status": "ready"}


@get("/metrics", include_in_schema=False, media_type="text/plain; version=0.0.4")
async def metrics(request: AnyRequest) -> str:
    """Return the metrics in the text format of Prometheus; the sums over the store only where this process reports them."""
    service = service_of(request)
    reports = service.counts.standing.reports(service.control.clock.steady())
    values = await _store_totals(service) if reports else {}
    values["aegis_store_totals_reported"] = [("", int(reports))]
    values["aegis_build_info"] = [(f'{{version="{__version__}",build="{build.label()}"}}', 1)]
    counts = service.counts
    for name, label, counted in (
        ("aegis_ingest_requests_total", "status", counts.requests()),
        ("aegis_ingest_events_total", "result", counts.events()),
    ):
        values[name] = [(f'{{{label}="{value}"}}', count) for value, count in counted.items()]
    lines = []
    for name, (kind, meaning) in METRICS.items():
        if name not in values:
            continue
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value}" for labels, value in values[name]]
    return "\n".join(lines) + "\n"


async def _store_totals(service: Service) -> dict[str, list[tuple[str, int]]]:
    """Return the metrics that are sums over the whole store, whichever process is asked."""
    totals = await destination_control.totals(service.control)
    stored_bytes, near_quota = await organization_control.storage_totals(service.control)
    sums = (
        totals._asdict()
        | {
            "stored_bytes": stored_bytes,
            "organizations_near_quota": near_quota,
            "api_processes": service.counts.standing.api_processes,
        }
        | await _sealing_totals(service)
    )
    return {f"aegis_{name}": [("", value)] for name, value in sums.items()}


async def _sealing_totals(service: Service) -> dict[str, int]:
    """Return what the sealer has noted of itself; how far it is behind only where one is to run."""
    found, now = await proof_control.sealing_totals(service.control), service.control.clock.now()
    counted = {"proof_seals_total": found.seals, "proof_inconsistent_total": found.refusals}
    if found.report is None or not service.control.settings.proof.enabled:
        return counted
    return counted | {
        "proof_lag_events": found.report.lag_events,
        "proof_lag_seconds": found.report.lag_s(now),
    }


@get("/docs", include_in_schema=False, media_type="text/html")
async def docs() -> Response[bytes]:
    """Show the documentation of the API; it loads nothing from other hosts."""
    headers = {"content-security-policy": DOCS_POLICY, "cache-control": "public, max-age=300"}
    return Response(await _rendered(_docs_bytes), media_type="text/html", headers=headers)


@get("/openapi.json", include_in_schema=False)
async def openapi_json() -> Response[bytes]:
    """Return the OpenAPI document."""
    headers = {"cache-control": "public, max-age=300"}
    return Response(await _rendered(_document_bytes), media_type="application/json", headers=headers)


async def _rendered(page: Callable[[], bytes]) -> bytes:
    """Return a page that is rendered once, on a thread: that takes a few hundred milliseconds, and others do not wait for it."""
    rendering = _pages.get(page)
    if rendering is None or (
        rendering.done() and (rendering.cancelled() or rendering.exception() is not None)
    ):
        rendering = _pages[page] = asyncio.ensure_future(asyncio.to_thread(page))
    return await asyncio.shield(rendering)


_pages: dict[Callable[[], bytes], "asyncio.Future[bytes]"] = {}


def _docs_bytes() -> bytes:
    return docs_page(document()).encode()


def _document_bytes() -> bytes:
    return msgspec.json.encode(document())


def _ours(_: AnyRequest, error: AegisError) -> Response[bytes]:
    return _response(problem_of(error))


def _frameworks(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Reword an error of the framework."""
    if isinstance(error, ValidationException):
        return _ours(request, as_invalid(error.extra))
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
    if "allow" in headers and org_of("POST", path) is not None:
        headers["allow"] += ", POST"  # the framework does not know the ingest call in front of it
    return _response((status, headers, body))


def _unreadable(request: AnyRequest, error: UnicodeDecodeError) -> Response[bytes]:
    return _ours(request, Malformed(f"the body is not UTF-8 (byte {error.start}): encode it as UTF-8"))


def _too_deep(request: AnyRequest, _: RecursionError) -> Response[bytes]:
    return _ours(request, Malformed("the body is nested too deeply: no call needs more than 5 levels"))


def _bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    return _response(bug_problem(service_of(request).telemetry, request.url.path, error))


def _response(problem: tuple[int, dict[str, str], bytes]) -> Response[bytes]:
    status, headers, body = problem
    media_type = headers.pop("content-type")
    return Response(body, status_code=status, headers=headers, media_type=media_type)
