"""Organizations as they are stored: functions of a unit of work."""

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import Organization
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
    return Organization(OrganizationNo(row[0]), OrganizationId(row[1]), row[2], row[3], Micros(row[4]))


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
