"""The seam between the store's functions and a database: what a database does, and what a unit of work may do.

The code above this file knows no driver, no thread and no dialect. A unit of work is a plain function of a Unit; a database
runs it inside a transaction. Statements are called by name; their texts are in `sql/`.
"""

import asyncio
import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Unavailable

from .suitability import Demands, Finding

T = TypeVar("T")
Value = int | float | str | bytes | None
Row = tuple[Any, ...]


class Duplicate(Exception):
    """A row with this key exists already."""


class Lane(enum.Enum):
    """Which units of work may run at the same time, in all processes: docs/adr/0008-rules-for-several-writers.md.

    APPEND      appends to logs. Each locks the head rows of its organizations, in ascending order.
    SETTLEMENT  settlements. Each locks the cursor rows of its destinations, in ascending order, before it judges a lease.
    CONTROL     everything else: destinations, keys, claims, redrive, retention, rotation. One at a time.
    """

    APPEND = "append"
    SETTLEMENT = "settlement"
    CONTROL = "control"


EVENT_VALUES = 5
"""Values of one event that is appended: id, dataset, decision, body, checksum."""
Call = tuple[str, Sequence[Value]]
"""Name and values of a statement."""


class LogAppend(NamedTuple):
    """Events for one organization's log.

    Args:
        values: id, dataset, decision, body and checksum of each event, event after event.
        size: bytes of all bodies.
        now: the caller's clock, for the time of receipt, where the database has none of its own.
    """

    organization_no: int
    values: Sequence[Value]
    size: int
    now: Micros


class NotAppended(enum.Enum):
    """Why nothing of a LogAppend was appended."""

    KNOWN_ID = "an event with one of its ids exists, or an id occurs twice"
    NO_ROOM = "the organization's quota of stored bytes has no room"
    UNREACHABLE = "the server that has the log cannot be reached; others may have their logs elsewhere"


class HeadMoved(NamedTuple):
    """Where an organization's log ends after an append.

    Args:
        head: its newest sequence.
        received_at: the time of receipt of the events appended.
        step_sequence: the newest sequence at which times go back, because the clock was wrong before; 0 for never.
        stored_bytes: bytes of all events in the log.
        stored_bytes_max: the organization's own quota of them, 0 for no limit; None where it has the default.
    """

    head: int
    received_at: Micros
    step_sequence: int
    stored_bytes: int
    stored_bytes_max: int | None

    def is_over(self, stored_bytes_max: int) -> bool:
        """Tell whether the log has more bytes than its quota allows, or the default where it has none of its own."""
        quota = stored_bytes_max if self.stored_bytes_max is None else self.stored_bytes_max
        return 0 < quota < self.stored_bytes


class Unit(Protocol):
    """One transaction, as the function that runs inside it sees it; invalid once that function returns.

    A function of a Unit runs on a thread of the database. It may run twice: after a failure that leaves open whether the first
    run was stored, and after one that the database resolves by trying again. So it takes nothing away from its caller and
    changes none of its caller's objects; it returns what it found.

    The methods may raise an error of the driver's. Let it pass: the database undoes the unit, and raises Unavailable to the
    caller. After any error but Duplicate, do nothing more with the unit.
    """

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        ...

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row, or None."""
        ...

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        ...

    def each(self, calls: Sequence[Call]) -> list[Row | None]:
        """Run several statements, in order and at once: one round trip where the database is another machine.

        Returns: the first row of each; None for one that gives none.
        """
        ...

    def bodies(
        self, organization_no: int, first: int, last: int, bytes_max: int
    ) -> tuple[list[bytes], int, int]:
        """Return the bodies of a range of sequences in order, the sum of their checksums, and how many have one.

        Args:
            bytes_max: no body comes back when they are longer together; one event does, whatever its size.
        """
        ...

    def append(self, one: LogAppend, clock_step_us: int) -> HeadMoved:
        """Lock an organization's head row until the end of the transaction, move the head on, write events behind it.

        Whatever the quota. Without events it still writes the head row: so the commit waits until everything that this unit saw
        is durable, and an event that is found to be there already is never acknowledged before that.

        Args:
            clock_step_us: how far the newest time of receipt may lie ahead of the clock before it is taken for wrong.
        Raises: Duplicate when an event with one of these ids exists; then roll back to a savepoint begun before the call.
        """
        ...

    def append_each(
        self, appends: Sequence[LogAppend], clock_step_us: int, stored_bytes_max: int
    ) -> list[HeadMoved | NotAppended]:
        """Append to several logs, in the order given, each as `append` does. One that cannot be appended changes nothing.

        When it is the first thing that a unit does, a database may commit it at once.

        Args:
            appends: by ascending number of the organization, each once.
            stored_bytes_max: quota of an organization that has none of its own, bytes; 0 for no limit.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what happens inside if it raises."""
        ...

    def now(self) -> Micros:
        """Return the wall clock: microseconds since 1970-01-01 UTC."""
        ...

    def steady(self) -> Micros:
        """Return the time by which leases are judged, in microseconds: the same for all nodes, and not set by people."""
        ...


class Database(Protocol):
    """A database: reads on snapshots, and writes that are durable when they return."""

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot of what is committed. It may run twice.

        Raises: what `work` raised. Unavailable when the database cannot be read.
        """
        ...

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a transaction of its own, in the control lane. It may run twice.

        Returns: what `work` returned, once it is committed and synced.
        Raises: what `work` raised; then nothing of it is stored.
            Unavailable: then nothing is stored; or, if the connection was lost during the commit, the outcome is unknown.
            After cancellation the write may or may not have happened.
        """
        ...

    def submit(self, work: Callable[[Unit], T], lane: Lane) -> "asyncio.Future[T]":
        """Begin a write in a lane and return its future, so that several callers can wait for one write. It may run twice.

        Units of the append lane that wait at the same time may share a transaction, each undone alone if it raises; likewise
        those of the settlement lane. Units of different lanes never do.
        Raises: through the future, as `write` does. Nothing in itself.
        """
        ...

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot, in a program without an event loop. Raises: as `read` does."""
        ...

    def peek(self, work: Callable[[Unit], T]) -> T | None:
        """Run `work` on a snapshot at once, on the event loop: for a few rows that were written just now, or are read often.

        Returns: what `work` returned; None where that would wait, or failed, so that the caller reads in the usual way.
        """
        ...

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the control lane, in a program without an event loop. Raises: as `write` does."""
        ...

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date; a process killed in between leaves a schema that the next call completes.

        Returns: schema version before and after.
        Raises: Misconfigured when the database was written by a newer version; then nothing is changed.
        """
        ...

    def write_fault(self) -> Unavailable | None:
        """Return why writes of this process fail at present, as far as is known without another write; None when they do not."""
        ...

    def changed(self) -> int:
        """Return a number that differs after another process has committed. Costs a few microseconds.

        Raises: Unavailable when the database cannot be read.
        """
        ...

    def close(self) -> None:
        """Finish the writes that wait, and close all connections."""
        ...


class Schema(NamedTuple):
    """Version of a database's schema.

    Args:
        found: 0 for an empty database.
        newest: the newest that this program knows.
        oldest_reader: the oldest whose program can work on it; None where that is `found`.
    """

    found: int
    newest: int
    oldest_reader: int | None = None

    @property
    def readable(self) -> bool:
        """Whether this program can work on it, if need be after a migration."""
        return (self.found if self.oldest_reader is None else self.oldest_reader) <= self.newest


class ReadOnlyDatabase(Protocol):
    """A database opened for reading alone, whatever version wrote it."""

    @property
    def schema(self) -> Schema:
        """Version of its schema."""
        ...

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot of what is committed. Raises: Unavailable when it cannot be read."""
        ...

    def suitability(self, demands: Demands, clock: Callable[[], Micros]) -> tuple[Finding, ...]:
        """Tell whether a start would accept the database, row by row; no row where there is nothing to say.

        Args:
            clock: this machine's, to compare the database's own with.
        Raises: Unavailable when it cannot be read.
        """
        ...

    def quick_check(self, seconds_max: float) -> list[str] | None:
        """Let the database check its files.

        Returns: what is wrong with them, some faults at most; None when the time was over before the end.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...
