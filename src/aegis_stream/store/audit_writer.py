"""The event that tells of an administrative action, appended to the log of the organization that it concerns."""

from dataclasses import dataclass

from aegis_stream.domain.audit import ADMIN_DATASET, Actor, AdminAction, admin_event
from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import RANDOM_BYTES, OrganizationId, OrganizationNo, new_id
from aegis_stream.ports import Clock, Random

from .append import append_events
from .database import Unit

EVENT_PREFIX = "adm"


@dataclass(frozen=True, slots=True)
class AuditWriter:
    """Appends the events of what one actor does."""

    actor: Actor
    clock: Clock
    random: Random

    def append(
        self,
        unit: Unit,
        organization_no: OrganizationNo,
        org_id: OrganizationId,
        admin_action: AdminAction,
    ) -> None:
        """Append the event of an action to the log of its organization, in the unit of work that does it.

        Workers are not notified of it: they find it at their next poll, a quarter of a second later.
        """
        event_id, body = self.event(org_id, admin_action)
        encoded = body.encode()
        values = (event_id, ADMIN_DATASET, None, body, checksum(encoded))
        append_events(unit, organization_no, values, len(encoded), self.clock.now())

    def event(self, org_id: OrganizationId, admin_action: AdminAction) -> tuple[str, str]:
        """Return the id and the JSON text of the event of an admin action."""
        now = self.clock.now()
        event_id = new_id(EVENT_PREFIX, now, self.random.random_bytes(RANDOM_BYTES))
        return event_id, admin_event(admin_action, self.actor, org_id=org_id, event_id=event_id, now=now)
