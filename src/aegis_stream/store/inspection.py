"""Reads a database and changes nothing in it: what `aegis doctor` asks, also while the service runs.

Nothing is created, migrated or repaired here.
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.merkle import TileAt, open_tiles
from aegis_stream.domain.organization import Quotas
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Sealer

from . import sealing_state
from .database import ReadOnlyDatabase, Row, Schema, Unit, Value
from .pages import read_page
from .proof_keys import ProofKey, keys_of
from .recorded_head import total
from .records import open_destination
from .sealed_row import SEALED
from .sealing_state import Refusal, SealingTotals
from .secrets import SealingKey, opens_sentinel, sealing_key
from .suitability import Demands, Finding
from .tree import SealedTree, SealState, newest_tree, read_tiles, seal_state, seal_states

PAGE = 200
"""Destinations read at once."""
PAGE_EVENTS, PAGE_BYTES = 1000, 1 << 22
"""Events read at once, and their bytes."""
DAMAGED_MAX = 1000
"""Damaged events after which the search ends."""


class WorkerState(NamedTuple):
    """A worker as the database knows it."""

    worker_id: str
    started_at: Micros
    expires_at: Micros
    destinations: int


class Failing(NamedTuple):
    """A destination whose newest attempts failed, and why."""

    dst_id: str
    org_id: str
    reason: str


class StorageUse(NamedTuple):
    """What an organization stores, and its quota, which is not 0."""

    org_id: str
    stored_bytes: int
    stored_bytes_max: int


class Sealed(NamedTuple):
    """A destination with a secret that does not open, and the code of the reason."""

    org_id: str
    dst_id: str
    code: str


class SealedLog(NamedTuple):
    """A log that is to be sealed and has events, read at one moment.

    Args:
        tree: None when nothing was sealed yet.
        opened: the tiles that its next leaves continue.
        keys: the newest first.
    """

    state: SealState
    tree: SealedTree | None
    opened: dict[TileAt, bytes]
    keys: list[ProofKey]


class Inspection:
    """A database, opened for reading alone; closed at the end of the block."""

    def __init__(self, db: ReadOnlyDatabase) -> None:
        self._db = db

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def schema(self) -> Schema:
        """Version of the schema."""
        return self._db.schema

    def suitability(self, demands: Demands, clock: Callable[[], Micros]) -> tuple[Finding, ...]:
        """Tell whether a start would accept the database: see ReadOnlyDatabase."""
        return self._db.suitability(demands, clock)

    def lease_time(self) -> Micros:
        """Return the time by which leases are judged, in a database that has a clock of its own."""
        return self._db.read_now(lambda unit: unit.steady())

    def quick_check(self, seconds_max: float) -> list[str] | None:
        """Let the database check its files.

        Returns: what is wrong with them, some faults at most; None when the time was over before the end.
        """
        return self._db.quick_check(seconds_max)

    def sealing_key(self) -> SealingKey | None:
        """Return the master key that seals; None in a database that knows none yet."""
        return self._db.read_now(sealing_key)

    def opens_sentinel(self, sealer: Sealer, key: SealingKey) -> bool:
        """Tell whether the master key is the right one."""
        return opens_sentinel(sealer, key)

    def count_to_rewrap(self, stamp: bytes) -> int:
        """Return how many destinations have records that do not begin like this."""
        return self._number("count_records_to_rewrap", (stamp,) * len(SEALED))

    def destinations(self, sealer: Sealer) -> Iterator[Destination | Sealed]:
        """Open every destination, one after the other."""
        after_no = 0
        while rows := self._rows("destinations_after", (after_no, PAGE)):
            for row in rows:
                try:
                    yield open_destination(row, sealer)
                except Unavailable as error:
                    yield Sealed(row[3], row[1], error.code)
            after_no = rows[-1][0]

    def workers(self) -> list[WorkerState]:
        """Return the workers that are registered, and how many destinations each serves."""
        return [WorkerState(*row) for row in self._rows("worker_states")]

    def unserved(self) -> int:
        """Return how many destinations no registered worker serves."""
        return self._number("count_unserved")

    def failing(self) -> list[Failing]:
        """Return the destinations whose newest attempts failed."""
        return [
            Failing(dst_id, org_id, reason or "")
            for dst_id, org_id, reason in self._rows("failing_destinations")
        ]

    def storage_use(self, default: Quotas) -> list[StorageUse]:
        """Return what organizations with a quota of stored bytes store."""
        return [StorageUse(*row) for row in self._rows("storage_use", (default.stored_bytes_max,))]

    def sealing(self) -> SealingTotals:
        """Return what the sealer says of itself."""
        return self._db.read_now(sealing_state.totals)

    def seal_refusals(self) -> list[Refusal]:
        """Return the logs that the sealer refuses."""
        return self._db.read_now(sealing_state.refusals)

    def sealed_logs(self) -> Iterator[SealedLog]:
        """Return every log that is to be sealed, one after the other."""
        after = 0
        while states := self._db.read_now(functools.partial(seal_states, after=after)):
            for one in states:
                yield self._db.read_now(functools.partial(_sealed_log, state=one))
            after = states[-1].organization_no

    def total_head(self) -> int:
        """Return how many events were ever appended."""
        return self._db.read_now(total)

    def damaged_events(self, seconds_max: float) -> tuple[list[tuple[str, int]], bool]:
        """Verify the log, event by event, against its checksums.

        Returns: organization and sequence of events that are damaged or missing, DAMAGED_MAX at most; and whether the whole
            log was read.
        """
        deadline = time.monotonic() + seconds_max
        found: list[tuple[str, int]] = []
        for no, org_id, oldest, head in self._rows("log_ranges"):
            first = oldest
            while first <= head:
                if time.monotonic() > deadline or len(found) >= DAMAGED_MAX:
                    return found, False
                found += [(org_id, sequence) for sequence in self._damaged_from(no, first, head)]
                first += PAGE_EVENTS
        return found, True

    def _damaged_from(self, organization_no: int, first: int, head: int) -> list[int]:
        """Return damaged sequences of the next PAGE_EVENTS; those that retention has removed meanwhile are not."""
        last, bad = min(head, first + PAGE_EVENTS - 1), list[int]()
        while first <= last:
            read = functools.partial(
                read_page,
                organization_no=organization_no,
                span=(first, last),
                bytes_max=PAGE_BYTES,
                labels=False,
            )
            page = self._db.read_now(read)
            bad += [first + at for at, body in enumerate(page.bodies) if not body]
            first += max(1, len(page.bodies))
        if not bad:
            return bad
        oldest = {no: begin for no, _, begin, _ in self._rows("log_ranges")}.get(organization_no, head + 1)
        return [sequence for sequence in bad if sequence >= oldest]

    def newest_time(self) -> Micros:
        """Return the newest time that the service has noted anywhere people look; 0 in an empty database."""
        return Micros(self._number("newest_time"))

    def _rows(self, statement: str, values: tuple[Value, ...] = ()) -> list[Row]:
        return self._db.read_now(lambda unit: unit.rows(statement, values))

    def _number(self, statement: str, values: tuple[Value, ...] = ()) -> int:
        return int(self._rows(statement, values)[0][0])


def _sealed_log(unit: Unit, state: SealState) -> SealedLog:
    found = newest_tree(unit, state.organization_no)
    keys = keys_of(unit, state.organization_no)
    if found is None:
        return SealedLog(state, None, {}, keys)
    opened = read_tiles(unit, state.organization_no, found.base, open_tiles(found.tree.size))
    return SealedLog(seal_state(unit, state.organization_no) or state, found, opened, keys)
