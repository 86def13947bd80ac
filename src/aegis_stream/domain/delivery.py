"""What one worker settles for one destination: plain records between `pipeline` and the store."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .attempt import Failure
from .destination import Health
from .ids import DestinationNo, Micros, OrganizationNo, ReplayId
from .rollup import Rollup

RUN_LENGTH_MAX = 16_384
"""Longest run in the attempt log; the search for the attempts of one event covers that many."""
AUTO_REDRIVE_MAX = 1000
"""Most dead letters that one settlement redrives; later settlements redrive the others."""
_STATUS_GAVE_UP = 408
_STATUS_FAILED = 500


class Page(NamedTuple):
    """Neighbouring events of one organization's log.

    Args:
        first: sequence of bodies[0]; the others follow without gaps.
        bodies: stored bytes; empty for an event that is damaged or missing in the store, which cannot be sent.
        labels: (dataset, decision) of each, or None if they were not requested.
    """

    first: int
    bodies: list[bytes]
    labels: list[tuple[str, str | None]] | None


class DestinationKey(NamedTuple):
    """What the rows of a destination are found by: the organization first, since a store may keep its rows together."""

    organization_no: OrganizationNo
    destination_no: DestinationNo


class Lease(NamedTuple):
    """The right to serve a destination; valid while its epoch is the newest in the store."""

    destination_no: DestinationNo
    epoch: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A destination as claimed by a worker; its configuration is read when there is something to send."""

    lease: Lease
    organization_no: OrganizationNo
    cursor: int
    head: int
    retrying: int
    dead_letters: int
    replaying: bool
    health: Health

    @property
    def key(self) -> DestinationKey:
        """What its rows are found by."""
        return DestinationKey(self.organization_no, self.lease.destination_no)


class DueRetry(NamedTuple):
    """An event whose next attempt is due; its body is empty when it is damaged or missing in the store.

    Args:
        attempts: how many were made; 0 when it is redriven.
        status_code: what was answered to the last one; None without an answer.
    """

    sequence: int
    attempts: int
    body: bytes
    status_code: int | None = None

    @property
    def may_be_stored(self) -> bool:
        """Whether the destination may have stored the event at an earlier attempt that failed."""
        status = self.status_code
        return not self.attempts or status is None or status == _STATUS_GAVE_UP or status >= _STATUS_FAILED


class ReplayRange(NamedTuple):
    """A replay in progress: events after `cursor` up to `last` are still to be sent."""

    replay_id: ReplayId
    first: int
    cursor: int
    last: int


class Outstanding(NamedTuple):
    """What else than the log a destination has to do, and what it could not do.

    Args:
        replays: replays in progress, oldest first.
        retrying, dead_letters: how many there are.
        health: as it is stored: a change of the destination may have reset it.
    """

    replays: list[ReplayRange]
    retrying: int
    dead_letters: int
    health: Health


class AttemptRun(NamedTuple):
    """Attempts with the same result on neighbouring events; a failed attempt is a run of one."""

    first: int
    last: int
    attempt: int
    state: str
    status_code: int | None
    message: str | None
    latency_us: int
    at: Micros


class ShownAnswer(NamedTuple):
    """What may be shown of an answer: its headers, a line each, and the beginning of its body."""

    headers: str
    excerpt: str


class KeptAnswer(NamedTuple):
    """What a failed attempt was answered, for people.

    Args:
        at: when the attempt ended, as its rows in the attempt log say.
        first, last: the lowest and highest sequence of its request.
        sequences: all of them, as ranges: 1-5,8; "" where that is too long.
        headers: of the answer, a line each; without secrets, like `excerpt`, the beginning of its body.
    """

    at: Micros
    first: int
    last: int
    sequences: str
    status_code: int | None
    message: str
    headers: str
    excerpt: str


class RetryRow(NamedTuple):
    """An event that will be tried again."""

    sequence: int
    attempts: int
    due_at: Micros
    failure: Failure | None


class DeadRow(NamedTuple):
    """An event whose attempts are used up."""

    sequence: int
    attempts: int
    dead_at: Micros
    failure: Failure


@dataclass(slots=True)
class Settlement:
    """Everything that became certain about one destination since the last settlement; stored in one transaction.

    Args:
        cursor: all events up to here are delivered, filtered out, in retries or in dead letters.
        resolved: sequences whose row in retries goes away.
        replays: new cursors of replays.
        rollup: the same counts for the history of the destination; None where nothing was attempted.
        redrive_died_by: the destination is healthy again: dead letters about it that died by then become pending,
            at most AUTO_REDRIVE_MAX with one settlement.
        number: from 1, higher than that of every settlement before under the same lease. The store takes each number once, so
            a settlement whose outcome is unknown can be repeated.
    """

    lease: Lease
    organization_no: OrganizationNo
    cursor: int
    health: Health
    runs: list[AttemptRun] = field(default_factory=list)
    retries: list[RetryRow] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    replays: list[tuple[ReplayId, int]] = field(default_factory=list)
    answers: list[KeptAnswer] = field(default_factory=list)
    delivered: int = 0
    failed_attempts: int = 0
    rollup: Rollup | None = None
    redrive_died_by: Micros | None = None
    number: int = 0

    @property
    def key(self) -> DestinationKey:
        """What the destination's rows are found by."""
        return DestinationKey(self.organization_no, self.lease.destination_no)


class Settled(NamedTuple):
    """What a destination has after a settlement.

    Args:
        retrying, dead_letters: how many there are.
    """

    retrying: int
    dead_letters: int
