"""A PostgreSQL database as a place for a store."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg

from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.ports import AppendEnded
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.database import Database
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.opening import Location
from aegis_stream.store.postgres.connect import SESSION
from aegis_stream.store.postgres.database import PostgresDatabase
from aegis_stream.store.retention import Retention
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.backends import Stall
from support.clock import T0, SteadyClock
from support.directory import Directory
from support.postgres import PostgresServer, shared_server
from support.simulation import SeededRandom
from support.stores import Store

COMMIT_LOCK = 74501
"""Taken by a transaction that is to be held at its commit."""
_AT_COMMIT = f"""
CREATE TABLE IF NOT EXISTS test_fate (store TEXT, nth BIGINT, stalls BOOLEAN, fails BOOLEAN);
CREATE SEQUENCE IF NOT EXISTS test_commits;
CREATE OR REPLACE FUNCTION test_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine test_fate%ROWTYPE;
BEGIN
    SELECT * INTO mine FROM test_fate WHERE store = current_setting('application_name');
    IF NOT FOUND OR current_setting('test.seen', true) = txid_current()::text THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('test.seen', txid_current()::text, true);
    IF nextval('test_commits') = mine.nth THEN
        IF mine.stalls THEN PERFORM pg_advisory_xact_lock_shared({COMMIT_LOCK}); END IF;
        IF mine.fails THEN RAISE EXCEPTION 'the disk is full, says a test' USING ERRCODE = '53100'; END IF;
    END IF;
    RETURN NULL;
END $$;
"""
_EVERY_TABLE = """
DO $$
DECLARE one text;
BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'test%' LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER test_at_commit AFTER INSERT OR UPDATE OR DELETE ON %I '
            'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test_at_commit()', one);
    END LOOP;
END $$;
"""
_CLOCK = """
CREATE TABLE test_clock (at BIGINT NOT NULL);
INSERT INTO test_clock VALUES ({at});
CREATE OR REPLACE FUNCTION aegis_now() RETURNS BIGINT LANGUAGE sql VOLATILE AS 'SELECT at FROM test_clock';
"""


class DatabaseClock(SteadyClock):
    """The clock of a database, which a test sets."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        super().__init__()

    @property
    def at(self) -> int:  # type: ignore[override]
        return self._at

    @at.setter
    def at(self, at: int) -> None:
        self._at = at
        if not self._connection.closed:
            self._connection.execute("UPDATE test_clock SET at = %s", (at,))


@dataclass
class TimedLog:
    """A log whose database has the time that a caller gives: on PostgreSQL the time of receipt is the database's own."""

    log: StoredLog
    clock: SteadyClock

    def append(self, organization_no: OrganizationNo, events: Any, now: Micros, ended: AppendEnded) -> None:
        before = self.clock.at
        if now == before:
            self.log.append(organization_no, events, now, ended)
            return

        def after(result: Any) -> None:
            self.clock.at = before
            ended(result)

        self.clock.at = now
        self.log.append(organization_no, events, now, after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


@dataclass
class PostgresBackend:
    """A database of its own on the server of the test process."""

    folder: Path
    name: str = "postgres"
    opened: list[Store] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server: PostgresServer = shared_server()
        self._undo = ExitStack()
        template = self.server.make_template("conformance", _prepare)
        self.url = self._undo.enter_context(self.server.database(template))
        self.admin = self._undo.enter_context(psycopg.connect(self.url, autocommit=True))
        self.clock = DatabaseClock(self.admin)

    def open(self, around: Callable[[Database], Any] = lambda db: db) -> Store:
        """Open the store once more, as another process would."""
        db = around(
            PostgresDatabase(DatabaseUrl.parse(f"{self.url}?application_name=store{len(self.opened)}"))
        )
        directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(len(self.opened))))
        log = TimedLog(StoredLog(db), self.clock)
        store = Store(db, log, StoredLedger(db), directory, Retention(db), self.clock)
        self.opened.append(store)
        return store

    @property
    def location(self) -> Location:
        """Where another process opens the same store."""
        return Location(DatabaseUrl.parse(self.url), self.folder)

    def fail_next_commit(self, store: Store, after: int = 0) -> None:
        """Let a transaction of a store fail at the moment of its commit, and no other."""
        self._set_fate(store, after + 1, stalls=False, fails=True)

    @contextmanager
    def stall_before_commit(self, store: Store, *, fail: bool = False) -> Iterator[Stall]:
        """Hold the next transaction of a store at the moment of its commit until the block ends."""
        self._set_fate(store, 1, stalls=True, fails=fail)
        stall = Stall()
        watching = threading.Thread(target=self._wait_for_stall, args=(stall,))
        with psycopg.connect(self.url, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (COMMIT_LOCK,))
            watching.start()
            try:
                yield stall
            finally:
                stall.go_on.set()
                watching.join()

    @contextmanager
    def stop_a_writer(self, patience_s: float) -> Iterator[None]:
        """Let another process hold the rows that writers need until the block ends."""
        with (
            mock.patch.dict(SESSION, lock_timeout=f"{int(patience_s * 1000)}ms"),
            psycopg.connect(self.url) as holder,
        ):
            holder.execute("LOCK TABLE organizations, cursors IN EXCLUSIVE MODE")
            yield

    def raw(self) -> bytes:
        """Return every byte that the store has written into its tables, and the newest of the write-ahead log."""
        self.server.sql("CHECKPOINT")
        [(oid,)] = self.admin.execute(
            "SELECT oid FROM pg_database WHERE datname = current_database()"
        ).fetchall()
        files = [*(self.server.data / "base" / str(oid)).iterdir(), *(self.server.data / "pg_wal").glob("0*")]
        return b"".join(file.read_bytes() for file in files)

    def close(self) -> None:
        """Close every store that was opened, and drop the database."""
        for store in self.opened:
            store.db.close()
        self._undo.close()

    def _set_fate(self, store: Store, nth: int, *, stalls: bool, fails: bool) -> None:
        self.admin.execute("DELETE FROM test_fate")
        self.admin.execute("SELECT setval('test_commits', 1, false)")
        self.admin.execute(
            "INSERT INTO test_fate VALUES (%s, %s, %s, %s)",
            (f"store{self.opened.index(store)}", nth, stalls, fails),
        )

    def _wait_for_stall(self, stall: Stall) -> None:
        """Tell when a transaction waits at its commit."""
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        while not stall.go_on.is_set():
            if self.server.sql(waiting.replace("%s", str(COMMIT_LOCK))):
                stall.reached.set()
                return
            time.sleep(0.01)


def _prepare(url: str) -> None:
    db = PostgresDatabase(DatabaseUrl.parse(url))
    db.migrate()
    db.close()
    with psycopg.connect(url, autocommit=True) as connection:
        for script in (_CLOCK.format(at=T0), _AT_COMMIT, _EVERY_TABLE):
            connection.execute(script)
