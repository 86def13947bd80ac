"""A PostgreSQL database as the source or the target of a copy (protocols CopySource and CopyTarget)."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import psycopg

from aegis_stream.errors import Misconfigured
from aegis_stream.settings.database_url import APPLICATION, DatabaseUrl
from aegis_stream.store.copy_tables import EVENTS, Table, page_text
from aegis_stream.store.copying import Statements
from aegis_stream.store.database import Row, Value

from . import durability, schema
from .connect import Session, unavailable
from .dialect import statements, translated

T = TypeVar("T")

_NAME = "aegis-database-copy"
"""The name of a copy's sessions, so that they are not taken for those of a service."""
_SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
_MAY_WAIT = "; SET LOCAL idle_in_transaction_session_timeout = 0"
"""A snapshot stays open while the other end writes."""
_BODY = EVENTS.columns.index("body")
_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = $1
"""
_LIVING = """
SELECT (SELECT count(*) FROM workers WHERE expires_at > aegis_now()) + (SELECT count(*) FROM processes WHERE expires_at > aegis_now())
"""
_TYPES = "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"


class _ByName:
    """Runs statements by name on a session (protocol Statements)."""

    def __init__(self, session: Session) -> None:
        self._cursor = session.cursor
        self._texts = statements()

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        return self._cursor.execute(self._texts[name], values).fetchall()

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        return self._cursor.execute(self._texts[name], values).fetchone()

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        return self._cursor.execute(self._texts[name], values).rowcount


class PostgresCopy:
    """One end of a copy.

    Args:
        url: of the database, whose schema is up to date.
    Raises: Misconfigured when its schema is of another version. Unavailable when it cannot be reached.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        with _errors("read"):
            self._session = Session(named(url))
        try:
            with _errors("read"):
                self._refuse_version()
                self._used = users_of(self._session)
        except BaseException:
            self._session.close()
            raise
        self._by_name = _ByName(self._session)

    def in_use(self) -> str:
        """Return how another user was noticed: see the protocol."""
        return self._used

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside see one state: see the protocol."""
        with _errors("read"):
            self._session.begin(_SNAPSHOT, _MAY_WAIT)
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):
                self._session.rollback()

    def read(self, work: Callable[[Statements], T]) -> T:
        """Run `work` on the connection: see the protocol."""
        with _errors("read"):
            return work(self._by_name)

    def page(
        self, table: Table, prefix: Sequence[Value], after: Sequence[Value], rows_max: int, bytes_max: int
    ) -> list[Row]:
        """Read rows in the order of the key: see the protocol."""
        text = page_text(table, table.columns, prefix=len(prefix), after=bool(after))
        values: tuple[Value, ...] = (*prefix, *after, rows_max)
        if table is EVENTS:
            text, values = _bounded(text), (*values, bytes_max)
        with _errors("read"):
            return self._session.cursor.execute(translated(text), values).fetchall()

    def write(self, work: Callable[[Statements], T]) -> T:
        """Run `work` in a transaction: see the protocol."""
        with self._transaction():
            return work(self._by_name)

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows in one transaction: see the protocol."""
        if table is EVENTS:
            rows = [(*row[:_BODY], row[_BODY].decode(), *row[_BODY + 1 :]) for row in rows]
        text = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN (FORMAT BINARY)"
        with self._transaction():
            types: dict[str, str] = dict(self._session.cursor.execute(_TYPES, (table.name,)).fetchall())
            with self._session.raw.cursor().copy(text.encode()) as copy:
                copy.set_types([types[column] for column in table.columns])
                for row in rows:
                    copy.write_row(row)

    def empty(self, table: Table) -> None:
        """Remove all rows of a table: see the protocol."""
        with self._transaction():
            self._session.exec(f"TRUNCATE {table.name}")

    def finish(self, tables: Sequence[Table]) -> None:
        """Let identity columns count on, and let the planner know the tables: see the protocol."""
        texts = [_set_number(table) for table in tables if table.numbered]
        texts += [f"ANALYZE {table.name}" for table in (EVENTS, *tables)]
        for text in texts:
            with self._transaction():
                self._session.exec(text)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what happens inside, or nothing of it. Raises: Unavailable."""
        with _errors("written to"):
            self._session.begin("READ WRITE")
            try:
                yield
                self._session.commit()
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    self._session.rollback()
                raise

    def _refuse_version(self) -> None:
        found, newest = schema.found_schema(self._session)[0], schema.steps()[-1].version
        if not found:
            raise Misconfigured(f"there is no database of this program at {self._url}", code="no-database")
        if found > newest:
            raise Misconfigured(
                f"{self._url} has schema version {found}, this program knows {newest}: copy it with the version that wrote it",
                code="schema-too-new",
            )
        if found < newest:
            raise Misconfigured(
                f"{self._url} has schema version {found}, this program copies {newest}: start and stop the service of this "
                "version on it once",
                code="schema-too-old",
            )


def users_of(session: Session) -> str:
    """Return how it is noticed that a service uses a database; "" when none does. Raises: psycopg.Error."""
    sessions = _number(session, _SESSIONS, (APPLICATION,))
    living = _number(session, _LIVING, ())
    found = [f"{sessions} of its sessions are open"] if sessions else []
    if living:
        found.append(f"{living} of its processes are registered; killed ones are forgotten within a minute")
    return ", ".join(found)


def _number(session: Session, text: str, values: Sequence[Value]) -> int:
    row = session.cursor.execute(text, values).fetchone()
    assert row is not None, "an aggregate always has a row"
    return int(row[0])


def prepare_target(url: DatabaseUrl) -> None:
    """Make the newest schema in a database, or bring one up to date, before it is opened as a target.

    Raises: Misconfigured when a newer version wrote it, or the server loses what it acknowledges. Unavailable when it cannot be
        reached.
    """
    with _errors("written to"), Session(named(url)) as session:
        durability.refuse_unsuitable(session.raw)
        schema.migrate(session)


def named(url: DatabaseUrl) -> DatabaseUrl:
    """Return the URL with the name of a copy's sessions."""
    others = [(name, value) for name, value in url.parameters if name != "application_name"]
    return replace(url, parameters=(*others, ("application_name", _NAME)))


def _bounded(text: str) -> str:
    """Return the SQL of a page of events that ends after so many bytes, which are one more value; bodies as bytes."""
    columns = ", ".join("convert_to(body, 'UTF8')" if one == "body" else one for one in EVENTS.columns)
    order = ", ".join(EVENTS.key)
    return (
        f"SELECT {columns} FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY {order}) - octet_length(body) AS before "  # noqa: S608 - names of copy_tables.py
        f"FROM ({text}) AS page) AS measured WHERE before < ? ORDER BY {order}"
    )


def _set_number(table: Table) -> str:
    column = table.numbered
    return (
        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column}'), coalesce(max({column}), 1), max({column}) IS NOT NULL) "  # noqa: S608 - names of copy_tables.py
        f"FROM {table.name}"
    )


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Turn the driver's errors into ours. Raises: Unavailable."""
    try:
        yield
    except psycopg.Error as error:
        raise unavailable(error, doing) from error
