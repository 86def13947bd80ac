"""How the destinations of an organization stand, in one read whose cost does not grow with the log."""

from typing import NamedTuple

from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.destination import HALTED, Destination, Progress
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import Organization
from aegis_stream.domain.standing import Standing, State
from aegis_stream.store import destinations, log, organizations
from aegis_stream.store.database import Unit

from .caller import Caller
from .deps import ControlDeps
from .destinations import DAMAGED

DESTINATIONS_SHOWN_MAX = 200
"""Most destinations in an overview; the limit of an organization is lower by default."""
FIRST_MAX = 100
"""A log of so many events is looked at for one that is not an administrative action."""
SLOW_WAITING_US = 60_000_000
"""A destination is slow whose oldest waiting event has waited for longer, microseconds."""


class Overview(NamedTuple):
    """An organization and its destinations.

    Args:
        last_received_at: when its newest event was recorded; None for an empty log.
        standings: in the order of creation.
        has_events: whether an event of an application was recorded; what people do here is recorded too, and does not count.
    """

    organization: Organization
    last_received_at: Micros | None
    standings: list[Standing]
    has_events: bool

    @property
    def last_event_at(self) -> Micros | None:
        """When the newest event was recorded, of a log that has one of an application."""
        return self.last_received_at if self.has_events else None


class Subject(NamedTuple):
    """One destination, how far it has come, and how it stands.

    Args:
        served_by: the worker that holds its lease; None for none.
        next_retry_at: when the first of its retries is due; None without retries.
    """

    destination: Destination
    progress: Progress
    standing: Standing
    served_by: str | None = None
    next_retry_at: Micros | None = None


async def read(deps: ControlDeps, caller: Caller) -> Overview:
    """Return how the caller's organization stands. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> Overview:
        organization = organizations.find(unit, caller.org_id)
        found = destinations.list_of(unit, deps.sealer, organization.no, "", DESTINATIONS_SHOWN_MAX)
        return Overview(
            organization,
            log.received_at(unit, organization.no, organization.head),
            [_subject(unit, deps, one).standing for one in found],
            _has_events(unit, organization),
        )

    return await deps.db.read(work)


async def read_one(deps: ControlDeps, caller: Caller, dst_id: str) -> Subject:
    """Return how one destination stands, also one whose secrets do not open. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> Subject:
        found = destinations.find(unit, deps.sealer, caller.organization_no, dst_id, damaged_too=True)
        served_by, next_retry_at = destinations.work_ahead(unit, found)
        return _subject(unit, deps, found)._replace(served_by=served_by, next_retry_at=next_retry_at)

    return await deps.db.read(work)


def _has_events(unit: Unit, organization: Organization) -> bool:
    """Tell whether an application has recorded an event. Of a log that is longer than a first visit makes it, nobody asks."""
    if not 0 < organization.head <= FIRST_MAX:
        return organization.head > 0
    found = log.datasets(unit, organization.no, organization.head)
    return not found or any(one != ADMIN_DATASET for one in found)


def _subject(unit: Unit, deps: ControlDeps, destination: Destination) -> Subject:
    progress = destinations.progress(unit, destination)
    waiting_since = None
    if progress.head > progress.cursor:
        waiting_since = log.received_at(unit, destination.organization_no, progress.cursor + 1)
    now, most = deps.clock.now(), deps.settings.delivery.dead_letters_max
    return Subject(destination, progress, standing_of(destination, progress, waiting_since, now, most))


def standing_of(
    destination: Destination,
    progress: Progress,
    waiting_since: Micros | None,
    now: Micros,
    dead_letters_max: int,
) -> Standing:
    """Judge how a destination stands; pure.

    Args:
        waiting_since: when the oldest event was recorded that waits in the log; None when none does, or it is gone.
        dead_letters_max: with so many failed events, further ones are not kept.
    """
    spec, health = destination.spec, progress.health
    message = health.last_error_message or ""
    return Standing(
        dst_id=destination.dst_id,
        name=spec.name or destination.dst_id,
        state=_state(destination, progress, waiting_since, now, dead_letters_max),
        since=health.last_success_at,
        status_code=health.last_error_status,
        cause=DAMAGED if destination.damaged else message,
        waiting=max(0, progress.head - progress.cursor),
        waiting_since=waiting_since,
        retrying=progress.retrying,
        dead_letters=progress.dead_letters,
        delivered=progress.delivered,
        last_success_at=health.last_success_at,
        last_error_at=health.last_error_at,
        p99_ms=health.p99_ms,
        created_at=destination.created_at,
        updated_at=destination.updated_at,
    )


def _state(
    destination: Destination,
    progress: Progress,
    waiting_since: Micros | None,
    now: Micros,
    dead_letters_max: int,
) -> State:
    health = progress.health
    if destination.damaged:
        return State.DAMAGED
    if not destination.spec.enabled:
        return State.PAUSED
    if health.failures_in_row and (health.last_error_message or "").startswith(HALTED):
        return State.HALTED
    if progress.dead_letters + progress.retrying >= dead_letters_max:
        return State.FULL
    if health.failures_in_row:
        return State.FAILING
    has_taken = health.last_success_at is not None or progress.delivered > 0
    if not has_taken and health.last_error_at is not None:
        return State.REJECTING
    if waiting_since is not None and now - waiting_since > SLOW_WAITING_US:
        return State.SLOW
    return State.TAKING if has_taken else State.UNTRIED
