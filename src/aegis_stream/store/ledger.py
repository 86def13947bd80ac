"""What is certain about deliveries, in the database (port Ledger): leases, settlements, retries, replays.

Everything that one worker has found out about its destinations since the last time is stored in one transaction, and
each destination's part is fenced by its lease in that same transaction: a worker that lost it can settle nothing.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from aegis_stream.domain.attempt import Failure, Scope
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

from .log import position
from .sqlite import Connection, Sqlite, Value
from .statements import load

OPEN_REPLAYS_MAX = 16
"""Replays of one destination that run beside each other; more wait for their turn."""
MESSAGE_CHARACTERS_MAX = 1000
"""Longest explanation of a failure that is stored."""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """Port Ledger on the database."""

    db: Sqlite

    async def enlist(self, worker_id: WorkerId, now: Micros, expires_at: Micros) -> None:
        """Register a worker, after removing those whose time is over."""

        def work(db: Connection) -> None:
            db.run(load()["delete_expired_workers"], (now,))
            db.run(load()["insert_worker"], (worker_id, now, expires_at))

        await self.db.write(work)

    async def renew(self, worker_id: WorkerId, now: Micros, expires_at: Micros) -> bool:
        """Prolong a worker's leases; False when they are lost already, which cannot be undone."""
        return await self.db.write(
            lambda db: db.run(load()["renew_worker"], (expires_at, worker_id, now)) == 1
        )

    async def workers(self) -> list[WorkerId]:
        """Return all registered workers, living or not."""
        return [WorkerId(row[0]) for row in await self.db.read(lambda db: db.rows(load()["workers"]))]

    async def claim(self, worker_id: WorkerId, now: Micros) -> tuple[list[Claimed], int]:
        """Take over free destinations, up to a fair share of all.

        Returns: everything this worker now serves, and how many of them are more than its share.
        """

        def work(db: Connection) -> tuple[list[Claimed], int]:
            db.run(load()["delete_expired_workers"], (now,))
            if db.row(load()["worker_is_alive"], (worker_id, now)) is None:
                return [], 0
            counts = db.row(load()["share_counts"])
            assert counts is not None, "a select of two counts has one row"
            share = -(-counts[0] // max(1, counts[1]))
            rows = db.rows(load()["positions"], (worker_id,))
            if share > len(rows) and db.rows(load()["claim"], (worker_id, share - len(rows))):
                rows = db.rows(load()["positions"], (worker_id,))
            positions = [_claimed(row) for row in rows]
            return positions, max(0, len(positions) - share)

        return await self.db.write(work)

    async def settle(self, worker_id: WorkerId, settlements: Seq[Settlement], now: Micros) -> set[Lease]:
        """Store settlements in one transaction; returns the leases that did not hold, of which nothing is stored."""

        def work(db: Connection) -> set[Lease]:
            lost = set()
            for one in settlements:
                fence = (one.lease.destination_no, worker_id, one.lease.epoch, now)
                if db.row(load()["lease_holds"], fence) is None:
                    lost.add(one.lease)
                else:
                    _settle(db, one, now)
            return lost

        return await self.db.write(work)

    async def due(
        self, destination_no: DestinationNo, now: Micros, limit: int
    ) -> tuple[list[DueRetry], Micros | None]:
        """Return retries that are due, oldest first, and when the next one after now falls due."""

        def work(db: Connection) -> tuple[list[DueRetry], Micros | None]:
            rows = db.rows(load()["due_retries"], (destination_no, now, limit))
            following = db.row(load()["next_due"], (destination_no, now))
            due = [DueRetry(sequence, attempts, body.encode()) for sequence, attempts, body in rows]
            return due, following[0] if following is not None else None

        return await self.db.read(work)

    async def outstanding(self, destination_no: DestinationNo) -> Outstanding:
        """Return the replays under way, oldest first, the numbers of retries and dead letters, and the health."""

        def work(db: Connection) -> Outstanding:
            rows = db.rows(load()["open_replays"], (destination_no, OPEN_REPLAYS_MAX))
            retrying, dead_letters, *health = db.row(load()["failures_of"], (destination_no,)) or (0, 0)
            return Outstanding([ReplayRange(*row) for row in rows], retrying, dead_letters, Health(*health))

        return await self.db.read(work)

    async def release(self, worker_id: WorkerId, leases: Seq[Lease]) -> None:
        """Hand destinations back, so that another worker can claim them at once."""

        def work(db: Connection) -> None:
            for lease in leases:
                db.run(load()["release_lease"], (lease.destination_no, worker_id, lease.epoch))

        await self.db.write(work)

    async def retire(self, worker_id: WorkerId) -> None:
        """Remove a worker: its leases are free at once."""
        await self.db.write(lambda db: db.run(load()["delete_worker"], (worker_id,)))


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


def _settle(db: Connection, one: Settlement, now: Micros) -> None:
    """Store one destination's settlement; the fence has been passed."""
    no, sql = one.lease.destination_no, load()
    retrying = dead_letters = 0
    for run in one.runs:
        db.run(
            sql["insert_attempt"],
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
        retrying += _upsert_retry(db, one, retry)
    for sequence in one.resolved:
        retrying -= db.run(sql["delete_retry"], (no, sequence))
    for dead in one.dead:
        retrying -= db.run(sql["delete_retry"], (no, dead.sequence))
        dead_letters += _upsert_dead(db, one, dead)
    for replay_id, cursor in one.replays:
        db.run(sql["advance_replay"], (cursor, cursor, now, replay_id, no))
    if one.redrive_died_by is not None:
        moved, made = redrive_some(
            db,
            no,
            one.organization_no,
            scope=Scope.DESTINATION,
            died_by=one.redrive_died_by,
            limit=AUTO_REDRIVE_MAX,
        )
        retrying, dead_letters = retrying + made, dead_letters - moved
    health = one.health
    counts = db.row(
        sql["settle_cursor"],
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


def _upsert_retry(db: Connection, one: Settlement, retry: RetryRow) -> int:
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
    if db.run(load()["update_retry"], values):
        return 0
    return db.run(load()["insert_retry"], (*values, one.organization_no))


def _upsert_dead(db: Connection, one: Settlement, dead: DeadRow) -> int:
    """Write a dead letter; returns 1 when it is a new one."""
    no, failure = one.lease.destination_no, dead.failure
    replaced = db.run(load()["delete_dead_letter"], (no, dead.sequence))
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
    return db.run(load()["insert_dead_letter"], values) - replaced


def redrive_some(
    db: Connection, no: int, organization_no: int, *, scope: str, died_by: Micros, limit: int
) -> tuple[int, int]:
    """Make dead letters pending again: a retry with no attempt made, due at once.

    Args:
        scope: only those with this scope; "%" for all.
        died_by: only those that were dead by then, so that one redrive takes no event twice.
        limit: most to move.
    Returns: how many dead letters moved, and how many retries are new; the caller adds them to the counts.
    """
    sequences = [row[0] for row in db.rows(load()["dead_letters_for_redrive"], (no, died_by, scope, limit))]
    return redrive_these(db, no, organization_no, sequences, died_by)


def redrive_these(
    db: Connection, no: int, organization_no: int, sequences: Seq[int], now: Micros
) -> tuple[int, int]:
    """Make these dead letters pending again.

    Returns: how many dead letters there were, and how many retries are new (a replay may have left one of the same event).
    """
    moved = made = 0
    for sequence in sequences:
        if db.run(load()["delete_dead_letter"], (no, sequence)):
            moved += 1
            fresh = (0, now, None, None, no, sequence)
            if not db.run(load()["update_retry"], fresh):
                made += db.run(load()["insert_retry"], (*fresh, organization_no))
    return moved, made


def _short(message: str | None) -> str | None:
    return message[:MESSAGE_CHARACTERS_MAX] if message is not None else None
