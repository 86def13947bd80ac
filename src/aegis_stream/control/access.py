"""API key → principal: who calls, and what they may do.

Keys are looked up by the SHA-256 of their text (they have 256 random bits, so no slow hash is needed) and compared in
constant time. A good key is remembered for a second, so that the hot path asks the store once a second, not once a
request; a revoked key is refused within that second. The rates of calls of a key, and of wrong keys from an address, are
limited here too.
"""

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import ApiKey, Scope
from aegis_stream.domain.rate import Buckets, Rate
from aegis_stream.errors import Denied, Limited, NotFound, Unauthenticated
from aegis_stream.front.clients import network_of
from aegis_stream.pipeline.quotas import IngestQuotas
from aegis_stream.ports import Clock
from aegis_stream.settings import RateSettings

from .caller import Principal
from .key_uses import KeyUses

REMEMBER_US: Final = 1_000_000
"""How long a good key is accepted without asking the store again, microseconds."""
REMEMBERED_MAX = 10_000
"""Most good keys that are remembered; also names that led nowhere."""

AGAIN = 3
"""How many times as often as different names the same name of a destination may lead nowhere."""
GUESSES_TOLD = Rate(1, 60)
"""Log lines about wrong keys: one a minute for each network and kind, or guessing would fill the log."""


class Keys(Protocol):
    """Where keys are looked up."""

    async def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, or None."""
        ...


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """How often somebody may call.

    Args:
        ingest: requests of one key that bring events in.
        calls: all other calls of one key.
        failures: wrong keys from one address.
        tests: test events of one organization; also host names of it that lead nowhere.
    """

    ingest: Rate
    calls: Rate
    failures: Rate
    tests: Rate

    @classmethod
    def of(cls, rates: RateSettings) -> "AccessLimits":
        """Return the limits as configured; limits by the second allow bursts of two seconds' worth."""
        return cls(
            ingest=Rate(2 * rates.key_ingest_per_second, 2),
            calls=Rate(2 * rates.key_calls_per_second, 2),
            failures=Rate(rates.failed_keys_per_minute, 60),
            tests=Rate(rates.tests_per_minute, 60),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key that exists and was refused all the same.

    Args:
        principal: whose key it is.
        reason: "expired", "scope" (the call needs another one) or "organization" (the URL names another one).
        address: where the call came from, None when unknown.
    """

    principal: Principal
    reason: str
    address: str | None


class RefusalListener(Protocol):
    """Is told of refused keys."""

    async def refused(self, refusal: Refusal) -> None:
        """Note a refusal; raises nothing."""
        ...


@dataclass(slots=True)
class Access:
    """Turns Authorization headers into principals.

    Args:
        operator_digest: SHA-256 of the operator key.
        refusals: told of known keys that were refused; None for nobody.
        quotas: of organizations at ingest.
        on_guess: called as on_guess(network, kind of key) for a wrong key, at most once a minute for the same two.
        uses: when and from where keys are used.
    """

    keys: Keys
    clock: Clock
    operator_digest: bytes = field(repr=False)
    limits: AccessLimits = field(default_factory=lambda: AccessLimits.of(RateSettings()))
    refusals: RefusalListener | None = field(default=None, repr=False)
    on_guess: Callable[[str, str], None] | None = field(default=None, repr=False)
    quotas: IngestQuotas = field(default_factory=IngestQuotas, repr=False)
    uses: KeyUses = field(default_factory=KeyUses, repr=False)
    _known: dict[bytes, tuple[Micros, Principal]] = field(default_factory=dict, repr=False)
    _ingest: Buckets = field(init=False, repr=False)
    _calls: Buckets = field(init=False, repr=False)
    _failures: Buckets = field(init=False, repr=False)
    _tests: Buckets = field(init=False, repr=False)
    _probes: Buckets = field(init=False, repr=False)
    _probes_again: Buckets = field(init=False, repr=False)
    _probed: set[tuple[OrganizationNo, str]] = field(default_factory=set, repr=False)
    _told: Buckets = field(default_factory=lambda: Buckets(GUESSES_TOLD), repr=False)

    def __post_init__(self) -> None:
        self._ingest = Buckets(self.limits.ingest)
        self._calls = Buckets(self.limits.calls)
        self._failures = Buckets(self.limits.failures)
        self._tests = Buckets(self.limits.tests)
        self._probes = Buckets(self.limits.tests)
        self._probes_again = Buckets(Rate(self.limits.tests.count * AGAIN, self.limits.tests.per_s))

    def share(self, processes: int) -> None:
        """Note how many API processes count calls from now on: each by itself, and all of them together keep to the limits."""
        for buckets in (
            self._ingest,
            self._calls,
            self._failures,
            self._tests,
            self._probes,
            self._probes_again,
        ):
            buckets.share(processes)
        self.quotas.share(processes)

    async def authorize(
        self, authorization: str | None, org_id: str, scope: Scope | None, address: str | None
    ) -> Principal:
        """Return who calls, if they may do this in this organization; report a key that may not.

        Args:
            scope: what the call needs; None where any key of the organization is enough.
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

    def remembered(self, digest: bytes, now: Micros) -> Principal | None:
        """Return who calls with a key that opened a moment ago; None where the store must be asked.

        Args:
            digest: SHA-256 of the key's text.
        """
        known = self._known.get(digest)
        return known[1] if known is not None and 0 <= now - known[0] < REMEMBER_US else None

    def owner_of(self, digest: bytes) -> OrganizationId | None:
        """Return whose key this was when it was used last, for sharing only: it may have been revoked meanwhile.

        Args:
            digest: SHA-256 of the key's text.
        """
        known = self._known.get(digest)
        return known[1].org_id if known is not None else None

    async def principal(self, authorization: str | None, address: str | None = None) -> Principal:
        """Return who calls.

        Args:
            authorization: value of the Authorization header, if there was one.
            address: where the call comes from; None where it cannot be limited.
        Raises: Unauthenticated. Limited after too many wrong keys from there. Unavailable when the store cannot be asked.
        """
        digest = hashlib.sha256(_token_of(authorization).encode()).digest()
        now = self.clock.now()
        known = self._known.get(digest)
        if known is not None and 0 <= now - known[0] < REMEMBER_US:
            return known[1]
        # Looked up before anything is limited: guesses of others behind the same address never stop a good key.
        key = await self.keys.key_by_digest(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            self._known.pop(digest, None)
            self._refuse_guesses(address, now)
            self._count_guess(address, now, "API key")
            raise _unknown_key()
        principal = Principal(key.organization_no, key.org_id, key.scope, key.key_id, key.name)
        if key.expires_at is not None and key.expires_at <= now:
            self._known.pop(digest, None)
            self._refuse_guesses(address, now)
            self._count_guess(address, now, "expired API key")
            await self._tell(Refusal(principal, "expired", address))
            raise _unknown_key()
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[digest] = (now, principal)
        self.uses.note(principal, address, now)
        self.quotas.set_rate(key.organization_no, key.ingest_bytes_per_second)
        return principal

    def require_operator(self, authorization: str | None, address: str | None = None) -> None:
        """Accept the operator key only.

        Raises: Unauthenticated. Limited after too many wrong keys from there.
        """
        token = _token_of(authorization)
        now = self.clock.now()
        if not self.is_operator_key(token):
            self._refuse_guesses(address, now)
            self._count_guess(address, now, "operator key")
            raise Unauthenticated(
                "this call needs the operator key: send `Authorization: Bearer <AEGIS_OPERATOR_KEY>`",
                code="unknown-key",
            )

    def is_operator_key(self, token: str) -> bool:
        """Tell whether a text is the operator key; counts nothing."""
        return hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self.operator_digest)

    def refuse_guess(self, address: str | None, what: str) -> None:
        """Count a wrong secret that is no API key: the token of a console link.

        Args:
            what: the kind of secret, for the log.
        Raises: Limited after too many wrong secrets from there.
        """
        now = self.clock.now()
        self._refuse_guesses(address, now)
        self._count_guess(address, now, what)

    def admit(self, principal: Principal, now: Micros) -> None:
        """Count an ingest request. Costs less than a microsecond. Raises: Limited."""
        wait_us = self._ingest.take(principal.key_id, now)
        if wait_us:
            raise _too_often(wait_us, self.limits.ingest, "too many calls with this key")
        if self.quotas.active:
            self.quotas.check_rate(principal.organization_no, principal.org_id, self.clock.steady())

    def admit_call(self, principal: Principal) -> None:
        """Count any other call. Raises: Limited."""
        wait_us = self._calls.take(principal.key_id, self.clock.now())
        if wait_us:
            raise _too_often(wait_us, self.limits.calls, "too many calls with this key")

    def admit_test(self, principal: Principal) -> None:
        """Count a test event of the caller's organization. Raises: Limited."""
        wait_us = self._tests.take(principal.organization_no, self.clock.now())
        if wait_us:
            raise _too_often(wait_us, self.limits.tests, "too many test events of this organization")

    def require_probes(self, principal: Principal) -> None:
        """Refuse to look up another name for an organization whose names led nowhere too often. Raises: Limited."""
        organization_no, now = principal.organization_no, self.clock.now()
        wait_us = max(self._probes.wait(organization_no, now), self._probes_again.wait(organization_no, now))
        if wait_us:
            raise Limited(
                "too many host names of this organization do not resolve, or lead to forbidden addresses; the limit is "
                f"{self.limits.tests.count} in {self.limits.tests.per_s:g} s, and {AGAIN} times as many with the same names: "
                "check the names, then wait",
                retry_after_s=math.ceil(wait_us / SECOND),
                code="rate-limited",
            )

    def count_probe(self, principal: Principal, host: str) -> None:
        """Count a name that led nowhere. The same name may do so more often, since many destinations may share it.

        Names that do not resolve and those that lead to forbidden addresses count alike, so that the limit tells nothing.
        """
        organization_no = principal.organization_no
        is_known = (organization_no, host) in self._probed
        if len(self._probed) >= REMEMBERED_MAX:
            self._probed.clear()
        self._probed.add((organization_no, host))
        (self._probes_again if is_known else self._probes).take(organization_no, self.clock.now())

    def forget(self, key_id: str) -> None:
        """Stop accepting a remembered key: it was revoked or changed in this process; other processes notice within a second."""
        for digest in [digest for digest, (_, one) in self._known.items() if one.key_id == key_id]:
            del self._known[digest]

    def _refuse_guesses(self, address: str | None, now: Micros) -> None:
        wait_us = self._failures.wait(network_of(address), now) if address is not None else 0.0
        if wait_us:
            raise Limited(
                "too many wrong API keys or links from this address: check the key or link, then wait",
                retry_after_s=math.ceil(wait_us / SECOND),
                code="rate-limited",
            )

    def _count_guess(self, address: str | None, now: Micros, what: str) -> None:
        if address is None:
            return
        network = network_of(address)
        self._failures.take(network, now)
        if self.on_guess is not None and not self._told.take((network, what), now):
            self.on_guess(network, what)

    async def _tell(self, refusal: Refusal) -> None:
        if self.refusals is not None:
            await self.refusals.refused(refusal)


def _unknown_key() -> Unauthenticated:
    # One text for all: whoever guesses keys must not learn which of them were good once.
    return Unauthenticated("unknown API key: it may be mistyped, revoked or expired", code="unknown-key")


def _too_often(wait_us: float, rate: Rate, who: str) -> Limited:
    return Limited(
        f"{who}; the limit is {rate.count} in {rate.per_s:g} s: slow down, or send events in batches",
        retry_after_s=math.ceil(wait_us / SECOND),
        code="rate-limited",
    )


def _token_of(authorization: str | None) -> str:
    if authorization is None:
        raise Unauthenticated(
            "the Authorization header is missing: send `Authorization: Bearer <API key>`", code="missing-key"
        )
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise Unauthenticated(
            "the Authorization header has another form than `Bearer <API key>`: send `Authorization: Bearer <API key>`",
            code="missing-key",
        )
    return token
