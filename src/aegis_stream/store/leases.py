"""Workers, and the leases by which they serve destinations: functions of a unit of work, in the control lane.

A lease is the pair of owner and epoch in `cursors`; it holds while the owner is registered. A worker whose time is over is
removed by the next one that enlists or claims, so until then it can renew, and settle what it knows. The unit's own time judges
that, so callers pass durations: clocks of several machines need not agree, and setting the wall clock changes nothing.
"""

from collections.abc import Sequence as Seq

from aegis_stream.domain.delivery import Claimed, Lease
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, DestinationNo, OrganizationNo, WorkerId

from .database import Row, Unit

LEASE_MAX_US = 2 * 3600 * SECOND
"""No lease lasts so long (the setting's limit is an hour): one that does is from before the machine's last start."""


def enlist(unit: Unit, worker_id: WorkerId, lease_us: int) -> None:
    """Register a worker for a while, after removing those whose time is over.

    Args:
        lease_us: how long it and its leases are good, microseconds.
    """
    _remove_expired(unit, worker_id)
    unit.run("insert_worker", (worker_id, unit.now(), unit.steady() + lease_us))


def renew(unit: Unit, worker_id: WorkerId, lease_us: int) -> bool:
    """Prolong a worker's leases to `lease_us` from now; False when another one has removed it, which cannot be undone."""
    return unit.run("renew_worker", (unit.steady() + lease_us, worker_id)) == 1


def claim(unit: Unit, worker_id: WorkerId) -> tuple[list[Claimed], int]:
    """Take over free destinations, up to a fair share of all.

    Returns: everything this worker now serves, and how many of them are more than its share; nothing when it was removed.
    """
    _remove_expired(unit, worker_id)
    if unit.row("worker_is_registered", (worker_id,)) is None:
        return [], 0
    counts = unit.row("share_counts")
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


def _remove_expired(unit: Unit, worker_id: WorkerId) -> None:
    """Remove workers whose time is over, but the one who calls: it lives."""
    now = unit.steady()
    unit.run("delete_expired_workers", (now, now + LEASE_MAX_US, worker_id))


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
