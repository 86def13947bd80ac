"""Organizations, keys, destinations, and what people ask about deliveries, in the database (port Directory).

URL, auth header value, further headers and OAuth2 client are sealed on their way in and opened on their way out; nothing below this
file sees them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from aegis_stream.domain.attempt import Scope as FailureScope
from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.delivery import RUN_LENGTH_MAX
from aegis_stream.domain.destination import (
    HALTED,
    Destination,
    DestinationSpec,
    Health,
    Progress,
)
from aegis_stream.domain.ids import (
    DestinationId,
    DestinationNo,
    KeyId,
    Micros,
    OrganizationId,
    OrganizationNo,
    ReplayId,
)
from aegis_stream.domain.organization import ApiKey, Organization, Scope
from aegis_stream.errors import Conflict, NotFound, Unavailable
from aegis_stream.ports import Sealer

from .database import Database, Row, Unit
from .ledger import redrive_some, redrive_these
from .records import open_destination, seal_spec, spec_text
from .secrets import Record, sealing_key

REDRIVE_CHUNK = 1000
"""Dead letters moved in one transaction."""
LOOKED_AT = 50
"""Destinations that one step over all of them opens."""


class DeadLetter(NamedTuple):
    """A dead letter as people see it."""

    sequence: int
    event_id: str
    attempts: int
    scope: str
    status_code: int | None
    message: str
    dead_at: Micros


class AttemptRow(NamedTuple):
    """One row of the attempt log; a run of alike successes stands in one row."""

    attempt_no: int
    first: int
    last: int
    attempt: int
    state: str
    status_code: int | None
    message: str | None
    latency_us: int
    at: Micros


class ReplayRow(NamedTuple):
    """A replay as people see it."""

    replay_id: str
    first: int
    cursor: int
    last: int
    created_at: Micros
    finished_at: Micros | None


class RetryState(NamedTuple):
    """A pending or repeated attempt of one event."""

    attempts: int
    due_at: Micros
    status_code: int | None
    message: str | None


class Lost(NamedTuple):
    """A destination whose secrets nobody can open, and how far it had come."""

    org_id: str
    dst_id: str
    cursor: int


@dataclass(frozen=True, slots=True)
class StoredDirectory:
    """Port Directory on the database, and all that the API asks."""

    db: Database
    sealer: Sealer

    # ── organizations and keys ──

    def add_organization(self, unit: Unit, org_id: OrganizationId, name: str, now: Micros) -> OrganizationNo:
        """Make a tenant, inside a write. Raises: Conflict when the id is taken."""
        if unit.row("organization_by_id", (org_id,)) is not None:
            raise Conflict(
                f"there is an organization {org_id} already: choose another id", code="organization-exists"
            )
        row = unit.row("insert_organization", (org_id, name, now))
        assert row is not None, "an insert with RETURNING has one row"
        return OrganizationNo(row[0])

    def add_key(self, unit: Unit, key: ApiKey) -> None:
        """Store a new key's digest, inside a write."""
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

    def find_key(self, unit: Unit, organization_no: OrganizationNo, key_id: str) -> ApiKey | None:
        """Return one key of an organization, inside a read or write; None when there is none."""
        row = unit.row("key_by_id", (organization_no, key_id))
        return _key(row) if row is not None else None

    def list_keys(self, unit: Unit, organization_no: OrganizationNo, after: str, limit: int) -> list[ApiKey]:
        """Return an organization's keys in order of their ids, inside a read or write."""
        return [_key(row) for row in unit.rows("keys_of", (organization_no, after, limit))]

    def delete_key(self, unit: Unit, key: ApiKey) -> None:
        """End a key at once, inside a write."""
        unit.run("delete_key", (key.organization_no, key.key_id))

    def expire_key(self, unit: Unit, key: ApiKey, at: Micros) -> None:
        """End a key at a time, unless it ends before, inside a write."""
        unit.run("expire_key", (at, at, key.organization_no, key.key_id))

    def find_organization(self, unit: Unit, org_id: str) -> Organization:
        """Return a tenant, inside a read or write. Raises: NotFound."""
        row = unit.row("organization_by_id", (org_id,))
        if row is None:
            raise NotFound(
                f"there is no organization {org_id[:80]!r}: make it with `aegis org create NAME --id {org_id[:80]}`"
            )
        return Organization(OrganizationNo(row[0]), OrganizationId(row[1]), row[2], row[3], Micros(row[4]))

    async def organization(self, org_id: str) -> tuple[Organization, int]:
        """Return a tenant and the oldest sequence still in its log. Raises: NotFound."""

        def work(unit: Unit) -> tuple[Organization, int]:
            organization = self.find_organization(unit, org_id)
            row = unit.row("oldest_of", (organization.no,))
            assert row is not None, "it was found a moment ago, and organizations are never deleted"
            return organization, row[0]

        return await self.db.read(work)

    async def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, or None."""
        row = await self.db.read(lambda unit: unit.row("key_by_digest", (digest,)))
        return _key(row) if row is not None else None

    async def keys_of(self, organization_no: OrganizationNo, after: str, limit: int) -> list[ApiKey]:
        """Return an organization's keys in order of their ids."""
        return await self.db.read(lambda unit: self.list_keys(unit, organization_no, after, limit))

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
            held = len(unit.rows("destinations_of", (organization_no, "", count_max)))
            if held >= count_max:
                raise Conflict(
                    f"this organization has {held} destinations, which is the limit: delete one",
                    code="too-many-destinations",
                )
            values = (
                dst_id,
                organization_no,
                *self._sealed(unit, spec, _organization_id(unit, organization_no), dst_id),
                spec_text(spec),
                not spec.enabled,
                _next_revision(unit),
                now,
                now,
            )
            row = unit.row("insert_destination", values)
            assert row is not None, "an insert with RETURNING has one row"
            unit.run("insert_cursor", (row[0], organization_no))
            return self._find(unit, organization_no, dst_id)

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
        """Change a destination in one transaction.

        Args:
            probe: try the oldest dead letter for a reason about the destination again at once: if it arrives, the
                destination is well again, and its worker redrives the others.
        Raises: NotFound, and whatever `change` raises.
        """

        def work(unit: Unit) -> Destination:
            found = self._find(unit, organization_no, dst_id, damaged_too=True)
            spec = change(found.spec)
            if found.damaged and spec.url == found.spec.url:
                self._find(unit, organization_no, dst_id)  # says what is wrong
            values = (
                *self._sealed(unit, spec, found.org_id, found.dst_id),
                spec_text(spec),
                not spec.enabled,
                _next_revision(unit),
                now,
                organization_no,
                found.no,
            )
            unit.run("update_destination", values)
            if replace(spec, enabled=found.spec.enabled) != found.spec:
                unit.run("clear_failures", (found.no,))
                if probe:
                    moved, made = redrive_some(
                        unit, found.no, organization_no, scope=FailureScope.DESTINATION, died_by=now, limit=1
                    )
                    unit.run("count_redriven", (moved, made, found.no))
            return self._find(unit, organization_no, dst_id)

        return await self.db.write(work)

    async def delete_destination(self, organization_no: OrganizationNo, dst_id: str, now: Micros) -> None:
        """Delete a destination: its credential at once, its rows bit by bit by retention. Raises: NotFound."""

        def work(unit: Unit) -> None:
            # Not opened: what was damaged must be possible to delete.
            row = unit.row("destination_no", (organization_no, dst_id))
            if row is None:
                raise _no_destination(dst_id)
            _delete(unit, organization_no, row[0], now)

        await self.db.write(work)

    async def give_up_unreadable(
        self, after_no: int, now: Micros, record: Record | None = None
    ) -> tuple[int | None, list[Lost]]:
        """Delete those of the next destinations, of all organizations, whose secrets nobody can open, in one transaction.

        Returns: the last destination looked at, None when there was none left; and what was deleted.
        """

        def work(unit: Unit) -> tuple[int | None, list[Lost]]:
            rows = unit.rows("destinations_after", (after_no, LOOKED_AT))
            lost = []
            for row in rows:
                if not self._opens(row):
                    progress = unit.row("progress", (row[0],))
                    _delete(unit, row[2], row[0], now)
                    lost.append(Lost(row[3], row[1], progress[1] if progress is not None else 0))
                    if record is not None:
                        record(unit, row[2], row[3], AdminAction("destination_delete", "destination", row[1]))
            return (rows[-1][0] if rows else None), lost

        return await self.db.write(work)

    async def destination_of(
        self, organization_no: OrganizationNo, dst_id: str, *, damaged_too: bool = False
    ) -> Destination:
        """Return one destination of an organization.

        Args:
            damaged_too: without its secrets, too, when they do not open.
        Raises: NotFound. Unavailable when its secrets do not open.
        """
        return await self.db.read(
            lambda unit: self._find(unit, organization_no, dst_id, damaged_too=damaged_too)
        )

    async def destinations_of(
        self, organization_no: OrganizationNo, after: str, limit: int
    ) -> list[Destination]:
        """Return destinations of an organization in order of their making, the damaged ones without their secrets."""

        def work(unit: Unit) -> list[Destination]:
            return [
                self._readable(row) for row in unit.rows("destinations_of", (organization_no, after, limit))
            ]

        return await self.db.read(work)

    async def destination(self, destination_no: DestinationNo) -> Destination | None:
        """Return a destination, or None when it is deleted. Raises: Unavailable when its credential does not open."""
        row = await self.db.read(lambda unit: unit.row("destination_by_no", (destination_no,)))
        return self._destination(row) if row is not None else None

    async def changed_since(self, revision: int) -> list[tuple[DestinationNo, int]]:
        """Return destinations changed after a revision, with the revision of the change, in order; at most 1,000."""
        rows = await self.db.read(lambda unit: unit.rows("changed_since", (revision, 1000)))
        return [(DestinationNo(no), changed) for no, changed in rows]

    async def progress(self, destination: Destination) -> Progress:
        """Return how far a destination has come. Raises: NotFound."""
        row = await self.db.read(lambda unit: unit.row("progress", (destination.no,)))
        if row is None:
            raise NotFound(f"there is no destination {destination.dst_id}")
        start, cursor, head, delivered, failed, retrying, dead_letters = row[:7]
        health = Health(*row[7:17])
        return Progress(start, cursor, head, delivered, failed, retrying, dead_letters, health, row[17])

    # ── dead letters, replays, attempts ──

    async def dead_letters(self, destination: Destination, after: int, limit: int) -> list[DeadLetter]:
        """Return dead letters of a destination in log order."""
        rows = await self.db.read(lambda unit: unit.rows("dead_letters_of", (destination.no, after, limit)))
        return [DeadLetter(*row) for row in rows]

    async def redrive(self, destination: Destination, event_ids: list[str] | None, now: Micros) -> int:
        """Make dead letters pending again: all, or those of these events. Returns how many.

        Large numbers go in several transactions; a crash in between leaves the rest as dead letters.
        """
        total = 0
        while True:

            def work(unit: Unit) -> int:
                if event_ids is None:
                    no, organization_no = destination.no, destination.organization_no
                    moved, made = redrive_some(
                        unit, no, organization_no, scope="%", died_by=now, limit=REDRIVE_CHUNK
                    )
                else:
                    sequences = _dead_sequences(unit, destination.no, event_ids)
                    moved, made = redrive_these(
                        unit, destination.no, destination.organization_no, sequences, now
                    )
                unit.run("count_redriven", (moved, made, destination.no))
                unit.run("touch_destination", (_next_revision(unit), destination.no))
                return moved

            moved = await self.db.write(work)
            total += moved
            if event_ids is not None or moved < REDRIVE_CHUNK:
                return total

    async def purge(self, destination: Destination, event_id: str | None) -> int:
        """Throw dead letters away: all, or that of one event. Returns how many."""

        def work(unit: Unit) -> int:
            if event_id is None:
                purged = unit.run("delete_dead_letters_of", (destination.no,))
            else:
                sequences = _dead_sequences(unit, destination.no, [event_id])
                purged = sum(unit.run("delete_dead_letter", (destination.no, one)) for one in sequences)
            unit.run("count_purged", (purged, destination.no))
            unit.run("touch_destination", (_next_revision(unit), destination.no))
            return purged

        return await self.db.write(work)

    async def add_replay(
        self, destination: Destination, replay_id: ReplayId, first: int, last: int, now: Micros
    ) -> int:
        """Store a range to be sent once more. Returns how many events it has: what retention has taken meanwhile is left out."""

        def work(unit: Unit) -> int:
            row = unit.row("oldest_of", (destination.organization_no,))
            begin = max(first, row[0] if row is not None else first)
            if last < begin:
                return 0
            unit.run("insert_replay", (replay_id, destination.no, begin, last, begin - 1, now))
            unit.run("touch_destination", (_next_revision(unit), destination.no))
            return last - begin + 1

        return await self.db.write(work)

    async def cancel_replay(self, destination: Destination, replay_id: str, now: Micros) -> None:
        """End a replay where it is. Raises: NotFound when it is not under way."""

        def work(unit: Unit) -> None:
            if not unit.run("cancel_replay", (now, destination.no, replay_id)):
                raise NotFound(f"there is no replay {replay_id[:80]!r} under way")
            unit.run("touch_destination", (_next_revision(unit), destination.no))

        await self.db.write(work)

    async def replays_of(self, destination: Destination, before: str, limit: int) -> list[ReplayRow]:
        """Return replays of a destination with an id below `before`, newest first."""
        rows = await self.db.read(lambda unit: unit.rows("replays_of", (destination.no, before, limit)))
        return [ReplayRow(*row) for row in rows]

    async def attempts(
        self, destination: Destination, *, state: str | None, sequence: int | None, before: int, limit: int
    ) -> list[AttemptRow]:
        """Return rows of the attempt log, newest first.

        Args:
            state: "delivered" or "failed", or None for both.
            sequence: only attempts of this event.
            before: only rows up to this number.
        """
        pattern = state or "%"
        if sequence is None:
            values = (destination.no, before, pattern, limit)
            rows = await self.db.read(lambda unit: unit.rows("attempts_before", values))
        else:
            bounds = (sequence, sequence + RUN_LENGTH_MAX, sequence)
            of_event = (destination.no, *bounds, before, pattern, limit)
            rows = await self.db.read(lambda unit: unit.rows("attempts_of_event", of_event))
        return [AttemptRow(*row) for row in rows]

    async def retry_of(self, destination: Destination, sequence: int) -> RetryState | None:
        """Return the pending attempt of one event, if it has one beyond the cursor."""
        row = await self.db.read(lambda unit: unit.row("retry_of", (destination.no, sequence)))
        return RetryState(*row) if row is not None else None

    async def dead_letter_of(self, destination: Destination, sequence: int) -> RetryState | None:
        """Return attempts, time of death, status and message of an event's dead letter, if it is one."""
        row = await self.db.read(lambda unit: unit.row("dead_letter_of", (destination.no, sequence)))
        return RetryState(row[0], row[3], row[1], row[2]) if row is not None else None

    async def replay_cursor(self, destination: Destination, sequence: int) -> int | None:
        """Return the cursor of the newest replay that covers an event, or None."""
        row = await self.db.read(lambda unit: unit.row("replay_over", (destination.no, sequence, sequence)))
        return row[0] if row is not None else None

    async def totals(self) -> tuple[int, ...]:
        """Return destinations, delivered, failed attempts, retrying, dead letters, backlog, failing, halted: sums over all."""
        row = await self.db.read(lambda unit: unit.row("totals", (f"{HALTED}%",)))
        return tuple(row or ())

    # ── rows to objects ──

    def _find(
        self, unit: Unit, organization_no: OrganizationNo, dst_id: str, *, damaged_too: bool = False
    ) -> Destination:
        row = unit.row("destination_by_id", (organization_no, dst_id))
        if row is None:
            raise _no_destination(dst_id)
        return self._readable(row) if damaged_too else self._destination(row)

    def _destination(self, row: Row) -> Destination:
        return open_destination(row, self.sealer)

    def _readable(self, row: Row) -> Destination:
        """Open a row; of one that does not open, what is stored in the open."""
        try:
            return self._destination(row)
        except Unavailable:
            return replace(open_destination(row, None), damaged=True)

    def _opens(self, row: Row) -> bool:
        try:
            self._destination(row)
        except Unavailable:
            return False
        return True

    def _sealed(
        self, unit: Unit, spec: DestinationSpec, org_id: str, dst_id: str
    ) -> tuple[bytes | None, ...]:
        """Seal URL, auth header value, headers and OAuth2 client, under the master key that seals at this moment, inside a write."""
        key = sealing_key(unit)
        key_id = key.key_id if key is not None else None
        return seal_spec(spec, self.sealer, org_id, dst_id, key_id)


def _no_destination(dst_id: str) -> NotFound:
    return NotFound(f"there is no destination {dst_id[:80]!r} in this organization")


def _organization_id(unit: Unit, organization_no: OrganizationNo) -> str:
    row = unit.row("organization_id", (organization_no,))
    assert row is not None, "a principal has an organization, and organizations are never deleted"
    return str(row[0])


def _delete(unit: Unit, organization_no: int, destination_no: int, now: Micros) -> None:
    unit.run("mark_destination_deleted", (now, _next_revision(unit), organization_no, destination_no))
    unit.run("void_lease", (destination_no,))


def _next_revision(unit: Unit) -> int:
    row = unit.row("next_revision")
    assert row is not None, "the first migration writes this row"
    return int(row[0])


def _dead_sequences(unit: Unit, destination_no: int, event_ids: list[str]) -> list[int]:
    rows = [unit.row("dead_letter_by_event", (destination_no, event_id)) for event_id in event_ids]
    return [row[0] for row in rows if row is not None]


def _key(row: Row) -> ApiKey:
    key_id, organization_no, org_id, name, scope, digest, hint, created_at, expires_at = row
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
    )
