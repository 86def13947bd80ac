"""The seam to SQLite, through APSW, which brings a current SQLite along.

One writer thread a process takes all writes that are waiting, runs each in a savepoint, and commits them together: the
group commit. Reads run on threads of their own, on snapshots that never wait for the writer. What a caller passes in is
a plain function of a Connection, so the code above knows no threads, no APSW and no SQLite.
"""

import asyncio
import contextlib
import fcntl
import functools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import apsw

from aegis_stream.errors import Misconfigured, Unavailable

from .checkpoint import Checkpointer, copy
from .database import Duplicate, Row, Unit, Value
from .statements import load

T = TypeVar("T")

SQLITE_VERSION_MIN = (3, 51, 3)
"""Older versions can corrupt a WAL database when one connection writes while another checkpoints."""
BUSY_TIMEOUT_MS = 10_000
"""Longest wait for a lock that the write gate did not already order."""
WRITE_TIMEOUT_S = 15.0
"""Longest wait for a write, seconds: a process stopped in the middle of its commit stops every writer of the file."""
EXPIRY_MARGIN_S = 0.1
"""How much longer a write is waited for that has begun, seconds."""
JOBS_PER_COMMIT_MAX = 512
"""Most writes in one transaction: bounds how long the first of them waits for its ack."""
ROWS_PER_INSERT = 256
"""Most rows in one INSERT: one step of SQLite, so the interpreter lock is released once for all of them."""
CACHE_KIB = 65_536
"""Page cache of the writer's connection; readers take a quarter."""
CHECKPOINT_CACHE_KIB = 256
"""Page cache of the connection that copies the write-ahead log, which reads no page twice."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "9p", "lustre"}
)
"""Where locks and shared memory are not to be trusted (sqlite.org/wal.html: all processes must be on one machine)."""


class SqliteUnit:
    """A Unit on one SQLite connection."""

    def __init__(self, raw: apsw.Connection) -> None:
        self._raw = raw
        self._texts = load()

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        return self._raw.execute(self._texts[name], values).fetchall()

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row."""
        return self._raw.execute(self._texts[name], values).fetchone()

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        self._raw.execute(self._texts[name], values)
        return self._raw.changes()

    def insert(
        self, name: str, shared: tuple[int, *tuple[Value, ...]], values: Sequence[Value], width: int
    ) -> None:
        """Insert many rows by few statements.

        Args:
            name: of a statement that ends with one group of values, which is repeated for each row. ?1, ?2 … in it are
                `shared`; a `+ 1` in it becomes + 2, + 3 … from row to row.
            shared: values given once for all rows; the first is a number, and counts up with the rows.
            values: those of each row, row after row.
            width: number of values of one row.
        Raises: Duplicate when a row exists already; the enclosing work must then roll back to a savepoint of its own.
        """
        statement = self._texts[name]
        at, left = 0, len(values) // width
        try:
            while left:
                rows = min(
                    ROWS_PER_INSERT, 1 << (left.bit_length() - 1)
                )  # few sizes, so that each is compiled once
                end = at + rows * width
                head = (shared[0] + at // width, *shared[1:])
                self._raw.execute(_repeated(statement, rows), (*head, *values[at:end]))
                at, left = end, left - rows
        except apsw.ConstraintError as error:
            raise Duplicate from error

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside if it raises."""
        with self._raw:
            yield


@functools.lru_cache(64)
def _repeated(statement: str, rows: int) -> str:
    """Return an INSERT for many rows, made from that for one."""
    head, _, group = statement.rpartition("VALUES ")
    group = group.rstrip("; \n")
    return head + "VALUES " + ", ".join(group.replace("+ 1", f"+ {number}") for number in range(1, rows + 1))


class _Job:
    """One waiting write."""

    __slots__ = ("_ticket", "error", "future", "result", "timer", "work")

    def __init__(self, work: Callable[[Unit], Any], future: "asyncio.Future[Any]") -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._ticket = [None]

    def begin(self) -> bool:
        """Tell whether it may begin: once, and not after it was given up. Taking the ticket is one step of the interpreter."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    def expire(self, *, begun: bool = False) -> None:
        """Stop waiting: a write that has not begun does not begin any more; of one that has, nothing is known."""
        if self.future.done():
            return
        if not begun and not self.begin():
            # It has begun just now, perhaps: what it works on must be known to whoever waits before that one is told.
            again = functools.partial(self.expire, begun=True)
            self.timer = self.future.get_loop().call_later(EXPIRY_MARGIN_S, again)
            return
        self.future.set_exception(
            Unavailable(
                f"the store took no write for {WRITE_TIMEOUT_S:g} s: is one of its processes stopped?",
                code="store-stuck",
                retry_after_s=5,
            )
        )


class Sqlite:
    """A SQLite database file: reads, and writes that are durable when they return.

    Args:
        path: the database file; its directory exists.
        threads: False runs everything at once in the caller's thread, so that a simulated event loop stays in step.
    """

    def __init__(self, path: Path, *, threads: bool = True) -> None:
        self.path = path
        self._threads = threads
        refuse_unsuitable(path)
        _create_private(path)
        self._gate = _WriteGate(path.with_name(path.name + ".lock"))
        self._writer = self._connect(CACHE_KIB)
        self._reader_local = threading.local()
        self._readers = ThreadPoolExecutor(2, "store-read") if threads else None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._all_readers: list[apsw.Connection] = []
        self._checkpointer: Checkpointer | None = None
        self._log_is_long = False
        if threads:
            self._checkpointer = Checkpointer(
                lambda: self._connect(CHECKPOINT_CACHE_KIB), self._want_log_copied
            )
            self._checkpointer.watch(self._writer)

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date; every step is one transaction, so a kill in the middle repeats only that step.

        Returns: schema version before and after.
        Raises: Misconfigured when the database is newer than this program.
        """
        steps = migrations()
        with self._gate:
            before = int(self._writer.pragma("user_version") or 0)
            newest = steps[-1][0]
            if before > newest:
                raise Misconfigured(
                    f"the database {self.path.name} has schema version {before}, this program knows {newest}: "
                    "it was written by a newer version; install that version, or restore the backup made before the upgrade",
                    code="schema-too-new",
                )
            for version, text in steps:
                if version > before:
                    with self._writer:
                        self._writer.execute(text)
                        self._writer.execute(f"PRAGMA user_version = {version:d}")
        return before, newest

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot of what is committed.

        Raises: Unavailable when the database cannot be read.
        """
        if self._readers is None:
            return self._read(work)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a transaction, together with whatever else waits to be written.

        Returns: what `work` returned, once it is committed and synced.
        Raises: what `work` raised (then nothing of it is stored), or Unavailable (likewise).
            After cancellation the write may or may not have happened.
        """
        return await self.submit(work)

    def submit(self, work: Callable[[Unit], T]) -> "asyncio.Future[T]":
        """Begin a write and return its future, so that several callers can wait for one write."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        if not self._threads:
            self._commit([job])
            self._resolve([job])
        else:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_loop, name="store-write", daemon=True)
                self._thread.start()
            job.timer = asyncio.get_running_loop().call_later(WRITE_TIMEOUT_S, job.expire)
            self._jobs.put(job)
        return job.future

    def write_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in a transaction from a program without an event loop (command line, start-up).

        Raises: what `work` raised, or Unavailable; then nothing of it is stored.
        """
        with self._gate:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                result = work(SqliteUnit(self._writer))
                self._writer.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(apsw.Error):
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                if isinstance(error, apsw.Error):
                    raise _unwritable(error) from error
                raise
        return result

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot from a program without an event loop."""
        return self._read(work)

    def changed(self) -> int:
        """Return a number that is another one after any other process has committed. Costs a few microseconds."""
        return int(self._reader().pragma("data_version") or 0)

    def close(self) -> None:
        """Finish what is waiting and close all connections."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        if self._checkpointer is not None:
            self._checkpointer.close()
        if self._readers is not None:
            self._readers.shutdown(wait=True)
        for connection in (*self._all_readers, self._writer):
            connection.close()
        self._gate.close()

    def _connect(self, cache_kib: int) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self.path), apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.execute(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {0 if self._threads else 4000:d};"
                f"PRAGMA cache_size = -{cache_kib:d}; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON"
            )
        except apsw.Error as error:
            raise _cannot_open(self.path, error) from error
        return connection

    def _reader(self) -> apsw.Connection:
        reader: apsw.Connection | None = getattr(self._reader_local, "connection", None)
        if reader is None:
            reader = self._connect(CACHE_KIB // 4)
            self._reader_local.connection = reader
            self._all_readers.append(reader)
        return reader

    def _read(self, work: Callable[[Unit], T]) -> T:
        try:
            return work(SqliteUnit(self._reader()))
        except apsw.Error as error:
            raise Unavailable(f"the store cannot be read: {error}", code="store-unreadable") from error

    def _write_loop(self) -> None:
        """Body of the writer thread: everything that waits, one commit, again. No delay is ever added."""
        while True:
            first = self._jobs.get()
            if first is None:
                return
            jobs, last = [first], False
            while len(jobs) < JOBS_PER_COMMIT_MAX:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                jobs.append(job)
            self._commit(jobs)
            by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
            for job in jobs:
                by_loop.setdefault(job.future.get_loop(), []).append(job)
            for loop, done in by_loop.items():
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
                    loop.call_soon_threadsafe(self._resolve, done)
            if self._log_is_long:
                self._copy_rest()
            if last:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            with self._gate:
                self._writer.execute("BEGIN IMMEDIATE")
                unit = SqliteUnit(self._writer)
                for job in jobs:
                    if not job.begin():
                        continue
                    try:
                        with self._writer:  # a savepoint: a job that raises takes only itself back
                            job.result = job.work(unit)
                    except apsw.ConstraintError as error:
                        job.error = error  # a bug of this job's statements: the others are not to blame
                    except apsw.Error:
                        raise
                    except Exception as error:  # noqa: BLE001 - carried to whoever waits for this job
                        job.error = error
                self._writer.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live on and the waiting must know
            self._abandon()
            failure = _unwritable(error)
            failure.__cause__ = error
            for job in jobs:
                job.error = job.error or failure

    def _want_log_copied(self) -> None:
        self._log_is_long = True

    def _copy_rest(self) -> None:
        """Copy what was committed while the bulk of the log was copied; behind the gate, so that nothing is added to it."""
        self._log_is_long = False
        with contextlib.suppress(apsw.Error), self._gate:
            copy(self._writer)

    def _abandon(self) -> None:
        """After a failed transaction: roll back, and open the connection anew so that no failed sync is trusted."""
        with contextlib.suppress(apsw.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        with contextlib.suppress(apsw.Error, Misconfigured):
            fresh = self._connect(CACHE_KIB)
            self._writer.close()
            self._writer = fresh
            if self._checkpointer is not None:
                self._checkpointer.watch(fresh)

    @staticmethod
    def _resolve(jobs: list[_Job]) -> None:
        for job in jobs:
            if job.timer is not None:
                job.timer.cancel()
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


class _WriteGate:
    """Lets one process at a time begin a write, in order of arrival.

    SQLite's own wait for the write lock polls with growing sleeps; a file lock wakes the next one at once. The kernel
    frees it when a process dies.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)


def _create_private(path: Path) -> None:
    """Create the database file, readable by its owner only, unless it exists; SQLite gives -wal and -shm the same mode.

    An existing file is never opened here: closing any descriptor of a file drops every POSIX lock that this process holds
    on it. Without its SHARED lock another SQLite takes the database for unused, and deletes the write-ahead log under the
    running service. Source: sqlite.org/howtocorrupt.html, section 2.2.
    Raises: Misconfigured when the file cannot be created.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: Path, error: Exception) -> Misconfigured:
    return Misconfigured(
        f"cannot open the database {path}: {error}; AEGIS_DATA_DIR must be a directory this user may write to",
        code="store-unreadable",
    )


def refuse_unsuitable(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Refuse an SQLite that corrupts, and a file system whose locks cannot be trusted.

    Raises: Misconfigured with what to do.
    """
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_VERSION_MIN:
        raise Misconfigured(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a database: upgrade the package apsw to 3.51.3 or newer"
        )
    kind = _file_system_of(path.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Misconfigured(
            f"AEGIS_DATA_DIR lies on a network file system ({kind}), where SQLite can lose data: "
            "use a directory on a local disk",
            code="network-file-system",
        )


def _file_system_of(path: Path, mounts: Path) -> str | None:
    """Return the type of the file system that holds `path`, or None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    best, kind = "", None
    for line in lines:  # proc(5): … mount point is field 5, the type follows the " - " separator
        left, _, right = line.partition(" - ")
        fields, place = right.split(), left.split()[4]
        if (place == "/" or path == Path(place) or path.is_relative_to(place)) and len(place) >= len(best):
            best, kind = place, fields[0]
    return kind


def _unwritable(error: Exception) -> Unavailable:
    full = isinstance(error, apsw.FullError)
    return Unavailable(
        "the disk is full: nothing was stored; free some space"
        if full
        else f"the store cannot be written: {error}",
        code="store-full" if full else "store-unwritable",
        retry_after_s=5,
    )


def migrations() -> list[tuple[int, str]]:
    """Return the steps of the schema, (version, SQL), in order."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name[:4]), folder.joinpath(name).read_text(encoding="utf-8")) for name in files]
