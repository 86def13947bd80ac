"""A unit of work on one SQLite connection."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Final, TypeVar

import apsw

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import StoreDamaged
from aegis_stream.ports import Clock
from aegis_stream.store.database import (
    EVENT_VALUES,
    Call,
    Duplicate,
    HeadMoved,
    LogAppend,
    NotAppended,
    Row,
    Unit,
    Value,
)
from aegis_stream.store.statements import load

T = TypeVar("T")

ROWS_PER_INSERT: Final = 256
"""Most rows in one INSERT: one step of SQLite, so the interpreter lock is released once for all of them."""
ROWS_OF_ANY_NUMBER: Final = 64
"""Up to here any number of rows is one INSERT; more are cut into powers of two. So few statements are compiled, each once."""
RECORD_SEPARATOR = b"\x1e"
"""What `page_bodies` puts between two bodies: a byte that JSON text cannot hold."""
SEQUENCE_BITS: Final = 40
"""Bits of an event's sequence in its position, organization · 2^40 + sequence: room for 10^12 events in each of four million
organizations, 35 years at 1,000 events a second for one of them."""


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


class _NoRoom(Exception):
    """Takes an append back that the quota has no room for."""


class SqliteUnit:
    """The protocol `Unit` on one connection."""

    def __init__(self, raw: apsw.Connection, clock: Clock) -> None:
        self._raw = raw
        self._clock = clock
        self._texts = statements()
        self._unchanged = False  # a transaction has begun, and nothing was run in it yet

    def begin(self) -> None:
        """Begin a transaction that writes; who calls this commits it or rolls it back."""
        self._raw.execute("BEGIN IMMEDIATE")
        self._unchanged = True

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        self._unchanged = False
        try:
            return self._raw.execute(self._texts[name], values).fetchall()
        except _DAMAGE as error:
            raise _damaged(error) from error

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        self._unchanged = False
        try:
            return self._raw.execute(self._texts[name], values).fetchone()
        except _DAMAGE as error:
            raise _damaged(error) from error

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        self._unchanged = False
        self._raw.execute(self._texts[name], values)
        return self._raw.changes()

    def each(self, calls: Sequence[Call]) -> list[Row | None]:
        """Run several statements: see the protocol."""
        return [self.row(name, values) for name, values in calls]

    def bodies(
        self, organization_no: int, first: int, last: int, bytes_max: int
    ) -> tuple[list[bytes], int, int]:
        """Return the bodies of a range, read as one value: see the protocol and docs/adr/0004-read-pages-with-group-concat.md."""
        row = self.row("page_bodies", (organization_no, first, last, bytes_max))
        if row is None or row[0] is None:
            return [], 0, 0
        text, recorded, verifiable = row
        return text.split(RECORD_SEPARATOR), recorded or 0, verifiable

    def append(self, one: LogAppend, clock_step_us: int) -> HeadMoved:
        """Move the organization's head on and write its new events: see the protocol."""
        organization_no = one.organization_no
        count = len(one.values) // EVENT_VALUES
        row = self.row("advance_head", (count, one.now, clock_step_us, organization_no, one.size))
        assert row is not None, (
            "the caller has looked the organization up, and organizations are never deleted"
        )
        moved = HeadMoved(*row)
        if count:
            before = organization_no << SEQUENCE_BITS | moved.head - count
            shared = (before, organization_no, moved.received_at)
            self._insert("insert_event", shared, one.values, EVENT_VALUES)
        if moved.step_sequence == moved.head - count + 1:
            self.run("insert_clock_step", (organization_no, moved.step_sequence))
        return moved

    def append_each(
        self, appends: Sequence[LogAppend], clock_step_us: int, stored_bytes_max: int
    ) -> list[HeadMoved | NotAppended]:
        """Append to several logs: see the protocol."""
        return [self._append_whole(one, clock_step_us, stored_bytes_max) for one in appends]

    def _append_whole(
        self, one: LogAppend, clock_step_us: int, stored_bytes_max: int
    ) -> HeadMoved | NotAppended:
        """Append in the belief that all ids are new: the unique index is the check, and it costs nothing extra."""
        try:
            with self.savepoint():
                return self._append_into_room(one, clock_step_us, stored_bytes_max)
        except Duplicate:
            return NotAppended.KNOWN_ID
        except _NoRoom:
            return NotAppended.NO_ROOM

    def _append_into_room(self, one: LogAppend, clock_step_us: int, stored_bytes_max: int) -> HeadMoved:
        """Append, and check the quota; one that adds nothing always has room. Raises: Duplicate, _NoRoom."""
        moved = self.append(one, clock_step_us)
        if one.size and moved.is_over(stored_bytes_max):
            raise _NoRoom
        return moved

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside if it raises.

        The first one of a transaction costs nothing unless it is undone; then the transaction begins anew. Within a savepoint SQLite
        copies every page before it changes it.
        """
        if self._unchanged:
            self._unchanged = False
            try:
                yield
            except BaseException:
                if self._raw.in_transaction:  # some errors end the whole transaction
                    self._raw.execute("ROLLBACK")
                    self.begin()
                raise
            return
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


def on_snapshot(raw: apsw.Connection, clock: Clock, work: Callable[[Unit], T]) -> T:
    """Run `work` in a transaction that reads: outside of one, each statement would see what is committed when it begins."""
    raw.execute("BEGIN")
    try:
        return work(SqliteUnit(raw, clock))
    finally:
        if raw.in_transaction:  # some errors have ended it already
            raw.execute("ROLLBACK")
