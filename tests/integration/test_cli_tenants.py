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


def test_quotas_of_an_organization_are_shown_and_changed(aegis, monkeypatch):
    """`org quota` shows use and quotas, changes those that are given, and `default` takes an own quota back."""
    monkeypatch.setenv("AEGIS_STORED_BYTES_MAX", "5000")
    aegis("org", "create", "First", "--id", "org_first")

    first = aegis.json("org", "quota", "--org", "org_first")
    changed = aegis.json(
        "org", "quota", "--org", "org_first", "--stored-bytes", "70000", "--bytes-per-second", "9"
    )
    printed = aegis("org", "quota", "--org", "org_first").stdout
    back = aegis.json(
        "org", "quota", "--org", "org_first", "--stored-bytes", "default", "--bytes-per-second", "0"
    )

    assert first["quotas"] == {"stored_bytes_max": 5000, "ingest_bytes_per_second": 0}
    assert changed["quotas"] == {"stored_bytes_max": 70_000, "ingest_bytes_per_second": 9}
    assert changed["stored_bytes"] > 0, "the event of the change is stored, and counted after it"
    assert "at most 70,000" in printed
    assert "bytes per second  at most 9" in printed
    assert back["quotas"] == {"stored_bytes_max": 5000, "ingest_bytes_per_second": 0}


def test_organizations_are_listed(aegis):
    """`org list` shows every organization by id, or those that need somebody first."""
    for name in ("org_b", "org_a"):
        aegis("org", "create", f"Company {name}", "--id", name)

    listed = aegis.json("org", "list")
    worst = aegis.json("org", "list", "--worst-first", "--limit", "1")
    printed = aegis("org", "list").stdout

    assert [(one["org_id"], one["name"]) for one in listed] == [
        ("org_a", "Company org_a"),
        ("org_b", "Company org_b"),
    ]
    assert [one["org_id"] for one in worst] == ["org_a"]
    assert printed.startswith("ORG_ID")


@pytest.mark.parametrize("wrong", ["-1", "1.5", "1GB", "", "1000000000000001", "٣", "default "])
def test_a_wrong_quota_is_answered_with_its_limits(aegis, wrong):
    """A quota that is no number in its range is wrong usage; the message has the range, and nothing is changed."""
    aegis("org", "create", "First", "--id", "org_first")

    finished = aegis("org", "quota", "--org", "org_first", "--stored-bytes", wrong, status=2)

    assert "1000000000000000" in finished.stderr
    assert aegis.json("org", "quota", "--org", "org_first")["quotas"]["stored_bytes_max"] == 0


def test_a_quota_of_no_organization_says_how_to_create_one(aegis):
    """An unknown organization is an error that says what to do."""
    aegis("org", "create", "First", "--id", "org_first")

    finished = aegis("org", "quota", "--org", "org_missing", status=1)

    assert "org create" in finished.stderr


COMMANDS_ON_THE_STORE = [
    ("org", "list"),
    ("org", "quota", "--org", "org_first"),
    ("key", "create", "--org", "org_first"),
    ("key", "list", "--org", "org_first"),
    ("key", "revoke", "key_x", "--org", "org_first"),
    ("key", "rotate", "key_x", "--org", "org_first"),
    ("vault", "rotate"),
    ("vault", "reset", "--yes"),
    ("backup", "copy.db"),
]


@pytest.mark.parametrize("data_dir", [None, "./data", "sub/data"])
@pytest.mark.parametrize("arguments", [*COMMANDS_ON_THE_STORE, ("org", "create", "First"), ("worker",)])
def test_a_command_in_the_wrong_directory_makes_no_second_database(
    aegis, tmp_path, monkeypatch, arguments, data_dir
):
    """Where the data directory depends on the working directory and has no database, a command says where it looked and makes nothing."""
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    monkeypatch.chdir(wrong)
    if data_dir is None:
        monkeypatch.delenv("AEGIS_DATA_DIR")
    else:
        monkeypatch.setenv("AEGIS_DATA_DIR", data_dir)

    finished = aegis(*arguments, status=1)

    place = wrong / (data_dir or "aegis-data") / "aegis.db"
    assert finished.stderr.startswith(f"aegis: there is no database at {place}: set AEGIS_DATA_DIR")
    assert finished.stderr.count("\n") == 1
    assert list(wrong.iterdir()) == []


@pytest.mark.parametrize("arguments", COMMANDS_ON_THE_STORE)
def test_a_command_for_what_is_there_makes_no_database(aegis, tmp_path, arguments):
    """A command that cannot be the first one makes no data directory, however it is named."""
    finished = aegis(*arguments, status=1)

    assert f"there is no database at {tmp_path / 'data' / 'aegis.db'}" in finished.stderr
    assert not (tmp_path / "data").exists()


def test_a_command_beside_a_service_works_in_its_directory(aegis, tmp_path, monkeypatch):
    """With the default data directory, commands work in the directory where the service made it."""
    aegis("org", "create", "First", "--id", "org_first")
    (tmp_path / "data").rename(tmp_path / "aegis-data")
    monkeypatch.delenv("AEGIS_DATA_DIR")
    monkeypatch.chdir(tmp_path)

    assert aegis.json("key", "list", "--org", "org_first")
    assert aegis("org", "create", "Second").stderr == ""
