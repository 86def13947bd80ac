"""The operator's view: how all organizations stand, and how the service does."""

from typing import Any

from litestar import Request, get
from litestar.params import FromQuery

from aegis_stream import __version__, build
from aegis_stream.control import fleet
from aegis_stream.control.fleet import ServiceStatus
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store.fleet import OrganizationStanding

from .docs import errors
from .requests import PAGE_DEFAULT, read_id_cursor, read_limit
from .schemas.base import time_text
from .schemas.fleet import (
    DestinationCounts,
    DiskBody,
    IngestBody,
    OrganizationCounts,
    OrganizationList,
    OrganizationStandingBody,
    RecentIngest,
    ServiceBody,
    StatusBody,
    StoreBody,
    WorkerBody,
)
from .service import Service, control_of, service_of

TAGS = ["Organizations and keys"]
AnyRequest = Request[Any, Any, Any]


@get("/api/orgs", tags=TAGS, responses=errors())
async def list_organizations(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
    *,
    worst_first: FromQuery[bool] = False,
) -> OrganizationList:
    """List organizations and how they stand, by id; `worst_first` gives one page. Requires the operator key."""
    count, after = read_limit(limit), read_id_cursor(cursor)
    if worst_first and after is not None:
        message = "does not go with worst_first, which has one page: omit one of them"
        raise Invalid(f"cursor {message}", problems=(FieldProblem("cursor", message),))
    deps = control_of(request)
    found = await fleet.list_organizations(
        deps, worst_first=worst_first, after=after or "", limit=count + (not worst_first)
    )
    now = deps.clock.now()
    shown = [standing_body(one, now) for one in found[:count]]
    return OrganizationList(shown, shown[-1].org_id if len(found) > count else None)


@get("/api/status", tags=["Service"], responses=errors())
async def read_status(request: AnyRequest) -> StatusBody:
    """Read how the service does: store, organizations, workers, ingest. Requires the operator key."""
    service = service_of(request)
    return status_body(service, await fleet.status(service.control))


def standing_body(one: OrganizationStanding, now: Micros) -> OrganizationStandingBody:
    """Show how an organization stands."""
    return OrganizationStandingBody(
        org_id=one.org_id,
        name=one.name,
        created_at=to_text(one.created_at),
        head_sequence=one.head,
        stored_bytes=one.stored_bytes,
        destinations=one.destinations,
        paused=one.paused,
        failing=one.failing,
        waiting=one.waiting,
        lag_seconds=max(0, now - one.waiting_since) // SECOND if one.waiting_since is not None else None,
        dead_letters=one.dead_letters,
        events_per_minute=one.events_per_minute,
        last_event_at=time_text(one.last_event_at),
        proof=one.proof,
    )


def status_body(service: Service, found: ServiceStatus) -> StatusBody:
    """Show how the service does."""
    totals, disk = found.totals, found.disk
    counts, recent = service.counts, service.rates.recent(service.control.clock.steady())
    return StatusBody(
        version=__version__,
        build=build.label(),
        store=StoreBody(
            found.store, found.stored_bytes, DiskBody(disk.total, disk.free) if disk is not None else None
        ),
        organizations=OrganizationCounts(found.organizations, found.failing_organizations, found.near_quota),
        destinations=DestinationCounts(
            totals.destinations,
            totals.destinations_failing,
            found.unserved,
            totals.backlog,
            totals.retrying,
            totals.dead_letters,
        ),
        services=[
            ServiceBody(one.process_id, one.api_processes, to_text(one.started_at)) for one in found.services
        ],
        workers=[
            WorkerBody(one.worker_id, to_text(one.started_at), one.destinations, round(one.lease_s, 1))
            for one in found.workers
        ],
        ingest=IngestBody(counts.requests(), counts.events(), RecentIngest(*recent)),
    )


HANDLERS = [list_organizations, read_status]
