"""`aegis database distribute`: what it would do, and what it refuses. The extension itself is not in this suite."""

import re
from importlib import resources

import pytest

from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.opening import open_copy_target
from aegis_stream.store.postgres.distribution import EVERYWHERE, KEY, SHARDED_TABLES, _steps
from support.cli import run_aegis

SCHEMA = "".join(
    file.read_text(encoding="utf-8")
    for file in resources.files("aegis_stream.store.postgres").joinpath("migrations").iterdir()
    if file.name.endswith(".sql")
)
TABLES = dict(re.findall(r"^CREATE TABLE (\w+) \((.*?)^\)", SCHEMA, re.MULTILINE | re.DOTALL))


def test_every_table_has_its_place():
    """Whoever adds a table decides whether it is sharded or on every server."""
    assert sorted([*SHARDED_TABLES, *EVERYWHERE]) == sorted(TABLES)


@pytest.mark.parametrize("table", SHARDED_TABLES)
def test_constraints_of_sharded_tables_name_the_organization(table):
    """Every primary key and unique index of a sharded table has the organization in it, but for the ids of organizations."""
    keys = re.findall(r"^ +PRIMARY KEY \((.*?)\)", TABLES[table], re.MULTILINE)
    keys += re.findall(r"^ +(\w+) .*(?:PRIMARY KEY|UNIQUE)", TABLES[table], re.MULTILINE)
    keys += re.findall(rf"CREATE UNIQUE INDEX \w+ ON {table} \((.*?)\)", SCHEMA)

    assert keys
    assert [key for key in keys if KEY not in key.split(", ")] == (
        ["org_id"] if table == "organizations" else []
    )


def test_a_new_database_is_distributed_step_by_step():
    """The organizations come first, the others are beside them, and what is everywhere is made before."""
    texts = [step.text for step in _steps(set(), unique=True)]
    distributed = [text for text in texts if "create_distributed_table" in text]

    assert texts[0].startswith("ALTER TABLE organizations DROP CONSTRAINT organizations_org_id_key")
    assert "aegis_timeline" in texts[0], "leases cannot be bound to the history of one server of several"
    assert texts[1 : len(EVERYWHERE) + 1] == [f"SELECT create_reference_table('{one}')" for one in EVERYWHERE]
    assert distributed[0] == "SELECT create_distributed_table('organizations', 'org_no')"
    assert distributed[1:] == [
        f"SELECT create_distributed_table('{one}', 'org_no', colocate_with => 'organizations')"
        for one in SHARDED_TABLES[1:]
    ]


def test_what_is_done_is_left_out():
    """After an interruption, or an upgrade with a new table, only the rest is done; in the end nothing."""
    done = {*EVERYWHERE, *SHARDED_TABLES}

    assert list(_steps(done, unique=False)) == []
    assert [step.text for step in _steps(done - {"processes"}, unique=False)] == [
        "SELECT create_reference_table('processes')"
    ]


def test_a_database_without_the_extension_is_refused(monkeypatch, capsys, postgres_url):
    """One clear line, without the password; nothing is changed."""
    open_copy_target(DatabaseUrl.parse(postgres_url)).close()
    done = run_aegis(monkeypatch, capsys, "database", "distribute", "--yes", AEGIS_DATABASE_URL=postgres_url)

    assert done.status == 1
    assert re.fullmatch(r"aegis: postgresql://aegis:\*\*\*\*@\S+ has no extension citus: .*\n", done.stderr)


def test_a_file_is_refused(monkeypatch, capsys, tmp_path):
    """SQLite has nothing to distribute."""
    done = run_aegis(monkeypatch, capsys, "database", "distribute", "--in", f"sqlite:///{tmp_path}/aegis.db")

    assert done.status == 1
    assert "is a SQLite file: only a PostgreSQL database with Citus can be distributed" in done.stderr


def test_it_needs_a_database(monkeypatch, capsys):
    """Without a URL it says how to give one."""
    done = run_aegis(monkeypatch, capsys, "database", "distribute")

    assert done.status == 2
    assert "name the database: --in or AEGIS_DATABASE_URL" in done.stderr
