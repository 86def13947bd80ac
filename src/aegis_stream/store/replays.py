"""Replays as they are stored: functions of a unit of work."""

from typing import NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros, ReplayId
from aegis_stream.errors import Conflict, NotFound

from .database import Unit
from .destinations import touch
from .organizations import oldest_sequence
from .records import key_of


class ReplayRow(NamedTuple):
    """A replay as people see it."""

    replay_id: str
    first: int
    cursor: int
    last: int
    created_at: Micros
    finished_at: Micros | None


class NewReplay(NamedTuple):
    """A replay to start, with the sequences of its first and last event."""

    replay_id: ReplayId
    first: int
    last: int


def add(unit: Unit, destination: Destination, replay: NewReplay, now: Micros, *, count_max: int) -> int:
    """Store a range of events to send again.

    Args:
        count_max: replays of one destination that may run at the same time.
    Returns: how many events it covers; what retention has removed meanwhile is left out, and of 0 nothing is stored.
    Raises: Conflict when `count_max` replays are running.
    """
    if len(unit.rows("open_replays", (*key_of(destination), count_max))) >= count_max:
        raise Conflict(
            f"{count_max} replays to this destination are running; the limit is {count_max}: wait for one, or cancel one",
            code="too-many-replays",
        )
    begin = max(replay.first, oldest_sequence(unit, destination.organization_no))
    if replay.last < begin:
        return 0
    unit.run("insert_replay", (*key_of(destination), replay.replay_id, begin, replay.last, begin - 1, now))
    touch(unit, destination)
    return replay.last - begin + 1


def cancel(unit: Unit, destination: Destination, replay_id: str, now: Micros) -> None:
    """Stop a replay where it is. Raises: NotFound when it is not running."""
    if not unit.run("cancel_replay", (now, *key_of(destination), replay_id)):
        raise NotFound(f"no replay {replay_id[:80]!r} is running: it may have finished, or been cancelled")
    touch(unit, destination)


def list_of(unit: Unit, destination: Destination, before: str, limit: int) -> list[ReplayRow]:
    """Return replays of a destination with an id below `before`, newest first."""
    return [ReplayRow(*row) for row in unit.rows("replays_of", (*key_of(destination), before, limit))]


def cursor_over(unit: Unit, destination: Destination, sequence: int) -> int | None:
    """Return the cursor of the newest replay that covers an event, or None."""
    row = unit.row("replay_over", (*key_of(destination), sequence, sequence))
    return row[0] if row is not None else None
