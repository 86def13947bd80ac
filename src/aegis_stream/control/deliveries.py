"""Attempts at a destination, one by one: the attempt log keeps a run of similar successes as one row."""

from typing import NamedTuple

from aegis_stream.store import attempts
from aegis_stream.store.attempts import AttemptQuery, AttemptRow

from . import destinations
from .caller import Caller
from .deps import ControlDeps

START = (2**62, 2**40)
"""The place before the newest attempt: a number of a row and a sequence beyond all there are."""

Place = tuple[int, int]
"""A place in the list: number of a row, and the sequence below which its attempts follow."""


class DeliveryQuery(NamedTuple):
    """Which attempts to list.

    Args:
        state: "delivered" or "failed", or None for both.
        event_id: only attempts of this event; None for all.
        place: the list goes on below it.
        limit: most attempts to return.
    """

    state: str | None
    event_id: str | None
    place: Place
    limit: int


class Delivery(NamedTuple):
    """One attempt to deliver one event.

    Args:
        event_id: None when retention has removed the event.
    """

    row: AttemptRow
    sequence: int
    event_id: str | None


class DeliveryPage(NamedTuple):
    """Attempts, newest first, and the place where the next page begins; None after the last page."""

    found: list[Delivery]
    following: Place | None


async def list_of(deps: ControlDeps, caller: Caller, dst_id: str, query: DeliveryQuery) -> DeliveryPage:
    """List attempts at a destination, newest first. Raises: NotFound, Unavailable."""
    destination = await destinations.find(deps, caller, dst_id)
    sequence = None
    if query.event_id is not None:
        entry = await deps.log.entry(caller.organization_no, query.event_id)
        if entry is None:
            return DeliveryPage([], None)
        sequence = entry.sequence
    wanted = AttemptQuery(query.state, sequence, query.place[0], query.limit + 1)
    rows = await deps.db.read(lambda unit: attempts.list_of(unit, destination, wanted))
    return await _expand(deps, caller, rows, query, sequence)


async def _expand(
    deps: ControlDeps, caller: Caller, rows: list[AttemptRow], query: DeliveryQuery, only: int | None
) -> DeliveryPage:
    """Turn rows of the attempt log into single attempts, at most `query.limit`."""
    before, below = query.place
    found: list[Delivery] = []
    for row in rows:
        last = min(row.last, below - 1) if row.attempt_no == before else row.last
        first = row.first
        if only is not None:
            first = last = only
            if row.attempt_no == before and only >= below:
                continue
        lowest = max(first, last - (query.limit - len(found)) + 1)
        if last < lowest:
            if last >= first:
                return DeliveryPage(found, (row.attempt_no, last + 1))
            continue
        names = await deps.log.event_ids(caller.organization_no, lowest, last)
        found += [Delivery(row, sequence, names.get(sequence)) for sequence in range(last, lowest - 1, -1)]
        if lowest > first:
            return DeliveryPage(found, (row.attempt_no, lowest))
    return DeliveryPage(found, None)
