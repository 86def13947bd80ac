"""API keys of an organization: create, list, revoke, rotate."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.domain.audit import key_action, key_view
from aegis_stream.domain.ids import (
    RANDOM_BYTES,
    SECOND,
    KeyId,
    Micros,
    OrganizationId,
    OrganizationNo,
    new_id,
    new_secret,
)
from aegis_stream.domain.names import check_name
from aegis_stream.domain.organization import KEY_PREFIX, ApiKey, KeyUsage, Organization, Scope
from aegis_stream.errors import Conflict, NotFound, Unauthenticated
from aegis_stream.store import key_uses, keys, organizations
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller, Principal
from .deps import StoreDeps
from .key_uses import KeyUses

Check = Callable[[ApiKey], None]
"""Raises when a key is no longer as somebody saw it, so that nothing is done; runs in the transaction."""


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


class ListedKey(NamedTuple):
    """A key, and what it was used for."""

    key: ApiKey
    usage: KeyUsage


async def list_of(
    deps: StoreDeps, org_id: str, after: str, limit: int, *, unwritten: KeyUses | None = None
) -> list[ListedKey]:
    """Return an organization's keys with an id above `after`, oldest first.

    Args:
        unwritten: uses that this process has noted and not yet written.
    Raises: NotFound, Unavailable.
    """

    def work(unit: Unit) -> list[ListedKey]:
        held = keys.list_of(unit, organizations.find(unit, org_id).no, after, limit)
        used = key_uses.of_keys(unit, held, deps.clock.now())
        return [ListedKey(one, used.get(one.key_id, KeyUsage())) for one in held]

    found = await deps.db.read(work)
    if unwritten is None:
        return found
    return [ListedKey(one.key, unwritten.over(one.key.key_id, one.usage)) for one in found]


async def find(deps: StoreDeps, org_id: str, key_id: str, *, unwritten: KeyUses | None = None) -> ListedKey:
    """Return one key. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> ListedKey:
        key = _find(unit, org_id, key_id)
        return ListedKey(key, key_uses.of_keys(unit, [key], deps.clock.now()).get(key.key_id, KeyUsage()))

    found = await deps.db.read(work)
    return found if unwritten is None else ListedKey(found.key, unwritten.over(key_id, found.usage))


async def principal_of(
    deps: StoreDeps, organization_no: OrganizationNo, org_id: OrganizationId, key_id: KeyId
) -> Principal:
    """Return the holder of a key that somebody signed in with, as it is now.

    Raises: Unauthenticated when it was revoked or has expired. Unavailable.
    """

    def work(unit: Unit) -> ApiKey | None:
        return keys.find(unit, organization_no, key_id)

    # At once, where the database can: whoever asks must not wait behind the reads of others.
    found = deps.db.peek(lambda unit: [work(unit)])
    key = found[0] if found is not None else await deps.db.read(work)
    if (
        key is None
        or key.org_id != org_id
        or (key.expires_at is not None and key.expires_at <= deps.clock.now())
    ):
        raise Unauthenticated("the key of this session was revoked or has expired: sign in with another one")
    return Principal(key.organization_no, key.org_id, key.scope, key.key_id, key.name)


async def revoke(
    deps: StoreDeps, caller: Caller, org_id: str, key_id: str, *, check: Check = lambda _: None
) -> None:
    """Delete a key; within a second it is accepted nowhere. Raises: NotFound, Unavailable, and what `check` raises."""

    def act(unit: Unit, record: Record) -> None:
        key = _find(unit, org_id, key_id)
        check(key)
        keys.delete(unit, key)
        record(key, key_action("key_revoke", key, before=key_view(key)))

    await perform(deps, caller, act)
    deps.forget_key(key_id)


async def rotate(
    deps: StoreDeps,
    caller: Caller,
    org_id: str,
    key_id: str,
    *,
    overlap_s: int,
    check: Check = lambda _: None,
) -> Issued:
    """Create a new key like an old one, which expires after `overlap_s` seconds.

    Raises: NotFound. Conflict when there are too many keys. Unavailable. What `check` raises.
    """

    def act(unit: Unit, record: Record) -> Issued:
        old = _find(unit, org_id, key_id)
        check(old)
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
