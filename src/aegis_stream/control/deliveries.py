"""Attempts, one by one, of a destination or of the whole organization: the attempt log keeps a run of similar successes as one row."""

from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.ids import DestinationNo
from aegis_stream.store import attempt_lists, destinations
from aegis_stream.store.attempt_lists import AttemptFilter, Found, Looked
from aegis_stream.store.attempts import AttemptRow
from aegis_stream.store.database import Unit

from .caller import Caller
from .deps import ControlDeps

__all__ = ("START", "AttemptFilter", "Delivery", "DeliveryPage", "DeliveryQuery", "Looked", "list_of")

BEYOND = 2**40
"""A sequence beyond all there are."""
START = (2**62, BEYOND)
"""The place before the newest attempt: a number of a row and a sequence beyond all there are."""

Place = tuple[int, int]
"""A place in the list: number of a row, and the sequence below which its attempts follow."""


class DeliveryQuery(NamedTuple):
    """Which attempts to list.

    Args:
        wanted: by result, time and error.
        event_id: only attempts of this event; None for all.
        place: the list goes on below it.
        limit: most attempts to return.
    """

    wanted: AttemptFilter = AttemptFilter()
    event_id: str | None = None
    place: Place = START
    limit: int = 50


class Delivery(NamedTuple):
    """One attempt to deliver one event.

    Args:
        event_id: None when retention has removed the event.
    """

    row: AttemptRow
    sequence: int
    event_id: str | None
    dst_id: str

    @property
    def id(self) -> str:
        """What the attempt is called: the number of its row in the attempt log, and the event's sequence."""
        return f"{self.row.attempt_no}.{self.sequence}"


class DeliveryPage(NamedTuple):
    """Attempts, newest first, and the place where the next page begins; None after the last page.

    Args:
        looked: how far the search came; None unless it ended before the page was full.
    """

    found: list[Delivery]
    following: Place | None
    looked: Looked | None = None


class Label(NamedTuple):
    """What an event is about."""

    dataset: str
    decision: str | None


class _Rows(NamedTuple):
    """Rows of the attempt log of these destinations."""

    ids: dict[DestinationNo, str]
    found: Found


async def list_of(
    deps: ControlDeps, caller: Caller, dst_id: str | None, query: DeliveryQuery
) -> DeliveryPage:
    """List attempts at a destination, None for those of the whole organization, newest first. Raises: NotFound, Unavailable."""
    no, sequence = caller.organization_no, None
    if query.event_id is not None:
        entry = await deps.log.entry(no, query.event_id)
        sequence = entry.sequence if entry is not None else 0
    before = query.place[0]

    def work(unit: Unit) -> _Rows:
        if dst_id is None:
            ids = attempt_lists.destinations_of(unit, no)
        else:
            found = destinations.find(unit, deps.sealer, no, dst_id, damaged_too=True)
            ids = {found.no: found.dst_id}
        keys = [DestinationKey(no, one) for one in ids]
        if sequence is not None:
            rows = attempt_lists.of_event(unit, keys, query.wanted, sequence, before) if sequence else []
            return _Rows(ids, Found(rows, None, None))
        return _Rows(ids, attempt_lists.search(unit, keys, query.wanted, before, limit=query.limit + 1))

    return await _expand(deps, caller, await deps.db.read(work), query, sequence)


async def _expand(
    deps: ControlDeps, caller: Caller, rows: _Rows, query: DeliveryQuery, only: int | None
) -> DeliveryPage:
    """Turn rows of the attempt log into single attempts, at most `query.limit`."""
    before, below = query.place
    found: list[Delivery] = []
    for destination_no, row in rows.found.rows:
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
        dst_id = rows.ids[destination_no]
        found += [
            Delivery(row, sequence, names.get(sequence), dst_id) for sequence in range(last, lowest - 1, -1)
        ]
        if lowest > first:
            return DeliveryPage(found, (row.attempt_no, lowest))
    following = rows.found.following
    return DeliveryPage(found, (following, BEYOND) if following is not None else None, rows.found.looked)


async def labels_of(deps: ControlDeps, caller: Caller, sequences: Seq[int]) -> dict[int, Label]:
    """Return what events are about, by sequence; those that retention removed are missing. Raises: Unavailable."""
    no = caller.organization_no
    wanted = list(dict.fromkeys(sequences))

    def work(unit: Unit) -> dict[int, Label]:
        rows = unit.each([("labels_after", (no, one - 1, one, 1)) for one in wanted])
        return {row[0]: Label(row[1], row[2]) for row in rows if row is not None}

    return await deps.db.read(work) if wanted else {}
