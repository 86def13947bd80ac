"""Links that open the console once, as they are stored: functions of a unit of work. Writes run in the control lane."""

from typing import NamedTuple

from aegis_stream.domain.console_link import SESSION_S, ConsoleLink
from aegis_stream.domain.ids import SECOND, Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.organization import Scope

from .database import Row, Unit

ENDED_MAX = 1000
"""Most links that one transaction deletes because nothing needs them any more."""


class Counts(NamedTuple):
    """How many links an organization has."""

    kept: int
    open: int


def add(unit: Unit, link: ConsoleLink, digest: bytes) -> None:
    """Store a new link.

    Args:
        digest: SHA-256 of its token.
    """
    values = (
        link.organization_no,
        link.link_id,
        link.org_id,
        link.scope,
        digest,
        link.made_by,
        link.return_url,
        link.created_at,
        link.expires_at,
        link.expires_at,
    )
    unit.run("insert_console_link", values)


def find_open(unit: Unit, digest: bytes, now: Micros) -> ConsoleLink | None:
    """Return the link that this token opens; None when it is unknown, used, expired, or made by a key that is gone."""
    row = unit.row("open_console_link", (digest, now))
    return _link(row) if row is not None else None


def use(unit: Unit, link: ConsoleLink, now: Micros) -> bool:
    """Use a link up. Returns: False when somebody else was first."""
    values = (now, now + SESSION_S * SECOND, link.organization_no, link.link_id)
    return unit.run("use_console_link", values) == 1


def find_used(unit: Unit, organization_no: OrganizationNo, link_id: str, now: Micros) -> ConsoleLink | None:
    """Return the link that a session began with; None when the session is over, by time or with the key that made the link."""
    row = unit.row("used_console_link", (organization_no, link_id, now))
    return _link(row) if row is not None else None


def find(unit: Unit, organization_no: OrganizationNo, link_id: str) -> ConsoleLink | None:
    """Return one link of an organization, or None."""
    row = unit.row("console_link", (organization_no, link_id))
    return _link(row) if row is not None else None


def list_of(
    unit: Unit, organization_no: OrganizationNo, after: str, limit: int, now: Micros
) -> list[ConsoleLink]:
    """Return links with an id above `after`, oldest first: those that are open, and those whose session has not ended by its age."""
    return [_link(row) for row in unit.rows("console_links", (organization_no, after, now, limit))]


def count(unit: Unit, organization_no: OrganizationNo) -> Counts:
    """Return how many links an organization has. Takes time with their number, which has a limit."""
    row = unit.row("count_console_links", (organization_no,))
    return Counts(*row) if row is not None else Counts(0, 0)


def delete(unit: Unit, link: ConsoleLink) -> None:
    """Delete a link, which ends the session that began with it."""
    unit.run("delete_console_link", (link.organization_no, link.link_id))


def delete_ended_of(unit: Unit, organization_no: OrganizationNo, now: Micros) -> int:
    """Delete up to ENDED_MAX links of an organization that nothing needs any more. Returns: how many."""
    return unit.run("delete_ended_console_links_of", (organization_no, now, ENDED_MAX))


def _link(row: Row) -> ConsoleLink:
    organization_no, link_id, org_id, scope, made_by, return_url, created_at, expires_at, used_at = row
    return ConsoleLink(
        organization_no,
        link_id,
        OrganizationId(org_id),
        Scope(scope),
        made_by,
        return_url,
        created_at,
        expires_at,
        used_at,
    )
