"""Runs SQL of a test inside a unit of work, to read rows and to damage them.

The code under test runs statements only by name; only tests may run other SQL.
"""

from aegis_stream.store.database import Row, Unit, Value


class RawUnit:
    """A unit of work that takes SQL text instead of names."""

    def __init__(self, unit: Unit) -> None:
        self._raw = unit._raw

    def rows(self, text: str, values: tuple[Value, ...] = ()) -> list[Row]:
        """Run SQL and return its rows."""
        return self._raw.execute(text, values).fetchall()

    def row(self, text: str, values: tuple[Value, ...] = ()) -> Row | None:
        """Run SQL and return its first row."""
        return self._raw.execute(text, values).fetchone()

    def run(self, text: str, values: tuple[Value, ...] = ()) -> int:
        """Run SQL and return how many rows it changed."""
        self._raw.execute(text, values)
        return self._raw.changes()


def raw(unit: Unit) -> RawUnit:
    """Return a unit of work that takes SQL text."""
    return RawUnit(unit)
