"""API keys as they are stored, by the SHA-256 of their text: functions of a unit of work."""

from dataclasses import dataclass

from aegis_stream.domain.ids import KeyId, Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import ApiKey, Scope

from .database import Database, Row, Unit


def add(unit: Unit, key: ApiKey) -> None:
    """Store a new key."""
    values = (
        key.key_id,
        key.organization_no,
        key.name,
        key.scope,
        key.digest,
        key.hint,
        key.created_at,
        key.expires_at,
    )
    unit.run("insert_key", values)


def find(unit: Unit, organization_no: OrganizationNo, key_id: str) -> ApiKey | None:
    """Return one key of an organization, or None."""
    row = unit.row("key_by_id", (organization_no, key_id))
    return _key(row) if row is not None else None


def find_by_digest(unit: Unit, digest: bytes) -> ApiKey | None:
    """Return the key whose text has this SHA-256, or None."""
    row = unit.row("key_by_digest", (digest,))
    return _key(row) if row is not None else None


def list_of(unit: Unit, organization_no: OrganizationNo, after: str, limit: int) -> list[ApiKey]:
    """Return an organization's keys with an id above `after`, in order of their ids."""
    return [_key(row) for row in unit.rows("keys_of", (organization_no, after, limit))]


def delete(unit: Unit, key: ApiKey) -> None:
    """Delete a key, and what is known of its uses."""
    unit.run("delete_key", (key.organization_no, key.key_id))
    unit.run("delete_key_uses", (key.organization_no, key.key_id))


def expire(unit: Unit, key: ApiKey, at: Micros) -> None:
    """Let a key expire at a time, unless it expires before."""
    unit.run("expire_key", (at, at, key.organization_no, key.key_id))


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Looks up keys for those who check them."""

    db: Database

    async def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key whose text has this SHA-256, or None. Raises: Unavailable."""
        # At once, where the database can: whoever asks must not wait behind the reads of others.
        found = self.db.peek(lambda unit: [find_by_digest(unit, digest)])
        return (
            found[0] if found is not None else await self.db.read(lambda unit: find_by_digest(unit, digest))
        )


def _key(row: Row) -> ApiKey:
    key_id, organization_no, org_id, name, scope, digest, hint, created_at, expires_at, rate = row
    return ApiKey(
        KeyId(key_id),
        organization_no,
        OrganizationId(org_id),
        name,
        Scope(scope),
        bytes(digest),
        hint,
        created_at,
        expires_at,
        rate,
    )
