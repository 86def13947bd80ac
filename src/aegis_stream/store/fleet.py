"""How all organizations stand, and what runs: reads for the operator, functions of a unit of work."""

from typing import NamedTuple

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId, OrganizationNo

from .database import Row, Unit
from .inspection import WorkerState
from .log import received_at, sequence_at

MINUTE_US = 60 * SECOND
SHOWN_MAX = 1000
"""Most workers, and most services, that are shown."""


class OrganizationStanding(NamedTuple):
    """How one organization stands.

    Args:
        destinations: those that are not deleted; paused and failing are among them.
        waiting: events that destinations which are not paused have not had yet, those to be retried among them.
        waiting_since: when the oldest of these in the log was recorded; None for none.
        events_per_minute: recorded in the last minute.
        last_event_at: None for an empty log.
        proof: how its log is sealed: off, sealed or stream.
    """

    org_id: OrganizationId
    name: str
    created_at: Micros
    head: int
    stored_bytes: int
    destinations: int
    paused: int
    failing: int
    waiting: int
    waiting_since: Micros | None
    dead_letters: int
    events_per_minute: int
    last_event_at: Micros | None
    proof: str


class RunningService(NamedTuple):
    """A registered `aegis serve`."""

    process_id: str
    api_processes: int
    started_at: Micros


def organizations_after(unit: Unit, after: str, limit: int, now: Micros) -> list[OrganizationStanding]:
    """Return organizations with an id above `after`, in order of their ids."""
    return [_standing(unit, row, now) for row in unit.rows("organizations_after", (after, limit))]


def organizations_worst_first(unit: Unit, limit: int, now: Micros) -> list[OrganizationStanding]:
    """Return the organizations that need somebody most: failing destinations first, then waiting events, then dead letters."""
    return [_standing(unit, row, now) for row in unit.rows("organizations_worst_first", (limit,))]


def count_organizations(unit: Unit) -> tuple[int, int]:
    """Return how many organizations there are, and how many of them have a failing destination."""
    return _number(unit, "count_organizations"), _number(unit, "count_failing_organizations")


def workers(unit: Unit) -> list[WorkerState]:
    """Return the workers that are registered, living or not, and how many destinations each serves."""
    return [WorkerState(*row) for row in unit.rows("worker_states")[:SHOWN_MAX]]


def unserved(unit: Unit) -> int:
    """Return how many destinations no registered worker serves."""
    return _number(unit, "count_unserved")


def services(unit: Unit) -> list[RunningService]:
    """Return the services that are registered, in the order of registration."""
    return [RunningService(*row) for row in unit.rows("running_services", (SHOWN_MAX,))]


def _standing(unit: Unit, row: Row, now: Micros) -> OrganizationStanding:
    number, org_id, name, head, oldest, created_at, last_received_at, stored_bytes, proof = row
    no = OrganizationNo(number)
    sums = unit.row("sums_of_organization", (no,))
    assert sums is not None, "sums are one row"
    destinations, paused, failing, waiting, dead_letters, cursor = sums
    minute_ago = Micros(now - MINUTE_US)
    recent = 0
    if last_received_at >= minute_ago and head >= oldest:
        recent = head - sequence_at(unit, no, minute_ago, oldest, head) + 1
    return OrganizationStanding(
        org_id=OrganizationId(org_id),
        name=name,
        created_at=created_at,
        head=head,
        stored_bytes=stored_bytes,
        destinations=destinations,
        paused=paused,
        failing=failing,
        waiting=waiting,
        waiting_since=received_at(unit, no, cursor + 1) if cursor is not None else None,
        dead_letters=dead_letters,
        events_per_minute=recent,
        last_event_at=last_received_at if head else None,
        proof=proof,
    )


def _number(unit: Unit, statement: str) -> int:
    row = unit.row(statement)
    assert row is not None, "a count is one row"
    return int(row[0])
