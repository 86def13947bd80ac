"""Organizations and API keys: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aegis_stream.domain.organization import QUOTA_MAX

from .base import Moment, Strict


class OrganizationWrite(Strict):
    """A new organization."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    id: str | UnsetType = UNSET


Quota = Annotated[int, Meta(ge=0, le=QUOTA_MAX)]


class QuotasWrite(Strict):
    """Quotas to change: a number, 0 for no limit, null for the service's default."""

    stored_bytes_max: Quota | None | UnsetType = UNSET
    ingest_bytes_per_second: Quota | None | UnsetType = UNSET


class OrganizationPatchWrite(Strict):
    """What changes in an organization. `proof`: how its log is sealed; what is omitted stays."""

    proof: Literal["off", "sealed", "stream"] | UnsetType = UNSET


class QuotasBody(msgspec.Struct):
    """Quotas that hold for an organization; 0 for no limit."""

    stored_bytes_max: int
    ingest_bytes_per_second: int


class OrganizationBody(msgspec.Struct):
    """An organization."""

    org_id: str
    name: str
    head_sequence: int
    created_at: str
    stored_bytes: int
    quotas: QuotasBody
    proof: str


class OrganizationMade(msgspec.Struct):
    """A new organization with its first admin key; the key is shown only once."""

    org_id: str
    name: str
    api_key: str
    key_id: str
    created_at: str


class KeyWrite(Strict):
    """A new API key."""

    name: Annotated[str, Meta(max_length=200)] = ""
    scope: Literal["admin", "ingest", "read"] = "ingest"
    expires_at: Moment | None = None


class KeyBody(msgspec.Struct):
    """An API key as it is listed: without its text, and with its last use, null and 0 where it was never used."""

    id: str
    name: str
    scope: str
    hint: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_used_from: str | None
    events_last_hour: int


class SeenRequestBody(msgspec.Struct):
    """An ingest request of a key. `reason`: why it, or its first rejected event, was refused."""

    at: str
    status: int
    body_bytes: int
    accepted: int
    duplicates: int
    rejected: int
    reason: str | None


class SeenRequests(msgspec.Struct):
    """The newest ingest requests of a key, the newest first. Requests are noted for `noted_seconds` after a call like this one."""

    data: list[SeenRequestBody]
    noted_seconds: int


class KeyMade(msgspec.Struct):
    """A new API key with its text, which is shown only once."""

    id: str
    name: str
    scope: str
    api_key: str
    created_at: str
    expires_at: str | None


class KeyList(msgspec.Struct):
    """API keys of an organization."""

    data: list[KeyBody]
    next_cursor: str | None


class RotateWrite(Strict):
    """How many seconds the old key stays valid."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = 0
