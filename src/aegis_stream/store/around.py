"""Something more in the transactions of the directory: a check before a write, a record after it.

What it raises undoes the write, and the write's own failure undoes it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from .directory import StoredDirectory
from .sqlite import Connection, Sqlite

T = TypeVar("T")
Around = Callable[[Connection, Callable[[Connection], object]], object]


@dataclass(frozen=True, slots=True)
class _Database:
    """A database whose writes have something around them."""

    db: Sqlite
    around: Around

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.db.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return cast(T, await self.db.write(lambda db: self.around(db, work)))


def with_before(directory: StoredDirectory, step: Callable[[Connection], None]) -> StoredDirectory:
    """Return the directory with `step` before each of its writes, in the same transaction."""

    def around(db: Connection, work: Callable[[Connection], object]) -> object:
        step(db)
        return work(db)

    return _with(directory, around)


def with_after(directory: StoredDirectory, step: Callable[[Connection, T], None]) -> StoredDirectory:
    """Return the directory with `step` after each of its writes, in the same transaction.

    Args:
        step: is given what the write returned.
    """

    def around(db: Connection, work: Callable[[Connection], object]) -> object:
        result = work(db)
        step(db, cast(T, result))
        return result

    return _with(directory, around)


def _with(directory: StoredDirectory, around: Around) -> StoredDirectory:
    # A directory asks its database for nothing but reads and writes.
    return replace(directory, db=cast(Sqlite, _Database(directory.db, around)))
