"""What is certain about deliveries: settlements, retries, replays (port Ledger): functions of a unit of work.

Everything that one worker has found out about its destinations since the last time is stored in one transaction, and
each destination's part is fenced by its lease in that same transaction: a worker that lost it can settle nothing.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream.domain.attempt import RETRY_AFTER_MAX_S, Failure, FailureScope, RetryPolicy
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    Claimed,
    DeadRow,
    DestinationKey,
    DueRetry,
    Lease,
    Outstanding,
    ReplayRange,
    RetryRow,
    Settled,
    Settlement,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, Micros, WorkerId

from . import leases
from .database import Database, Lane, Row, Unit, Value
from .pages import intact

OPEN_REPLAYS_MAX = 16
"""Replays of one destination that run beside each other; more wait for their turn."""
MESSAGE_CHARACTERS_MAX = 1000
"""Longest explanation of a failure that is stored."""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """Port Ledger on a database: each method runs one function in its lane."""

    db: Database

    async def enlist(self, worker_id: WorkerId, lease_us: int) -> None:
        """Register a worker for a while: see the port."""
        await self.db.write(lambda unit: leases.enlist(unit, worker_id, lease_us))

    async def renew(self, worker_id: WorkerId, lease_us: int) -> bool:
        """Prolong a worker's leases: see the port."""
        return await self.db.write(lambda unit: leases.renew(unit, worker_id, lease_us))

    async def workers(self) -> list[WorkerId]:
        """Return all registered workers, living or not."""
        found = self.db.peek(leases.workers)
        return found if found is not None else await self.db.read(leases.workers)

    async def claim(self, worker_id: WorkerId) -> tuple[list[Claimed], int]:
        """Take over free destinations: see the port."""
        return await self.db.write(lambda unit: leases.claim(unit, worker_id))

    async def release(self, worker_id: WorkerId, given: Seq[Lease]) -> None:
        """Hand destinations back."""
        await self.db.write(lambda unit: leases.release(unit, worker_id, given))

    async def retire(self, worker_id: WorkerId) -> None:
        """Remove a worker: its leases are free at once."""
        await self.db.write(lambda unit: leases.retire(unit, worker_id))

    async def settle(self, worker_id: WorkerId, settlements: Seq[Settlement]) -> list[Settled | None]:
        """Store settlements in one transaction: see the port."""
        return await self.db.submit(lambda unit: settle(unit, worker_id, settlements), Lane.SETTLEMENT)

    async def due(self, key: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
        """Return retries that are due, oldest first, and when the next one after now falls due."""
        return await self.db.read(lambda unit: due(unit, key, now, limit))

    async def bring_forward(self, key: DestinationKey, policy: RetryPolicy, now: Micros) -> None:
        """See to it that no retry is further away than the policy allows: see the port."""
        too_far = await self.db.read(lambda unit: retries_too_far(unit, key, policy, now))
        if too_far:
            await self.db.write(lambda unit: bring_forward(unit, key, too_far))

    async def outstanding(self, key: DestinationKey) -> Outstanding:
        """Return the replays under way, oldest first, the numbers of retries and dead letters, and the health."""
        return await self.db.read(lambda unit: outstanding(unit, key))


def due(unit: Unit, key: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
    """Return retries that are due, oldest first, and when the next one after now falls due."""
    rows = unit.rows("due_retries", (*key, now, limit))
    following = unit.row("next_due", (*key, now))
    found = [
        DueRetry(sequence, attempts, intact(body, recorded), status_code)
        for sequence, attempts, status_code, body, recorded in rows
    ]
    return found, following[0] if following is not None else None


class DueBy(NamedTuple):
    """When retries of a destination are due at the latest.

    Args:
        attempts: of those with so many attempts made.
        prolonged: 1 for those whose wait the destination or a parked attempt may have prolonged, 0 for the others.
    """

    attempts: int
    prolonged: int
    due_by: Micros


def retries_too_far(unit: Unit, key: DestinationKey, policy: RetryPolicy, now: Micros) -> list[DueBy]:
    """Return when retries that are further away than the policy allows must be due; empty when there are none."""
    found = []
    for attempts, prolonged, furthest in unit.rows("furthest_retries", key):
        longest_s = policy.delay_seconds(attempts, 1.0)
        if prolonged:
            longest_s = max(longest_s, RETRY_AFTER_MAX_S)
        due_by = Micros(now + int(longest_s * SECOND))
        if furthest > due_by:
            found.append(DueBy(attempts, prolonged, due_by))
    return found


def bring_forward(unit: Unit, key: DestinationKey, too_far: Seq[DueBy]) -> None:
    """Make retries due by a time that are due later."""
    for attempts, prolonged, due_by in too_far:
        unit.run("bring_forward", (due_by, *key, attempts, prolonged, due_by))


def outstanding(unit: Unit, key: DestinationKey) -> Outstanding:
    """Return the replays under way, oldest first, the numbers of retries and dead letters, and the health."""
    rows = unit.rows("open_replays", (*key, OPEN_REPLAYS_MAX))
    retrying, dead_letters, *health = unit.row("failures_of", key) or (0, 0)
    return Outstanding([ReplayRange(*row) for row in rows], retrying, dead_letters, Health(*health))


def settle(unit: Unit, worker_id: WorkerId, settlements: Seq[Settlement]) -> list[Settled | None]:
    """Store settlements, each once, and only where the worker's lease holds.

    The cursor rows are locked first, all of them, in ascending order; leases are judged under these locks, so nobody can
    take a destination over between the judgement and the commit.
    Returns: for each settlement the counts afterwards; None where the lease did not hold, and then nothing of it is stored.
    """
    order = sorted(range(len(settlements)), key=lambda index: settlements[index].key)
    cursors = {index: unit.row("lock_cursor", settlements[index].key) for index in order}
    now = unit.now()
    results: list[Settled | None] = [None] * len(settlements)
    for index in order:
        cursor, one = cursors[index], settlements[index]
        if cursor is not None and _holds(cursor, worker_id, one.lease):
            results[index] = _settle_once(unit, one, cursor, now)
    return results


def _holds(cursor: Row, worker_id: WorkerId, lease: Lease) -> bool:
    """Judge a lease by the cursor row, which is locked.

    A worker whose time is over holds its leases until somebody removes it: nobody else can have sent anything under them.
    """
    owner, epoch, registered = cursor[:3]
    return bool(owner == worker_id and epoch == lease.epoch and registered is not None)


def _settle_once(unit: Unit, one: Settlement, cursor: Row, now: Micros) -> Settled:
    """Store a settlement whose lease holds, unless it is stored already: whoever does not know that repeats it."""
    settlement_no, retrying, dead_letters = cursor[3:]
    if one.number <= settlement_no:
        return Settled(retrying, dead_letters)
    return _settle(unit, one, now)


def _settle(unit: Unit, one: Settlement, now: Micros) -> Settled:
    """Store one destination's settlement; its lease holds, and it is new."""
    key = one.key
    retrying = dead_letters = 0
    for run in one.runs:
        result = (run.state, run.status_code, _short(run.message), run.latency_us, run.at)
        unit.run("insert_attempt", (*key, run.first, run.last, run.attempt, *result))
    for retry in one.retries:
        retrying += _upsert_retry(unit, one, retry)
    for sequence in one.resolved:
        retrying -= unit.run("delete_retry", (*key, sequence))
    for dead in one.dead:
        retrying -= unit.run("delete_retry", (*key, dead.sequence))
        if dead.failure.damaged:
            unit.run("count_damaged")
        dead_letters += _upsert_dead(unit, one, dead)
    for replay_id, cursor in one.replays:
        unit.run("advance_replay", (cursor, cursor, now, *key, replay_id))
    if one.redrive_died_by is not None:
        moved, made = redrive_some(
            unit,
            key,
            scope=FailureScope.DESTINATION,
            died_by=one.redrive_died_by,
            limit=AUTO_REDRIVE_MAX,
        )
        retrying, dead_letters = retrying + made, dead_letters - moved
    counts = unit.row(
        "settle_cursor",
        (
            *(one.cursor, one.delivered, one.failed_attempts, retrying, dead_letters),
            *_health_values(one.health),
            *(one.number, *key),
        ),
    )
    assert counts is not None, "the row is locked"
    return Settled(*counts)


def _health_values(health: Health) -> tuple[Value, ...]:
    """Return a destination's health in the order of the columns of `settle_cursor`."""
    return (
        *(health.failures_in_row, health.window_size, health.p50_ms, health.p99_ms, health.last_success_at),
        *(health.last_error_at, health.last_error_status, _short(health.last_error_message)),
        *(health.last_error_sequence, health.batch_bytes_max),
    )


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
        *(*one.key, retry.sequence),
    )
    if unit.run("update_retry", values):
        return 0
    return unit.run("insert_retry", values)


def _upsert_dead(unit: Unit, one: Settlement, dead: DeadRow) -> int:
    """Write a dead letter; returns 1 when it is a new one."""
    failure = dead.failure
    replaced = unit.run("delete_dead_letter", (*one.key, dead.sequence))
    values = (
        *(*one.key, dead.sequence, dead.attempts),
        *(str(failure.scope), failure.status_code, _short(failure.message), dead.dead_at),
    )
    return unit.run("insert_dead_letter", values) - replaced


def redrive_some(
    unit: Unit, key: DestinationKey, *, scope: str, died_by: Micros, limit: int
) -> tuple[int, int]:
    """Make dead letters pending again: a retry with no attempt made, due at once.

    Args:
        scope: only those with this scope; "%" for all.
        died_by: only those that were dead by then, so that one redrive takes no event twice.
        limit: most to move.
    Returns: how many dead letters moved, and how many retries are new; the caller adds them to the counts.
    """
    found = unit.rows("dead_letters_for_redrive", (*key, died_by, unit.now(), scope, limit))
    sequences = [row[0] for row in found]
    return redrive_these(unit, key, sequences)


def redrive_these(unit: Unit, key: DestinationKey, sequences: Seq[int]) -> tuple[int, int]:
    """Make these dead letters pending again: due at once, whatever the clock says.

    Returns: how many dead letters there were, and how many retries are new (a replay may have left one of the same event).
    """
    moved = made = 0
    for sequence in sequences:
        if unit.run("delete_dead_letter", (*key, sequence)):
            moved += 1
            fresh = (0, 0, None, None, *key, sequence)
            if not unit.run("update_retry", fresh):
                made += unit.run("insert_retry", fresh)
    return moved, made


def _short(message: str | None) -> str | None:
    return message[:MESSAGE_CHARACTERS_MAX] if message is not None else None
