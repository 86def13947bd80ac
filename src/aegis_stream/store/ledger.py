"""What is certain about deliveries, in the database (port Ledger): leases, settlements, retries, replays.

Everything that one worker has found out about its destinations since the last time is stored in one transaction, and
each destination's part is fenced by its lease in that same transaction: a worker that lost it can settle nothing.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    Claimed,
    DeadRow,
    DueRetry,
    Lease,
    Outstanding,
    ReplayRange,
    RetryRow,
    Settlement,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo, WorkerId

from .database import Database, Lane, Unit, Value
from .log import position

OPEN_REPLAYS_MAX = 16
"""Replays of one destination that run beside each other; more wait for their turn."""
MESSAGE_CHARACTERS_MAX = 1000
"""Longest explanation of a failure that is stored."""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """Port Ledger on the database."""

    db: Database

    async def enlist(self, worker_id: WorkerId, now: Micros, expires_at: Micros) -> None:
        """Register a worker, after removing those whose time is over."""

        def work(unit: Unit) -> None:
            unit.run("delete_expired_workers", (now,))
            unit.run("insert_worker", (worker_id, now, expires_at))

        await self.db.write(work)

    async def renew(self, worker_id: WorkerId, now: Micros, expires_at: Micros) -> bool:
        """Prolong a worker's leases; False when they are lost already, which cannot be undone."""
        return await self.db.write(lambda unit: unit.run("renew_worker", (expires_at, worker_id, now)) == 1)

    async def workers(self) -> list[WorkerId]:
        """Return all registered workers, living or not."""
        return [WorkerId(row[0]) for row in await self.db.read(lambda unit: unit.rows("workers"))]

    async def claim(self, worker_id: WorkerId, now: Micros) -> tuple[list[Claimed], int]:
        """Take over free destinations, up to a fair share of all.

        Returns: everything this worker now serves, and how many of them are more than its share.
        """

        def work(unit: Unit) -> tuple[list[Claimed], int]:
            unit.run("delete_expired_workers", (now,))
            if unit.row("worker_is_alive", (worker_id, now)) is None:
                return [], 0
            counts = unit.row("share_counts")
            assert counts is not None, "a select of two counts has one row"
            share = -(-counts[0] // max(1, counts[1]))
            rows = unit.rows("positions", (worker_id,))
            if share > len(rows) and unit.rows("claim", (worker_id, share - len(rows))):
                rows = unit.rows("positions", (worker_id,))
            positions = [_claimed(row) for row in rows]
            return positions, max(0, len(positions) - share)

        return await self.db.write(work)

    async def settle(self, worker_id: WorkerId, settlements: Seq[Settlement], now: Micros) -> set[Lease]:
        """Store settlements in one transaction; returns the leases that did not hold, of which nothing is stored."""

        def work(unit: Unit) -> set[Lease]:
            lost = set()
            for one in settlements:
                fence = (one.lease.destination_no, worker_id, one.lease.epoch, now)
                if unit.row("lease_holds", fence) is None:
                    lost.add(one.lease)
                else:
                    _settle(unit, one, now)
            return lost

        return await self.db.submit(work, Lane.SETTLEMENT)

    async def due(
        self, destination_no: DestinationNo, now: Micros, limit: int
    ) -> tuple[list[DueRetry], Micros | None]:
        """Return retries that are due, oldest first, and when the next one after now falls due."""

        def work(unit: Unit) -> tuple[list[DueRetry], Micros | None]:
            rows = unit.rows("due_retries", (destination_no, now, limit))
            following = unit.row("next_due", (destination_no, now))
            due = [DueRetry(sequence, attempts, body.encode()) for sequence, attempts, body in rows]
            return due, following[0] if following is not None else None

        return await self.db.read(work)

    async def outstanding(self, destination_no: DestinationNo) -> Outstanding:
        """Return the replays under way, oldest first, the numbers of retries and dead letters, and the health."""

        def work(unit: Unit) -> Outstanding:
            rows = unit.rows("open_replays", (destination_no, OPEN_REPLAYS_MAX))
            retrying, dead_letters, *health = unit.row("failures_of", (destination_no,)) or (0, 0)
            return Outstanding([ReplayRange(*row) for row in rows], retrying, dead_letters, Health(*health))

        return await self.db.read(work)

    async def release(self, worker_id: WorkerId, leases: Seq[Lease]) -> None:
        """Hand destinations back, so that another worker can claim them at once."""

        def work(unit: Unit) -> None:
            for lease in leases:
                unit.run("release_lease", (lease.destination_no, worker_id, lease.epoch))

        await self.db.write(work)

    async def retire(self, worker_id: WorkerId) -> None:
        """Remove a worker: its leases are free at once."""
        await self.db.write(lambda unit: unit.run("delete_worker", (worker_id,)))


def _claimed(row: tuple[Value, ...]) -> Claimed:
    destination_no, epoch, organization_no, cursor, head, retrying, dead_letters, replaying, *health = row
    return Claimed(
        Lease(DestinationNo(destination_no), epoch),  # type: ignore[arg-type] # STRICT tables keep their types
        OrganizationNo(organization_no),  # type: ignore[arg-type]
        cursor,  # type: ignore[arg-type]
        head,  # type: ignore[arg-type]
        retrying,  # type: ignore[arg-type]
        dead_letters,  # type: ignore[arg-type]
        bool(replaying),
        Health(*health),  # type: ignore[arg-type]
    )


def _settle(unit: Unit, one: Settlement, now: Micros) -> None:
    """Store one destination's settlement; the fence has been passed."""
    no = one.lease.destination_no
    retrying = dead_letters = 0
    for run in one.runs:
        unit.run(
            "insert_attempt",
            (
                no,
                run.first,
                run.last,
                run.attempt,
                run.state,
                run.status_code,
                _short(run.message),
                run.latency_us,
                run.at,
            ),
        )
    for retry in one.retries:
        retrying += _upsert_retry(unit, one, retry)
    for sequence in one.resolved:
        retrying -= unit.run("delete_retry", (no, sequence))
    for dead in one.dead:
        retrying -= unit.run("delete_retry", (no, dead.sequence))
        dead_letters += _upsert_dead(unit, one, dead)
    for replay_id, cursor in one.replays:
        unit.run("advance_replay", (cursor, cursor, now, replay_id, no))
    if one.redrive_died_by is not None:
        moved, made = redrive_some(
            unit,
            no,
            one.organization_no,
            scope=FailureScope.DESTINATION,
            died_by=one.redrive_died_by,
            limit=AUTO_REDRIVE_MAX,
        )
        retrying, dead_letters = retrying + made, dead_letters - moved
    health = one.health
    counts = unit.row(
        "settle_cursor",
        (
            *(one.cursor, one.delivered, one.failed_attempts, retrying, dead_letters),
            *(
                health.failures_in_row,
                health.window_size,
                health.p50_ms,
                health.p99_ms,
                health.last_success_at,
            ),
            *(
                health.last_error_at,
                health.last_error_status,
                _short(health.last_error_message),
                health.last_error_sequence,
                health.batch_bytes_max,
            ),
            no,
        ),
    )
    assert counts is not None, "the fence has found the row"
    one.retrying, one.dead_letters = counts


def _upsert_retry(unit: Unit, one: Settlement, retry: RetryRow) -> int:
    """Write a retry; returns 1 when it is a new one."""
    failure: Failure | None = retry.failure
    values = (
        *(
            retry.attempts,
            retry.due_at,
            failure.status_code if failure else None,
            _short(failure.message) if failure else None,
        ),
        *(one.lease.destination_no, retry.sequence),
    )
    if unit.run("update_retry", values):
        return 0
    return unit.run("insert_retry", (*values, one.organization_no))


def _upsert_dead(unit: Unit, one: Settlement, dead: DeadRow) -> int:
    """Write a dead letter; returns 1 when it is a new one."""
    no, failure = one.lease.destination_no, dead.failure
    replaced = unit.run("delete_dead_letter", (no, dead.sequence))
    values = (
        *(
            no,
            dead.sequence,
            dead.attempts,
            str(failure.scope),
            failure.status_code,
            _short(failure.message),
            dead.dead_at,
        ),
        position(one.organization_no, dead.sequence),
    )
    return unit.run("insert_dead_letter", values) - replaced


def redrive_some(
    unit: Unit, no: int, organization_no: int, *, scope: str, died_by: Micros, limit: int
) -> tuple[int, int]:
    """Make dead letters pending again: a retry with no attempt made, due at once.

    Args:
        scope: only those with this scope; "%" for all.
        died_by: only those that were dead by then, so that one redrive takes no event twice.
        limit: most to move.
    Returns: how many dead letters moved, and how many retries are new; the caller adds them to the counts.
    """
    sequences = [row[0] for row in unit.rows("dead_letters_for_redrive", (no, died_by, scope, limit))]
    return redrive_these(unit, no, organization_no, sequences, died_by)


def redrive_these(
    unit: Unit, no: int, organization_no: int, sequences: Seq[int], now: Micros
) -> tuple[int, int]:
    """Make these dead letters pending again.

    Returns: how many dead letters there were, and how many retries are new (a replay may have left one of the same event).
    """
    moved = made = 0
    for sequence in sequences:
        if unit.run("delete_dead_letter", (no, sequence)):
            moved += 1
            fresh = (0, now, None, None, no, sequence)
            if not unit.run("update_retry", fresh):
                made += unit.run("insert_retry", (*fresh, organization_no))
    return moved, made


def _short(message: str | None) -> str | None:
    return message[:MESSAGE_CHARACTERS_MAX] if message is not None else None
