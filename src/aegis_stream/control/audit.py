"""An administrative action and the event that tells of it, in one transaction: both are stored, or neither.

An action that cannot be recorded is undone, and its caller gets an error; no event describes what did not happen. Every use case
that changes something goes through `perform`; there is no other way.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.rate import Buckets, Rate
from aegis_stream.errors import AegisError
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.store.database import Unit

from .access import Refusal
from .caller import Caller
from .deps import StoreDeps

T = TypeVar("T")

REFUSALS = Rate(1, 60)
"""Events of refused keys: one a minute for each key and reason, or a client with a wrong key would fill the log."""
REASONS = {
    "expired": "the key has expired",
    "scope": "the key's scope does not allow the call",
    "organization": "the call named another organization",
}


class Owned(Protocol):
    """Something of an organization: a destination, a key, a principal."""

    @property
    def organization_no(self) -> OrganizationNo:
        """Number of its organization."""
        ...

    @property
    def org_id(self) -> OrganizationId:
        """Id of its organization."""
        ...


Record = Callable[[Owned, AdminAction], None]
"""Appends the event of an action to the log of the organization that owns what it was done to."""


async def perform(deps: StoreDeps, caller: Caller, act: Callable[[Unit, Record], T]) -> T:
    """Run an action and append the event that tells of it, in one transaction.

    Args:
        act: performs the action, and calls its second argument once with a description, before or after: events that `act` itself
            appends are ordered accordingly. Like every unit of work it may run twice.
    Returns: what `act` returned, once action and event are committed and synced.
    Raises: what `act` raised, or Unavailable; then neither action nor event is stored.
    """
    writer = AuditWriter(caller.actor, deps.clock, deps.random)

    def work(unit: Unit) -> T:
        recorded = 0

        def record(owner: Owned, admin_action: AdminAction) -> None:
            nonlocal recorded
            recorded += 1
            if deps.audit_actions:
                writer.append(unit, owner.organization_no, owner.org_id, admin_action)

        result = act(unit, record)
        if recorded != 1:
            raise RuntimeError(f"a bug: an action is one event, this one recorded {recorded}")
        return result

    return await deps.db.write(work)


async def record(deps: StoreDeps, caller: Caller, owner: Owned, admin_action: AdminAction) -> None:
    """Append the event of an action that changed nothing in the store, such as a test. Raises: Unavailable."""
    await perform(deps, caller, lambda _, append: append(owner, admin_action))


@dataclass(frozen=True, slots=True)
class RefusalLog:
    """Records refused keys in the log of the organization whose key it is (port RefusalListener)."""

    deps: StoreDeps
    _recorded: Buckets = field(default_factory=lambda: Buckets(REFUSALS), repr=False)

    async def refused(self, refusal: Refusal) -> None:
        """Record a refusal, at most once a minute for each key and reason; raises nothing."""
        who = refusal.principal
        if not self.deps.audit_actions or self._recorded.take(
            (who.key_id, refusal.reason), self.deps.clock.now()
        ):
            return
        admin_action = AdminAction(
            "sign_in_refuse", "api_key", who.key_id, who.name, failure=REASONS[refusal.reason]
        )
        with contextlib.suppress(AegisError):  # the key is refused whether or not that can be recorded
            await record(self.deps, Caller.of_key(who, refusal.address), who, admin_action)
