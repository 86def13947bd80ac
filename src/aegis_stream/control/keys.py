"""API keys of an organization: create, list, revoke, rotate."""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.domain.audit import key_action, key_view
from aegis_stream.domain.ids import RANDOM_BYTES, SECOND, KeyId, Micros, new_id, new_secret
from aegis_stream.domain.names import check_name
from aegis_stream.domain.organization import KEY_PREFIX, ApiKey, Organization, Scope
from aegis_stream.errors import Conflict, NotFound
from aegis_stream.store import keys, organizations
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller
from .deps import StoreDeps


class NewKey(NamedTuple):
    """A key to create.

    Args:
        expires_at: None for never.
    """

    name: str
    scope: Scope
    expires_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key and its text, which is shown once and stored nowhere."""

    key: ApiKey
    text: str = field(repr=False)


async def create(deps: StoreDeps, caller: Caller, org_id: str, new: NewKey) -> Issued:
    """Create a key.

    Raises: Invalid for a name that is not printable. NotFound without such an organization. Conflict when it has too many
        keys. Unavailable.
    """
    check_name(new.name)

    def act(unit: Unit, record: Record) -> Issued:
        issued = add_key(unit, deps, org_id, new)
        record(issued.key, key_action("key_create", issued.key, after=key_view(issued.key)))
        return issued

    return await perform(deps, caller, act)


async def list_of(deps: StoreDeps, org_id: str, after: str, limit: int) -> list[ApiKey]:
    """Return an organization's keys with an id above `after`, oldest first. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> list[ApiKey]:
        return keys.list_of(unit, organizations.find(unit, org_id).no, after, limit)

    return await deps.db.read(work)


async def revoke(deps: StoreDeps, caller: Caller, org_id: str, key_id: str) -> None:
    """Delete a key; within a second it is accepted nowhere. Raises: NotFound, Unavailable."""

    def act(unit: Unit, record: Record) -> None:
        key = _find(unit, org_id, key_id)
        keys.delete(unit, key)
        record(key, key_action("key_revoke", key, before=key_view(key)))

    await perform(deps, caller, act)
    deps.forget_key(key_id)


async def rotate(deps: StoreDeps, caller: Caller, org_id: str, key_id: str, *, overlap_s: int) -> Issued:
    """Create a new key like an old one, which expires after `overlap_s` seconds.

    Raises: NotFound. Conflict when there are too many keys. Unavailable.
    """

    def act(unit: Unit, record: Record) -> Issued:
        old = _find(unit, org_id, key_id)
        if overlap_s:
            keys.expire(unit, old, Micros(deps.clock.now() + overlap_s * SECOND))
        else:
            keys.delete(unit, old)
        issued = add_key(unit, deps, org_id, NewKey(old.name, old.scope, old.expires_at))
        after = key_view(issued.key) | {"overlap_seconds": overlap_s}
        record(old, key_action("key_rotate", old, before=key_view(old), after=after))
        return issued

    issued = await perform(deps, caller, act)
    deps.forget_key(key_id)
    return issued


def add_key(unit: Unit, deps: StoreDeps, org_id: str, new: NewKey) -> Issued:
    """Store a new key of an organization. Raises: NotFound. Conflict when it has too many keys."""
    organization = organizations.find(unit, org_id)
    _make_room(unit, deps, organization)
    now, text = deps.clock.now(), new_secret(KEY_PREFIX, deps.random.random_bytes(32))
    key = ApiKey(
        key_id=KeyId(new_id("key", now, deps.random.random_bytes(RANDOM_BYTES))),
        organization_no=organization.no,
        org_id=organization.org_id,
        name=new.name,
        scope=new.scope,
        digest=hashlib.sha256(text.encode()).digest(),
        hint=text[-4:],
        created_at=now,
        expires_at=new.expires_at,
    )
    keys.add(unit, key)
    return Issued(key, text)


def _make_room(unit: Unit, deps: StoreDeps, organization: Organization) -> None:
    """Delete expired keys where the limit is reached. Raises: Conflict when none has expired."""
    held = keys.list_of(unit, organization.no, "", deps.keys_max)
    if len(held) < deps.keys_max:
        return
    now = deps.clock.now()
    expired = [one for one in held if one.expires_at is not None and one.expires_at <= now]
    if not expired:
        raise Conflict(
            f"this organization has {len(held)} API keys; the limit is {deps.keys_max}: revoke one",
            code="too-many-keys",
        )
    for key in expired:
        keys.delete(unit, key)


def _find(unit: Unit, org_id: str, key_id: str) -> ApiKey:
    organization = organizations.find(unit, org_id)
    key = keys.find(unit, organization.no, key_id)
    if key is None:
        raise NotFound(f"there is no API key {key_id[:80]!r} in this organization")
    return key
