"""Organizations (by the operator) and their API keys."""

from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aegis_stream.control import keys, organizations, proof
from aegis_stream.control.caller import Caller
from aegis_stream.control.keys import Issued, ListedKey, NewKey
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import Organization, ProofMode, Scope
from aegis_stream.domain.times import to_text

from .docs import errors
from .recent import WATCH_US
from .requests import PAGE_DEFAULT, decode_strict, moment, read_id_cursor, read_limit
from .schemas.base import time_text
from .schemas.organizations import (
    KeyBody,
    KeyList,
    KeyMade,
    KeyWrite,
    OrganizationBody,
    OrganizationMade,
    OrganizationPatchWrite,
    OrganizationWrite,
    QuotasBody,
    QuotasWrite,
    RotateWrite,
    SeenRequestBody,
    SeenRequests,
)
from .scopes import address_of, caller_of
from .service import control_of, service_of

KEYS = "/api/orgs/{org_id:str}/api-keys"
TAGS = ["Organizations and keys"]
AnyRequest = Request[Any, Any, Any]


@post("/api/orgs", tags=TAGS, responses=errors(409))
async def create_organization(request: AnyRequest, data: JSONBody[OrganizationWrite]) -> OrganizationMade:
    """Create an organization and its first admin key. Requires the operator key."""
    data = await decode_strict(request, data)
    org_id = None if data.id is UNSET else data.id
    issued = await organizations.create(control_of(request), data.name, org_id)
    key = issued.key
    return OrganizationMade(key.org_id, data.name, issued.text, key.key_id, to_text(key.created_at))


@get("/api/orgs/{org_id:str}", tags=TAGS, responses=errors())
async def read_organization(request: AnyRequest) -> OrganizationBody:
    """Read an organization. Any key of it is enough."""
    found = await organizations.find(control_of(request), caller_of(request).org_id)
    return _body(request, found)


@patch("/api/orgs/{org_id:str}", tags=TAGS, responses=errors(403))
async def change_organization(
    request: AnyRequest, data: JSONBody[OrganizationPatchWrite]
) -> OrganizationBody:
    """Change how the log of an organization is sealed: `off`, `sealed` or `stream`. The sealer follows within seconds."""
    data = await decode_strict(request, data)
    deps, caller = control_of(request), caller_of(request)
    if data.proof is UNSET:
        return _body(request, await organizations.find(deps, caller.org_id))
    return _body(request, await proof.set_mode(deps, caller, caller.org_id, ProofMode(data.proof)))


@patch("/api/orgs/{org_id:str}/quotas", tags=TAGS, responses=errors())
async def change_quotas(
    request: AnyRequest, org_id: FromPath[str], data: JSONBody[QuotasWrite]
) -> OrganizationBody:
    """Change quotas of an organization. Requires the operator key."""
    data = await decode_strict(request, data)
    changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    caller = Caller.operator(address_of(request))
    return _body(request, await organizations.set_quotas(control_of(request), caller, org_id, changes))


@post(KEYS, tags=TAGS, responses=errors(403, 409))
async def create_key(request: AnyRequest, data: JSONBody[KeyWrite]) -> KeyMade:
    """Create an API key. Its text is shown only once."""
    data = await decode_strict(request, data)
    caller = caller_of(request)
    new = NewKey(data.name, Scope(data.scope), moment(data.expires_at, "expires_at"))
    return _made(await keys.create(control_of(request), caller, caller.org_id, new))


@get(KEYS, tags=TAGS, responses=errors(403))
async def list_keys(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> KeyList:
    """List API keys, oldest first, without their texts, and with their last use."""
    count, after = read_limit(limit), read_id_cursor(cursor) or ""
    deps = control_of(request)
    found = await keys.list_of(deps, caller_of(request).org_id, after, count + 1, unwritten=deps.access.uses)
    shown = [_key_body(one) for one in found[:count]]
    return KeyList(shown, shown[-1].id if len(found) > count else None)


@get(KEYS + "/{key_id:str}/requests", tags=TAGS, responses=errors(403))
async def list_requests(request: AnyRequest, key_id: FromPath[str]) -> SeenRequests:
    """List the last 20 ingest requests of a key since somebody first asked for them, and note them for 5 minutes more."""
    service = service_of(request)
    await keys.find(service.control, caller_of(request).org_id, key_id)
    recent = service.counts.recent
    recent.watch(key_id, service.control.clock.steady())
    shown = [
        SeenRequestBody(
            to_text(one.at),
            one.status,
            one.size,
            one.accepted,
            one.duplicates,
            one.rejected,
            one.reason or None,
        )
        for one in recent.of(key_id)
    ]
    return SeenRequests(shown, WATCH_US // SECOND)


@delete(KEYS + "/{key_id:str}", status_code=204, tags=TAGS, responses=errors(403))
async def revoke_key(request: AnyRequest, key_id: FromPath[str]) -> None:
    """Revoke an API key; within a second it is rejected everywhere."""
    caller = caller_of(request)
    await keys.revoke(control_of(request), caller, caller.org_id, key_id)


@post(KEYS + "/{key_id:str}/rotate", tags=TAGS, responses=errors(403, 409))
async def rotate_key(
    request: AnyRequest,
    key_id: FromPath[str],
    data: JSONBody[RotateWrite | None] = None,
) -> KeyMade:
    """Create a new key like this one; the old one expires at once, or after `overlap_seconds`."""
    data = await decode_strict(request, data)
    overlap_s = data.overlap_seconds if data is not None else 0
    caller = caller_of(request)
    return _made(await keys.rotate(control_of(request), caller, caller.org_id, key_id, overlap_s=overlap_s))


def _body(request: AnyRequest, found: Organization) -> OrganizationBody:
    quotas = found.quotas.over(control_of(request).settings.quotas)
    return OrganizationBody(
        found.org_id,
        found.name,
        found.head,
        to_text(found.created_at),
        found.stored_bytes,
        QuotasBody(quotas.stored_bytes_max, quotas.ingest_bytes_per_second),
        found.proof.value,
    )


def _key_body(listed: ListedKey) -> KeyBody:
    key, usage = listed
    return KeyBody(
        key.key_id,
        key.name,
        key.scope,
        key.hint,
        to_text(key.created_at),
        time_text(key.expires_at),
        time_text(usage.last_used_at),
        usage.last_used_from,
        usage.events_last_hour,
    )


def _made(made: Issued) -> KeyMade:
    key = made.key
    return KeyMade(
        key.key_id, key.name, key.scope, made.text, to_text(key.created_at), time_text(key.expires_at)
    )


HANDLERS = [
    create_organization,
    read_organization,
    change_organization,
    change_quotas,
    create_key,
    list_keys,
    list_requests,
    revoke_key,
    rotate_key,
]
