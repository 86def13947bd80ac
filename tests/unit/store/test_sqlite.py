"""The seam to SQLite: where it refuses to run, group commit, the gate between processes, migrations."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import apsw
import pytest

from aegis_stream.errors import Conflict, Misconfigured, Unavailable
from aegis_stream.store.database import Lane
from aegis_stream.store.sqlite import schema
from aegis_stream.store.sqlite.connect import refuse_unsuitable
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.store.sqlite.gate import WriteGate
from aegis_stream.store.sqlite.schema import migrations
from support.clock import SteadyClock
from support.sql import raw

MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
30 22 0:25 / /srv rw,relatime shared:2 - {srv} server:/export rw
31 30 0:26 / /srv/fast rw,relatime shared:3 - xfs /dev/sdb rw
32 22 0:27 / /srv2 rw,relatime - ext4 /dev/sdc rw
"""


@pytest.fixture
def db(tmp_path):
    """Make a database as it is at the start."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    yield db
    db.close()


def revision_of(db: SqliteDatabase) -> int:
    """Read the counter that `bump` counts up."""
    return db.read_now(lambda c: raw(c).row("SELECT value FROM meta WHERE name = 'revision'"))[0]


def bump(c) -> int:
    """Count up: a write with a result."""
    return raw(c).row("UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value")[0]


# ── where it refuses to run ──


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "ceph"])
def test_a_network_file_system_is_refused(tmp_path, kind):
    """Where locks are not to be trusted the service does not start, and says which file system it is and the way out."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(srv=kind))

    with pytest.raises(Misconfigured, match=rf"network file system \({kind}\).*local disk") as refused:
        refuse_unsuitable(Path("/srv/aegis/aegis.db"), mounts)

    assert refused.value.code == "network-file-system"


@pytest.mark.parametrize(
    "path", ["/srv/fast/aegis.db", "/srv2/aegis.db", "/home/me/aegis.db", "/srvx/aegis.db"]
)
def test_the_nearest_mount_decides(tmp_path, path):
    """A store on a local disk that is mounted below, or beside, a network file system opens."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(srv="nfs"))

    refuse_unsuitable(Path(path), mounts)


def test_a_system_that_does_not_tell_its_mounts_is_trusted(tmp_path):
    """Without a list of mounts nothing is refused."""
    refuse_unsuitable(Path("/srv/aegis.db"), tmp_path / "missing")


def test_an_old_sqlite_is_refused(monkeypatch):
    """Versions that can corrupt a database are not used."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.46.1")

    with pytest.raises(Misconfigured, match=r"3\.46\.1 can corrupt.*upgrade"):
        refuse_unsuitable(Path("/tmp/aegis.db"))


def test_a_file_that_is_no_database_is_refused(tmp_path):
    """What cannot be opened is named, with what to do."""
    (tmp_path / "aegis.db").write_bytes(b"this is no database" * 100)

    with pytest.raises(Misconfigured, match="AEGIS_DATA_DIR must be"):
        SqliteDatabase(tmp_path / "aegis.db", SteadyClock())


def test_every_connection_syncs_every_commit(db):
    """Durability is not left to defaults: WAL, and a sync at each commit."""
    db.read_now(lambda c: raw(c).row("SELECT 1"))

    for connection in (db._writer.connection, db._reader()):
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2


def test_a_new_database_has_large_pages_and_an_old_one_keeps_its_own(tmp_path):
    """The page size is chosen when a database is made; no start changes it afterwards."""
    old = apsw.Connection(str(tmp_path / "old.db"))
    old.execute("PRAGMA page_size = 4096; CREATE TABLE t (x)")
    old.close()
    sizes = {}
    for name in ("new", "old"):
        db = SqliteDatabase(tmp_path / f"{name}.db", SteadyClock())
        sizes[name] = db._writer.connection.pragma("page_size")
        db.close()

    assert sizes == {"new": 8192, "old": 4096}


@pytest.mark.parametrize(("before", "counted"), [("", False), ("used = apsw.Connection(':memory:')", True)])
def test_sqlite_does_not_count_its_memory(before, counted):
    """Counting costs a lock at each allocation. Where SQLite is in use already, it is left as it is, and works."""
    program = f"""
        import apsw
        {before}
        from aegis_stream.store.sqlite import connect
        other = apsw.Connection(":memory:")
        other.execute("CREATE TABLE t (x)")
        print(apsw.status(apsw.SQLITE_STATUS_MEMORY_USED)[0] > 0)
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == str(counted)


# ── group commit ──


async def test_writes_that_wait_share_a_commit(db):
    """Whatever arrives while a commit is under way goes together into the next one."""
    began, go_on, commits = threading.Event(), threading.Event(), []
    db._writer.connection.set_commit_hook(lambda: bool(commits.append(1)))

    first = db.submit(lambda _: (began.set(), go_on.wait(10)), Lane.APPEND)
    assert await asyncio.to_thread(began.wait, 10)
    waiting = [db.submit(bump, Lane.APPEND) for _ in range(100)]
    go_on.set()
    numbers = await asyncio.gather(first, *waiting)

    assert numbers[1:] == list(range(1, 101))
    assert len(commits) == 2, "one for the first, one for the hundred that waited meanwhile"


async def test_units_of_different_lanes_share_no_transaction(db):
    """Those of the append lane share a commit, those of the settlement lane too, and of the control lane each has its own."""
    began, go_on, commits = threading.Event(), threading.Event(), []
    first = db.submit(lambda _: (began.set(), go_on.wait(10)), Lane.APPEND)
    assert await asyncio.to_thread(began.wait, 10)
    lanes = [Lane.APPEND] * 3 + [Lane.SETTLEMENT] * 2 + [Lane.CONTROL] * 2 + [Lane.APPEND]
    waiting = [db.submit(bump, lane) for lane in lanes]
    db._writer.connection.set_commit_hook(lambda: bool(commits.append(revision_of(db))))
    go_on.set()

    numbers = await asyncio.gather(*waiting)
    await first

    assert numbers == list(range(1, 9)), "in the order in which they came"
    assert commits == [0, 0, 3, 5, 6, 7], "what was committed before each commit"


async def test_a_write_that_breaks_a_constraint_fails_alone(db):
    """A statement that the schema refuses is its caller's failure; the others of the same commit are stored."""
    twice = "INSERT INTO meta (name, value) VALUES ('revision', 1)"
    broken = db.submit(lambda c: raw(c).run(twice), Lane.APPEND)
    fine = db.submit(bump, Lane.APPEND)

    results = await asyncio.gather(broken, fine, return_exceptions=True)

    assert isinstance(results[0], apsw.ConstraintError)
    assert results[1] == 1
    assert revision_of(db) == 1


async def test_a_commit_that_fails_tells_everyone(db):
    """When the commit fails nobody is told of success, whoever failed before keeps its own reason, and the next one works."""
    fails = iter([False, True])
    db._writer.connection.set_commit_hook(lambda: next(fails))
    began, go_on = threading.Event(), threading.Event()
    first = db.submit(lambda _: (began.set(), go_on.wait(10)), Lane.APPEND)
    assert await asyncio.to_thread(began.wait, 10)

    def conflict(_):
        raise Conflict("mine")

    group = [db.submit(bump, Lane.APPEND), db.submit(conflict, Lane.APPEND), db.submit(bump, Lane.APPEND)]
    go_on.set()
    results = await asyncio.gather(*group, return_exceptions=True)
    await first
    after = await db.write(bump)

    assert [type(one) for one in results] == [Unavailable, Conflict, Unavailable]
    assert results[0].retry_after_s >= 1
    assert after == 1


async def test_a_full_disk_is_named(db):
    """Without room the message says so and what to do."""
    db._writer.connection.pragma("max_page_count", db._writer.connection.pragma("page_count"))

    with pytest.raises(Unavailable, match="disk is full") as refused:
        await db.write(lambda c: raw(c).run("UPDATE meta SET name = ?", ("x" * 1_000_000,)))

    assert refused.value.code == "store-full"


async def test_a_caller_that_went_away_stops_nobody(db):
    """A cancelled write is no trouble to the others of its commit."""
    cancelled, kept = db.submit(bump, Lane.APPEND), db.submit(bump, Lane.APPEND)
    cancelled.cancel()

    assert await kept in (1, 2)


async def test_close_finishes_what_is_waiting(tmp_path):
    """Whatever was handed over before the store is closed is stored."""
    db = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())
    db.migrate()
    waiting = [db.submit(bump, Lane.APPEND) for _ in range(1000)]

    await asyncio.to_thread(db.close)
    await asyncio.gather(*waiting)
    again = SqliteDatabase(tmp_path / "aegis.db", SteadyClock())

    assert revision_of(again) == 1000
    again.close()


async def test_a_read_that_cannot_be_made_is_unavailable(db):
    """Errors of the database do not leave the store as they are."""
    with pytest.raises(Unavailable, match="cannot be read"):
        await db.read(lambda c: raw(c).rows("SELECT * FROM nothing"))


@pytest.mark.parametrize("before", [0, 1, 2])
def test_an_undone_savepoint_takes_back_only_itself(db, before):
    """Whether a savepoint is the first of its transaction or follows other work, what it undoes is what happened inside."""

    def work(unit) -> None:
        for _ in range(before):
            unit.run("try_write")
        for _ in range(2):
            with contextlib.suppress(Conflict), unit.savepoint():
                unit.run("try_write")
                with contextlib.suppress(Conflict), unit.savepoint():
                    unit.run("try_write")
                    raise Conflict("the inner one")
                raise Conflict("the outer one")
        with unit.savepoint():
            unit.run("try_write")
        unit.run("try_write")

    db.write_now(work)

    assert (
        db.read_now(lambda c: raw(c).row("SELECT value FROM meta WHERE name = 'write_trials'"))[0]
        == before + 2
    )


def test_write_now_takes_itself_back(db):
    """A program without an event loop has the same promise: what raises stores nothing."""

    def broken(c):
        bump(c)
        raise Conflict("no")

    with pytest.raises(Conflict):
        db.write_now(broken)

    assert revision_of(db) == 0
    assert db.write_now(bump) == 1


# ── the gate ──


def test_the_gate_lets_one_in_at_a_time(tmp_path):
    """While one holds the gate nobody else of any process is in; whoever waits gets in when it is left."""
    inside, waiting = WriteGate(tmp_path / "gate"), WriteGate(tmp_path / "gate")
    order: list[str] = []

    def enter() -> None:
        with waiting:
            order.append("second")

    with inside:
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join(10)

    assert order == ["first", "second"]
    inside.close()
    waiting.close()


def test_the_kernel_opens_the_gate_of_the_dead(tmp_path):
    """A process that is killed inside the gate does not shut the others out."""
    program = (
        "import os, signal, sys; from pathlib import Path; from aegis_stream.store.sqlite.gate import WriteGate\n"
        "with WriteGate(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "gate")], check=False, timeout=60)
    gate = WriteGate(tmp_path / "gate")

    with gate:
        pass

    assert killed.returncode == -signal.SIGKILL
    gate.close()


# ── migrations ──


ADDITION = (2, "CREATE TABLE addition (n INTEGER) STRICT; UPDATE meta SET value = value + 10; SELECT die();")


def at_version_one(tmp_path, monkeypatch) -> Path:
    """Make a database as the first version left it, with something in it."""
    path = tmp_path / "aegis.db"
    monkeypatch.setattr(schema, "migrations", lambda: migrations()[:1])
    db = SqliteDatabase(path, SteadyClock())
    assert db.migrate() == (0, 1)
    db.write_now(bump)
    db.close()
    return path


def test_an_older_database_is_brought_up_to_date(tmp_path, monkeypatch):
    """A start on a database of the version before makes the steps that are missing, once, and keeps what is there."""
    path = at_version_one(tmp_path, monkeypatch)
    step = (2, ADDITION[1].replace("SELECT die();", ""))
    monkeypatch.setattr(schema, "migrations", lambda: [*migrations()[:1], step])
    db = SqliteDatabase(path, SteadyClock())

    first, second = db.migrate(), db.migrate()

    assert (first, second) == ((1, 2), (2, 2))
    assert revision_of(db) == 11
    assert db.read_now(lambda c: raw(c).rows("SELECT * FROM addition")) == []
    db.close()


def test_a_kill_in_the_middle_of_a_migration_leaves_the_old_version(tmp_path, monkeypatch):
    """A process killed half-way through a step leaves the database as it was before, and the next start makes it whole."""
    path = at_version_one(tmp_path, monkeypatch)
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from aegis_stream.store.sqlite import schema
        from aegis_stream.store.sqlite.database import SqliteDatabase
        from aegis_stream.wiring.process import SystemClock
        step = (2, sys.argv[2])
        first = schema.migrations()[:1]
        schema.migrations = lambda: [*first, step]
        db = SqliteDatabase(Path(sys.argv[1]), SystemClock())
        db._writer.connection.create_scalar_function("die", lambda: os.kill(os.getpid(), signal.SIGKILL))
        db.migrate()
    """)

    killed = subprocess.run([sys.executable, "-c", program, str(path), ADDITION[1]], check=False, timeout=60)
    db = SqliteDatabase(path, SteadyClock())
    left = db._writer.connection.pragma("user_version"), revision_of(db)
    tables = db.read_now(lambda c: raw(c).rows("SELECT name FROM sqlite_schema WHERE name = 'addition'"))
    db._writer.connection.create_scalar_function("die", lambda: 0)
    monkeypatch.setattr(schema, "migrations", lambda: [*migrations()[:1], ADDITION])
    healed = db.migrate()

    assert killed.returncode == -signal.SIGKILL
    assert (left, tables) == ((1, 1), [])
    assert healed == (1, 2)
    assert revision_of(db) == 11
    db.close()


def test_a_newer_database_is_refused(tmp_path, monkeypatch):
    """A schema that this program does not know stops the start with both versions and the way out, and is not touched."""
    path = at_version_one(tmp_path, monkeypatch)
    db = SqliteDatabase(path, SteadyClock())
    db._writer.connection.pragma("user_version", 7)

    with pytest.raises(Misconfigured, match=r"version 7, this program knows 1.*newer version") as refused:
        db.migrate()

    assert refused.value.code == "schema-too-new"
    assert db._writer.connection.pragma("user_version") == 7
    db.close()


def test_migrations_are_numbered_without_holes():
    """The steps are 1, 2, 3 …: a version is the number of steps made."""
    versions = [version for version, _ in migrations()]

    assert versions == list(range(1, len(versions) + 1))


def test_two_processes_that_start_at_once_migrate_once(tmp_path):
    """Whoever comes second finds the work done."""
    program = (
        "import sys; from pathlib import Path; from aegis_stream.store.sqlite.database import SqliteDatabase\n"
        "from aegis_stream.wiring.process import SystemClock\n"
        "db = SqliteDatabase(Path(sys.argv[1]), SystemClock()); print(*db.migrate()); db.close()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "aegis.db")]

    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    outputs = sorted(one.communicate(timeout=60)[0].split()[0] for one in both)

    assert outputs == ["0", str(migrations()[-1][0])]


@pytest.mark.parametrize("error", [apsw.IOError("disk I/O error"), Misconfigured("cannot open the database")])
def test_a_look_that_fails_is_unavailable(db, monkeypatch, error):
    """A look for commits of others, and a read, tell of an error in our words, also when a reader cannot be opened now."""

    def fails():
        raise error

    monkeypatch.setattr(db, "_reader", fails)

    with pytest.raises(Unavailable):
        db.changed()
    with pytest.raises(Unavailable):
        db.read_now(lambda unit: unit.rows("heads"))


async def test_a_read_at_once_never_waits_and_never_raises(db, monkeypatch):
    """On the event loop a read that fails, or would wait for a lock, says so by None; one that works sees the newest commit."""
    await db.write(lambda unit: raw(unit).run("UPDATE meta SET value = 7 WHERE name = 'revision'"))
    assert db.peek(lambda unit: raw(unit).row("SELECT value FROM meta WHERE name = 'revision'")) == (7,)

    def busy(_: object) -> None:
        raise apsw.BusyError("database is locked")

    assert db.peek(busy) is None
    db._peeker = None
    monkeypatch.setattr(db, "_connect", lambda _: busy(None))
    assert db.peek(lambda _: 1) is None
