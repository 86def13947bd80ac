"""The command `aegis database copy`, on files."""

import json

import apsw
import pytest

from aegis_stream.store.copy_tables import CHANGING, EVENTS
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.old_data import make_old_data
from support.settings import make_settings


@pytest.fixture
def data(tmp_path):
    """Make a data directory with something in every table."""
    make_old_data(tmp_path / "data")
    open_stores(make_settings(data_dir=tmp_path / "data"), FakeLog()).close()
    return tmp_path / "data"


@pytest.fixture
def aegis(monkeypatch, capsys, data):
    """Run `aegis database copy` with that data directory."""

    def run(*arguments, **environment):
        return run_aegis(
            monkeypatch, capsys, "database", "copy", *arguments, AEGIS_DATA_DIR=str(data), **environment
        )

    return run


def test_it_says_what_it_copied_and_what_comes_next(aegis, tmp_path, data):
    """A table with a row for each table of the database, then where the copy is, and what goes along with it."""
    done = aegis("--to", f"sqlite:///{tmp_path}/copy.db")

    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TABLE", "ORGANIZATIONS", "SOURCE", "ROWS", "COPIED", "ROWS", "CHECKSUMS"]
    assert lines[1].split() == ["events", "2", "43", "43", "equal"]
    assert len(lines) == len(("heading", EVENTS, *CHANGING, "counters", "copied", "take along"))
    assert lines[-2] == f"copied to sqlite:///{tmp_path}/copy.db: all rows are equal"
    assert str(data / "master.key") in lines[-1]
    assert "events: 43 of 43" in done.stderr


def test_its_json_is_the_comparison(aegis, tmp_path):
    """A script reads whether the copy is finished, and which rows differ."""
    done = json.loads(aegis("--to", f"sqlite:///{tmp_path}/copy.db", "--json").stdout)

    assert (done["equal"], done["finished"], done["damaged_events"], done["problems"]) == (True, True, 0, [])
    assert done["tables"][0] == {
        "table": "events", "organizations": 2, "source_rows": 43, "target_rows": 43, "differing": [],
    }  # fmt: skip


def test_variables_have_urls(aegis, tmp_path):
    """A URL with a password need not be on the command line, where the list of processes shows it."""
    first = aegis(AEGIS_DATABASE_URL=f"sqlite:///{tmp_path}/one.db")
    second = aegis(
        "--from-env", "OLD", "--to-env", "NEW",
        OLD=f"sqlite:///{tmp_path}/one.db", NEW=f"sqlite:///{tmp_path}/two.db",
    )  # fmt: skip

    assert (first.status, second.status) == (0, 0), first.stderr + second.stderr
    assert f"copied to sqlite:///{tmp_path}/two.db" in second.stdout


def test_a_first_pass_is_followed_by_another(aegis, tmp_path):
    """The target stays unfinished until the last pass, and the output says so."""
    first = aegis("--to", f"sqlite:///{tmp_path}/copy.db", "--first-pass")
    last = aegis("--to", f"sqlite:///{tmp_path}/copy.db")

    assert "run this again without --first-pass" in first.stdout
    assert "all rows are equal" in last.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), {}, "name the database to copy to: --to, --to-env or AEGIS_DATABASE_URL"),
        (("--to", "sqlite:///a", "--to-env", "X"), {}, "give --to or --to-env, not both"),
        (("--to-env", "NOWHERE"), {}, "the variable NOWHERE is not set"),
        (("--to", "mysql://u:s3cret@h/d"), {}, "--to is not the URL of a database: it must begin with sqlite:///"),
        (("--to-env", "X"), {"X": "postgresql://u:s3@cret@h/d"}, "X is not the URL of a database"),
    ],
)  # fmt: skip
def test_wrong_use_says_what_to_do(aegis, arguments, environment, said):
    """Nothing is copied, the exit status is 2, and no part of a URL is repeated."""
    done = aegis(*arguments, **environment)

    assert done.status == 2
    assert said in done.stderr
    assert "s3" not in done.stderr


def test_the_same_database_is_no_target(aegis, data):
    """A database is not copied onto itself."""
    done = aegis("--to", f"sqlite:///{data}/aegis.db")

    assert done.status == 2
    assert "source and target are the same database" in done.stderr


def test_damaged_events_end_with_status_1(aegis, tmp_path, data):
    """Whoever runs it in a script notices that events of the source are damaged, and which."""
    with apsw.Connection(str(data / "aegis.db")) as raw:
        raw.execute("UPDATE events SET checksum = 1 WHERE org_no = 2 AND sequence = 3")
    raw.close()
    done = aegis("--to", f"sqlite:///{tmp_path}/copy.db")

    assert done.status == 1
    assert "damaged, and are not in the copy: 1 (org_b 3)" in done.stderr
