"""The seam between the store's functions and a database: what a database does, and what a unit of work may do.

The code above this file knows no driver, no thread and no dialect. A unit of work is a plain function of a Unit; a database
runs it inside a transaction. Statements are called by name; their texts are in the database's files of SQL.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Value = int | float | str | bytes | None
Row = tuple[Any, ...]


class Duplicate(Exception):
    """A row with this key exists already."""


class Unit(Protocol):
    """One transaction, as the function that runs inside it sees it; invalid once that function returns.

    A function of a Unit runs on one of the database's threads. It may run twice, after a failure that leaves the outcome
    open: so it takes nothing away from its caller and changes none of its caller's objects, and returns what it found.
    """

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        ...

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        ...

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        ...

    def insert(
        self, name: str, shared: tuple[int, *tuple[Value, ...]], values: Sequence[Value], width: int
    ) -> None:
        """Insert many rows by few statements.

        Args:
            name: of a statement that ends with the group of values of one row.
            shared: values given once for all rows; the first is a number, and counts up with the rows.
            values: those of each row, row after row.
            width: number of values of one row.
        Raises: Duplicate when a row exists already; the enclosing work must then roll back to a savepoint of its own.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what happens inside if it raises."""
        ...


class Database(Protocol):
    """A database: reads on snapshots, and writes that are durable when they return."""

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot of what is committed.

        Raises: what `work` raised. Unavailable when the database cannot be read.
        """
        ...

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a transaction, which may contain other works.

        Returns: what `work` returned, once it is committed and synced.
        Raises: what `work` raised, or Unavailable; then nothing of it is stored.
            After cancellation the write may or may not have happened.
        """
        ...

    def submit(self, work: Callable[[Unit], T]) -> "asyncio.Future[T]":
        """Begin a write and return its future, so that several callers can wait for one write."""
        ...

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot, in a program without an event loop. Raises: as `read` does."""
        ...

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a transaction, in a program without an event loop. Raises: as `write` does."""
        ...

    def changed(self) -> int:
        """Return a number that differs after another process has committed. Costs a few microseconds."""
        ...

    def close(self) -> None:
        """Finish the writes that wait, and close all connections."""
        ...
