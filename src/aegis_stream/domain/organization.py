"""Organizations, their API keys, and what a key may do."""

import enum
from dataclasses import dataclass

from .ids import KeyId, Micros, OrganizationId, OrganizationNo

KEY_PREFIX = "aegis_sk"
OPERATOR_KEY_PREFIX = "aegis_op"
QUOTA_MAX = 1_000_000_000_000_000
"""Largest quota of bytes, a petabyte: beyond what one disk holds."""


class Scope(enum.StrEnum):
    """What a key may do."""

    ADMIN = "admin"  # everything in one organization
    INGEST = "ingest"  # submit events
    READ = "read"  # read only


class ProofMode(enum.StrEnum):
    """Whether and how an organization's log is sealed: a Merkle tree over its events, and signed checkpoints of it."""

    OFF = "off"  # not at all
    SEALED = "sealed"  # checkpoints and proofs are served by the API
    STREAM = "stream"  # checkpoint events travel in the log as well, so that a receiver needs nothing else


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one organization may use.

    Args:
        stored_bytes_max: most bytes of events in its log; 0 for no limit.
        ingest_bytes_per_second: most bytes of events that it may record in a second; 0 for no limit.
    """

    stored_bytes_max: int = 0
    ingest_bytes_per_second: int = 0


@dataclass(frozen=True, slots=True)
class OwnQuotas:
    """What the operator has set for one organization; None for the default."""

    stored_bytes_max: int | None = None
    ingest_bytes_per_second: int | None = None

    def over(self, default: Quotas) -> Quotas:
        """Return what holds: these, and the default for the others."""
        stored, rate = self.stored_bytes_max, self.ingest_bytes_per_second
        return Quotas(
            default.stored_bytes_max if stored is None else stored,
            default.ingest_bytes_per_second if rate is None else rate,
        )


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant: everything belongs to exactly one.

    Args:
        head: sequence of its newest event, 0 for none.
        stored_bytes: bytes of the events in its log, those of dead letters among them.
        quotas: those that the operator has set for it.
        proof: whether and how its log is sealed.
    """

    no: OrganizationNo
    org_id: OrganizationId
    name: str
    head: int
    created_at: Micros
    stored_bytes: int = 0
    quotas: OwnQuotas = OwnQuotas()
    proof: ProofMode = ProofMode.SEALED

    @property
    def organization_no(self) -> OrganizationNo:
        """Its number, as what belongs to it has it."""
        return self.no


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored; only its holder knows its text.

    Args:
        digest: SHA-256 of the key's text, 32 bytes.
        hint: the last four characters of the text, so that a person can tell keys apart.
        expires_at: the key is invalid from then on; None for never.
        ingest_bytes_per_second: own quota of its organization; None for the default.
    """

    key_id: KeyId
    organization_no: OrganizationNo
    org_id: OrganizationId
    name: str
    scope: Scope
    digest: bytes
    hint: str
    created_at: Micros
    expires_at: Micros | None = None
    ingest_bytes_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What a key was used for.

    Args:
        last_used_at: time of its newest call, to the second; None for never.
        last_used_from: address of that call; None when unknown.
        events_last_hour: how many events it recorded in the last hour, which begins at a multiple of five minutes.
    """

    last_used_at: Micros | None = None
    last_used_from: str | None = None
    events_last_hour: int = 0
