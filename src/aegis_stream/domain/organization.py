"""Organizations, their API keys, and what a key may do."""

import enum
from dataclasses import dataclass

from .ids import KeyId, Micros, OrganizationId, OrganizationNo

KEY_PREFIX = "aegis_sk"
OPERATOR_KEY_PREFIX = "aegis_op"


class Scope(enum.StrEnum):
    """What a key may do."""

    ADMIN = "admin"  # all of one organization
    INGEST = "ingest"  # events in
    READ = "read"  # look, change nothing


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant: everything belongs to exactly one.

    Args:
        head: sequence of its newest event, 0 for none.
    """

    no: OrganizationNo
    org_id: OrganizationId
    name: str
    head: int
    created_at: Micros


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: its text is known only to its holder.

    Args:
        digest: SHA-256 of the key's text, 32 bytes.
        hint: the last four characters, so that a person can tell keys apart.
        expires_at: the key opens nothing from then on; None for never.
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
