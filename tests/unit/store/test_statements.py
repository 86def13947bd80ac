"""Promises about the statements of the store: every statement is used, explained, and fits the schema."""

import re
from pathlib import Path

import apsw
import apsw.ext
import pytest

import aegis_stream.store
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.store.sqlite.unit import statements
from aegis_stream.store.statements import load

FOLDER = Path(aegis_stream.store.__file__).parent
CODE = "".join(file.read_text() for file in FOLDER.rglob("*.py"))
SOURCES = {file.name: file.read_text() for file in sorted((FOLDER / "sql").glob("*.sql"))}


@pytest.fixture(scope="module")
def schema():
    """Make an empty database with the newest schema."""
    connection = apsw.Connection(":memory:")
    for _, text in migrations():
        connection.execute(text)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def plain_schema():
    """Make an empty database whose log is keyed as the shared statements say: by organization and sequence."""
    connection = apsw.Connection(":memory:")
    for _, text in migrations():
        connection.execute(text)
    connection.execute(
        "DROP TABLE events; CREATE TABLE events (org_no INTEGER NOT NULL, sequence INTEGER NOT NULL, event_id TEXT NOT NULL, "
        "received_at INTEGER NOT NULL, dataset TEXT NOT NULL, decision TEXT, body TEXT NOT NULL, checksum INTEGER, PRIMARY KEY (org_no, sequence))"
    )
    yield connection
    connection.close()


def test_none_is_lost_in_reading():
    """Every statement of the files is found under its name, and no name stands twice."""
    names = re.findall(r"^-- name: (\w+)$", "".join(SOURCES.values()), re.MULTILINE)

    assert len(SOURCES) > 1
    assert sorted(load()) == sorted(names)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_says_its_topic_first(name):
    """A file begins with a comment that says what its statements are about."""
    assert re.match(r"-- (?!name:)\w", SOURCES[name])


def test_an_overlay_replaces_statements_by_name():
    """A database may word a statement differently; all others stay as they are shared."""
    texts = load("-- name: heads\n-- differs because: a test\nSELECT 1, 2;\n")

    assert texts == load() | {"heads": "SELECT 1, 2"}


def test_an_overlay_says_why_it_differs():
    """A statement of an overlay without its reason is refused."""
    overlay = "-- name: heads\n-- Newest sequences.\nSELECT 1, 2;\n"

    with pytest.raises(ValueError, match="'heads' must begin with '-- differs because: '"):
        load(overlay)


def test_an_overlay_adds_no_statement():
    """A statement of an overlay that replaces none is refused: its name is mistyped, or the shared one is gone."""
    overlay = "-- name: tails\n-- differs because: a test\nSELECT 1, 2;\n"

    with pytest.raises(ValueError, match="'tails' replaces no shared statement"):
        load(overlay)


def prepare(connection, text):
    """Prepare a statement; assert that it is one, and that as many values are bound as it says."""
    prepared = apsw.ext.query_info(connection, text)
    numbered, others = set(re.findall(r"\?\d+", text)), re.findall(r"\?(?!\d)", text)

    assert prepared.query_remaining is None, "one statement under one name"
    assert prepared.bindings_count == len(numbered) + len(others)


@pytest.mark.parametrize("name", sorted(load()))
def test_each_fits_the_schema(schema, name):
    """Each statement, as SQLite words it, can be prepared against the schema as the migrations leave it."""
    prepare(schema, statements()[name])


@pytest.mark.parametrize("name", sorted(load()))
def test_each_shared_text_fits_a_plain_schema(plain_schema, name):
    """Each statement, as it is shared, can be prepared where organization and sequence are the key of the log."""
    prepare(plain_schema, load()[name])


HOT = {
    "events",
    "cursors",
    "attempts",
    "answers",
    "rollups",
    "retries",
    "dead_letters",
    "dead_letter_groups",
    "dead_letter_jobs",
    "replays",
}
"""Tables whose rows a distributed database keeps with their organization."""
ACROSS = {
    "heads", "claim", "positions", "release_lease", "worker_states", "count_unserved", "totals", "failing_destinations",
    "organizations_with_old_events", "organizations_with_left_events", "delete_attempts", "delete_answers", "delete_rollups", "traces_of_use", "heads_served",
    "count_failing_organizations", "organizations_worst_first",
    "any_ungrouped_dead_letter", "ungrouped_dead_letters", "any_open_dead_letter_job", "open_dead_letter_job",
}  # fmt: skip
"""Statements that are about all organizations, or about all that a worker serves; none is on the path of an event."""


@pytest.mark.parametrize("name", sorted(set(load()) - ACROSS))
def test_each_names_its_organization(name):
    """A statement that touches a table of the hot path says of which organization, so that one shard can answer it."""
    text = load()[name]
    tables = set(re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(\w+)", text))

    if tables & HOT:
        assert re.search(r"\borg_no = \?|\(org_no, |, org_no, |SELECT \?, org_no", text)


@pytest.mark.parametrize("table", sorted(HOT - {"events", "attempts"}))
def test_each_table_of_the_hot_path_is_keyed_by_organization_first(schema, table):
    """The first column of the primary key is the organization."""
    key = {row[5]: row[1] for row in schema.execute(f"PRAGMA table_info({table})") if row[5]}

    assert key[1] == "org_no"


def test_indexes_begin_with_the_organization(schema):
    """So do indexes of these tables, but for those that find a worker's destinations, and what is over its time.

    A position begins with the organization, too.
    """
    first = {}
    for table in HOT:
        for _, index, *_ in schema.execute(f"PRAGMA index_list({table})"):
            first[index] = next(iter(schema.execute(f"PRAGMA index_info({index})")))[2]

    assert {index for index, column in first.items() if column not in ("org_no", "position")} == {
        "cursors_by_owner",
        "attempts_by_time",
        "answers_by_time",
        "rollups_by_time",
    }


@pytest.mark.parametrize("name", sorted(load()))
def test_each_is_used(name):
    """No statement outlives the code that ran it."""
    assert f'"{name}"' in CODE


def test_code_names_no_other():
    """Every name that code looks up is in the file."""
    looked_up = set(re.findall(r'\.(?:rows?|run|insert|_rows|_number)\(\s*"(\w+)"', CODE))

    assert looked_up
    assert looked_up <= set(load())


@pytest.mark.parametrize("name", ["admin_labels_after", "admin_labels_before"])
def test_administrative_events_are_read_by_their_index(schema, name):
    """A list of actions costs what it shows, however many other events lie between."""
    [(*_, plan)] = schema.execute(f"EXPLAIN QUERY PLAN {statements()[name]}", (1, 0, 10, 5)).fetchall()

    assert "USING INDEX events_of_admin" in plan
    assert "TEMP B-TREE" not in plan
