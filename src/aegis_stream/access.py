"""API key → principal: who calls, and what they may do.

Keys are looked up by the SHA-256 of their text (they have 256 bits of chance, so no slow hash is needed) and compared in
constant time. A good key is remembered for a moment, so that the hot path asks the store once a second, not once a
request; revocation is effective within that second. How often a key may call, and how often an address may try keys that
open nothing, is limited here as well.
"""

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from .domain.audit import AdminAction, key_action, key_view
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
from .domain.organization import KEY_PREFIX, ApiKey, Organization, Scope
from .domain.rate import Buckets, Rate
from .errors import Conflict, Denied, FieldProblem, Invalid, Limited, NotFound, Unauthenticated
from .ports import Clock, Random
from .settings import Settings
from .store import keys, organizations
from .store.audit_writer import AuditWriter
from .store.database import Unit

REMEMBER_US = 1_000_000
"""How long a good key is believed without asking again, microseconds."""
REMEMBERED_MAX = 10_000
"""Good keys remembered at most."""

GUESSES_TOLD = Rate(1, 60)
"""Log lines about keys that open nothing: one a minute for each network and kind, or whoever guesses would fill the log."""

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
    """Who calls: a key of one organization.

    Args:
        name: what the key is called, "" for nothing.
    """

    organization_no: OrganizationNo
    org_id: OrganizationId
    scope: Scope
    key_id: str
    name: str = ""

    def require(self, org_id: str, scope: Scope | None) -> None:
        """Refuse a call on another organization (as if it did not exist) or beyond the key's scope.

        Args:
            scope: what the call needs; None where any key of the organization will do.
        Raises: NotFound, Denied.
        """
        if org_id != self.org_id:
            raise NotFound(f"there is no organization {org_id[:80]!r} for this key")
        if scope is not None and scope not in ALLOWED[self.scope]:
            raise Denied(
                f"this key has scope {self.scope.value}; the call needs {scope.value}: use another key"
            )


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """How often somebody may call.

    Args:
        ingest: requests of one key that bring events in.
        calls: all other calls of one key.
        failures: keys that open nothing, tried from one address.
        tests: test events of one organization.
    """

    ingest: Rate
    calls: Rate
    failures: Rate
    tests: Rate

    @classmethod
    def of(cls, settings: Settings) -> "AccessLimits":
        """Return the limits as configured; what is limited by the second may come in bursts of two."""
        return cls(
            ingest=Rate(2 * settings.rates.key_ingest_per_second, 2),
            calls=Rate(2 * settings.rates.key_calls_per_second, 2),
            failures=Rate(settings.rates.failed_keys_per_minute, 60),
            tests=Rate(settings.rates.tests_per_minute, 60),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key that is known, and still did not open.

    Args:
        principal: whose key it is.
        reason: "expired", "scope" (the key's is too small) or "organization" (the path names another one).
        address: where the call came from, None where that is not known.
    """

    principal: Principal
    reason: str
    address: str | None


class Watch(Protocol):
    """Who wants to know of refused keys."""

    async def refused(self, refusal: Refusal) -> None:
        """Note a refusal; raises nothing."""
        ...


@dataclass(slots=True)
class Access:
    """Turns Authorization headers into principals.

    Args:
        operator_digest: SHA-256 of the operator key.
        watch: told of known keys that were refused; None for nobody.
        on_guess: called as on_guess(network, kind of key) when a key opened nothing, once a minute for the same two.
    """

    keys: Keys
    clock: Clock
    operator_digest: bytes = field(repr=False)
    limits: AccessLimits = field(default_factory=lambda: AccessLimits.of(Settings()))
    watch: Watch | None = field(default=None, repr=False)
    on_guess: Callable[[str, str], None] | None = field(default=None, repr=False)
    _known: dict[str, tuple[Micros, Principal]] = field(default_factory=dict, repr=False)
    _ingest: Buckets[str] = field(init=False, repr=False)
    _calls: Buckets[str] = field(init=False, repr=False)
    _failures: Buckets[str] = field(init=False, repr=False)
    _tests: Buckets[OrganizationNo] = field(init=False, repr=False)
    _told: Buckets[tuple[str, str]] = field(default_factory=lambda: Buckets(GUESSES_TOLD), repr=False)

    def __post_init__(self) -> None:
        self._ingest = Buckets(self.limits.ingest)
        self._calls = Buckets(self.limits.calls)
        self._failures = Buckets(self.limits.failures)
        self._tests = Buckets(self.limits.tests)

    async def authorize(
        self, authorization: str | None, org_id: str, scope: Scope | None, address: str | None
    ) -> Principal:
        """Return who calls, allowed to do this in this organization; tell the watch of keys that are not.

        Args:
            scope: what the call needs; None where any key of the organization will do.
            address: where the call comes from.
        Raises: Unauthenticated, NotFound (another organization's), Denied (scope), Limited. Unavailable when the store
            cannot be asked.
        """
        principal = await self.principal(authorization, address)
        try:
            principal.require(org_id, scope)
        except (NotFound, Denied) as error:
            reason = "scope" if isinstance(error, Denied) else "organization"
            await self._tell(Refusal(principal, reason, address))
            raise
        return principal

    async def principal(self, authorization: str | None, address: str | None = None) -> Principal:
        """Return who calls.

        Args:
            authorization: value of the Authorization header, if there was one.
            address: where the call comes from; None for nowhere that could be limited.
        Raises: Unauthenticated. Limited after too many wrong keys from there. Unavailable when the store cannot be asked.
        """
        token = _token_of(authorization)
        now = self.clock.now()
        known = self._known.get(token)
        if known is not None:
            if 0 <= now - known[0] < REMEMBER_US:
                return known[1]
        else:  # a key that opened before is no guess: others behind the same address must not be able to shut it out
            self._refuse_guesses(address, now)
        digest = hashlib.sha256(token.encode()).digest()
        key = await self.keys.key_by_digest(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            self._known.pop(token, None)
            self._count_guess(address, now, "API key")
            raise _unknown_key()
        principal = Principal(key.organization_no, key.org_id, key.scope, key.key_id, key.name)
        if key.expires_at is not None and key.expires_at <= now:
            self._known.pop(token, None)
            self._count_guess(address, now, "expired API key")
            await self._tell(Refusal(principal, "expired", address))
            raise _unknown_key()
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[token] = (now, principal)
        return principal

    def require_operator(self, authorization: str | None, address: str | None = None) -> None:
        """Let only the operator pass.

        Raises: Unauthenticated. Limited after too many wrong keys from there.
        """
        token = _token_of(authorization)
        now = self.clock.now()
        self._refuse_guesses(address, now)
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self.operator_digest):
            self._count_guess(address, now, "operator key")
            raise Unauthenticated("this call needs the operator key (AEGIS_OPERATOR_KEY)", code="unknown-key")

    def admit(self, principal: Principal) -> None:
        """Count a request that brings events in. Costs less than a microsecond. Raises: Limited."""
        wait_us = self._ingest.take(principal.key_id, self.clock.now())
        if wait_us:
            raise _too_often(wait_us, self.limits.ingest, "this key may call")

    def admit_call(self, principal: Principal) -> None:
        """Count any other call. Raises: Limited."""
        wait_us = self._calls.take(principal.key_id, self.clock.now())
        if wait_us:
            raise _too_often(wait_us, self.limits.calls, "this key may call")

    def admit_test(self, principal: Principal) -> None:
        """Count a test event of the caller's organization. Raises: Limited."""
        wait_us = self._tests.take(principal.organization_no, self.clock.now())
        if wait_us:
            raise _too_often(wait_us, self.limits.tests, "this organization may send test events")

    def forget(self, key_id: str) -> None:
        """Believe a key no longer: it was revoked or changed in this process; other processes learn within a second."""
        for token in [token for token, (_, one) in self._known.items() if one.key_id == key_id]:
            del self._known[token]

    def _refuse_guesses(self, address: str | None, now: Micros) -> None:
        wait_us = self._failures.wait(_network_of(address), now) if address is not None else 0.0
        if wait_us:
            raise Limited(
                "too many keys from this address opened nothing: check the key, then wait",
                retry_after_s=math.ceil(wait_us / SECOND),
                code="rate-limited",
            )

    def _count_guess(self, address: str | None, now: Micros, what: str) -> None:
        if address is None:
            return
        network = _network_of(address)
        self._failures.take(network, now)
        if self.on_guess is not None and not self._told.take((network, what), now):
            self.on_guess(network, what)

    async def _tell(self, refusal: Refusal) -> None:
        if self.watch is not None:
            await self.watch.refused(refusal)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key and its text, which is shown once and stored nowhere."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Makes and ends organizations' keys; every method runs inside a write of the store.

    Args:
        keys_max: keys of one organization at most; at the limit, those that have expired make room.
        audit_writer: records what is done, in the same write; None for nowhere.
    """

    clock: Clock
    random: Random
    audit_writer: AuditWriter | None = None
    keys_max: int = 1000

    def add_organization(self, unit: Unit, name: str, org_id: str | None) -> Issued:
        """Make an organization and its first admin key.

        Args:
            org_id: its id, or None for a new one.
        Raises: Invalid when the id has another shape. Conflict when it is taken.
        """
        now = self.clock.now()
        if org_id is not None and not is_organization_id(org_id):
            message = "must be org_ and 1 to 60 letters, digits, _ or -"
            raise Invalid(f"the organization's id {message}", problems=(FieldProblem("id", message),))
        made_id = OrganizationId(org_id or new_id("org", now, self.random.random_bytes(RANDOM_BYTES)))
        organizations.add(unit, made_id, name, now)
        # Not recorded: a log begins with what its organization sends, and nobody was there before to be told.
        return self._make_key(unit, made_id, "first admin key", Scope.ADMIN, None)

    def add_key(self, unit: Unit, org_id: str, name: str, scope: Scope, expires_at: Micros | None) -> Issued:
        """Make a key. Raises: NotFound when there is no such organization. Conflict when it has too many keys."""
        issued = self._make_key(unit, org_id, name, scope, expires_at)
        self._record(unit, issued.key, key_action("key_create", issued.key, after=key_view(issued.key)))
        return issued

    def _make_key(
        self, unit: Unit, org_id: str, name: str, scope: Scope, expires_at: Micros | None
    ) -> Issued:
        organization = organizations.find(unit, org_id)
        self._make_room(unit, organization)
        now, text = self.clock.now(), new_secret(KEY_PREFIX, self.random.random_bytes(32))
        key = ApiKey(
            key_id=KeyId(new_id("key", now, self.random.random_bytes(RANDOM_BYTES))),
            organization_no=organization.no,
            org_id=organization.org_id,
            name=name,
            scope=scope,
            digest=hashlib.sha256(text.encode()).digest(),
            hint=text[-4:],
            created_at=now,
            expires_at=expires_at,
        )
        keys.add(unit, key)
        return Issued(key, text)

    def keys(self, unit: Unit, org_id: str) -> list[ApiKey]:
        """Return an organization's keys, at most 10,000. Raises: NotFound."""
        return keys.list_of(unit, organizations.find(unit, org_id).no, "", 10_000)

    def revoke_key(self, unit: Unit, org_id: str, key_id: str) -> None:
        """End a key at once. Raises: NotFound."""
        key = self._key(unit, org_id, key_id)
        keys.delete(unit, key)
        self._record(unit, key, key_action("key_revoke", key, before=key_view(key)))

    def rotate_key(self, unit: Unit, org_id: str, key_id: str, overlap_s: int) -> Issued:
        """Make a new key like an old one, which ends after `overlap_s` seconds. Raises: NotFound. Conflict as above."""
        old = self._key(unit, org_id, key_id)
        if overlap_s:
            keys.expire(unit, old, Micros(self.clock.now() + overlap_s * SECOND))
        else:
            keys.delete(unit, old)
        issued = self._make_key(unit, org_id, old.name, old.scope, old.expires_at)
        after = key_view(issued.key) | {"overlap_seconds": overlap_s}
        self._record(unit, old, key_action("key_rotate", old, before=key_view(old), after=after))
        return issued

    def _make_room(self, unit: Unit, organization: Organization) -> None:
        held = keys.list_of(unit, organization.no, "", self.keys_max)
        if len(held) < self.keys_max:
            return
        now = self.clock.now()
        ended = [one for one in held if one.expires_at is not None and one.expires_at <= now]
        if not ended:
            raise Conflict(
                f"this organization has {len(held)} keys, which is the limit: revoke one",
                code="too-many-keys",
            )
        for key in ended:  # they open nothing any more
            keys.delete(unit, key)

    def _record(self, unit: Unit, key: ApiKey, admin_action: AdminAction) -> None:
        if self.audit_writer is not None:
            self.audit_writer.append(unit, key.organization_no, key.org_id, admin_action)

    def _key(self, unit: Unit, org_id: str, key_id: str) -> ApiKey:
        organization = organizations.find(unit, org_id)
        key = keys.find(unit, organization.no, key_id)
        if key is None:
            raise NotFound(f"there is no key {key_id[:80]!r} in this organization")
        return key


def _unknown_key() -> Unauthenticated:
    # One text for all: who tries keys must not learn which of them were once good.
    return Unauthenticated(
        "this API key is not known: it may be mistyped, revoked or expired", code="unknown-key"
    )


def _too_often(wait_us: float, rate: Rate, who: str) -> Limited:
    return Limited(
        f"{who} {rate.count} times in {rate.per_s:g} s: spread the calls, or send events in batches",
        retry_after_s=math.ceil(wait_us / SECOND),
        code="rate-limited",
    )


def _network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which is the least that anybody is given."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)


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
