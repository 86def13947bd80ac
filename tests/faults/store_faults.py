"""A database whose calls fail when a test says so: its statements, its commits, and the files beneath it.

Statements   every call of the driver, as the store's functions make them: `FailingConnection`
Files        every read, write, sync and opening that SQLite asks of the file system: `FailingVfs`
Time         reads and writes take time, and a write may be held up: `SlowDatabase`
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import apsw

from aegis_stream.errors import Unavailable
from aegis_stream.store.database import Lane, Unit
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.store.sqlite.writer import WRITE_TIMEOUT_S

NAME, BASE = "failing", "unix"
READ_S, WRITE_S = 0.0005, 0.003
"""How long a read and a write take at most, seconds."""
CHECKPOINT_PAGES = 40
"""Pages in the write-ahead log at which it is copied: often, because a copy may fail as well."""
WRITES = ("begin", "write", "commit", "file-write", "file-sync")
READS = ("read", "look", "file-read")


@dataclass(frozen=True)
class Kind:
    """One way to fail.

    Args:
        error: what the driver raises.
        places: the calls that can fail in this way.
        after: the call does its work, and is reported as failed all the same.
    """

    error: type[apsw.Error]
    places: tuple[str, ...]
    after: bool = False


KINDS = {
    "EIO": Kind(apsw.IOError, (*READS, *WRITES, "file-open")),
    "ENOSPC": Kind(apsw.FullError, ("write", "commit", "file-write")),
    "BUSY": Kind(apsw.BusyError, ("read", "begin", "write", "commit")),
    "EMFILE": Kind(apsw.CantOpenError, ("file-open",)),
    "commit-unknown": Kind(apsw.IOError, ("commit",), after=True),
}


@dataclass
class Faults:
    """Which calls fail at present. Without a plan none does.

    Attributes:
        calls: how many calls there were, by place.
        failed: how many of them failed.
        only: fails those alone that name this organization.
        stall_s: how long each write is held up.
    """

    random: Random
    calls: int = 0
    failed: int = 0
    only: int | None = None
    stall_s: float = 0.0
    kind: Kind | None = None
    _fails: Callable[[], bool] = field(default=lambda: False)

    def fail_from(self, number: int, count: int, kind: Kind) -> None:
        """Fail `count` calls from a number on, counted from 0 and only where this kind can happen."""
        seen, self.kind = 0, kind

        def fails() -> bool:
            nonlocal seen
            seen += 1
            return number < seen <= number + count

        self._fails = fails

    def fail_some(self, share: float, kind: Kind, only: int | None = None) -> None:
        """Fail this share of all calls until `heal`."""
        self.kind, self.only = kind, only
        self._fails = lambda: self.random.random() < share

    def heal(self) -> None:
        """Fail no more."""
        self.kind = self.only = None
        self.stall_s = 0.0

    def meet(self, place: str, values: Any = (), *, after: bool = False) -> type[apsw.Error] | None:
        """Count a call; returns the error that it fails with."""
        kind = self.kind
        if kind is None or kind.after is not after or place not in kind.places:
            return None
        if self.only is not None and not _names(self.only, values):
            return None
        self.calls += 1
        if not self._fails():
            return None
        self.failed += 1
        return kind.error


def _names(organization_no: int, values: Any) -> bool:
    """Tell whether the values of a statement name an organization: as a number, or in the position of an event."""
    return any(isinstance(one, int) and organization_no in (one, one >> 40) for one in values)


class FailingConnection:
    """A connection to the database whose statements may fail."""

    def __init__(self, connection: apsw.Connection, faults: Faults) -> None:
        self._connection, self._faults = connection, faults

    def execute(self, text: str, values: Any = ()) -> Any:
        """Run a statement, or fail. After some errors SQLite has undone the transaction, after others it has not."""
        place = _place_of(text)
        self._fail_if_planned(place, values)
        found = self._connection.execute(text, values)
        if place == "commit":
            self._fail_if_planned(place, values, after=True)
        return found

    def pragma(self, name: str) -> Any:
        """Look at something of the connection, or fail."""
        self._fail_if_planned("look", ())
        return self._connection.pragma(name)

    def __enter__(self) -> Any:
        return self._connection.__enter__()

    def __exit__(self, *error: object) -> Any:
        return self._connection.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _fail_if_planned(self, place: str, values: Any, *, after: bool = False) -> None:
        error = self._faults.meet(place, values, after=after)
        if error is None:
            return
        if (
            error is not apsw.BusyError
            and self._connection.in_transaction
            and self._faults.random.random() < 0.5
        ):
            self._connection.execute("ROLLBACK")
        raise error("as the test wants it")


def _place_of(text: str) -> str:
    word = next(line for line in text.splitlines() if line and not line.startswith("--")).split()[0].upper()
    match word:
        case "SELECT" | "WITH":
            return "read"
        case "BEGIN":
            return "begin"
        case "COMMIT":
            return "commit"
        case "INSERT" | "UPDATE" | "DELETE":
            return "write"
        case _:
            return word.lower()


class FailingVfs(apsw.VFS):
    """The default file system, whose calls may fail; every connection opened while it is registered uses it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        super().__init__(NAME, BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        _fail_if_planned(self._faults, "file-open")
        return _FailingFile(self._faults, name, flags)


class _FailingFile(apsw.VFSFile):
    def __init__(self, faults: Faults, name: Any, flags: list[int]) -> None:
        self._faults = faults
        super().__init__(BASE, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        _fail_if_planned(self._faults, "file-read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        _fail_if_planned(self._faults, "file-write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        _fail_if_planned(self._faults, "file-sync")  # and syncs nothing: power cuts have their own tests


def _fail_if_planned(faults: Faults, place: str) -> None:
    if (error := faults.meet(place)) is not None:
        raise error("as the test wants it")


@dataclass
class _Write:
    """One unit of work that waits to be written."""

    work: Callable[[Unit], Any]
    lane: Lane
    future: "asyncio.Future[Any]"


class FailingDatabase(SqliteDatabase):
    """A database of a simulation that fails as planned, and takes its time as one on threads does.

    Its one writer takes one unit of work after the other. A unit that waits for too long is given up; one that is given up in
    the middle may be stored all the same.
    """

    def __init__(self, path: Path, clock: Any, faults: Faults) -> None:
        self.faults = faults
        self._waiting: deque[_Write] = deque()
        self._writes = False
        super().__init__(path, clock, threads=False)

    def _connect(self, cache_kib: int) -> Any:
        connection = super()._connect(min(cache_kib, 64))  # a small cache, so that the files are read
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return FailingConnection(connection, self.faults)

    async def read(self, work: Callable[[Unit], Any]) -> Any:
        """Run `work` on a snapshot; before and after it others may write."""
        await asyncio.sleep(self.faults.random.random() * READ_S)
        found = await super().read(work)
        await asyncio.sleep(self.faults.random.random() * READ_S)
        return found

    async def write(self, work: Callable[[Unit], Any]) -> Any:
        """Run `work` in the control lane."""
        return await self.submit(work, Lane.CONTROL)

    def submit(self, work: Callable[[Unit], Any], lane: Lane) -> "asyncio.Future[Any]":
        """Begin `work` in a lane, after the writes that wait already."""
        loop = asyncio.get_running_loop()
        one = _Write(work, lane, loop.create_future())
        self._waiting.append(one)
        loop.call_later(WRITE_TIMEOUT_S, self._expire, one)
        if not self._writes:
            self._begin_next()
        return one.future

    def _begin_next(self) -> None:
        self._writes = bool(self._waiting)
        if self._writes:
            took_s = self.faults.random.random() * WRITE_S + self.faults.stall_s
            asyncio.get_running_loop().call_later(took_s, self._write, self._waiting.popleft())

    def _write(self, one: _Write) -> None:
        if not one.future.done() or one.future.cancelled() or self.faults.random.random() < 0.5:
            result = self._writer.submit(one.work, one.lane)
            if one.future.done():
                result.exception()  # nobody waits for it any more
            elif (error := result.exception()) is not None:
                one.future.set_exception(error)
            else:
                one.future.set_result(result.result())
        self._begin_next()

    def _expire(self, one: _Write) -> None:
        if not one.future.done():
            one.future.set_exception(Unavailable("the store took no write in time", code="store-stuck"))


def open_failing(faults: Faults) -> Callable[[Path, Any], FailingDatabase]:
    """Return what opens a database that fails as planned."""
    return lambda path, clock: FailingDatabase(path, clock, faults)
