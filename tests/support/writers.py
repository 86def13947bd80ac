"""Databases that do to units of work what a database may do: run them twice. And one that watches what they do."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aegis_stream.store.database import Database, Lane, Unit


class _Undo(Exception):
    """Takes back a first run."""


def _twice(work: Callable[[Unit], Any]) -> Callable[[Unit], Any]:
    def run(unit: Unit) -> Any:
        with contextlib.suppress(_Undo), unit.savepoint():
            work(unit)
            raise _Undo
        return work(unit)

    return run


@dataclass
class RunsTwice:
    """A database that runs each unit of work, takes it back, and runs it again, as after a lost connection."""

    db: Database

    def submit(self, work: Callable[[Unit], Any], lane: Lane) -> "asyncio.Future[Any]":
        return self.db.submit(_twice(work), lane)

    async def write(self, work: Callable[[Unit], Any]) -> Any:
        return await self.db.write(_twice(work))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)


@dataclass
class WatchedUnit:
    """A unit of work that notes its calls: the statement, or "append", and its values."""

    unit: Unit
    calls: list[tuple[str, Any]]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.unit, name)
        if name in ("savepoint", "now", "steady"):
            return method

        def call(first: Any, values: Any = (), *rest: Any) -> Any:
            if name == "append_each":
                self.calls.extend(("append", one.organization_no) for one in first)
            elif name == "each":
                self.calls.extend(first)
                return method(first)
            elif name == "bodies":
                self.calls.append(("page_bodies", (first, values, *rest)))
            else:
                self.calls.append(("append", first.organization_no) if name == "append" else (first, values))
            return method(first, values, *rest)

        return call


@dataclass
class Watched:
    """A database that notes what units of work do, and in which lane."""

    db: Database
    lanes: list[Lane] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def submit(self, work: Callable[[Unit], Any], lane: Lane) -> "asyncio.Future[Any]":
        self.lanes.append(lane)
        return self.db.submit(lambda unit: work(WatchedUnit(unit, self.calls)), lane)

    async def write(self, work: Callable[[Unit], Any]) -> Any:
        return await self.submit(work, Lane.CONTROL)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)


@dataclass
class WatchedReads:
    """A database that notes what units of work read."""

    db: Database
    calls: list[tuple[str, Any]] = field(default_factory=list)

    async def read(self, work: Callable[[Unit], Any]) -> Any:
        return await self.db.read(lambda unit: work(WatchedUnit(unit, self.calls)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)
