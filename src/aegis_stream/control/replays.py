"""Replays: send a range of the log to a destination again, beside the new events."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from aegis_stream.domain.audit import destination_action
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import RANDOM_BYTES, SECOND, Micros, ReplayId, new_id
from aegis_stream.pipeline.redrive import range_by_sequence, range_by_time
from aegis_stream.store import destinations, replays
from aegis_stream.store.database import Unit
from aegis_stream.store.replays import NewReplay, ReplayRow

from . import destinations as use_cases
from . import organizations
from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps
from .pace import events_per_second, seconds_for


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Events received in since <= time <= until; until None for up to now."""

    since: Micros
    until: Micros | None


@dataclass(frozen=True, slots=True)
class SequenceRange:
    """Events with first <= sequence <= last; last None for the newest."""

    first: int
    last: int | None


class Started(NamedTuple):
    """How many events a replay covers, and its id; None when it covers none and so was not started."""

    events: int
    replay_id: ReplayId | None


async def start(deps: ControlDeps, caller: Caller, dst_id: str, wanted: TimeRange | SequenceRange) -> Started:
    """Start a replay.

    Raises: NotFound. Invalid when the range ends before it begins. Conflict when too many replays are running. Unavailable.
    """
    destination = await use_cases.find(deps, caller, dst_id)
    first, last = await _range_in_log(deps, caller, wanted)
    if last < first:
        return Started(0, None)
    now = deps.clock.now()
    replay_id = ReplayId(new_id("rpl", now, deps.random.random_bytes(RANDOM_BYTES)))
    view = {"replay_id": replay_id, "from_sequence": first, "to_sequence": last}

    def act(unit: Unit, record: Record) -> int:
        count_max = deps.settings.organization.replays_max
        new = NewReplay(replay_id, first, last)
        count = replays.add(unit, destination, new, now, count_max=count_max)
        record(destination, destination_action("replay_start", destination, after=view, count=count))
        return count

    count = await perform(deps, caller, act)
    deps.notify_changes()
    return Started(count, replay_id if count else None)


class Preview(NamedTuple):
    """What a replay would cover.

    Args:
        first, last: sequences of the first and last event; last < first when it covers none.
        seconds: about how long that takes; None where nobody knows.
    """

    first: int
    last: int
    seconds: float | None

    @property
    def events(self) -> int:
        """How many events that is."""
        return max(0, self.last - self.first + 1)


async def preview(
    deps: ControlDeps, caller: Caller, dst_id: str, wanted: TimeRange | SequenceRange
) -> Preview:
    """Return what a replay would cover; nothing is started. Raises: NotFound. Invalid. Unavailable."""
    destination = await use_cases.find(deps, caller, dst_id)
    first, last = await _range_in_log(deps, caller, wanted)
    progress = await deps.db.read(lambda unit: destinations.progress(unit, destination))
    covered = Preview(first, last, None)
    speed = events_per_second(destination.spec, progress.health)
    return covered._replace(seconds=seconds_for(covered.events, speed))


class Progress(NamedTuple):
    """How far a replay has come.

    Args:
        rate: events a second since it began; None before the first one.
        eta_seconds: when it will be done at that rate, seconds from now; None when that is unknown, or it has ended.
    """

    replay_id: str
    first: int
    last: int
    created_at: Micros
    total: int
    done: int
    rate: float | None
    eta_seconds: float | None
    state: Literal["running", "done", "cancelled"]


def progress_of(row: ReplayRow, now: Micros) -> Progress:
    """Return how far a replay has come, by what is stored of it."""
    total, done = row.last - row.first + 1, row.cursor - row.first + 1
    spent = ((row.finished_at if row.finished_at is not None else now) - row.created_at) / SECOND
    rate = done / spent if done > 0 and spent > 0 else None
    which = (row.replay_id, row.first, row.last, row.created_at)
    if row.finished_at is not None:
        return Progress(*which, total, done, rate, None, "done" if row.cursor >= row.last else "cancelled")
    return Progress(*which, total, done, rate, (total - done) / rate if rate else None, "running")


async def progress_list(
    deps: ControlDeps, caller: Caller, dst_id: str, before: str, limit: int
) -> list[Progress]:
    """Return how far replays with an id below `before` have come, newest first. Raises: NotFound, Unavailable."""
    rows = await list_of(deps, caller, dst_id, before, limit)
    now = deps.clock.now()
    return [progress_of(row, now) for row in rows]


async def list_of(deps: ControlDeps, caller: Caller, dst_id: str, before: str, limit: int) -> list[ReplayRow]:
    """Return replays of a destination with an id below `before`, newest first. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> list[ReplayRow]:
        return replays.list_of(unit, _find(unit, deps, caller, dst_id), before, limit)

    return await deps.db.read(work)


async def cancel(deps: ControlDeps, caller: Caller, dst_id: str, replay_id: str) -> None:
    """Stop a replay where it is. Raises: NotFound, also when it is not running. Unavailable."""

    def act(unit: Unit, record: Record) -> None:
        found = _find(unit, deps, caller, dst_id)
        replays.cancel(unit, found, replay_id, deps.clock.now())
        record(found, destination_action("replay_cancel", found, before={"replay_id": replay_id}))

    await perform(deps, caller, act)
    deps.notify_changes()


async def _range_in_log(
    deps: ControlDeps, caller: Caller, wanted: TimeRange | SequenceRange
) -> tuple[int, int]:
    """Return the first and last sequence of the part of a range that is in the log; empty when last < first."""
    organization, oldest = await organizations.find_with_oldest(deps, caller.org_id)
    stretch = (oldest, organization.head)
    if isinstance(wanted, SequenceRange):
        return range_by_sequence(stretch, wanted.first, wanted.last)
    return await range_by_time(deps.log, organization.no, stretch, wanted.since, wanted.until)


def _find(unit: Unit, deps: ControlDeps, caller: Caller, dst_id: str) -> Destination:
    return destinations.find(unit, deps.sealer, caller.organization_no, dst_id)
