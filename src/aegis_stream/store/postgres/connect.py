"""Opens connections to PostgreSQL, and sets what every session needs."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from psycopg.types.string import StrDumperUnknown

from aegis_stream.errors import Unavailable
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.database import Row

from .statement import StatementRunner, check_result

SESSION = {
    "synchronous_commit": "on",  # an acknowledgement means durable, whatever the server's or the role's default
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",  # a stopped process gives its locks back
    # A client that is gone without a word is noticed within 10 s, not after the two hours that are the default.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "5",
    "statement_timeout": "0",  # a commit that waits for its standby must not be cancelled: it would count as done
    "jit": "off",
    "client_min_messages": "warning",
}
"""Settings of every session."""

SHARDED = {"citus.multi_shard_modify_mode": "sequential"}
"""Settings of a session where tables are sharded: a unit of work may read all shards and then write a table that all servers have."""

UNPREPARED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)
"""Driver and server disagree about what is prepared. When a statement of a pipeline fails, the server skips the ones behind it, also
the preparation of one, and the driver takes that for done: every later use of it would fail. Nothing was executed."""


class _Boolean(Int8BinaryDumper):
    """True and False as numbers, as the shared statements have them."""

    def dump(self, obj: int) -> Buffer | None:
        return super().dump(int(obj))


class _Text(StrDumperUnknown):
    """Text without NUL, which PostgreSQL cannot hold: nothing that is stored has one, so a look-up with one finds nothing."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


class _Integer(NumericBinaryLoader):
    """Sums are numeric in PostgreSQL; all of ours are of integers."""

    def load(self, data: Buffer) -> Any:
        return int(super().load(data))


class Session:
    """One connection, and what is known about it.

    Args:
        url: where to connect to.
    Raises: psycopg.OperationalError.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self.warnings: list[str] = []
        self.busy_since_s: float | None = None  # set while a unit of work runs; read by the watchdog's thread
        self.raw = _connected(url)
        self.pooled = False
        try:
            self._prepare()
        except BaseException:
            self.raw.close()
            raise

    def _prepare(self) -> None:
        raw = self.raw
        raw.adapters.register_dumper(int, Int8BinaryDumper)
        raw.adapters.register_dumper(bool, _Boolean)
        raw.adapters.register_dumper(str, _Text)
        raw.adapters.register_loader("numeric", _Integer)
        raw.add_notice_handler(self._note)
        self.cursor = raw.cursor(binary=True)
        self.exec(_set("SET", SESSION))
        self.pid = raw.info.backend_pid
        self.server = (raw.info.hostaddr, raw.info.port)
        row = raw.execute("SELECT pg_backend_pid(), to_regclass('pg_dist_partition') IS NOT NULL").fetchone()
        # A pooler gives its clients process numbers of its own.
        self.pooled = row is None or row[0] != self.pid
        self.sharded = row is not None and row[1]
        if self.sharded:
            self.exec(_set("SET", SHARDED))
        self._local = ""
        if self.pooled:
            raw.prepare_threshold = None  # the next transaction may run on another server connection
            self._local = "; " + _set("SET LOCAL", SESSION | (SHARDED if self.sharded else {}))
        self.run = StatementRunner(raw, prepares=not self.pooled).run
        self._poll = select.poll()
        self._poll.register(raw.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        """Remember a warning: one of class 01 at a commit says that it is not what it seems."""
        if (notice.sqlstate or "").startswith("01"):
            self.warnings.append(notice.message_primary or "")

    def exec(self, script: str) -> bytes:
        """Run statements without values in one round trip. Returns: the tag of the last one. Raises: psycopg.Error."""
        try:
            result = self.raw.pgconn.exec_(script.encode())
        except psycopg.Error:
            self.raw.pgconn.finish()
            raise
        check_result(self.raw.pgconn, result)
        return result.command_status or b""

    def begin(self, mode: str, then: str = "") -> None:
        """Begin a transaction, and run statements in it, in one round trip. Raises: psycopg.Error."""
        self.warnings.clear()
        self.exec(f"BEGIN {mode}{self._local}{then}")

    def commit(self) -> None:
        """Commit. Raises: psycopg.Error; CommitUnknown where the server cannot vouch for it."""
        if self.exec("COMMIT") != b"COMMIT":
            raise psycopg.InternalError("the transaction had failed, so its commit undid it")
        self.check_warnings()

    def check_warnings(self) -> None:
        """Refuse a commit that came with a warning: a cancelled wait for a standby is one that succeeded, for the server.

        Raises: CommitUnknown.
        """
        if self.warnings:
            raise CommitUnknown(f"the server committed with a warning: {self.warnings[0]}")

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self.raw.pgconn.transaction_status != pq.TransactionStatus.IDLE

    def is_stale(self) -> bool:
        """Tell whether an idle connection was closed, or the server has said that it will be: costs one system call."""
        return self.raw.closed or bool(self._poll.poll(0))

    def rollback(self) -> None:
        """Undo the open transaction, if any. Raises: psycopg.Error."""
        if self.in_transaction:
            self.exec("ROLLBACK")

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Let the watchdog know that an answer is waited for."""
        self.busy_since_s = time.monotonic()
        try:
            yield
        finally:
            self.busy_since_s = None

    def cut(self) -> None:
        """Cut the connection from another thread: whoever waits for an answer gets an error at once."""
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.raw.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection: what was not committed is undone."""
        self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set(verb: str, settings: dict[str, str]) -> str:
    return "; ".join(f"{verb} {name} = '{value}'" for name, value in settings.items())


def _connected(url: DatabaseUrl) -> psycopg.Connection[Row]:
    """Return a new connection. Raises: psycopg.OperationalError, whose text and traceback are without the password."""
    try:
        return psycopg.connect(url.conninfo(), autocommit=True, cursor_factory=psycopg.RawCursor)
    except psycopg.Error as error:
        reason = url.scrub(str(error))
    raise psycopg.OperationalError(reason)


class CommitUnknown(psycopg.OperationalError):
    """A commit whose durability is not known."""


def unavailable(error: Exception, doing: str) -> Unavailable:
    """Return what a caller is told about an error of the driver's; its own words, which name hosts and users, are the reason.

    Args:
        doing: "read" or "written to".
    """
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Unavailable(
            f"the store took no write for {SESSION['lock_timeout']}: is one of its processes stopped?",
            code="store-stuck",
            retry_after_s=5,
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return Unavailable(
            "the disk of the database is full: nothing was stored; free some space",
            code="store-full",
            retry_after_s=5,
        )
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    code = "store-unreadable" if doing == "read" else "store-unwritable"
    return Unavailable(f"the database cannot be {doing} at the moment", code=code, reason=reason)
