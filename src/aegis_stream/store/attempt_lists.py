"""Lists of attempts, newest first, of one destination or of several: bounded searches of the attempt log.

The log has no index by result or time, since each would cost every settlement. A list reads rows from its newest place
backwards, a few of each destination in turn, until the page is full or the search has looked at enough of them.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aegis_stream.domain.delivery import RUN_LENGTH_MAX, DestinationKey
from aegis_stream.domain.ids import SECOND, DestinationNo, Micros, OrganizationNo

from .attempts import AttemptRow
from .database import Unit

SCAN_MAX: Final = 20_000
"""Most rows of the attempt log that one list looks at."""
ORDER_SLACK_US: Final = 60 * SECOND
"""The log is in the order in which attempts were stored. A row may have been stored so much later than one of a newer attempt, when
the store stalled or the clocks of two nodes differ; more would make a search look at what lies outside its span."""
DESTINATIONS_MAX: Final = 1000
"""Most destinations of an organization whose attempts one list merges."""
_STEP, _STEP_MAX = 200, 5000
_STATUS_MAX = 2**31
_NO_STATUS = -1

STATUS_CLASSES: Final = {
    "2xx": (200, 299, _NO_STATUS),
    "3xx": (300, 399, _NO_STATUS),
    "4xx": (400, 499, 429),
    "429": (429, 429, _NO_STATUS),
    "5xx": (500, 599, _NO_STATUS),
    "network": (0, 0, _NO_STATUS),
}
"""Class of an answer → lowest and highest status, and the one between them that is not meant; 0 stands for no answer."""


class AttemptFilter(NamedTuple):
    """Which attempts are meant.

    Args:
        state: "delivered" or "failed"; None for both.
        since, until: when the attempt ended, both inclusive; None for no bound.
        status_class: one of STATUS_CLASSES; None for all.
        error: part of the failure's explanation, in capitals or not; None for all.
    """

    state: str | None = None
    since: Micros | None = None
    until: Micros | None = None
    status_class: str | None = None
    error: str | None = None

    @property
    def is_everything(self) -> bool:
        """True when every attempt is meant."""
        return self == AttemptFilter()

    def values(self) -> tuple[str | int, ...]:
        """Return the filter in the order in which the statements take it."""
        lowest, highest, other = STATUS_CLASSES.get(self.status_class or "", (0, _STATUS_MAX, _NO_STATUS))
        until = self.until if self.until is not None else 2**62
        return (self.state or "%", self.since or 0, until, lowest, highest, other, _pattern(self.error))


class Looked(NamedTuple):
    """How far a search came that ended before its page was full.

    Args:
        rows: of the attempt log that it looked at.
        back_to: the time of the oldest one.
    """

    rows: int
    back_to: Micros


class Found(NamedTuple):
    """Rows of several destinations, newest first.

    Args:
        following: the row with which the search goes on; None when there are no more.
        looked: None unless the search ended early.
    """

    rows: list[tuple[DestinationNo, AttemptRow]]
    following: int | None
    looked: Looked | None


@dataclass(slots=True)
class _Place:
    """Where the search stands in the log of one destination.

    Args:
        next_no: the highest row that it has not looked at; None when there is none.
    """

    key: DestinationKey
    next_no: int | None
    step: int
    found: list[AttemptRow] = field(default_factory=list)


def destinations_of(unit: Unit, organization_no: OrganizationNo) -> dict[DestinationNo, str]:
    """Return number and id of an organization's destinations, at most DESTINATIONS_MAX."""
    rows = unit.rows("destination_ids_of", (organization_no, DESTINATIONS_MAX))
    return {DestinationNo(no): dst_id for no, dst_id in rows}


def search(
    unit: Unit,
    keys: Seq[DestinationKey],
    wanted: AttemptFilter,
    before: int,
    *,
    limit: int,
    rows_max: int = SCAN_MAX,
) -> Found:
    """Search for attempts of these destinations.

    Args:
        before: only rows up to this number.
        limit: rows after which the search ends.
        rows_max: rows that are looked at after which the search ends early.
    """
    step = limit if wanted.is_everything else _STEP
    tops = _tops(unit, keys, wanted, before)
    places = [_Place(key, top, step) for key, top in zip(keys, tops, strict=True)]
    looked_at, back_to = 0, None
    while (place := max(places, key=lambda one: one.next_no or 0, default=None)) and place.next_no:
        ready = sum(1 for one in places for row in one.found if row.attempt_no > place.next_no)
        if ready >= limit:
            break
        if looked_at >= rows_max:
            rows = _merged(places, place.next_no)
            return Found(rows, place.next_no, Looked(looked_at, back_to or Micros(0)))
        place.step = min(place.step, rows_max - looked_at)
        count, back_to = _look_further(unit, place, wanted, limit)
        looked_at += count
    rows = _merged(places, place.next_no if place is not None and place.next_no else 0)
    return Found(rows, place.next_no if place is not None else None, None)


def of_event(
    unit: Unit, keys: Seq[DestinationKey], wanted: AttemptFilter, sequence: int, before: int
) -> list[tuple[DestinationNo, AttemptRow]]:
    """Return the attempts of one event at these destinations, newest first."""
    found = []
    for key in keys:
        bounds = (sequence, sequence + RUN_LENGTH_MAX, sequence)
        rows = unit.rows("attempts_of_event_like", (*key, *bounds, before, *wanted.values(), _STEP))
        found += [(key.destination_no, AttemptRow(*row)) for row in rows]
    return sorted(found, key=lambda one: -one[1].attempt_no)


def _tops(unit: Unit, keys: Seq[DestinationKey], wanted: AttemptFilter, before: int) -> list[int | None]:
    """Return the newest row of each destination that can be meant; None where there is none."""
    rows = unit.each([("attempt_back", (*key, before, 0)) for key in keys])
    tops = [row[0] if row is not None else None for row in rows]
    if wanted.until is None:
        return tops
    latest = Micros(wanted.until + ORDER_SLACK_US)
    return [
        _last_until(unit, key, top, latest) if top is not None else None
        for key, top in zip(keys, tops, strict=True)
    ]


def _last_until(unit: Unit, key: DestinationKey, top: int, at: Micros) -> int | None:
    """Return the newest row that was stored at or before a time, found by halving; None when all are newer."""
    low, high = 0, top
    while low < high:
        middle = (low + high + 1) // 2
        row = unit.row("attempt_back", (*key, middle, 0))
        if row is None or row[1] <= at:
            low = middle
        else:
            high = row[0] - 1
    return low or None


def _look_further(unit: Unit, place: _Place, wanted: AttemptFilter, limit: int) -> tuple[int, Micros | None]:
    """Look at further rows of one destination; returns how many, and the time of the last one."""
    step, place.step = place.step, min(_STEP_MAX, place.step * 4)
    which = (*place.key, place.next_no)
    found = [
        AttemptRow(*row) for row in unit.rows("attempts_scanned", (*which, step, *wanted.values(), limit))
    ]
    place.found += found
    last = unit.row("attempt_back", (*which, step - 1))
    if len(found) == limit and (last is None or found[-1].attempt_no > last[0]):
        place.next_no = found[-1].attempt_no - 1
        return step, found[-1].at
    if last is None or (wanted.since is not None and last[1] < wanted.since - ORDER_SLACK_US):
        place.next_no = None
    else:
        place.next_no = last[0] - 1
    return step, last[1] if last is not None else None


def _merged(places: Seq[_Place], above: int) -> list[tuple[DestinationNo, AttemptRow]]:
    """Return the rows that were found with a number above one, newest first."""
    rows = [(one.key.destination_no, row) for one in places for row in one.found if row.attempt_no > above]
    return sorted(rows, key=lambda one: -one[1].attempt_no)


def _pattern(error: str | None) -> str:
    """Return a text as a pattern of LIKE that finds it anywhere."""
    if not error:
        return "%"
    for special in ("\\", "%", "_"):
        error = error.replace(special, "\\" + special)
    return f"%{error.lower()}%"
