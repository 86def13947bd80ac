"""API key → principal: who calls, and what they may do.

Keys are looked up by the SHA-256 of their text (they have 256 bits of chance, so no slow hash is needed) and compared in
constant time. A good key is remembered for a moment, so that the hot path asks the store once a second, not once a
request; revocation is effective within that second.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Protocol

from .domain.ids import (
    RANDOM_BYTES,
    SECOND,
    KeyId,
    Micros,
    OrganizationId,
    OrganizationNo,
    is_organization_id,
    new_id,
    new_secret,
)
from .domain.organization import KEY_PREFIX, ApiKey, Scope
from .errors import Denied, FieldProblem, Invalid, NotFound, Unauthenticated
from .ports import Clock, Dice
from .store.directory import StoredDirectory
from .store.sqlite import Connection

REMEMBER_US = 1_000_000
"""How long a good key is believed without asking again, microseconds."""
REMEMBERED_MAX = 10_000
"""Good keys remembered at most."""

ALLOWED: dict[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset({Scope.ADMIN, Scope.INGEST, Scope.READ}),
    Scope.INGEST: frozenset({Scope.INGEST}),
    Scope.READ: frozenset({Scope.READ}),
}
"""What a key of each scope may do."""


class Keys(Protocol):
    """Where keys are looked up."""

    async def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a key of one organization."""

    organization_no: OrganizationNo
    org_id: OrganizationId
    scope: Scope
    key_id: str

    def require(self, org_id: str, scope: Scope) -> None:
        """Refuse a call on another organization (as if it did not exist) or beyond the key's scope.

        Raises: NotFound, Denied.
        """
        if org_id != self.org_id:
            raise NotFound(f"there is no organization {org_id[:80]!r} for this key")
        if scope not in ALLOWED[self.scope]:
            raise Denied(
                f"this key has scope {self.scope.value}; the call needs {scope.value}: use another key"
            )


@dataclass(slots=True)
class Access:
    """Turns Authorization headers into principals.

    Args:
        operator_digest: SHA-256 of the operator key.
    """

    keys: Keys
    clock: Clock
    operator_digest: bytes = field(repr=False)
    _known: dict[str, tuple[Micros, Principal]] = field(default_factory=dict, repr=False)

    async def principal(self, authorization: str | None) -> Principal:
        """Return who calls.

        Args:
            authorization: value of the Authorization header, if there was one.
        Raises: Unauthenticated. Unavailable when the store cannot be asked.
        """
        token = _token_of(authorization)
        now = self.clock.now()
        known = self._known.get(token)
        if known is not None and 0 <= now - known[0] < REMEMBER_US:
            return known[1]
        digest = hashlib.sha256(token.encode()).digest()
        key = await self.keys.key_by_digest(digest)
        if (
            key is None
            or not hmac.compare_digest(key.digest, digest)
            or (key.expires_at is not None and key.expires_at <= now)
        ):
            self._known.pop(token, None)
            raise Unauthenticated(
                "this API key is not known: it may be mistyped, revoked or expired", code="unknown-key"
            )
        principal = Principal(key.organization_no, key.org_id, key.scope, key.key_id)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[token] = (now, principal)
        return principal

    def require_operator(self, authorization: str | None) -> None:
        """Let only the operator pass.

        Raises: Unauthenticated.
        """
        token = _token_of(authorization)
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self.operator_digest):
            raise Unauthenticated("this call needs the operator key (AEGIS_OPERATOR_KEY)", code="unknown-key")


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key and its text, which is shown once and stored nowhere."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Makes and ends organizations' keys; every method runs inside a write of the store."""

    directory: StoredDirectory
    clock: Clock
    dice: Dice

    def add_organization(self, db: Connection, name: str, org_id: str | None) -> Issued:
        """Make an organization and its first admin key.

        Args:
            org_id: its id, or None for a new one.
        Raises: Invalid when the id has another shape. Conflict when it is taken.
        """
        now = self.clock.now()
        if org_id is not None and not is_organization_id(org_id):
            message = "must be org_ and 1 to 60 letters, digits, _ or -"
            raise Invalid(f"the organization's id {message}", problems=(FieldProblem("id", message),))
        made_id = OrganizationId(org_id or new_id("org", now, self.dice.random_bytes(RANDOM_BYTES)))
        self.directory.add_organization(db, made_id, name, now)
        return self.add_key(db, made_id, "first admin key", Scope.ADMIN, None)

    def add_key(
        self, db: Connection, org_id: str, name: str, scope: Scope, expires_at: Micros | None
    ) -> Issued:
        """Make a key. Raises: NotFound when there is no such organization."""
        organization = self.directory.find_organization(db, org_id)
        now, text = self.clock.now(), new_secret(KEY_PREFIX, self.dice.random_bytes(32))
        key = ApiKey(
            key_id=KeyId(new_id("key", now, self.dice.random_bytes(RANDOM_BYTES))),
            organization_no=organization.no,
            org_id=organization.org_id,
            name=name,
            scope=scope,
            digest=hashlib.sha256(text.encode()).digest(),
            hint=text[-4:],
            created_at=now,
            expires_at=expires_at,
        )
        self.directory.add_key(db, key)
        return Issued(key, text)

    def keys(self, db: Connection, org_id: str) -> list[ApiKey]:
        """Return an organization's keys, at most 10,000. Raises: NotFound."""
        return self.directory.list_keys(db, self.directory.find_organization(db, org_id).no, "", 10_000)

    def revoke_key(self, db: Connection, org_id: str, key_id: str) -> None:
        """End a key at once. Raises: NotFound."""
        self.directory.delete_key(db, self._key(db, org_id, key_id))

    def rotate_key(self, db: Connection, org_id: str, key_id: str, overlap_s: int) -> Issued:
        """Make a new key like an old one, which ends after `overlap_s` seconds. Raises: NotFound."""
        old = self._key(db, org_id, key_id)
        issued = self.add_key(db, org_id, old.name, old.scope, old.expires_at)
        if overlap_s:
            self.directory.expire_key(db, old, Micros(self.clock.now() + overlap_s * SECOND))
        else:
            self.directory.delete_key(db, old)
        return issued

    def _key(self, db: Connection, org_id: str, key_id: str) -> ApiKey:
        organization = self.directory.find_organization(db, org_id)
        key = self.directory.find_key(db, organization.no, key_id)
        if key is None:
            raise NotFound(f"there is no key {key_id[:80]!r} in this organization")
        return key


def _token_of(authorization: str | None) -> str:
    if authorization is None:
        raise Unauthenticated(
            "the Authorization header is missing: send `Authorization: Bearer <API key>`", code="missing-key"
        )
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise Unauthenticated(
            "the Authorization header is not understood: send `Authorization: Bearer <API key>`",
            code="missing-key",
        )
    return token
