"""Something more in the transactions of the directory: a check before a write, a record after it.

What it raises undoes the write, and the write's own failure undoes it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from .database import Database, Unit
from .directory import StoredDirectory

T = TypeVar("T")
Around = Callable[[Unit, Callable[[Unit], object]], object]


@dataclass(frozen=True, slots=True)
class _Database:
    """A database whose writes have something around them."""

    db: Database
    around: Around

    async def read(self, work: Callable[[Unit], T]) -> T:
        return await self.db.read(work)

    async def write(self, work: Callable[[Unit], T]) -> T:
        return cast(T, await self.db.write(lambda unit: self.around(unit, work)))


def with_before(directory: StoredDirectory, step: Callable[[Unit], None]) -> StoredDirectory:
    """Return the directory with `step` before each of its writes, in the same transaction."""

    def around(unit: Unit, work: Callable[[Unit], object]) -> object:
        step(unit)
        return work(unit)

    return _with(directory, around)


def with_after(directory: StoredDirectory, step: Callable[[Unit, T], None]) -> StoredDirectory:
    """Return the directory with `step` after each of its writes, in the same transaction.

    Args:
        step: is given what the write returned.
    """

    def around(unit: Unit, work: Callable[[Unit], object]) -> object:
        result = work(unit)
        step(unit, cast(T, result))
        return result

    return _with(directory, around)


def _with(directory: StoredDirectory, around: Around) -> StoredDirectory:
    # A directory asks its database for nothing but reads and writes.
    return replace(directory, db=cast(Database, _Database(directory.db, around)))
