"""The attempt log and pending retries, as people ask for them: functions of a unit of work."""

from typing import NamedTuple

from aegis_stream.domain.delivery import RUN_LENGTH_MAX
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros

from .database import Unit
from .records import key_of


class AttemptRow(NamedTuple):
    """One row of the attempt log; a run of similar successes is one row."""

    attempt_no: int
    first: int
    last: int
    attempt: int
    state: str
    status_code: int | None
    message: str | None
    latency_us: int
    at: Micros


class AttemptQuery(NamedTuple):
    """Which rows of the attempt log to return.

    Args:
        state: "delivered" or "failed", or None for both.
        sequence: only attempts of this event; None for all events.
        before: only rows up to this number.
    """

    state: str | None
    sequence: int | None
    before: int
    limit: int


class RetryState(NamedTuple):
    """How often an event was attempted, when the next attempt is due, and how the newest one failed."""

    attempts: int
    due_at: Micros
    status_code: int | None
    message: str | None


def list_of(unit: Unit, destination: Destination, query: AttemptQuery) -> list[AttemptRow]:
    """Return rows of a destination's attempt log, newest first."""
    state, sequence, before, limit = query
    pattern = state or "%"
    if sequence is None:
        rows = unit.rows("attempts_before", (*key_of(destination), before, pattern, limit))
    else:
        bounds = (sequence, sequence + RUN_LENGTH_MAX, sequence)
        rows = unit.rows("attempts_of_event", (*key_of(destination), *bounds, before, pattern, limit))
    return [AttemptRow(*row) for row in rows]


def find_retry(unit: Unit, destination: Destination, sequence: int) -> RetryState | None:
    """Return the pending retry of one event, or None."""
    row = unit.row("retry_of", (*key_of(destination), sequence))
    return RetryState(*row) if row is not None else None


def find(unit: Unit, destination: Destination, attempt_no: int) -> AttemptRow | None:
    """Return one row of a destination's attempt log, or None."""
    row = unit.row("attempt_by_no", (*key_of(destination), attempt_no))
    return AttemptRow(*row) if row is not None else None
