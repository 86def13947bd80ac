"""Forwarding destinations: create, list, read, change, pause, resume, delete, test."""

from typing import Any

from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from aegis_stream.control import destinations as control
from aegis_stream.control import testing

from .docs import errors
from .requests import PAGE_DEFAULT, decode_strict, read_id_cursor, read_limit
from .schemas.destinations import (
    DestinationBody,
    DestinationList,
    DestinationPatchWrite,
    DestinationWrite,
    destination_body,
)
from .schemas.specs import patch_of, spec_of
from .schemas.testing import TestBody, tested_body
from .scopes import caller_of
from .service import control_of

BASE = "/api/orgs/{org_id:str}/forwarding-destinations"
ONE = BASE + "/{destination_id:str}"
TAGS = ["Forwarding destinations"]

AnyRequest = Request[Any, Any, Any]


@post(BASE, tags=TAGS, responses=errors(403, 409))
async def create_destination(request: AnyRequest, data: JSONBody[DestinationWrite]) -> DestinationBody:
    """Create a destination; it receives events recorded from now on."""
    deps = control_of(request)
    data = await decode_strict(request, data)
    spec = spec_of(data, deps.settings.retry.policy)
    return _shown(request, await control.create(deps, caller_of(request), spec))


@get(BASE, tags=TAGS, responses=errors(403))
async def list_destinations(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DestinationList:
    """List destinations, oldest first."""
    count, after = read_limit(limit), read_id_cursor(cursor)
    found = await control.list_of(control_of(request), caller_of(request), after or "", count + 1)
    shown = [_shown(request, one) for one in found[:count]]
    return DestinationList(shown, shown[-1].id if len(found) > count else None)


@get(ONE, tags=TAGS, responses=errors(403))
async def read_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Read a destination: its configuration without the credential, its status and its counts."""
    return _shown(request, await control.find_state(control_of(request), caller_of(request), destination_id))


@patch(ONE, tags=TAGS, responses=errors(403))
async def change_destination(
    request: AnyRequest,
    destination_id: FromPath[str],
    data: JSONBody[DestinationPatchWrite],
) -> DestinationBody:
    """Change some fields of a destination. A URL with another host drops auth header, headers and oauth2, unless sent again."""
    deps, caller = control_of(request), caller_of(request)
    data = await decode_strict(request, data)
    change = patch_of(data, deps.settings.retry.policy)
    return _shown(request, await control.change(deps, caller, destination_id, change))


@delete(ONE, status_code=204, tags=TAGS, responses=errors(403))
async def delete_destination(request: AnyRequest, destination_id: FromPath[str]) -> None:
    """Delete a destination, its credential, its retries and its dead letters."""
    await control.delete(control_of(request), caller_of(request), destination_id)


@post(ONE + "/pause", status_code=200, tags=TAGS, responses=errors(403))
async def pause_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Stop all deliveries until `resume`. Nothing is lost; the backlog grows."""
    return _shown(request, await control.pause(control_of(request), caller_of(request), destination_id))


@post(ONE + "/resume", status_code=200, tags=TAGS, responses=errors(403))
async def resume_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Continue where `pause` stopped."""
    return _shown(request, await control.resume(control_of(request), caller_of(request), destination_id))


@post(ONE + "/test", status_code=200, tags=TAGS, responses=errors(403))
async def send_test(request: AnyRequest, destination_id: FromPath[str]) -> TestBody:
    """Send one test event at once, with the destination's own format and credential, also while it is paused."""
    return tested_body(await testing.send_test(control_of(request), caller_of(request), destination_id))


@post(BASE + "/test", status_code=200, tags=TAGS, responses=errors(403))
async def send_unsaved_test(request: AnyRequest, data: JSONBody[DestinationWrite]) -> TestBody:
    """Send one test event to a destination that is not saved: the body is the one that would create it."""
    deps = control_of(request)
    data = await decode_strict(request, data)
    spec = spec_of(data, deps.settings.retry.policy)
    return tested_body(await testing.send_unsaved_test(deps, caller_of(request), spec))


HANDLERS = [
    create_destination,
    list_destinations,
    read_destination,
    change_destination,
    delete_destination,
    pause_destination,
    resume_destination,
    send_test,
    send_unsaved_test,
]


def _shown(request: AnyRequest, state: control.DestinationState) -> DestinationBody:
    return destination_body(state, control_of(request).settings.delivery.dead_letters_max)
