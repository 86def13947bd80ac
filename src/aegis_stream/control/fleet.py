"""How all organizations stand, and how the service does: what the operator looks at."""

import asyncio
import os
from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.settings import Settings
from aegis_stream.store import destinations, fleet, organizations
from aegis_stream.store.database import Unit
from aegis_stream.store.fleet import OrganizationStanding, RunningService

from .deps import ControlDeps, StoreDeps
from .destinations import Totals


class ShownWorker(NamedTuple):
    """A worker.

    Args:
        destinations: how many it serves.
        lease_s: for how long its leases hold, unless it renews them; negative when they are over. Seconds.
    """

    worker_id: str
    started_at: Micros
    destinations: int
    lease_s: float


class Disk(NamedTuple):
    """The disk of the data directory, bytes.

    Args:
        free: what is left for the service.
    """

    total: int
    free: int

    @property
    def used(self) -> float:
        """Share of it that is used, 0 to 1."""
        return 1 - self.free / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How the service does.

    Args:
        store: "sqlite" or "postgresql".
        disk: of the SQLite file; None where the store is a server, whose disk is elsewhere.
        failing_organizations: those with a failing destination.
        unserved: destinations that no registered worker serves.
    """

    store: str
    disk: Disk | None
    stored_bytes: int
    organizations: int
    failing_organizations: int
    near_quota: int
    totals: Totals
    services: list[RunningService]
    workers: list[ShownWorker]
    unserved: int


async def list_organizations(
    deps: StoreDeps, *, worst_first: bool, after: str = "", limit: int
) -> list[OrganizationStanding]:
    """Return how organizations stand.

    Args:
        worst_first: those that need somebody most; False for the order of their ids, above `after`.
    Raises: Unavailable.
    """
    now = deps.clock.now()

    def work(unit: Unit) -> list[OrganizationStanding]:
        if worst_first:
            return fleet.organizations_worst_first(unit, limit, now)
        return fleet.organizations_after(unit, after, limit, now)

    return await deps.db.read(work)


async def status(deps: ControlDeps) -> ServiceStatus:
    """Return how the service does. Raises: Unavailable."""
    settings = deps.settings
    url = settings.store.database_url
    shared = url is not None and url.is_postgres
    disk = None if shared else await asyncio.to_thread(disk_of, settings)

    def work(unit: Unit) -> ServiceStatus:
        steady = unit.steady()
        stored_bytes, near_quota = organizations.storage_totals(unit, settings.quotas)
        count, failing = fleet.count_organizations(unit)
        return ServiceStatus(
            store="postgresql" if shared else "sqlite",
            disk=disk,
            stored_bytes=stored_bytes,
            organizations=count,
            failing_organizations=failing,
            near_quota=near_quota,
            totals=Totals(*destinations.totals(unit)),
            services=fleet.services(unit),
            workers=[
                ShownWorker(
                    one.worker_id, one.started_at, one.destinations, (one.expires_at - steady) / SECOND
                )
                for one in fleet.workers(unit)
            ],
            unserved=fleet.unserved(unit),
        )

    return await deps.db.read(work)


def disk_of(settings: Settings) -> Disk | None:
    """Return how full the disk of the data directory is; None where it does not tell."""
    try:
        found = os.statvfs(settings.store.data_dir)
    except OSError:
        return None
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
