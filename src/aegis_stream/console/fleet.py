"""The operator's page: how the service does, all organizations with the worst first, and the way into one of them."""

from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, get, post

from aegis_stream import __version__, build
from aegis_stream.api.rates import RecentCounts
from aegis_stream.api.service import control_of, service_of
from aegis_stream.control import fleet, organizations
from aegis_stream.control.fleet import Disk, ServiceStatus
from aegis_stream.errors import Conflict, FieldProblem, Invalid, NotFound

from .commands import shown_call
from .forms import Form
from .gate import form_of, origin_of, visit_of
from .headline import Headline, Piece
from .page import base_of, done, page, problems_of
from .signin import session_cookie
from .snippets import snippets
from .words import counted

AnyRequest = Request[Any, Any, Any]
HOME = "/console/operator"
SHOWN_MAX = 100
"""Organizations on the page: those that need somebody most."""
DISK_FULL = 0.8
"""Share of the disk from which on its use is something to do about."""


class Rate(NamedTuple):
    """Ingest requests with one status: since the service started, and in the last while a minute."""

    status: str
    total: int
    per_minute: float | None


@get(HOME)
async def show_operator(request: AnyRequest) -> Response[str]:
    """Show the service and its organizations."""
    return await _operator_page(request, {}, Form({}))


@post(HOME)
async def create_organization(request: AnyRequest) -> Response[str]:
    """Make an organization, and show its first key, this once."""
    form = form_of(request)
    try:
        made = await organizations.create(control_of(request), _name_in(form), form.one("id") or None)
    except (Invalid, Conflict) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return await _operator_page(request, problems_of(error), form, status)
    return await page(
        request,
        "organization_made.html",
        title="Organization made",
        status=201,
        key=made.key,
        text=made.text,
        name=form.one("name"),
        snippets=snippets(origin_of(request), made.key.org_id),
    )


@post(HOME + "/enter", status_code=303)
async def enter(request: AnyRequest) -> Response[bytes]:
    """Enter an organization, to read; its audit trail says so."""
    return await _enter(request, form_of(request).one("org_id"), to_write=False)


@get(HOME + "/write")
async def ask_to_write(request: AnyRequest) -> Response[str]:
    """Ask again before the operator may change the organization that was entered."""
    return await _write_page(request, {})


@post(HOME + "/write", status_code=303)
async def allow_to_write(request: AnyRequest) -> Response[Any]:
    """Let the operator change the organization that was entered; its audit trail says so."""
    entered = visit_of(request).session.org_id
    if not entered or form_of(request).one("org_id") != entered:
        message = "must be the id of the organization that you have entered"
        return await _write_page(request, {"org_id": message}, 422)
    return await _enter(request, entered, to_write=True)


async def _enter(request: AnyRequest, org_id: str, *, to_write: bool) -> Response[bytes]:
    visit = visit_of(request)
    found = await organizations.enter(control_of(request), visit.caller, org_id, to_write=to_write)
    session = msgspec.structs.replace(
        visit.session, organization_no=found.no, org_id=found.org_id, may_write=to_write
    )
    what = "You may change this organization now" if to_write else "You look at this organization, read only"
    trail = f"{base_of(found.org_id)}/audit"
    answer = done(request, base_of(found.org_id), f"{what}; its audit trail says so.", href=trail)
    answer.cookies.append(session_cookie(request, session))
    return answer


async def _operator_page(
    request: AnyRequest, problems: dict[str, str], form: Form, status: int = 200
) -> Response[str]:
    service = service_of(request)
    found = await fleet.status(service.control)
    standings = await fleet.list_organizations(service.control, worst_first=True, limit=SHOWN_MAX)
    recent = service.rates.recent(service.control.clock.steady())
    return await page(
        request,
        "operator.html",
        title="Operator",
        status=status,
        headline=headline_of(found),
        found=found,
        standings=standings,
        rates=rates_of(service.counts.requests(), recent),
        recent_s=recent.seconds,
        build=build.label(),
        own_version=__version__,
        entered=visit_of(request).session.org_id,
        problems=problems,
        form=form,
        call=shown_call(
            origin_of(request),
            "GET",
            "/api/orgs?worst_first=true",
            aegis="aegis org list --worst-first; aegis status",
        ),
    )


async def _write_page(request: AnyRequest, problems: dict[str, str], status: int = 200) -> Response[str]:
    entered = visit_of(request).session.org_id
    if not entered:
        raise NotFound("you have entered no organization: enter one on the page Operator first")
    return await page(
        request,
        "operator_write.html",
        title="Change an organization",
        status=status,
        entered=entered,
        problems=problems,
    )


def headline_of(found: ServiceStatus) -> Headline:
    """Say what is wrong with the service, in one sentence; pure."""
    workers = [one for one in found.workers if one.lease_s > 0]
    wrong = []
    if not workers:
        wrong.append("no worker runs, so nothing is delivered: start `aegis serve` or `aegis worker`")
    elif found.unserved:
        wrong.append(f"{counted(found.unserved, 'destination')} without a worker")
    if _is_full(found.disk):
        assert found.disk is not None, "a disk that is full is one"
        wrong.append(f"the disk is {found.disk.used:.0%} full")
    if found.failing_organizations:
        verb = "has" if found.failing_organizations == 1 else "have"
        of = f"{found.failing_organizations:,} of {counted(found.organizations, 'organization')}"
        wrong.append(f"{of} {verb} a failing destination")
    if found.near_quota:
        wrong.append(f"{counted(found.near_quota, 'organization')} near the quota of stored bytes")
    if not wrong:
        text = f"The service runs: {counted(len(workers), 'worker')}, {counted(found.organizations, 'organization')}, no failing destination."
        return Headline("good", (Piece(text),))
    text = "; ".join(wrong)
    is_bad = not workers or _is_full(found.disk)
    return Headline("bad" if is_bad else "warn", (Piece(text[0].upper() + text[1:] + "."),))


def rates_of(totals: dict[str, int], recent: RecentCounts) -> list[Rate]:
    """Return ingest requests by status, with those of the last while a minute; None where nothing can be compared yet."""
    minutes = recent.seconds / 60
    return [
        Rate(status, total, recent.requests.get(status, 0) / minutes if minutes > 0 else None)
        for status, total in totals.items()
    ]


def _name_in(form: Form) -> str:
    """Return the name of a new organization. Raises: Invalid."""
    if not form.one("name"):
        raise Invalid("name must not be empty", problems=(FieldProblem("name", "must not be empty"),))
    return form.one("name")


def _is_full(disk: Disk | None) -> bool:
    return disk is not None and disk.used >= DISK_FULL


HANDLERS = [show_operator, create_organization, enter, ask_to_write, allow_to_write]
