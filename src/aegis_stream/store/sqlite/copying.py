"""A SQLite file as the source or the target of a copy (protocols CopySource and CopyTarget)."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Conflict, Misconfigured, StoreDamaged, Unavailable
from aegis_stream.store.copy_tables import EVENTS, Table, page_text
from aegis_stream.store.copying import Statements
from aegis_stream.store.database import Row, Value

from .backup import is_in_use
from .connect import BUSY_TIMEOUT_MS, connect, unwritable
from .database import AUTOCHECKPOINT_PAGES, READER_CACHE_KIB, SqliteDatabase
from .schema import migrations
from .unit import SEQUENCE_BITS, SqliteUnit

T = TypeVar("T")

_BODY = EVENTS.columns.index("body")
_READ = ["CAST(body AS BLOB)" if column == "body" else column for column in EVENTS.columns]
_WRITTEN = ["position" if column == "sequence" else column for column in EVENTS.columns]
_PLACES = ["CAST(? AS TEXT)" if column == "body" else "?" for column in EVENTS.columns]


class _NoClock:
    """A copy judges no lease."""

    def now(self) -> Micros:
        raise AssertionError("a copy judges no lease")

    steady = now


class SqliteCopy:
    """One end of a copy.

    Args:
        path: of the database file, whose schema is up to date; this process has it open nowhere else.
        writing: whether it is the target.
    Raises: Misconfigured when there is no such database, or its schema is of another version. Unavailable when it cannot be
        read.
    """

    def __init__(self, path: Path, *, writing: bool) -> None:
        if not path.exists():
            raise Misconfigured(f"there is no database at {path}: correct the path", code="no-database")
        self._path = path
        self._used = is_in_use(path)
        self._raw = _open(path, writing=writing)
        try:
            self._refuse_version()
        except Misconfigured:
            self._raw.close()
            raise

    def in_use(self) -> str:
        """Return how another user was noticed: see the protocol."""
        return f"a process has {self._path} open" if self._used else ""

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside see one state: see the protocol."""
        with _readable():
            self._raw.execute("BEGIN; SELECT count(*) FROM sqlite_schema").fetchall()
        try:
            yield
        finally:
            self._raw.execute("ROLLBACK")

    def read(self, work: Callable[[Statements], T]) -> T:
        """Run `work` on the connection: see the protocol."""
        with _readable():
            return work(SqliteUnit(self._raw, _NoClock()))

    def write(self, work: Callable[[Statements], T]) -> T:
        """Run `work` in a transaction: see the protocol."""
        with self._transaction():
            return work(SqliteUnit(self._raw, _NoClock()))

    def page(
        self, table: Table, prefix: Sequence[Value], after: Sequence[Value], rows_max: int, bytes_max: int
    ) -> list[Row]:
        """Read rows in the order of the key: see the protocol."""
        rows, size = list[Row](), 0
        with _readable():
            if table is not EVENTS:
                text = page_text(table, table.columns, prefix=len(prefix), after=bool(after))
                rows += self._raw.execute(text, (*prefix, *after, rows_max))
                return rows
            span = _positions(*prefix, *after, one=bool(prefix))
            for row in self._raw.execute(_EVENTS_TEXT, (*span, rows_max)):
                rows.append(row)
                size += len(row[_BODY])
                if size >= bytes_max:
                    break
        return rows

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows in one transaction: see the protocol."""
        columns, places = (
            (_WRITTEN, _PLACES) if table is EVENTS else (table.columns, "?" * len(table.columns))
        )
        text = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(places)})"  # noqa: S608 - names of copy_tables.py
        if table is EVENTS:
            rows = [(row[0], row[0] << SEQUENCE_BITS | row[1], *row[2:]) for row in rows]
        with self._transaction():
            self._raw.executemany(text, rows)

    def empty(self, table: Table) -> None:
        """Remove all rows of a table: see the protocol. SQLite drops its pages as a whole."""
        with self._transaction():
            self._raw.execute(f"DELETE FROM {table.name}")  # noqa: S608 - a name of copy_tables.py

    def finish(self, tables: Sequence[Table]) -> None:
        """Do nothing: SQLite counts on from the highest number of a table."""

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what happens inside, or nothing of it. Raises: Unavailable."""
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            yield
            self._raw.execute("COMMIT")
        except apsw.Error as error:
            raise unwritable(error) from error
        finally:
            if self._raw.in_transaction:  # some errors, such as a full disk, have ended it already
                self._raw.execute("ROLLBACK")

    def _refuse_version(self) -> None:
        newest = migrations()[-1][0]
        with _readable():
            found = int(self._raw.pragma("user_version") or 0)
        if found > newest:
            raise Misconfigured(
                f"{self._path} has schema version {found}, this program knows {newest}: copy it with the version that wrote it",
                code="schema-too-new",
            )
        if found < newest:
            raise Misconfigured(
                f"{self._path} has schema version {found}, this program copies {newest}: start and stop the service of this "
                "version on it once",
                code="schema-too-old",
            )


def prepare_target(path: Path) -> None:
    """Make a database file with the newest schema, or bring one up to date, before it is opened as a target.

    Raises: Conflict when a process uses it. Misconfigured when it cannot be made, or a newer version wrote it.
    """
    if is_in_use(path):
        raise Conflict(f"a process uses {path}: stop it, or name another file", code="database-in-use")
    db = SqliteDatabase(path, _NoClock(), threads=False)
    try:
        db.migrate()
    finally:
        db.close()


_EVENTS_TEXT = (
    f"SELECT {', '.join(_READ)} FROM events WHERE position > ? AND position < ? ORDER BY position LIMIT ?"  # noqa: S608 - names of copy_tables.py
)


def _positions(no: Value = 0, sequence: Value = 0, *, one: bool) -> tuple[int, int]:
    """Return between which positions a page lies: of one organization, or of all from there on."""
    assert isinstance(no, int), "the organization's number"
    assert isinstance(sequence, int), "a number too"
    return no << SEQUENCE_BITS | sequence, (no + 1) << SEQUENCE_BITS if one else 1 << 62


def _open(path: Path, *, writing: bool) -> apsw.Connection:
    if writing:
        return connect(path, READER_CACHE_KIB, AUTOCHECKPOINT_PAGES)
    with _readable():
        connection = apsw.Connection(
            f"file:{quote(str(path.resolve()))}?mode=ro", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return connection


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn the driver's errors into ours. Raises: Unavailable."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise StoreDamaged(
            "the database is damaged: a text is not UTF-8; run `aegis doctor`, and restore a backup"
        ) from error
    except apsw.Error as error:
        raise Unavailable(f"the database cannot be read: {error}", code="store-unreadable") from error
