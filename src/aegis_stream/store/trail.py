"""The event that tells of a deed, appended in the transaction of the deed: both are stored, or neither.

A deed that could not be recorded is not done, and its caller is told so; an event tells of nothing that did not happen.
"""

from dataclasses import dataclass

from aegis_stream.domain.audit import ADMIN_DATASET, Actor, Deed, admin_event
from aegis_stream.domain.ids import RANDOM_BYTES, OrganizationId, OrganizationNo, new_id
from aegis_stream.ports import Clock, Dice

from .log import advance_head, insert_events
from .sqlite import Connection

EVENT_PREFIX = "adm"


@dataclass(frozen=True, slots=True)
class Trail:
    """Records what one actor does."""

    actor: Actor
    clock: Clock
    dice: Dice

    def append(
        self, db: Connection, organization_no: OrganizationNo, org_id: OrganizationId, deed: Deed
    ) -> None:
        """Append the event of a deed to the log of its organization, inside the write that does it.

        No bell is rung: a worker finds it at its next look, a quarter of a second later.
        """
        event_id, body = self.event(org_id, deed)
        now = self.clock.now()
        head, received_at = advance_head(db, organization_no, 1, now)
        insert_events(db, organization_no, head - 1, received_at, (event_id, ADMIN_DATASET, None, body))

    def event(self, org_id: OrganizationId, deed: Deed) -> tuple[str, str]:
        """Return the id and the JSON text of the event of a deed."""
        now = self.clock.now()
        event_id = new_id(EVENT_PREFIX, now, self.dice.random_bytes(RANDOM_BYTES))
        return event_id, admin_event(deed, self.actor, org_id=org_id, event_id=event_id, now=now)
