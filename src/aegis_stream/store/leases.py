"""Workers, and the leases by which they serve destinations: functions of a unit of work, in the control lane.

A lease is the pair of owner and epoch in `cursors`; it holds while the owner is registered. A worker whose time is over is
removed by the next one that enlists or claims, so until then it can renew, and settle what it knows. The unit's own time judges
that, so callers pass durations: clocks of several machines need not agree, and setting the wall clock changes nothing.

After an outage of a database that several machines use, longer than a lease, the time of all workers is over. So who returns late, or
is new and finds nobody who has renewed in time, removes no others before a grace has passed: the first to return leaves the others
time to return.
"""

from collections.abc import Sequence as Seq

from aegis_stream.domain.delivery import Claimed, Lease
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, DestinationNo, Micros, OrganizationNo, WorkerId

from .database import Row, Unit

LEASE_MAX_US = 2 * 3600 * SECOND
"""No lease lasts so long (the setting's limit is an hour): one that does is from before the machine's last start."""


LEAVING_US = 1 << 61
"""When a worker that is about to leave may judge others: never."""


def enlist(unit: Unit, worker_id: WorkerId, lease_us: int, grace_us: int = 0) -> None:
    """Register a worker for a while, after removing those whose time is over, unless they may be about to return.

    Args:
        lease_us: how long it and its leases are good, microseconds.
        grace_us: how long it leaves others to return when it finds nobody who has renewed in time, microseconds.
    """
    now = unit.steady()
    unit.run("delete_impossible_workers", (now + LEASE_MAX_US, worker_id))
    if living_workers(unit) or not unit.rows("workers"):
        grace_us = 0
    if grace_us == 0:
        unit.run("delete_expired_workers", (now, worker_id))
    unit.run("insert_worker", (worker_id, unit.now(), now + lease_us, now + grace_us))


def renew(unit: Unit, worker_id: WorkerId, lease_us: int, grace_us: int = 0) -> bool:
    """Prolong a worker's leases to `lease_us` from now; False when another one has removed it, which cannot be undone.

    Args:
        grace_us: how long it leaves others to return when its own time was over, microseconds.
    """
    now = unit.steady()
    values = (now, now + LEASE_MAX_US, now + grace_us, now + lease_us, worker_id)
    return unit.run("renew_worker", values) == 1


def claim(unit: Unit, worker_id: WorkerId) -> tuple[list[Claimed], int]:
    """Take over free destinations, up to a fair share of all.

    Returns: everything this worker now serves, and how many of them are more than its share; nothing when it was removed.
    """
    term = unit.row("worker_term", (worker_id,))
    if term is None:
        return [], 0
    _remove_expired(unit, worker_id, *term)
    counts = unit.row("share_counts", (LEAVING_US,))
    assert counts is not None, "a select of two counts has one row"
    share = -(-counts[0] // max(1, counts[1]))
    rows = unit.rows("positions", (worker_id,))
    if share > len(rows) and unit.rows("claim", (worker_id, share - len(rows))):
        rows = unit.rows("positions", (worker_id,))
    return [_claimed(row) for row in rows], max(0, len(rows) - share)


def release(unit: Unit, worker_id: WorkerId, leases: Seq[Lease]) -> None:
    """Hand destinations back, so that another worker can claim them at once."""
    for lease in sorted(leases):
        unit.run("release_lease", (worker_id, lease.destination_no, lease.epoch))


def leave(unit: Unit, worker_id: WorkerId, free: Seq[Lease]) -> None:
    """Note that a worker is about to leave, and hand back what it serves no more; the rest is its until it retires."""
    unit.run("leave", (LEAVING_US, worker_id))
    release(unit, worker_id, free)


def crew(unit: Unit) -> list[tuple[WorkerId, bool]]:
    """Return all registered workers, living or not, and whether each is about to leave."""
    return [(WorkerId(worker_id), bool(leaves)) for worker_id, leaves in unit.rows("crew", (LEAVING_US,))]


def living_workers(unit: Unit) -> int:
    """Return how many workers are registered and have renewed in time."""
    now = unit.steady()
    row = unit.row("count_living_workers", (now, now + LEASE_MAX_US))
    return int(row[0]) if row is not None else 0


def retire(unit: Unit, worker_id: WorkerId) -> None:
    """Remove a worker: its leases are free at once."""
    unit.run("delete_worker", (worker_id,))


def workers(unit: Unit) -> list[WorkerId]:
    """Return all registered workers, living or not."""
    return [WorkerId(row[0]) for row in unit.rows("workers")]


def _remove_expired(unit: Unit, worker_id: WorkerId, judges_from: Micros, expires_at: Micros) -> None:
    """Remove workers whose time is over, if the one who calls has renewed in time for long enough to judge that."""
    now = unit.steady()
    if judges_from <= now < expires_at:
        unit.run("delete_impossible_workers", (now + LEASE_MAX_US, worker_id))
        unit.run("delete_expired_workers", (now, worker_id))


def _claimed(row: Row) -> Claimed:
    destination_no, epoch, organization_no, cursor, head, retrying, dead_letters, replaying, *health = row
    return Claimed(
        Lease(DestinationNo(destination_no), epoch),
        OrganizationNo(organization_no),
        cursor,
        head,
        retrying,
        dead_letters,
        bool(replaying),
        Health(*health),
    )
