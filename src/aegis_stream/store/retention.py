"""Retention: removes old events that nobody needs any more, old attempts, ended console links, and rows of deleted destinations.

It works in small transactions, so that appends and settlements do not wait for it. Retention has a clock of its own, which follows
the wall clock only as fast as time passes: a wall clock that is a year ahead for an hour removes nothing.
"""

from dataclasses import dataclass

from aegis_stream.domain.ids import Micros, WorkerId

from . import rollups
from .database import Database, Unit
from .tile_retention import remove_old_tiles

CHUNK = 1000
"""Most events, and most attempts, that one transaction removes."""
ORGANIZATIONS_PER_SWEEP = 100
"""Most organizations that one step reads."""
CATCH_UP = 10
"""Retention's clock may run faster than time passes by one part in so many, so that it makes up for the time between two runs
of the service: a day off is made up for in ten days. Nothing goes earlier than that much before its time."""


def follow_clock(counted_at: Micros, now: Micros, passed_us: int) -> Micros:
    """Move retention's clock towards the wall clock, in either direction, at most as fast as time passes (and CATCH_UP).

    Args:
        counted_at: where it stands.
        now: the wall clock.
        passed_us: time passed since, by the monotonic clock, microseconds.
    """
    most = passed_us + passed_us // CATCH_UP
    return Micros(max(counted_at - most, min(counted_at + most, now)))


@dataclass(frozen=True, slots=True)
class Retention:
    """Port Retention on a database: each method runs one function in the control lane.

    Args:
        seals: whether logs are sealed; then events wait until they are.
        tiles_longer_us: for so long beyond events the hashes of sealed logs are kept, microseconds; None for ever.
    """

    db: Database
    seals: bool = False
    tiles_longer_us: int | None = None

    async def advance(self, worker_id: WorkerId, now: Micros, passed_us: int) -> Micros | None:
        """Move retention's clock: see the port."""
        return await self.db.write(lambda unit: advance(unit, worker_id, now, passed_us))

    async def step(self, horizon: Micros) -> int:
        """Remove some of what is older than `horizon`: see the port."""
        removed = await self.db.write(lambda unit: step(unit, horizon, seals=self.seals))
        if removed or self.tiles_longer_us is None:
            return removed
        tiles_horizon = Micros(horizon - self.tiles_longer_us)
        return await self.db.write(lambda unit: remove_old_tiles(unit, tiles_horizon))

    async def remove_rollups(self, now: Micros) -> int:
        """Remove some rollups that are over their time: see the port."""
        return await self.db.write(lambda unit: rollups.remove_old(unit, now))


def advance(unit: Unit, worker_id: WorkerId, now: Micros, passed_us: int) -> Micros | None:
    """Move retention's clock, which is stored, and return its time.

    One registered worker keeps it, and another one takes it over when that worker is gone.

    Args:
        now: the wall clock.
        passed_us: time since the last call that returned, by this worker's monotonic clock, microseconds.
    Returns: None while another worker keeps the clock; then this one removes nothing.
    """
    row = unit.row("retention_clock")
    if row is None:
        # The newest event is no older than it says, so a clock that is ahead at the first start removes nothing.
        newest = unit.row("newest_receipt")
        counted_at = min(now, newest[0]) if newest is not None and newest[0] is not None else now
    elif row[1] == worker_id:
        counted_at = follow_clock(row[0], now, passed_us)
    elif row[2]:
        return None
    else:
        counted_at = row[0]
    unit.run("set_retention_clock", (worker_id, counted_at))
    return Micros(counted_at)


def step(unit: Unit, horizon: Micros, *, seals: bool = False) -> int:
    """Remove some of what is older than `horizon`.

    Args:
        seals: whether events wait until they are sealed.

    Returns: how many rows were removed; 0 when nothing is left to do for now.
    """
    removed = (
        _remove_events(unit, horizon, seals=seals) + _remove_attempts(unit, horizon) + _remove_deleted(unit)
    )
    removed += unit.run("delete_ended_console_links", (horizon, CHUNK))
    return removed or _remove_left(unit)


def _remove_events(unit: Unit, horizon: Micros, *, seals: bool) -> int:
    """Remove old events that nobody needs, one organization after the other, at most CHUNK."""
    removed, after = 0, 0
    while removed < CHUNK:
        found = unit.rows("organizations_with_old_events", (horizon, after, ORGANIZATIONS_PER_SWEEP))
        for organization_no, oldest, head in found:
            most = CHUNK - removed
            removed += _remove_prefix(unit, organization_no, (oldest, head), horizon, most, seals=seals)
            if removed >= CHUNK:
                break
            after = organization_no
        if len(found) < ORGANIZATIONS_PER_SWEEP:
            break
    return removed


def _remove_prefix(
    unit: Unit,
    organization_no: int,
    stretch: tuple[int, int],
    horizon: Micros,
    most: int,
    *,
    seals: bool,
) -> int:
    """Remove the oldest events of one organization, as far as they are old enough and nobody has still to send them.

    Args:
        stretch: the sequences of the oldest event and of the newest one. What lies before them is kept for retries and dead
            letters; a step looks at it only when nothing else is left to do, because PostgreSQL passes all rows that were removed
            since the last vacuum to get there.
        most: most events by which the log may begin later.
    Returns: by how many it does.
    """
    oldest, head = stretch
    needed = unit.row("needed_from", (organization_no, int(seals)))
    limit = head if needed is None or needed[0] is None else min(head, needed[0] - 1)
    step = unit.row("last_old_step", (organization_no, oldest, horizon))
    surely_old = step[0] - 1 if step is not None and step[0] is not None else oldest - 1
    last = min(limit, oldest + most - 1)
    # Beyond that times never go back: the chunk is whole when its last event is old enough; else a smaller one may be.
    while last > surely_old:
        row = unit.row("received_at", (organization_no, last))
        if row is None or row[0] < horizon:
            break
        last = oldest + (last - oldest) // 2 if last > oldest else oldest - 1
    if last < oldest:
        return 0
    passed = last + 1 - oldest
    sizes = [row[0] for row in unit.rows("delete_events", (organization_no, oldest, last))]
    unit.run("advance_oldest", (last + 1, sum(sizes), passed - len(sizes), organization_no))
    unit.run("delete_clock_steps", (organization_no, last + 1))
    return passed


def _remove_left(unit: Unit) -> int:
    """Remove a chunk of events before the beginning of a log, which were kept for retries and dead letters that are gone."""
    removed = 0
    for organization_no, oldest in unit.rows("organizations_with_left_events", (ORGANIZATIONS_PER_SWEEP,)):
        sizes = [
            row[0] for row in unit.rows("delete_left_events", (organization_no, oldest, CHUNK - removed))
        ]
        row = unit.row("count_kept", (organization_no, oldest))
        unit.run("set_kept", (row[0] if row is not None else 0, sum(sizes), organization_no))
        removed += len(sizes)
        if removed >= CHUNK:
            break
    return removed


def _remove_attempts(unit: Unit, horizon: Micros) -> int:
    return unit.run("delete_attempts", (horizon, CHUNK)) + unit.run("delete_answers", (horizon, CHUNK))


def _remove_deleted(unit: Unit) -> int:
    """Remove what deleted destinations left, attempts and rollups first and the destination itself last."""
    removed = 0
    for key in unit.rows("deleted_destinations", (ORGANIZATIONS_PER_SWEEP,)):
        removed += unit.run("delete_attempts_of", (*key, CHUNK))
        removed += unit.run("delete_rollups_of", (*key, CHUNK))
        if removed >= CHUNK:
            break
        counts = unit.row("counts_of", key)
        if counts is not None:
            unit.run("add_to_counter", (counts[0], "delivered_by_deleted"))
            unit.run("add_to_counter", (counts[1], "failed_attempts_by_deleted"))
        unit.run("delete_dead_letter_groups_of", key)
        unit.run("delete_dead_letter_jobs_of", key)
        for name in (
            "delete_answers_of",
            "delete_retries_of",
            "delete_dead_letters_of",
            "delete_replays_of",
            "delete_cursor",
            "delete_destination",
        ):
            removed += unit.run(name, key)
    return removed
