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

from . import answers, leases, rollups
from .database import Call, Database, Lane, Row, Unit, Value
from .dead_letter_rows import bury, redrive_some, short
from .pages import intact

OPEN_REPLAYS_MAX = 16
"""Replays of one destination that run beside each other; more wait for their turn."""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """Port Ledger on a database: each method runs one function in its lane.

    Args:
        grace_us: how long workers that return after an outage leave others to return, microseconds; 0 where all are on one machine.
    """

    db: Database
    grace_us: int = 0

    async def enlist(self, worker_id: WorkerId, lease_us: int) -> None:
        """Register a worker for a while: see the port."""
        await self.db.write(lambda unit: leases.enlist(unit, worker_id, lease_us, self.grace_us))

    async def renew(self, worker_id: WorkerId, lease_us: int) -> bool:
        """Prolong a worker's leases: see the port."""
        return await self.db.write(lambda unit: leases.renew(unit, worker_id, lease_us, self.grace_us))

    async def workers(self) -> list[WorkerId]:
        """Return all registered workers, living or not."""
        found = self.db.peek(leases.workers)
        return found if found is not None else await self.db.read(leases.workers)

    async def crew(self) -> list[tuple[WorkerId, bool]]:
        """Return all registered workers, and whether each is about to leave: see the port."""
        found = self.db.peek(leases.crew)
        return found if found is not None else await self.db.read(leases.crew)

    async def leave(self, worker_id: WorkerId, free: Seq[Lease]) -> None:
        """Hand destinations back before the end of a worker: see the port."""
        await self.db.write(lambda unit: leases.leave(unit, worker_id, free))

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
    cursors = unit.each([("lock_cursor", settlements[index].key) for index in order])
    results: list[Settled | None] = [None] * len(settlements)
    writes: list[Call] = []
    ends: list[tuple[int, int]] = []  # of which settlement, and where in `writes` its last one is
    for index, cursor in zip(order, cursors, strict=True):
        one = settlements[index]
        if cursor is None or not _holds(cursor, worker_id, one.lease):
            continue
        settlement_no, retrying, dead_letters = cursor[3:]
        if one.number <= settlement_no:  # stored already: whoever does not know that repeats it
            results[index] = Settled(retrying, dead_letters)
            continue
        writes += _writes(one, _settle_exceptions(unit, one))
        ends.append((index, len(writes) - 1))
    rows = unit.each(writes)
    for index, last in ends:
        counts = rows[last]
        assert counts is not None, "the row is locked"
        results[index] = Settled(*counts)
    return results


def _holds(cursor: Row, worker_id: WorkerId, lease: Lease) -> bool:
    """Judge a lease by the cursor row, which is locked.

    A worker whose time is over holds its leases until somebody removes it: nobody else can have sent anything under them.
    """
    owner, epoch, registered = cursor[:3]
    return bool(owner == worker_id and epoch == lease.epoch and registered is not None)


def _settle_exceptions(unit: Unit, one: Settlement) -> tuple[int, int]:
    """Store what one destination's settlement has beyond attempts and cursor; its lease holds, and it is new.

    Returns: by how many its retries grow, and its dead letters.
    """
    key = one.key
    retrying = dead_letters = 0
    for retry in one.retries:
        retrying += _upsert_retry(unit, one, retry)
    for sequence in one.resolved:
        retrying -= unit.run("delete_retry", (*key, sequence))
    for dead in one.dead:
        retrying -= unit.run("delete_retry", (*key, dead.sequence))
        if dead.failure.damaged:
            unit.run("count_damaged")
    if one.dead:
        dead_letters += bury(unit, key, one.dead)
    now = unit.now() if one.replays else 0
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
    return retrying, dead_letters


def _writes(one: Settlement, changes: tuple[int, int]) -> list[Call]:
    """Return the statements that every settlement has: its runs of attempts, its rollup, and the cursor last.

    Args:
        changes: by how many its retries grow, and its dead letters.
    """
    writes: list[Call] = []
    for run in one.runs:
        result = (run.state, run.status_code, short(run.message), run.latency_us, run.at)
        writes.append(("insert_attempt", (*one.key, run.first, run.last, run.attempt, *result)))
    writes += answers.writes(one.key, one.answers)
    writes += rollups.writes(one.key, one.rollup)
    counts = (one.cursor, one.delivered, one.failed_attempts, *changes)
    writes.append(("settle_cursor", (*counts, *_health_values(one.health), one.number, *one.key)))
    return writes


def _health_values(health: Health) -> tuple[Value, ...]:
    """Return a destination's health in the order of the columns of `settle_cursor`."""
    return (
        *(health.failures_in_row, health.window_size, health.p50_ms, health.p99_ms, health.last_success_at),
        *(health.last_error_at, health.last_error_status, short(health.last_error_message)),
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
            short(failure.message) if failure else None,
        ),
        *(*one.key, retry.sequence),
    )
    if unit.run("update_retry", values):
        return 0
    return unit.run("insert_retry", values)
