"""A unit of work on one SQLite connection."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from importlib import resources

import apsw

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import StoreDamaged
from aegis_stream.ports import Clock
from aegis_stream.store.database import Duplicate, HeadMoved, Row, Value
from aegis_stream.store.statements import load

ROWS_PER_INSERT = 256
"""Most rows in one INSERT: one step of SQLite, so the interpreter lock is released once for all of them."""
ROWS_OF_ANY_NUMBER = 64
"""Up to here any number of rows is one INSERT; more are cut into powers of two. So few statements are compiled, each once."""
SEQUENCE_BITS = 40
"""Bits of an event's sequence in its position, organization · 2^40 + sequence: room for 10^12 events in each of four million
organizations, 35 years at 1,000 events a second for one of them."""
EVENT_VALUES = 5
"""Values of one event in `append`."""


_DAMAGE = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)
"""What the driver raises for a page or a value that is damaged; the last, where a bit of a text has changed."""


def _damaged(error: Exception) -> StoreDamaged:
    reason = "a text is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    return StoreDamaged(f"the database is damaged ({reason}): run `aegis doctor`, and restore a backup")


@functools.cache
def statements() -> dict[str, str]:
    """Return the texts of all statements as SQLite runs them, by name."""
    overlay = resources.files(__package__).joinpath("overlay.sql")
    return load(overlay.read_text(encoding="utf-8"))


class SqliteUnit:
    """The protocol `Unit` on one connection."""

    def __init__(self, raw: apsw.Connection, clock: Clock) -> None:
        self._raw = raw
        self._clock = clock
        self._texts = statements()

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        try:
            return self._raw.execute(self._texts[name], values).fetchall()
        except _DAMAGE as error:
            raise _damaged(error) from error

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        try:
            return self._raw.execute(self._texts[name], values).fetchone()
        except _DAMAGE as error:
            raise _damaged(error) from error

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        self._raw.execute(self._texts[name], values)
        return self._raw.changes()

    def append(
        self, organization_no: int, values: Sequence[Value], size: int, now: Micros, clock_step_us: int
    ) -> HeadMoved:
        """Move the organization's head on and write its new events: see the protocol."""
        count = len(values) // EVENT_VALUES
        row = self.row("advance_head", (count, now, clock_step_us, organization_no, size))
        assert row is not None, (
            "the caller has looked the organization up, and organizations are never deleted"
        )
        moved = HeadMoved(*row)
        if values:
            before = organization_no << SEQUENCE_BITS | moved.head - count
            shared = (before, organization_no, moved.received_at)
            self._insert("insert_event", shared, values, EVENT_VALUES)
        return moved

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside if it raises."""
        # The driver's own context manager names each savepoint anew, so SQLite would compile three statements each time.
        self._raw.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._raw.in_transaction:  # some errors end the whole transaction
                self._raw.execute("ROLLBACK TO part")
                self._raw.execute("RELEASE part")
            raise
        self._raw.execute("RELEASE part")

    def now(self) -> Micros:
        """Return the wall clock of the process: all processes of one file are on one machine."""
        return self._clock.now()

    def steady(self) -> Micros:
        """Return the time by which leases are judged: that of the machine, which nobody sets."""
        return self._clock.steady()

    def _insert(
        self, name: str, shared: tuple[int, *tuple[Value, ...]], values: Sequence[Value], width: int
    ) -> None:
        """Insert many rows by few statements.

        Args:
            name: of a statement that ends with the group of values of one row, which is repeated. ?1, ?2 … in it are
                `shared`; a `+ 1` in it becomes + 2, + 3 … from row to row.
            shared: values given once for all rows; the first is a number, and counts up with the rows.
            values: those of each row, row after row.
            width: number of values of one row.
        Raises: Duplicate when a row exists already.
        """
        statement = self._texts[name]
        at, left = 0, len(values) // width
        try:
            while left:
                rows = left if left <= ROWS_OF_ANY_NUMBER else 1 << (left.bit_length() - 1)
                rows = min(ROWS_PER_INSERT, rows)
                end = at + rows * width
                head = (shared[0] + at // width, *shared[1:])
                self._raw.execute(_repeated(statement, rows), (*head, *values[at:end]))
                at, left = end, left - rows
        except apsw.ConstraintError as error:
            raise Duplicate from error


@functools.lru_cache(128)
def _repeated(statement: str, rows: int) -> str:
    """Return an INSERT for many rows, made from that for one."""
    head, _, group = statement.rpartition("VALUES ")
    group = group.rstrip("; \n")
    return head + "VALUES " + ", ".join(group.replace("+ 1", f"+ {number}") for number in range(1, rows + 1))
