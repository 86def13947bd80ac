"""Organizations as they are stored: functions of a unit of work."""

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import Organization, OwnQuotas, ProofMode, Quotas
from aegis_stream.errors import Conflict, NotFound

from .database import Unit


def add(unit: Unit, org_id: OrganizationId, name: str, now: Micros) -> OrganizationNo:
    """Store a new organization. Raises: Conflict when the id is in use."""
    if unit.row("organization_by_id", (org_id,)) is not None:
        raise Conflict(f"organization {org_id} exists already: choose another id", code="organization-exists")
    row = unit.row("insert_organization", (org_id, name, now))
    assert row is not None, "an insert with RETURNING has one row"
    return OrganizationNo(row[0])


def find(unit: Unit, org_id: str) -> Organization:
    """Return an organization. Raises: NotFound."""
    row = unit.row("organization_by_id", (org_id,))
    if row is None:
        raise NotFound(
            f"organization {org_id[:80]!r} does not exist: create it with `aegis org create NAME --id {org_id[:80]}`"
        )
    no, found_id, name, head, created_at, stored_bytes, *quotas, proof = row
    return Organization(
        no,
        OrganizationId(found_id),
        name,
        head,
        created_at,
        stored_bytes,
        OwnQuotas(*quotas),
        ProofMode(proof),
    )


def set_quotas(unit: Unit, organization_no: OrganizationNo, quotas: OwnQuotas) -> None:
    """Store the quotas of an organization."""
    unit.run("set_quotas", (quotas.stored_bytes_max, quotas.ingest_bytes_per_second, organization_no))


def storage_totals(unit: Unit, default: Quotas) -> tuple[int, int]:
    """Return how many bytes all organizations store, and how many organizations are near their quota."""
    row = unit.row("storage_totals", (default.stored_bytes_max,))
    assert row is not None, "sums are one row"
    return row[0], row[1]


def oldest_sequence(unit: Unit, organization_no: OrganizationNo) -> int:
    """Return the oldest sequence that is still in an organization's log; head + 1 when the log is empty."""
    row = unit.row("oldest_of", (organization_no,))
    assert row is not None, "the caller has found the organization, and organizations are never deleted"
    return int(row[0])


def id_of(unit: Unit, organization_no: OrganizationNo) -> OrganizationId:
    """Return the id of an organization that is known to exist."""
    row = unit.row("organization_id", (organization_no,))
    assert row is not None, "the caller has found the organization, and organizations are never deleted"
    return OrganizationId(row[0])
