"""What the store forgets: old events that nobody needs any more, old attempts, the rows of deleted destinations.

Works in small transactions, so that ingest and settlement never wait for it.
"""

from dataclasses import dataclass

from aegis_stream.domain.ids import Micros

from .database import Database, Unit
from .log import position

CHUNK = 1000
"""Rows that one transaction removes at most."""
ORGANIZATIONS_PER_SWEEP = 100
"""Organizations that one step looks at."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes bit by bit what is over its time."""

    db: Database

    async def step(self, horizon: Micros) -> int:
        """Remove some of what is older than `horizon`.

        Returns: how many rows went; 0 when there is nothing more to do for now.
        """
        return await self.db.write(
            lambda unit: (
                _forget_events(unit, horizon) + _forget_attempts(unit, horizon) + _forget_deleted(unit)
            )
        )


def _forget_events(unit: Unit, horizon: Micros) -> int:
    """Remove a chunk of old events, from the first organization that has some nobody needs."""
    removed, after = 0, 0
    while removed < CHUNK:
        found = unit.rows("organizations_with_old_events", (horizon, after, ORGANIZATIONS_PER_SWEEP))
        for organization_no, oldest, head in found:
            removed += _forget_prefix(unit, organization_no, (oldest, head), horizon)
            if removed >= CHUNK:
                break
            after = organization_no
        if len(found) < ORGANIZATIONS_PER_SWEEP:
            break
    return removed


def _forget_prefix(unit: Unit, organization_no: int, stretch: tuple[int, int], horizon: Micros) -> int:
    """Remove the oldest events of one organization, as far as they are old enough and nobody has still to send them."""
    oldest, head = stretch
    needed = unit.row("needed_from", (organization_no, organization_no))
    limit = head if needed is None or needed[0] is None else min(head, needed[0] - 1)
    last = min(limit, oldest + CHUNK - 1)
    # Times never go back along a log: the chunk is whole when its last event is old enough; else a smaller one may be.
    while last >= oldest:
        row = unit.row("received_at", (position(organization_no, last),))
        if row is None or row[0] < horizon:
            break
        last = oldest + (last - oldest) // 2 if last > oldest else oldest - 1
    if last < oldest:
        return 0
    kept = (organization_no, last)
    removed = unit.run(
        "delete_events", (position(organization_no, 1), position(organization_no, last), *kept, *kept)
    )
    unit.run("advance_oldest", (last + 1, organization_no))
    return removed


def _forget_attempts(unit: Unit, horizon: Micros) -> int:
    return unit.run("delete_attempts", (horizon, CHUNK))


def _forget_deleted(unit: Unit) -> int:
    """Remove what deleted destinations left, attempts first and the destination itself last."""
    removed = 0
    for (no,) in unit.rows("deleted_destinations", (ORGANIZATIONS_PER_SWEEP,)):
        removed += unit.run("delete_attempts_of", (no, CHUNK))
        if removed >= CHUNK:
            break
        for name in (
            "delete_retries_of",
            "delete_dead_letters_of",
            "delete_replays_of",
            "keep_delivered",
            "keep_failed_attempts",
            "delete_cursor",
            "delete_destination",
        ):
            removed += unit.run(name, (no,))
    return removed
