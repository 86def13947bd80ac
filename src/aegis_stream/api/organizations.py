"""Organizations (by the operator) and their API keys."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aegis_stream.access import Issued
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.times import to_text

from .audit import issuer_of
from .docs import errors
from .schemas import (
    KeyBody,
    KeyList,
    KeyMade,
    KeyWrite,
    OrganizationBody,
    OrganizationMade,
    OrganizationWrite,
    RotateWrite,
    time_text,
)
from .scopes import caller_of
from .service import PAGE_DEFAULT, decode_strict, moment, read_id_cursor, read_limit, service_of

KEYS = "/api/orgs/{org_id:str}/api-keys"
TAGS = ["Organizations and keys"]
AnyRequest = Request[Any, Any, Any]


@post("/api/orgs", tags=TAGS, responses=errors(409))
async def create_organization(request: AnyRequest, data: JSONBody[OrganizationWrite]) -> OrganizationMade:
    """Make an organization and its first admin key. Needs the operator key."""
    service = service_of(request)
    data = await decode_strict(request, data)
    org_id = None if data.id is UNSET else data.id
    issuer = issuer_of(request)
    made = await service.directory.db.write(lambda db: issuer.add_organization(db, data.name, org_id))
    return OrganizationMade(
        made.key.org_id, data.name, made.text, made.key.key_id, to_text(made.key.created_at)
    )


@get("/api/orgs/{org_id:str}", tags=TAGS, responses=errors())
async def read_organization(request: AnyRequest, org_id: FromPath[str]) -> OrganizationBody:
    """Read an organization; any key of it will do."""
    service = service_of(request)
    found, _ = await service.directory.organization(org_id)
    return OrganizationBody(found.org_id, found.name, found.head, to_text(found.created_at))


@post(KEYS, tags=TAGS, responses=errors(403, 409))
async def create_key(request: AnyRequest, data: JSONBody[KeyWrite]) -> KeyMade:
    """Make an API key; its text is shown this once."""
    service = service_of(request)
    data = await decode_strict(request, data)
    principal = caller_of(request)
    expires_at = moment(data.expires_at, "expires_at")
    scope = Scope(data.scope)
    issuer = issuer_of(request)
    made = await service.directory.db.write(
        lambda db: issuer.add_key(db, principal.org_id, data.name, scope, expires_at)
    )
    return _made(made)


@get(KEYS, tags=TAGS, responses=errors(403))
async def list_keys(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> KeyList:
    """List API keys, oldest first, without their texts."""
    service = service_of(request)
    principal = caller_of(request)
    count = read_limit(limit)
    keys = await service.directory.keys_of(principal.organization_no, read_id_cursor(cursor) or "", count + 1)
    shown = [
        KeyBody(one.key_id, one.name, one.scope, one.hint, to_text(one.created_at), time_text(one.expires_at))
        for one in keys[:count]
    ]
    return KeyList(shown, shown[-1].id if len(keys) > count else None)


@delete(KEYS + "/{key_id:str}", status_code=204, tags=TAGS, responses=errors(403))
async def revoke_key(request: AnyRequest, key_id: FromPath[str]) -> None:
    """Revoke an API key; within a second it opens nothing."""
    service = service_of(request)
    principal = caller_of(request)
    issuer = issuer_of(request)
    await service.directory.db.write(lambda db: issuer.revoke_key(db, principal.org_id, key_id))
    service.access.forget(key_id)


@post(KEYS + "/{key_id:str}/rotate", tags=TAGS, responses=errors(403, 409))
async def rotate_key(
    request: AnyRequest,
    key_id: FromPath[str],
    data: JSONBody[RotateWrite | None] = None,
) -> KeyMade:
    """Make a new key like this one; the old one ends at once, or after `overlap_seconds`."""
    service = service_of(request)
    data = await decode_strict(request, data)
    principal = caller_of(request)
    overlap_s = data.overlap_seconds if data is not None else 0
    issuer = issuer_of(request)
    made = await service.directory.db.write(
        lambda db: issuer.rotate_key(db, principal.org_id, key_id, overlap_s)
    )
    service.access.forget(key_id)
    return _made(made)


def _made(made: Issued) -> KeyMade:
    key = made.key
    return KeyMade(
        key.key_id, key.name, key.scope, made.text, to_text(key.created_at), time_text(key.expires_at)
    )


HANDLERS = [create_organization, read_organization, create_key, list_keys, revoke_key, rotate_key]
