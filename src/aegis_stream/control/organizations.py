"""Organizations: create, look up, and set quotas."""

from collections.abc import Mapping
from dataclasses import asdict, replace

from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.ids import RANDOM_BYTES, OrganizationId, is_organization_id, new_id
from aegis_stream.domain.names import check_name
from aegis_stream.domain.organization import QUOTA_MAX, Organization, Scope
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.store import organizations
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps, StoreDeps
from .keys import Issued, NewKey, add_key

QuotasPatch = Mapping[str, int | None]
"""Quotas to change, by the names of `OwnQuotas`; None goes back to the default."""


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


async def enter(deps: StoreDeps, caller: Caller, org_id: str, *, to_write: bool) -> Organization:
    """Record that the operator enters an organization, or asks to change it.

    Raises: NotFound. Unavailable when it cannot be recorded; then nobody may enter.
    """

    def act(unit: Unit, record: Record) -> Organization:
        found = organizations.find(unit, org_id)
        action = "operator_write" if to_write else "operator_enter"
        record(found, AdminAction(action, "organization", found.org_id, found.name))
        return found

    return await perform(deps, caller, act)


async def set_quotas(deps: StoreDeps, caller: Caller, org_id: str, patch: QuotasPatch) -> Organization:
    """Change quotas of an organization; within seconds they hold in all processes.

    A quota below what is stored deletes nothing: it refuses new events until there is room.
    Returns: the organization as it is then.
    Raises: Invalid for a number out of range. NotFound. Unavailable.
    """
    for name, value in patch.items():
        if value is not None and not 0 <= value <= QUOTA_MAX:
            message = f"must be from 0 (no limit) to {QUOTA_MAX}, or null for the service's default"
            raise Invalid(f"{name} {message}", problems=(FieldProblem(name, message),))

    def act(unit: Unit, record: Record) -> Organization:
        found = organizations.find(unit, org_id)
        quotas = replace(found.quotas, **patch)
        organizations.set_quotas(unit, found.no, quotas)
        before, after = asdict(found.quotas), asdict(quotas)
        changed = tuple(name for name in after if before[name] != after[name])
        record(
            found,
            AdminAction(
                "quotas_change",
                "organization",
                org_id,
                found.name,
                before=before,
                after=after,
                changed=changed,
            ),
        )
        return organizations.find(unit, org_id)

    return await perform(deps, caller, act)


async def storage_totals(deps: ControlDeps) -> tuple[int, int]:
    """Return how many bytes all organizations store, and how many of them are near their quota. Raises: Unavailable."""
    return await deps.db.read(lambda unit: organizations.storage_totals(unit, deps.settings.quotas))
