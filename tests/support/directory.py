"""The store's functions of a unit of work as methods that open the transaction, for tests beneath the use cases."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from aegis_stream.domain.destination import Destination, DestinationSpec, Progress
from aegis_stream.domain.ids import DestinationId, DestinationNo, Micros, OrganizationNo, ReplayId
from aegis_stream.domain.organization import ApiKey, Organization
from aegis_stream.domain.patch import DestinationPatch, OAuth2Patch
from aegis_stream.ports import Sealer
from aegis_stream.store import attempts, dead_letters, destinations, keys, organizations, replays
from aegis_stream.store.attempts import AttemptRow, RetryState
from aegis_stream.store.database import Database, Unit
from aegis_stream.store.dead_letters import DeadLetter
from aegis_stream.store.destinations import Lost
from aegis_stream.store.replays import NewReplay, ReplayRow
from aegis_stream.store.secrets import Record
from aegis_stream.wiring.stores import Stores


@dataclass(frozen=True, slots=True)
class Directory:
    """Organizations, keys, destinations and their deliveries in a database."""

    db: Database
    sealer: Sealer

    @classmethod
    def of(cls, stores: Stores) -> "Directory":
        """Return the directory of open stores."""
        return cls(stores.db, stores.secrets.sealer)

    # ── organizations and keys ──

    async def organization(self, org_id: str) -> tuple[Organization, int]:
        """Return an organization and the oldest sequence still in its log. Raises: NotFound."""

        def work(unit: Unit) -> tuple[Organization, int]:
            found = organizations.find(unit, org_id)
            return found, organizations.oldest_sequence(unit, found.no)

        return await self.db.read(work)

    async def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, or None."""
        return await self.db.read(lambda unit: keys.find_by_digest(unit, digest))

    async def keys_of(self, organization_no: OrganizationNo, after: str, limit: int) -> list[ApiKey]:
        """Return an organization's keys in order of their ids."""
        return await self.db.read(lambda unit: keys.list_of(unit, organization_no, after, limit))

    # ── destinations ──

    async def add_destination(
        self,
        organization_no: OrganizationNo,
        dst_id: DestinationId,
        spec: DestinationSpec,
        now: Micros,
        count_max: int,
    ) -> Destination:
        """Store a new destination. Raises: Conflict when the organization has too many."""

        def work(unit: Unit) -> Destination:
            destinations.refuse_too_many(unit, organization_no, count_max)
            return destinations.add(unit, self.sealer, organization_no, dst_id, spec, now)

        return await self.db.write(work)

    async def change_destination(
        self,
        organization_no: OrganizationNo,
        dst_id: str,
        change: Callable[[DestinationSpec], DestinationSpec],
        now: Micros,
        *,
        probe: bool = False,
    ) -> Destination:
        """Change a destination in one transaction, by the patch between what it is and what `change` returns."""

        def work(unit: Unit) -> Destination:
            which = (organization_no, dst_id)
            before = destinations.find(unit, self.sealer, *which).spec
            patch = patch_between(before, change(before))
            return destinations.change(unit, self.sealer, which, patch, now, probe=probe).after

        return await self.db.write(work)

    async def delete_destination(self, organization_no: OrganizationNo, dst_id: str, now: Micros) -> None:
        """Delete a destination: its credential at once, its rows step by step by retention. Raises: NotFound."""
        await self.db.write(lambda unit: destinations.delete(unit, organization_no, dst_id, now))

    async def give_up_unreadable(
        self, after_no: int, now: Micros, record: Record | None = None
    ) -> tuple[int | None, list[Lost]]:
        """Delete those of the next destinations, of all organizations, whose secrets nobody can open."""
        return await self.db.write(
            lambda unit: destinations.delete_unreadable(unit, self.sealer, after_no, now, record)
        )

    async def destination_of(
        self, organization_no: OrganizationNo, dst_id: str, *, damaged_too: bool = False
    ) -> Destination:
        """Return one destination of an organization. Raises: NotFound. Unavailable when its secrets do not open."""
        return await self.db.read(
            lambda unit: destinations.find(
                unit, self.sealer, organization_no, dst_id, damaged_too=damaged_too
            )
        )

    async def destinations_of(
        self, organization_no: OrganizationNo, after: str, limit: int
    ) -> list[Destination]:
        """Return destinations of an organization, oldest first, the damaged ones without their secrets."""
        return await self.db.read(
            lambda unit: destinations.list_of(unit, self.sealer, organization_no, after, limit)
        )

    async def destination(self, destination_no: DestinationNo) -> Destination | None:
        """Return a destination, or None when it is deleted. Raises: Unavailable when its credential does not open."""
        return await self.db.read(lambda unit: destinations.find_by_no(unit, self.sealer, destination_no))

    async def changed_since(self, revision: int) -> list[tuple[DestinationNo, int]]:
        """Return destinations changed after a revision, with the revision of the change, in order."""
        return await self.db.read(lambda unit: destinations.changed_since(unit, revision))

    async def progress(self, destination: Destination) -> Progress:
        """Return how far a destination has come. Raises: NotFound."""
        return await self.db.read(lambda unit: destinations.progress(unit, destination))

    # ── dead letters, replays, attempts ──

    async def dead_letters(self, destination: Destination, after: int, limit: int) -> list[DeadLetter]:
        """Return dead letters of a destination in log order."""
        return await self.db.read(lambda unit: dead_letters.list_of(unit, destination, after, limit))

    async def redrive(self, destination: Destination, event_ids: list[str] | None) -> int:
        """Make dead letters pending again: all, or those of these events. Returns how many."""
        return await self.db.write(lambda unit: dead_letters.redrive(unit, destination, event_ids))

    async def purge(self, destination: Destination, event_id: str | None) -> int:
        """Delete dead letters: all, or that of one event. Returns how many."""
        return await self.db.write(lambda unit: dead_letters.purge(unit, destination, event_id))

    async def add_replay(
        self, destination: Destination, replay_id: ReplayId, first: int, last: int, now: Micros
    ) -> int:
        """Store a range to be sent once more. Returns how many events it has."""
        replay = NewReplay(replay_id, first, last)
        return await self.db.write(
            lambda unit: replays.add(unit, destination, replay, now, count_max=1_000_000)
        )

    async def cancel_replay(self, destination: Destination, replay_id: str, now: Micros) -> None:
        """End a replay where it is. Raises: NotFound when it is not running."""
        await self.db.write(lambda unit: replays.cancel(unit, destination, replay_id, now))

    async def replays_of(self, destination: Destination, before: str, limit: int) -> list[ReplayRow]:
        """Return replays of a destination with an id below `before`, newest first."""
        return await self.db.read(lambda unit: replays.list_of(unit, destination, before, limit))

    async def attempts(
        self, destination: Destination, *, state: str | None, sequence: int | None, before: int, limit: int
    ) -> list[AttemptRow]:
        """Return rows of the attempt log, newest first."""
        query = attempts.AttemptQuery(state, sequence, before, limit)
        return await self.db.read(lambda unit: attempts.list_of(unit, destination, query))

    async def retry_of(self, destination: Destination, sequence: int) -> RetryState | None:
        """Return the pending retry of one event, or None."""
        return await self.db.read(lambda unit: attempts.find_retry(unit, destination, sequence))

    async def dead_letter_of(self, destination: Destination, sequence: int) -> RetryState | None:
        """Return attempts, time of death, status and message of an event's dead letter, or None."""
        found = await self.db.read(lambda unit: dead_letters.find(unit, destination, sequence))
        if found is None:
            return None
        return RetryState(found.attempts, found.dead_at, found.status_code, found.message)

    async def replay_cursor(self, destination: Destination, sequence: int) -> int | None:
        """Return the cursor of the newest replay that covers an event, or None."""
        return await self.db.read(lambda unit: replays.cursor_over(unit, destination, sequence))

    async def totals(self) -> tuple[int, ...]:
        """Return destinations, delivered, failed attempts, retrying, dead letters, backlog, failing, halted: sums over all."""
        return await self.db.read(destinations.totals)


def patch_between(before: DestinationSpec, after: DestinationSpec) -> DestinationPatch:
    """Return the patch that turns one configuration into another on the same host."""
    changes = {
        one.name: getattr(after, one.name)
        for one in fields(after)
        if getattr(before, one.name) != getattr(after, one.name)
    }
    if (oauth2 := changes.get("oauth2")) is not None:
        changes["oauth2"] = OAuth2Patch(
            oauth2.token_url, oauth2.client_id, oauth2.client_secret, oauth2.scope
        )
    return DestinationPatch(**changes)
