"""Runs statements with values on one connection, by one call of libpq each.

A cursor of the driver's costs four times as much CPU for a short statement, and the cost of most units is that of their statements.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer

from aegis_stream.store.database import Row, Value

PREPARED_MAX = 256
"""Most statements that a connection keeps prepared; a statement counts once for each combination of types that it is given."""
_FINE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Result(NamedTuple):
    """What a statement gave.

    Args:
        changed: how many rows it changed, or gave.
    """

    rows: list[Row]
    changed: int

    @property
    def first(self) -> Row | None:
        """The first row; None when there is none."""
        return self.rows[0] if self.rows else None


class StatementRunner:
    """Prepares each statement when it is run a second time.

    Args:
        connection: its adapters turn values into what is sent, and back.
        prepares: False behind a pooler, where the next transaction may run on another server connection.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", *, prepares: bool) -> None:
        self._pgconn = connection.pgconn
        self._values = Transformer(connection)
        self._prepares = prepares
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._prepared: set[bytes] = set()

    def run(self, text: str, values: Sequence[Value] = ()) -> Result:
        """Run a statement and return its rows. Raises: psycopg.Error."""
        adapt = self._values
        dumped: Any = adapt.dump_sequence(values, [PyFormat.AUTO] * len(values))
        types, formats = adapt.types or (), adapt.formats
        name = self._name_of(text, types)
        if name is None:
            result = self._pgconn.exec_params(text.encode(), dumped, types, formats, pq.Format.BINARY)
        else:
            result = self._pgconn.exec_prepared(name, dumped, formats, pq.Format.BINARY)
        check_result(self._pgconn, result)
        count = result.ntuples
        if not count:
            return Result([], result.command_tuples or 0)
        adapt.set_pgresult(result, format=pq.Format.BINARY)
        try:
            return Result(adapt.load_rows(0, count, tuple), result.command_tuples or 0)
        finally:
            adapt.set_pgresult(None)  # it may be a page of events: its memory is free at once

    def _name_of(self, text: str, types: tuple[int, ...]) -> bytes | None:
        """Return the name of the prepared statement; None for one that runs unprepared."""
        if not self._prepares:
            return None
        name = self._names.get((text, types))
        if name is None:
            if len(self._names) < PREPARED_MAX:
                self._names[text, types] = b"aegis_%d" % len(self._names)
            return None
        if name not in self._prepared:
            check_result(self._pgconn, self._pgconn.prepare(name, text.encode(), types))
            self._prepared.add(name)
        return name


def check_result(pgconn: pq.abc.PGconn, result: pq.abc.PGresult) -> None:
    """Raise what a result says went wrong. Raises: psycopg.Error."""
    if result.status in _FINE:
        return
    if (
        result.error_field(pq.DiagnosticField.SQLSTATE) is None
    ):  # libpq says it, not the server: the connection is lost
        raise psycopg.OperationalError(" ".join(pgconn.error_message.decode("utf-8", "replace").split()))
    raise psycopg.errors.error_from_result(result)
