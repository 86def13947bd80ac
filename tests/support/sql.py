"""Runs SQL of a test inside a unit of work, to read rows and to damage them.

The code under test runs statements only by name; only tests may run other SQL.
"""

from typing import Any

from aegis_stream.store.database import Row, Unit, Value


class RawUnit:
    """A unit of work that takes SQL text instead of names."""

    def __init__(self, unit: Unit) -> None:
        self._raw = unit._raw
        self._is_postgres = not hasattr(self._raw, "changes")
        if self._is_postgres:
            unit._begin()

    def rows(self, text: str, values: tuple[Value, ...] = ()) -> list[Row]:
        """Run SQL and return its rows."""
        return self._execute(text, values).fetchall()

    def row(self, text: str, values: tuple[Value, ...] = ()) -> Row | None:
        """Run SQL and return its first row."""
        return self._execute(text, values).fetchone()

    def run(self, text: str, values: tuple[Value, ...] = ()) -> int:
        """Run SQL and return how many rows it changed."""
        cursor = self._execute(text, values)
        return cursor.rowcount if self._is_postgres else self._raw.changes()

    def _execute(self, text: str, values: tuple[Value, ...]) -> Any:
        if self._is_postgres:
            from aegis_stream.store.postgres.dialect import translated

            text = translated(text).replace("char(30)", "chr(30)")
        return self._raw.execute(text, values)


def raw(unit: Unit) -> RawUnit:
    """Return a unit of work that takes SQL text."""
    return RawUnit(unit)
