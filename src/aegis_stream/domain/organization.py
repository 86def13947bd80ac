"""Organizations, their API keys, and what a key may do."""

import enum
from dataclasses import dataclass

from .ids import KeyId, Micros, OrganizationId, OrganizationNo

KEY_PREFIX = "aegis_sk"
OPERATOR_KEY_PREFIX = "aegis_op"


class Scope(enum.StrEnum):
    """What a key may do."""

    ADMIN = "admin"  # everything in one organization
    INGEST = "ingest"  # submit events
    READ = "read"  # read only


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
    """A key as stored; only its holder knows its text.

    Args:
        digest: SHA-256 of the key's text, 32 bytes.
        hint: the last four characters of the text, so that a person can tell keys apart.
        expires_at: the key is invalid from then on; None for never.
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
