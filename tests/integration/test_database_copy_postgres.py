"""Copies between SQLite and PostgreSQL, by the code and by the command."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from aegis_stream.errors import Conflict
from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.copy_tables import CHANGING, COUNTERS, COUNTERS_NOT_COPIED, EVENTS, NOT_COPIED
from aegis_stream.store.copying import compare, copy
from aegis_stream.store.opening import open_copy_source, open_copy_target
from support.copies import add_events, make_source
from support.postgres import shared_server
from support.service import service_environment


def quiet(_: str, __: int, ___: int) -> None:
    """Take no notice of progress."""


@pytest.fixture
def source(tmp_path):
    """Return the URL of a SQLite database that has something in every table."""
    return DatabaseUrl(path=make_source(tmp_path / "data"))


@pytest.fixture
def postgres(postgres_url):
    """Return the URL of an empty PostgreSQL database."""
    return DatabaseUrl.parse(postgres_url)


def run(source, target, **options):
    """Copy one database to another."""
    with (
        contextlib.closing(open_copy_source(source)) as one,
        contextlib.closing(open_copy_target(target)) as other,
    ):
        return copy(one, other, quiet, **options)


def contents(url):
    """Return all rows of all tables of a database, as a copy reads them, without epochs, which each copy raises."""
    with contextlib.closing(open_copy_source(url)) as end:
        found = {table.name: end.page(table, (), (), 10**6, 10**9) for table in (EVENTS, *CHANGING)}
    return found | {"cursors": [(*row[:4], *row[6:]) for row in found["cursors"]]}


def sql(url, text):
    """Run SQL on a PostgreSQL database, as the superuser."""
    return shared_server().sql(text, url.name)


def is_marked(url):
    """Tell whether a PostgreSQL database is an unfinished copy."""
    return sql(url, "SELECT count(*) FROM meta WHERE name = 'unfinished_copy'") == [("1",)]


def test_there_and_back_again(source, postgres, tmp_path):
    """What goes from SQLite to PostgreSQL and to SQLite again is what it was, but for leases."""
    there = run(source, postgres)
    back = run(postgres, DatabaseUrl(path=tmp_path / "back.db"))

    assert there.is_equal
    assert back.is_equal
    assert contents(source) == contents(postgres) == contents(DatabaseUrl(path=tmp_path / "back.db"))
    assert all(contents(source).values())
    assert not is_marked(postgres)


def test_from_one_postgresql_to_another(source, postgres):
    """The same code moves an installation to another server."""
    run(source, postgres)
    with shared_server().database() as other:
        copied = run(postgres, DatabaseUrl.parse(other))

        assert copied.is_equal
        assert contents(DatabaseUrl.parse(other)) == contents(source)


def test_every_table_and_column_is_copied_or_left_out_for_a_reason(postgres):
    """Whoever adds a table, a column or a counter to PostgreSQL decides whether copies have it."""
    open_copy_target(postgres).close()
    columns: dict[str, set[str]] = {}
    for table, column in sql(
        postgres,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
    ):
        columns.setdefault(table, set()).add(column)
    counters = {name for (name,) in sql(postgres, "SELECT name FROM meta")}

    assert {table.name: set(table.columns) for table in (EVENTS, *CHANGING)} == {
        name: found for name, found in columns.items() if name not in NOT_COPIED
    }
    assert set(COUNTERS) <= counters <= {*COUNTERS, *COUNTERS_NOT_COPIED}


def test_every_page_is_read_by_an_index(source, postgres):
    """No page of a table sorts the table: its key is that of a unique index."""
    run(source, postgres)

    for table in (EVENTS, *CHANGING):
        rows = sql(
            postgres,
            f"SELECT string_agg(attname, ' ' ORDER BY array_position(indkey::smallint[], attnum)) FROM pg_index"
            f" JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) WHERE indrelid = '{table.name}'::regclass"
            " AND indisunique GROUP BY indexrelid",
        )
        assert (" ".join(table.key),) in rows


def test_numbers_go_on_after_those_that_were_copied(source, postgres):
    """The next organization, destination, attempt and master key get numbers that nobody has."""
    run(source, postgres)

    for table in CHANGING:
        if table.numbered:
            name = table.numbered
            newest, following = sql(
                postgres,
                f"SELECT max({name}), nextval(pg_get_serial_sequence('{table.name}', '{name}')) FROM {table.name}",
            )[0]
            assert int(following) == int(newest) + 1, table.name


@pytest.mark.parametrize(
    ("text", "table", "organization"),
    [
        ("UPDATE events SET body = '{\"n\":99}' WHERE org_no = 2 AND sequence = 2", "events", "org_b"),
        ("DELETE FROM events WHERE org_no = 1 AND sequence = 50", "events", "org_a"),
        ("UPDATE cursors SET window_size = 9.500001 WHERE dst_no = 2", "cursors", "org_b"),
        ("UPDATE destinations SET url = '\\x00' WHERE dst_no = 1", "destinations", "org_a"),
        ("INSERT INTO clock_steps VALUES (2, 1)", "clock_steps", "org_b"),
    ],
)
def test_the_comparison_finds_a_row_that_differs(source, postgres, text, table, organization):
    """A row that is changed, missing or too much at PostgreSQL is found, with its table and organization, and nothing else."""
    run(source, postgres)
    sql(postgres, text)

    with (
        contextlib.closing(open_copy_source(source)) as one,
        contextlib.closing(open_copy_source(postgres)) as other,
    ):
        tables, _ = compare(one, other, quiet)

    assert {one.table: one.differing for one in tables if one.differing} == {table: (organization,)}


def test_text_that_postgresql_cannot_store_is_replaced(source, postgres):
    """A NUL in the answer of a receiver, which SQLite stores, does not end the copy."""
    with contextlib.closing(apsw.Connection(str(source.sqlite_path))) as raw:
        raw.execute("UPDATE cursors SET last_error_message = 'a' || char(0) || 'b' WHERE dst_no = 1")

    assert run(source, postgres).is_equal
    assert sql(postgres, "SELECT last_error_message FROM cursors WHERE dst_no = 1") == [("a\ufffdb",)]


@pytest.mark.parametrize("as_source", [True, False])
def test_a_postgresql_in_use_is_refused(source, postgres, tmp_path, as_source):
    """A living worker, or a session of a service: what it does meanwhile would be missing in the copy."""
    run(source, postgres, keep_unfinished=not as_source)
    sql(postgres, "INSERT INTO workers VALUES ('wrk_1', 0, aegis_now() + 60000000)")

    pair = (postgres, DatabaseUrl(path=tmp_path / "back.db")) if as_source else (source, postgres)
    with pytest.raises(Conflict, match=r"1 of its processes are registered.*stop"):
        run(*pair)


def command(tmp_path, source, target):
    """Start `aegis database copy`, with the URL of the target in a variable."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "aegis_stream",
            "database",
            "copy",
            "--from",
            str(source),
            "--to-env",
            "TARGET",
        ],
        env=service_environment(tmp_path, TARGET=target),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_copy_that_is_killed_goes_on(source, postgres, postgres_url, tmp_path):
    """Killed with SIGKILL at random moments, and its connections cut: in the end every row is there once."""
    add_events(source.sqlite_path, 50_000)
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    output, kills = "", 0
    for _ in range(8):
        process = command(tmp_path, source, postgres_url)
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(timeout=chance.uniform(0.3, 1.0))
            break
        if chance.random() < 0.3:
            shared_server().terminate_backends(postgres.name)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    else:
        output, _ = command(tmp_path, source, postgres_url).communicate(timeout=100)

    assert "all rows are equal" in output, f"seed {seed}: {output}"
    assert kills > 0
    assert contents(postgres) == contents(source), seed


@pytest.mark.slow
def test_the_password_never_shows(source, postgres, postgres_url, tmp_path):
    """Neither in the output, nor in the list of processes, nor in an error."""
    password = shared_server().password
    add_events(source.sqlite_path, 2000)
    process = command(tmp_path, source, postgres_url)
    listed = ""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            listed += Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")
        time.sleep(0.02)
    assert process.stdout is not None
    with process.stdout as said:
        outputs = [said.read()]
    wrong = postgres_url.replace(f"/{postgres.name}", "/nowhere")
    for target in (
        wrong,
        wrong.replace(password, password + "x"),
        postgres_url + "?sslmode=require",
        "postgresql://",
    ):
        outputs.append(command(tmp_path, source, target).communicate(timeout=60)[0])

    assert "all rows are equal" in outputs[0]
    assert all(outputs)
    assert "TARGET" in listed
    assert password not in listed + "".join(outputs)
    assert "Traceback" not in "".join(outputs)
