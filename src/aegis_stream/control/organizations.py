"""Organizations: create, and look up."""

from aegis_stream.domain.ids import RANDOM_BYTES, OrganizationId, is_organization_id, new_id
from aegis_stream.domain.names import check_name
from aegis_stream.domain.organization import Organization, Scope
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store import organizations
from aegis_stream.store.database import Unit

from .deps import StoreDeps
from .keys import Issued, NewKey, add_key


async def create(deps: StoreDeps, name: str, org_id: str | None) -> Issued:
    """Create an organization and its first admin key.

    No audit event is recorded: a log begins with what its organization sends.

    Args:
        org_id: its id, or None for a new one.
    Returns: the admin key, with its text.
    Raises: Invalid when the id has another shape, or the name is not printable. Conflict when it is in use. Unavailable.
    """
    check_name(name)
    if org_id is not None and not is_organization_id(org_id):
        message = "must be org_ and 1 to 60 letters, digits, _ or -"
        raise Invalid(f"the organization's id {message}", problems=(FieldProblem("id", message),))
    now = deps.clock.now()
    chosen = OrganizationId(org_id or new_id("org", now, deps.random.random_bytes(RANDOM_BYTES)))

    def work(unit: Unit) -> Issued:
        organizations.add(unit, chosen, name, now)
        return add_key(unit, deps, chosen, NewKey("first admin key", Scope.ADMIN))

    return await deps.db.write(work)


async def find(deps: StoreDeps, org_id: str) -> Organization:
    """Return an organization. Raises: NotFound, Unavailable."""
    return await deps.db.read(lambda unit: organizations.find(unit, org_id))


async def find_with_oldest(deps: StoreDeps, org_id: str) -> tuple[Organization, int]:
    """Return an organization and the oldest sequence still in its log. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> tuple[Organization, int]:
        found = organizations.find(unit, org_id)
        return found, organizations.oldest_sequence(unit, found.no)

    return await deps.db.read(work)
