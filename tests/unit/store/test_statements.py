"""Promises about statements.sql: every statement is used, explained, and fits the schema."""

import re
from importlib import resources
from pathlib import Path

import apsw
import apsw.ext
import pytest

import aegis_stream.store
from aegis_stream.store.sqlite import migrations
from aegis_stream.store.statements import load

FOLDER = Path(aegis_stream.store.__file__).parent
CODE = "".join(file.read_text() for file in FOLDER.glob("*.py"))
SOURCE = resources.files("aegis_stream.store").joinpath("statements.sql").read_text()


@pytest.fixture(scope="module")
def schema():
    """Make an empty database with the newest schema."""
    connection = apsw.Connection(":memory:")
    for _, text in migrations():
        connection.execute(text)
    yield connection
    connection.close()


def test_none_is_lost_in_reading():
    """Every statement in the file is found under its name, and no name stands twice."""
    names = re.findall(r"^-- name: (\w+)$", SOURCE, re.MULTILINE)

    assert sorted(load().texts) == sorted(names)


@pytest.mark.parametrize("name", sorted(load().texts))
def test_each_fits_the_schema(schema, name):
    """Each statement can be prepared against the schema as the migrations leave it."""
    prepared = apsw.ext.query_info(schema, load()[name])

    assert prepared.query_remaining is None, "one statement under one name"
    numbered, others = set(re.findall(r"\?\d+", load()[name])), re.findall(r"\?(?!\d)", load()[name])
    assert prepared.bindings_count == len(numbered) + len(others)


@pytest.mark.parametrize("name", sorted(load().texts))
def test_each_is_used(name):
    """No statement outlives the code that ran it."""
    assert f'"{name}"' in CODE


def test_code_names_no_other():
    """Every name that code looks up is in the file."""
    looked_up = set(re.findall(r'\.(?:rows?|run|insert|_rows|_number)\(\s*"(\w+)"', CODE))

    assert looked_up
    assert looked_up <= set(load().texts)
