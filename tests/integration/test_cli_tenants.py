"""Promises of the commands org and key, on the store of a data directory."""

import json

import pytest

from support.cli import run_aegis


@pytest.fixture
def aegis(tmp_path, monkeypatch, capsys):
    """`aegis(…)` runs a command on a new data directory; `aegis.json(…)` returns the output of --json."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments, status=0):
        finished = run_aegis(monkeypatch, capsys, *arguments)
        assert finished.status == status, finished
        return finished

    run.json = lambda *arguments: json.loads(run(*arguments, "--json").stdout)
    return run


def test_an_organization_is_created_with_an_admin_key(aegis):
    """`org create` prints the id and the first admin key; --json gives both to programs."""
    printed = aegis("org", "create", "First", "--id", "org_first").stdout
    made = aegis.json("org", "create", "Second", "--id", "org_second")

    assert "org_first" in printed
    assert "aegis_sk_" in printed
    assert made["org_id"] == "org_second"
    assert [one["scope"] for one in aegis.json("key", "list", "--org", "org_second")] == ["admin"]


def test_a_new_data_directory_is_named(aegis, tmp_path):
    """The first command creates the data directory, names it, and says what to do if the service uses another one."""
    first = aegis("org", "create", "First", "--id", "org_first")
    second = aegis("org", "create", "Second", "--id", "org_second")

    assert f"created {tmp_path / 'data' / 'aegis.db'}" in first.stderr
    assert (
        f"keys of {tmp_path / 'data'} are valid only for a service with this data directory" in first.stderr
    )
    assert "AEGIS_DATA_DIR" in first.stderr
    assert second.stderr == ""


def test_keys_are_created_rotated_and_revoked(aegis):
    """A key is created with its scope; rotation replaces it; a revoked key is not listed any more."""
    aegis("org", "create", "First", "--id", "org_first")

    made = aegis.json("key", "create", "--org", "org_first", "--scope", "read", "--name", "Dashboard")
    rotated = aegis.json("key", "rotate", made["id"], "--org", "org_first")
    listed = aegis.json("key", "list", "--org", "org_first")
    revoked = aegis.json("key", "revoke", rotated["id"], "--org", "org_first")

    assert (made["scope"], rotated["scope"]) == ("read", "read")
    assert made["api_key"] != rotated["api_key"]
    assert [(one["id"], one["name"]) for one in listed if one["scope"] == "read"] == [
        (rotated["id"], "Dashboard")
    ]
    assert revoked == {"revoked": rotated["id"]}
    assert [one["scope"] for one in aegis.json("key", "list", "--org", "org_first")] == ["admin"]


def test_the_list_of_keys_shows_no_key(aegis):
    """`key list` shows only the end of a key, also as JSON."""
    made = aegis.json("org", "create", "First", "--id", "org_first")

    shown = (
        aegis("key", "list", "--org", "org_first").stdout
        + aegis("key", "list", "--org", "org_first", "--json").stdout
    )

    assert made["api_key"] not in shown
    assert made["api_key"][-4:] in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "create", "--org", "org_none"),
        ("key", "list", "--org", "org_none"),
        ("key", "revoke", "key_none", "--org", "org_first"),
        ("key", "rotate", "key_none", "--org", "org_first"),
        ("org", "create", "Again", "--id", "org_first"),
        ("org", "create", "Wrong", "--id", "no id"),
    ],
)
def test_what_cannot_be_done_is_one_line(aegis, arguments):
    """An unknown organization or key, and an id that exists or is invalid, end with status 1 and one line."""
    aegis("org", "create", "First", "--id", "org_first")

    finished = aegis(*arguments, status=1)

    assert finished.stderr.startswith("aegis: ")
    assert finished.stderr.count("\n") == 1
    assert finished.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("org", "create"),
        ("key", "create", "--org", "org_first", "--scope", "all"),
        ("key", "rotate", "key_x", "--org", "org_first", "--overlap", "-1"),
        ("key", "list"),
    ],
)
def test_wrong_use_creates_nothing(aegis, tmp_path, arguments):
    """A mistake in the options ends with status 2, before a data directory is created."""
    assert "Error:" in aegis(*arguments, status=2).stderr
    assert not (tmp_path / "data").exists()
