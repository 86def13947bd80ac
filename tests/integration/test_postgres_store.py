"""What PostgreSQL alone can do wrong: standbys, poolers, lost connections, several versions at one schema."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw
import psycopg
import pytest

from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Appended
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store import organizations
from aegis_stream.store.database import Lane
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.postgres import dialect, schema, silent, statement, watchdog
from aegis_stream.store.postgres.connect import SESSION, Session
from aegis_stream.store.postgres.database import PostgresDatabase
from aegis_stream.store.postgres.lanes import CONTROL_LOCK
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.store.statements import parse
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.clock import T0
from support.directory import Directory
from support.pgbouncer import running_pgbouncer
from support.postgres import PostgresServer, shared_server
from support.simulation import SeededRandom
from support.standbys import Cluster, running_cluster
from support.stores import ALICE, BOB, LEASE_US, add_destination, append_to, event, events, settlement

WAITS_S = 1.0
"""How long something must not happen."""


@contextmanager
def opened(url: str) -> Iterator[PostgresDatabase]:
    """Open a database, with the newest schema."""
    db = PostgresDatabase(DatabaseUrl.parse(url))
    try:
        db.migrate()
        yield db
    finally:
        db.close()


@pytest.fixture
def db(postgres_url) -> Iterator[PostgresDatabase]:
    """Open an empty database."""
    with opened(postgres_url) as made:
        yield made


def make_organization(db: PostgresDatabase) -> OrganizationNo:
    """Make an organization; return its number."""
    return db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "Test", T0))


def ids_of(db: PostgresDatabase, org: OrganizationNo) -> list[str]:
    """Return the ids of the whole log, in order."""
    return [row[1] for row in db.read_now(lambda unit: unit.rows("event_ids", (org, 0, 2**39)))]


def waiting_for_standby(server: PostgresServer) -> list[int]:
    """Return the processes of the server whose commit waits for a standby."""
    found = server.sql("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [int(row[0]) for row in found]


async def until_one_waits(server: PostgresServer) -> int:
    """Return the process whose commit waits for a standby, as soon as there is one."""
    for _ in range(200):
        if found := await asyncio.to_thread(waiting_for_standby, server):
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError("no commit waits for the standby")


def test_the_server_takes_every_statement(db, postgres_url):
    """Each statement of the store is one that this version of PostgreSQL can prepare on our schema."""
    refused = {}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name, text in dialect.statements().items():
            try:
                connection.execute(f"PREPARE {name} AS {text}".encode())
            except psycopg.Error as error:
                refused[name] = str(error)

    assert refused == {}


def test_a_statement_is_prepared_when_it_runs_again(postgres_url, monkeypatch):
    """A statement is prepared at its second use, once for each combination of types, and no more of them than the limit."""
    monkeypatch.setattr(statement, "PREPARED_MAX", 3)
    with Session(DatabaseUrl.parse(postgres_url)) as session:
        prepared = "SELECT statement FROM pg_prepared_statements ORDER BY name"

        once = [session.run("SELECT $1::bigint + 0", (number,)).first for number in range(1)]
        none_yet = session.raw.execute(prepared).fetchall()
        again = [session.run("SELECT $1::bigint + 0", (number,)).first for number in (1, 2, None, None)]
        others = [
            session.run(f"SELECT {number}, $1::bigint", (5,)).first for number in range(3) for _ in range(3)
        ]
        texts = [text for (text,) in session.raw.execute(prepared).fetchall()]

    assert (once, none_yet, again) == ([(0,)], [], [(1,), (2,), (None,), (None,)])
    assert others == [(number, 5) for number in range(3) for _ in range(3)]
    assert texts == ["SELECT $1::bigint + 0", "SELECT $1::bigint + 0", "SELECT 0, $1::bigint"]


def test_a_failed_statement_leaves_the_connection_usable(postgres_url):
    """An error of a statement has the driver's own type, prepared or not, and the next statement runs."""
    with Session(DatabaseUrl.parse(postgres_url)) as session:
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                session.run("SELECT 1 / $1::bigint", (0,))

        assert session.run("SELECT 1 / $1::bigint", (1,)).first == (1,)


def test_few_statements_are_worded_differently():
    """What the two databases share cannot drift apart: the overlay has these statements and no others."""
    overlay = Path(dialect.__file__).with_name("overlay.sql").read_text()

    assert [name for name, _, _ in parse(overlay)] == [
        "lock_log",
        "insert_event",
        "page_bodies",
        "lock_cursor",
        "renew_worker",
        "worker_term",
        "delete_impossible_workers",
    ]


def test_both_databases_have_the_same_tables(db, postgres_url):
    """Every column of one schema is in the other, but SQLite's packed position, and the timeline that only PostgreSQL has."""
    lite = apsw.Connection(":memory:")
    for _, text in migrations():
        lite.execute(text)
    names = [row[0] for row in lite.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    theirs = {
        (table, row[1]) for table in names for row in lite.execute(f"PRAGMA table_xinfo({table})").fetchall()
    }
    with psycopg.connect(postgres_url) as connection:
        ours = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
        found = set(ours.fetchall())

    assert theirs - found == {("events", "position")}
    assert found - theirs == {("workers", "timeline")}


def test_a_session_is_as_durable_as_it_must_be_whatever_the_role_says(postgres_url):
    """Settings of the role do not weaken a session: a commit waits, and is never cut short by a time-out."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE aegis SET synchronous_commit = off")
        connection.execute("ALTER ROLE aegis SET statement_timeout = '1s'")
    try:
        with Session(DatabaseUrl.parse(postgres_url)) as session:
            found = {name: session.cursor.execute(f"SHOW {name}").fetchone()[0] for name in SESSION}
            pooled = session.pooled
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("ALTER ROLE aegis RESET ALL")

    assert found == SESSION
    assert not pooled


async def test_a_client_that_stops_in_the_middle_of_a_request_stops_nobody_for_good(
    db, postgres_url, monkeypatch
):
    """A session that has half of a request, and locks, is ended by whoever has waited for these: the next write succeeds."""
    monkeypatch.setitem(SESSION, "lock_timeout", "500ms")
    monkeypatch.setattr(silent, "SILENT_S", 0)
    client = psycopg.connect(postgres_url, autocommit=True)
    client.execute(f"BEGIN; {CONTROL_LOCK}")
    client.pgconn.enter_pipeline_mode()
    client.pgconn.send_query_params(b"SELECT 1", [])
    client.pgconn.flush()  # the end of the request is never sent
    with ExitStack() as ending:
        ending.callback(client.pgconn.finish)
        with pytest.raises(Unavailable) as refused:
            await db.write(lambda unit: unit.run("count_damaged"))
        await db.write(lambda unit: unit.run("count_damaged"))

    assert refused.value.code == "store-stuck"


async def test_cut_connections_are_made_again_before_anybody_notices(db, postgres_url):
    """After all connections were cut while nothing was under way, the next read, append and write succeed at once."""
    org = make_organization(db)
    log = StoredLog(db)
    await append_to(log, org, events(1, 1), T0)
    await log.heads()

    shared_server().terminate_backends(DatabaseUrl.parse(postgres_url).name)
    heads = await log.heads()
    appended = await append_to(log, org, events(2, 1), T0)
    await db.write(lambda unit: unit.run("try_write"))

    assert heads == {org: 1}
    assert appended == Appended(2, 1, 2)


async def test_what_holds_nul_is_found_nowhere(db):
    """A look-up of a text that PostgreSQL cannot hold finds nothing, and is no error."""
    org = make_organization(db)

    assert await StoredLog(db).entry(org, "a\0b") is None


async def test_a_server_that_is_gone_is_an_error_that_names_no_password(db, postgres_url):
    """While nothing answers, appends, writes and reads say so, with a time to come back."""
    url = DatabaseUrl.parse(postgres_url)
    dead = PostgresDatabase(DatabaseUrl.parse(postgres_url.replace(f":{url.hosts[0].port}/", ":1/")))
    failures = []
    for work in (
        append_to(StoredLog(dead), OrganizationNo(1), events(1, 1), T0),
        StoredLog(dead).heads(),
        dead.write(lambda unit: unit.run("try_write")),
    ):
        with pytest.raises(Unavailable) as failed:
            await work
        failures.append(failed.value)
    fault = dead.write_fault()
    dead.close()

    assert [one.code for one in failures] == ["store-unwritable", "store-unreadable", "store-unwritable"]
    assert all(url.password not in str(one) and one.retry_after_s >= 1 for one in failures)
    assert fault is not None


@pytest.mark.slow
async def test_a_known_event_is_acknowledged_no_earlier_than_a_new_one():
    """While the standby is stopped, an event that the primary alone has is not acknowledged as a duplicate either."""
    with running_cluster(standbys=1) as cluster, cluster.primary.database() as url, opened(url) as db:
        org = make_organization(db)
        log, again = StoredLog(db), StoredLog(db)
        await append_to(log, org, [event("e1")], T0)
        cluster.servers[1].pause()
        first = asyncio.ensure_future(append_to(log, org, [event("e2")], T0))
        pid = await until_one_waits(cluster.primary)
        # The process that waits is ended: its client is cut off, and the event is visible on the primary alone.
        cluster.primary.sql(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(Unavailable):
            await first
        visible = ids_of(db, org)

        second = asyncio.ensure_future(append_to(again, org, [event("e2")], T0))
        await asyncio.wait([second], timeout=WAITS_S)
        early = second.done()
        cluster.servers[1].resume()
        appended = await second

    assert visible == ["e1", "e2"]
    assert not early
    assert appended.duplicates == {0: 2}


@pytest.mark.slow
async def test_a_cancelled_wait_for_the_standby_is_no_acknowledgement():
    """The server calls a commit whose wait was cancelled a success, with a warning; the caller is told that it failed."""
    with running_cluster(standbys=1) as cluster, cluster.primary.database() as url, opened(url) as db:
        org = make_organization(db)
        log = StoredLog(db)
        cluster.servers[1].pause()
        waiting = asyncio.ensure_future(append_to(log, org, [event("e1")], T0))
        cluster.primary.sql(f"SELECT pg_cancel_backend({await until_one_waits(cluster.primary)})")
        with pytest.raises(Unavailable) as caught:
            await waiting
        assert "warning" in caught.value.reason
        cluster.servers[1].resume()
        appended = await append_to(log, org, [event("e1")], T0)

    assert appended.duplicates == {0: 1}


@pytest.mark.slow
async def test_a_settlement_whose_commit_was_cut_off_counts_once():
    """A settlement that was stored although its worker saw the connection break is repeated by it, and counts once."""
    with running_cluster(standbys=1) as cluster, cluster.primary.database() as url, opened(url) as db:
        org = make_organization(db)
        directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(1)))
        ledger = StoredLedger(db)
        destination = await add_destination_on(db, directory, org)
        await append_to(StoredLog(db), org, events(1, 3), T0)
        await ledger.enlist(ALICE, LEASE_US)
        [claimed], _ = await ledger.claim(ALICE)
        found = settlement(claimed.lease, org, 3, delivered=3)
        cluster.servers[1].pause()
        settling = asyncio.ensure_future(ledger.settle(ALICE, [found]))
        cluster.primary.sql(f"SELECT pg_terminate_backend({await until_one_waits(cluster.primary)})")
        with pytest.raises(Unavailable):
            await settling
        cluster.servers[1].resume()

        [counts] = await ledger.settle(ALICE, [found])
        progress = await directory.progress(destination)

    assert counts is not None
    assert (progress.cursor, progress.delivered) == (3, 3)


async def test_no_lease_outlasts_a_failover():
    """When a standby has taken over, a settlement of before is refused, and destinations are free for who registers anew."""
    with running_cluster(standbys=1, quorum=False) as cluster, cluster.primary.database() as url:
        name = url.rpartition("/")[2]
        with opened(cluster.url(name)) as db:
            org = make_organization(db)
            directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(1)))
            ledger = StoredLedger(db)
            destination = await add_destination_on(db, directory, org)
            await append_to(StoredLog(db), org, events(1, 3), T0)
            await ledger.enlist(ALICE, LEASE_US)
            [claimed], _ = await ledger.claim(ALICE)
            cluster.wait_for_standbys()
            cluster.primary.stop()
            cluster.fail_over()

            settled = await ledger.settle(ALICE, [settlement(claimed.lease, org, 3, delivered=3)])
            renewed = await ledger.renew(ALICE, LEASE_US)
            kept, _ = await ledger.claim(ALICE)
            await ledger.enlist(BOB, LEASE_US)
            [taken], _ = await ledger.claim(BOB)
            progress = await directory.progress(destination)

    assert (settled, renewed, kept) == ([None], False, [])
    assert taken.lease.epoch == claimed.lease.epoch + 1
    assert (progress.cursor, progress.delivered) == (0, 0)


async def add_destination_on(db: PostgresDatabase, directory: Directory, org: OrganizationNo):
    """Make a destination."""

    class _Store:
        pass

    store = _Store()
    store.db, store.directory = db, directory
    return await add_destination(store, org)


async def test_everything_works_behind_a_pooler_without_prepared_statements(postgres_url):
    """Behind PgBouncer in transaction mode appends, duplicates, settlements and reads do what they do without it."""
    server = shared_server()
    name = DatabaseUrl.parse(postgres_url).name
    with running_pgbouncer(server, pool_size=3) as pooler, opened(pooler.url(name)) as db:
        with Session(DatabaseUrl.parse(pooler.url(name))) as session:
            pooled = session.pooled
        org = make_organization(db)
        logs = [StoredLog(db) for _ in range(4)]
        for turn in range(20):
            await asyncio.gather(
                *[append_to(log, org, [event(f"{turn}-{at}")], T0) for at, log in enumerate(logs)]
            )
        again = await append_to(logs[0], org, [event("3-1"), event("new")], T0)
        directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(1)))
        destination = await add_destination_on(db, directory, org)
        ledger = StoredLedger(db)
        await ledger.enlist(ALICE, LEASE_US)
        [claimed], _ = await ledger.claim(ALICE)
        [counts] = await ledger.settle(ALICE, [settlement(claimed.lease, org, 81, delivered=81)])
        progress = await directory.progress(destination)
        page = await logs[0].page(org, 1, 81, bytes_max=1 << 20, labels=True)

    assert pooled
    assert (len(again.duplicates), again.added) == (1, 1)
    assert counts is not None
    assert progress.delivered == 81
    assert len(page.bodies) == 81


async def test_a_page_is_one_round_trip(db, monkeypatch):
    """A page of bodies is one statement without a transaction around it; labels, which are read beside it, have one."""
    org = make_organization(db)
    log = StoredLog(db)
    await append_to(log, org, [event(f"e{number}") for number in range(1, 6)], T0)
    began: list[str] = []
    begin = Session.begin
    monkeypatch.setattr(
        Session, "begin", lambda self, *given: (began.append(given[0]), begin(self, *given))[1]
    )

    alone = await log.page(org, 1, 5, bytes_max=1 << 20, labels=False)
    before = list(began)
    labelled = await log.page(org, 1, 5, bytes_max=1 << 20, labels=True)

    assert alone.bodies == labelled.bodies
    assert len(alone.bodies) == 5
    assert (before, len(began)) == ([], 1)


def test_two_processes_that_start_at_once_make_the_schema_once(postgres_url):
    """However many processes find an empty database, one makes its tables, and the others wait for it."""
    databases = [PostgresDatabase(DatabaseUrl.parse(postgres_url)) for _ in range(4)]

    async def migrate_all():
        return await asyncio.gather(*[asyncio.to_thread(one.migrate) for one in databases])

    found = asyncio.run(migrate_all())
    for one in databases:
        one.close()

    newest = schema.steps()[-1].version
    assert sorted(found) == [(0, newest)] + [(newest, newest)] * 3


@pytest.mark.parametrize(("oldest_reader", "starts"), [(1, True), (9999, False)])
def test_a_node_starts_on_a_newer_schema_that_it_can_read(db, postgres_url, oldest_reader, starts):
    """During an upgrade the older version goes on while the schema was only extended, and refuses what it cannot read."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE meta SET value = 9999 WHERE name = 'schema_version'")
        connection.execute("UPDATE meta SET value = %s WHERE name = 'schema_oldest_reader'", (oldest_reader,))

    if starts:
        assert db.migrate() == (9999, 9999)
    else:
        with pytest.raises(Misconfigured, match="9999 is needed"):
            db.migrate()


@pytest.mark.slow
async def test_a_frozen_primary_is_left_for_its_successor(monkeypatch):
    """A primary that no longer answers, and keeps its connections, is given up: appends, reads and writes go to its successor."""
    monkeypatch.setattr(watchdog, "SILENT_MAX_S", 1.0)
    with running_cluster(standbys=1, quorum=False) as cluster, cluster.primary.database() as only:
        name = DatabaseUrl.parse(only).name
        with opened(cluster.url(name, target_session_attrs="read-write", connect_timeout="2")) as db:
            org = make_organization(db)
            log = StoredLog(db)
            await append_to(log, org, events(1, 1), T0)
            await log.heads()
            old = cluster.primary
            await asyncio.to_thread(wait_until_replayed, cluster)
            old.pause()
            cluster.fail_over()

            waiting = [append_to(log, org, events(2, 1), T0), log.heads()]
            await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
            appended = await asyncio.wait_for(append_to(log, org, events(3, 1), T0), 30)
            heads = await asyncio.wait_for(log.heads(), 30)
            old.resume()

    assert appended.head in (2, 3)
    assert heads == {org: appended.head}


def wait_until_replayed(cluster: Cluster) -> None:
    """Return when the standby has everything that the primary has."""
    asking = "SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn) = 0 FROM pg_stat_replication"
    for _ in range(100):
        if cluster.primary.sql(asking) == [("t",)]:
            return
        time.sleep(0.1)


@pytest.mark.slow
async def test_a_commit_that_waits_for_its_standby_is_not_cut(monkeypatch):
    """A connection whose commit waits for the standby is left alone, however long that takes; then it is acknowledged."""
    monkeypatch.setattr(watchdog, "SILENT_MAX_S", 1.0)
    with running_cluster(standbys=1) as cluster, cluster.primary.database() as url, opened(url) as db:
        org = make_organization(db)
        log = StoredLog(db)
        await append_to(log, org, events(1, 1), T0)
        cluster.servers[1].pause()
        waiting = asyncio.ensure_future(append_to(log, org, events(2, 1), T0))
        await asyncio.wait([waiting], timeout=4)
        early = waiting.done()
        cluster.servers[1].resume()
        appended = await waiting

    assert not early
    assert appended == Appended(2, 1, 2)


@pytest.mark.parametrize(
    "error",
    [psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.FeatureNotSupported],
    ids=["standby", "plans"],
)
def test_a_connection_that_cannot_serve_any_more_is_replaced(db, error):
    """After a server has become a standby, or the schema has changed under prepared plans, the next write connects anew."""
    processes = []

    def note(unit):
        unit.run("try_write")
        processes.append(unit._raw.info.backend_pid)

    def fail(unit):
        note(unit)
        raise error("says a test")

    db.write_now(note)
    with pytest.raises(Unavailable):
        db.write_now(fail)
    db.write_now(note)

    assert processes[0] == processes[1] != processes[2]


async def test_statements_that_the_server_does_not_know_are_prepared_anew(db):
    """When the server lacks a statement that the driver believes to be prepared, nobody notices: writes, reads and appends succeed."""
    org = make_organization(db)
    log = StoredLog(db)

    def forget(unit):
        unit.run("try_write")
        unit._session.exec("DEALLOCATE ALL")

    for number in range(1, 9):  # the driver prepares what it has used five times
        db.write_now(lambda unit: unit.run("try_write"))
        assert await append_to(log, org, events(number, 1), T0) == Appended(number, 1, number)
    for lane in (Lane.CONTROL, Lane.APPEND):
        await db.submit(forget, lane)
    db.write_now(lambda unit: unit.run("try_write"))

    assert await append_to(log, org, events(9, 1), T0) == Appended(9, 1, 9)


async def test_a_group_that_fails_where_a_statement_is_prepared_harms_no_later_one(db):
    """While a known id fails the groups of appends of which each would prepare the statement, every event is stored, then and later."""
    first, *others = [
        db.write_now(lambda unit, n=n: organizations.add(unit, OrganizationId(f"org_{n}"), "Test", T0))
        for n in range(8)
    ]
    log = StoredLog(db)
    await append_to(log, first, events(1, 1), T0)

    for number in range(1, 6):
        known = append_to(log, first, events(1, 1), T0)
        _, *appended = await asyncio.gather(
            known, *(append_to(log, org, events(number, 1), T0) for org in others)
        )
        assert appended == [Appended(number, 1, number)] * len(others)
