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


@pytest.mark.parametrize("name", sorted(load()))
def test_each_fits_the_schema(schema, name):
    """Each statement can be prepared against the schema as the migrations leave it, as shared and as SQLite words it."""
    for text in {load()[name], statements()[name]}:
        prepared = apsw.ext.query_info(schema, text)

        assert prepared.query_remaining is None, "one statement under one name"
        numbered, others = set(re.findall(r"\?\d+", text)), re.findall(r"\?(?!\d)", text)
        assert prepared.bindings_count == len(numbered) + len(others)


@pytest.mark.parametrize("name", sorted(load()))
def test_each_is_used(name):
    """No statement outlives the code that ran it."""
    assert f'"{name}"' in CODE


def test_code_names_no_other():
    """Every name that code looks up is in the file."""
    looked_up = set(re.findall(r'\.(?:rows?|run|insert|_rows|_number)\(\s*"(\w+)"', CODE))

    assert looked_up
    assert looked_up <= set(load())
