"""Promises of the command line on a PostgreSQL database: doctor finds what is wrong with it, and every command says what to do."""

import asyncio
import builtins
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.ids import DestinationId, Micros, OrganizationId
from aegis_stream.settings import DatabaseUrl
from aegis_stream.store import organizations
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.directory import Directory
from support.postgres import running_server
from support.service import service_environment
from support.settings import make_settings

NOW = Micros(1_780_000_000_000_000)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, postgres_url):
    """Return a function that runs a command on the database, and checks that nothing shows its password."""
    password = DatabaseUrl.parse(postgres_url).password
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AEGIS_DATABASE_URL", postgres_url)
    monkeypatch.setenv("AEGIS_OPERATOR_KEY", "aegis_op_" + "t" * 20)
    monkeypatch.setenv("AEGIS_ALLOWED_NETWORKS", "192.0.2.0/24")

    def call(*arguments: str, **environment: str) -> SimpleNamespace:
        done = run_aegis(monkeypatch, capsys, *arguments, **environment)
        assert password not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def doctor(run):
    """Return a function that runs doctor; it returns the findings that are not ok, by row."""

    def call(**environment: str) -> SimpleNamespace:
        done = run("doctor", "--json", **environment)
        assert done.stderr == ""
        findings = json.loads(done.stdout)["findings"]
        assert all(one["remedy"] for one in findings if one["state"] != "ok"), "each says what to do"
        return SimpleNamespace(
            status=done.status,
            ok={one["check"] for one in findings if one["state"] == "ok"},
            rest={
                one["check"]: (one["state"], one["detail"], one["remedy"])
                for one in findings
                if one["state"] != "ok"
            },
        )

    return call


def fill(url: str, folder: Path) -> None:
    """Make an organization with a destination, as a service would."""
    settings = make_settings(
        data_dir=folder, database_url=DatabaseUrl.parse(url), operator_key="aegis_op_" + "t" * 20
    )
    stores = open_stores(settings, FakeLog())
    try:
        no = stores.db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "A", NOW))
        spec = DestinationSpec("https://192.0.2.7/in", "Authorization", "Bearer c4n4ry")
        asyncio.run(Directory.of(stores).add_destination(no, DestinationId("dst_0"), spec, NOW, 100))
    finally:
        stores.close()


# ── doctor ──


def test_doctor_has_every_row_of_a_sound_database(doctor, postgres_url, tmp_path):
    """On a sound database every row is ok, and the only problem is that no worker runs."""
    fill(postgres_url, tmp_path / "data")

    found = doctor()

    assert found.rest.keys() <= {"workers", "clock", "egress"}
    assert found.rest["workers"][0] == "problem"
    assert found.ok >= {
        *("version", "encoding", "writable", "fsync", "full_page_writes", "synchronous_commit", "standbys"),
        *("slots", "server clock", "checksums", "pooler", "connections", "jit", "encryption", "role"),
        *("database", "events", "quotas", "master key", "credentials", "deliveries", "files"),
    }


def test_doctor_changes_nothing_before_the_first_start(doctor, postgres_url, tmp_path):
    """On an empty database doctor says that the next start makes the tables, and makes none."""
    found = doctor()

    assert found.rest["database"][:2] == ("note", "it is empty; the next start makes the tables")
    assert found.status == 0
    with psycopg.connect(postgres_url) as connection:
        [(tables,)] = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert tables == 0
    assert not (tmp_path / "data").exists()


def test_doctor_finds_damaged_events(doctor, postgres_url, tmp_path):
    """An event whose bytes were changed in the database is found."""
    fill(postgres_url, tmp_path / "data")
    stores = open_stores(
        make_settings(data_dir=tmp_path / "data", database_url=DatabaseUrl.parse(postgres_url)), FakeLog()
    )
    stores.close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "UPDATE organizations SET head = head + 1, stored_bytes = 2 WHERE org_id = 'org_a'"
        )

    found = doctor()

    assert found.rest["events"][0] == "problem"
    assert "org_a" in found.rest["events"][1]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"port": "1"}, "cannot be read"),
        ({"host": "nowhere.invalid"}, "cannot be read"),
        ({"password": "wrong"}, "cannot be read"),
        ({"name": "missing"}, "does not exist"),
        ({"query": "sslmode=require"}, "SSL"),
        ({"query": "sslmode=verify-full&sslrootcert=/nonexistent.pem"}, "SSL"),
    ],
)
def test_doctor_names_a_database_that_cannot_be_reached(doctor, postgres_url, change, words):
    """A server that is not there, a wrong password and a failing TLS are one problem that says where to look."""
    found = doctor(AEGIS_DATABASE_URL=changed(postgres_url, **change))

    assert found.status == 1
    state, detail, remedy = found.rest["database"]
    assert (state, "AEGIS_DATABASE_URL" in remedy) == ("problem", True)
    assert words in detail
    assert "\n" not in detail


def changed(url: str, **parts: str) -> str:
    """Return a URL with another host, port, password, name or query."""
    now = urlsplit(url)
    one = {
        "host": now.hostname,
        "port": str(now.port),
        "password": now.password,
        "name": now.path[1:],
        "query": "",
    } | parts
    return f"postgresql://{now.username}:{one['password']}@{one['host']}:{one['port']}/{one['name']}?{one['query']}".rstrip(
        "?"
    )


@pytest.mark.parametrize("oldest_reader, state", [(1, "note"), (99, "problem")])
def test_doctor_tells_an_upgrade_under_way_from_a_schema_it_cannot_read(
    doctor, postgres_url, tmp_path, oldest_reader, state
):
    """A newer schema that this version can work on is a note, and its content is checked; another one is a problem."""
    fill(postgres_url, tmp_path / "data")
    with psycopg.connect(postgres_url) as connection:
        for name, value in (("schema_version", 99), ("schema_oldest_reader", oldest_reader)):
            connection.execute("UPDATE meta SET value = %s WHERE name = %s", (value, name))

    found = doctor()

    assert found.rest["database"][0] == state
    assert "99" in found.rest["database"][1]
    assert ("credentials" in found.ok) == (state == "note")


# ── starts ──


def test_no_command_works_on_a_server_that_loses_events(run, tmp_path):
    """A server with fsync off is refused by whatever opens the store, in one line with what to set, and nothing is made in it."""
    with running_server(fsync="off") as server, server.database() as url:
        told = [
            run(*command, AEGIS_DATABASE_URL=url) for command in (("org", "create", "x"), ("vault", "rotate"))
        ]
        for command in (
            ("serve", "--port", "0"),
            ("worker",),
        ):  # programs of their own: they take sockets first
            variables = service_environment(tmp_path, AEGIS_DATABASE_URL=url)
            done = subprocess.run(
                [sys.executable, "-m", "aegis_stream", *command],
                env=variables,
                capture_output=True,
                text=True,
                timeout=60,
            )
            told.append(SimpleNamespace(status=done.returncode, stderr=done.stderr))
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert server.sql(tables, url.rpartition("/")[2]) == [("0",)]

    assert [one.status for one in told] == [1] * 4
    assert all(one.stderr.count("\n") == 1 and "set fsync = on" in one.stderr for one in told)


def test_a_start_logs_what_is_dangerous(tmp_path):
    """What refuses no start, but can lose events or stop the service, is logged with what to do."""
    with running_server() as server, server.database() as url:
        server.sql("SELECT pg_create_physical_replication_slot('gone', true)")
        log = FakeLog()
        open_stores(
            make_settings(data_dir=tmp_path / "data", database_url=DatabaseUrl.parse(url)), log
        ).close()

    [values] = [values for level, name, values in log.lines if name == "store.server_warning"]
    assert (values["row"], "pg_drop_replication_slot" in values["remedy"]) == ("slots", True)


def test_a_demanded_standby_is_demanded_at_the_start(run, postgres_url):
    """AEGIS_REQUIRE_SYNC refuses a server that waits for no standby, before anything is stored on it alone."""
    done = run("org", "create", "x", AEGIS_REQUIRE_SYNC="1")

    assert done.status == 1
    assert "synchronous_standby_names" in done.stderr


# ── the other commands ──


def test_the_demonstration_stays_out_of_a_real_database(run, tmp_path):
    """`aegis demo` makes organizations and events of its own, so it refuses a PostgreSQL database that the settings name."""
    done = run("demo", "--port", "0")

    assert done.status == 1
    assert "AEGIS_DATABASE_URL" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", [("backup", "x.db"), ("restore", "x.db")])
def test_copies_are_made_with_the_tools_of_postgresql(run, tmp_path, command):
    """`aegis backup` and `aegis restore` name the tool to use instead, in one line, and make nothing."""
    name, file = command

    done = run(name, str(tmp_path / file))

    assert done.status == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pg_dump" in done.stderr or "pg_restore" in done.stderr
    assert not (tmp_path / file).exists()


def test_the_driver_is_named_where_it_is_missing(run, doctor, monkeypatch):
    """Without the extra, every command says in one line what to install."""
    real = builtins.__import__

    def without_driver(name, *rest, **more):
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if "store.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_driver)

    done = run("org", "create", "x")

    assert done.status == 1
    assert done.stderr.count("\n") == 1
    assert "aegis-audit-stream[postgres]" in done.stderr
    assert "aegis-audit-stream[postgres]" in doctor().rest["database"][1]


def test_printed_settings_mask_the_url(run):
    """--print-config prints no part of the URL."""
    for options in ((), ("--json",)):
        done = run("serve", "--print-config", *options)

        assert done.status == 0
        assert "postgresql" not in done.stdout
