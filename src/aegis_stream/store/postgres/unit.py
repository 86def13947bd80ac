"""A unit of work on one PostgreSQL connection."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from aegis_stream.domain.ids import Micros
from aegis_stream.store.database import (
    EVENT_VALUES,
    Call,
    Duplicate,
    HeadMoved,
    LogAppend,
    NotAppended,
    Row,
    Value,
)

from .connect import Session
from .dialect import statements
from .statement import Result

SEPARATOR = "\x1e"
"""What joins texts in one value: a byte that neither JSON nor printable text can hold."""
_NO_LIMIT = 0
KNOWN = "SELECT 1 FROM events WHERE org_no = $1 AND event_id = ANY (string_to_array($2, chr(30))) LIMIT 1"


class PostgresUnit:
    """The protocol `Unit` on one connection. The transaction begins with its first statement.

    Args:
        mode: how the transaction begins, after BEGIN.
        first: statements that run at once after BEGIN, each behind a semicolon.
    """

    def __init__(self, session: Session, mode: str, first: str = "") -> None:
        self._session = session
        self._raw = session.raw
        self._mode = mode
        self._first = first
        self._begun = False
        self._texts = statements()

    @property
    def begun(self) -> bool:
        """Tell whether a transaction is open that must be ended."""
        return self._begun

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        return self._execute(name, values).rows

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        return self._execute(name, values).first

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        return self._execute(name, values).changed

    def each(self, calls: Sequence[Call]) -> list[Row | None]:
        """Run several statements in one round trip: see the protocol."""
        if len(calls) < 2:
            return [self._execute(*call).first for call in calls]
        self._begin()
        return self._pipelined(calls)

    def bodies(
        self, organization_no: int, first: int, last: int, bytes_max: int
    ) -> tuple[list[bytes], int, int]:
        """Return the bodies of a range: see the protocol.

        When it is the first thing that the unit does, it is one round trip: a statement alone needs no transaction around it.
        Behind a pooler it has one, which sets how long the server may take.
        """
        if self._session.pooled:
            self._begin()
        values = organization_no, first, last, bytes_max
        rows = self._session.run(self._texts["page_bodies"], values).rows
        recorded = [row[1] for row in rows if row[1] is not None]
        return [row[0] for row in rows], sum(recorded), len(recorded)

    def append(self, one: LogAppend, clock_step_us: int) -> HeadMoved:
        """Move the organization's head on and write its new events: see the protocol."""
        try:
            row = self.row("insert_event", append_values(one, clock_step_us, _NO_LIMIT, quota=False))
        except psycopg.errors.UniqueViolation as error:
            raise Duplicate from error
        assert row is not None, (
            "the caller has looked the organization up, and organizations are never deleted"
        )
        return HeadMoved(*row)

    def append_each(
        self, appends: Sequence[LogAppend], clock_step_us: int, stored_bytes_max: int
    ) -> list[HeadMoved | NotAppended]:
        """Append to several logs: see the protocol.

        When it is the first thing that the unit does, all of it is one round trip, which commits: no row is locked while this
        process has the turn.
        """
        calls: list[Call] = [
            ("insert_event", append_values(one, clock_step_us, stored_bytes_max, quota=True))
            for one in appends
        ]
        if not self._begun:
            try:
                return self._append_at_once(calls)
            except psycopg.errors.UniqueViolation:
                self._session.rollback()  # nothing is stored: log by log, then
                self._begun = False
        results: list[HeadMoved | NotAppended] = []
        for call in calls:
            try:
                with self.savepoint():
                    results.append(self._moved(call, self.row(*call)))
            except psycopg.errors.UniqueViolation:
                results.append(NotAppended.KNOWN_ID)
        return results

    def _append_at_once(self, calls: Sequence[Call]) -> list[HeadMoved | NotAppended]:
        """Append to several logs in one round trip, and commit; behind a pooler the commit follows.

        Raises: UniqueViolation; then nothing is stored. CommitUnknown.
        """
        self._session.warnings.clear()
        if self._session.pooled:
            self._begin()
        if len(calls) == 1:
            [(name, values)] = calls
            rows = [self._session.run(self._texts[name], values).first]
        else:
            rows = self._pipelined(calls)
        self._session.check_warnings()
        return [self._moved(call, row) for call, row in zip(calls, rows, strict=True)]

    def _moved(self, call: Call, row: Row | None) -> HeadMoved | NotAppended:
        """Return what came of an append; a known id counts more than a quota without room, as what is stored needs none."""
        if row is not None:
            return HeadMoved(*row)
        organization_no, ids = call[1][0], call[1][5]
        self._begin()
        known = self._session.run(KNOWN, (organization_no, ids)).first
        return NotAppended.NO_ROOM if known is None else NotAppended.KNOWN_ID

    def _pipelined(self, calls: Sequence[Call]) -> list[Row | None]:
        """Run statements in one round trip; without BEGIN they are a transaction of their own."""
        with self._raw.pipeline():
            cursors = [
                self._raw.cursor(binary=True).execute(self._texts[name], values) for name, values in calls
            ]
        return [_first_row(cursor) for cursor in cursors]

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside if it raises."""
        self._begin()
        self._session.exec("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if not self._raw.closed:
                self._session.exec("ROLLBACK TO part; RELEASE part")
            raise
        self._session.exec("RELEASE part")

    def now(self) -> Micros:
        """Return the database's clock, which all nodes share."""
        self._begin()
        row = self._session.run("SELECT aegis_now()").first
        assert row is not None, "a function gives a row"
        return Micros(row[0])

    def steady(self) -> Micros:
        """Return the time by which leases are judged: the database's clock, whatever the clocks of the nodes say."""
        return self.now()

    def _execute(self, name: str, values: Sequence[Value]) -> Result:
        self._begin()
        return self._session.run(self._texts[name], values)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._session.begin(self._mode, self._first)


def _first_row(cursor: "psycopg.Cursor[Row]") -> Row | None:
    """Return the first row of a statement; None when it gives none."""
    return cursor.fetchone() if cursor.description is not None else None


def append_values(
    one: LogAppend, clock_step_us: int, stored_bytes_max: int, *, quota: bool
) -> tuple[Value, ...]:
    """Return the values of the statement that appends to one log.

    Args:
        quota: False appends whatever the organization's quota.
    """
    values: Sequence[Any] = one.values
    checksums = ",".join(["NULL" if each is None else str(each) for each in values[4::EVENT_VALUES]])
    return (
        one.organization_no,
        len(values) // EVENT_VALUES,
        one.size,
        clock_step_us,
        stored_bytes_max,
        SEPARATOR.join(values[0::EVENT_VALUES]),
        SEPARATOR.join(values[1::EVENT_VALUES]),
        SEPARATOR.join([each or "" for each in values[2::EVENT_VALUES]]),
        SEPARATOR.join(values[3::EVENT_VALUES]),
        f"{{{checksums}}}",
        1 if quota else 0,
    )
