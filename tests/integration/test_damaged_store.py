"""A data directory in which something is missing, cut off or damaged: the start and doctor say so in one sentence."""

import json
from pathlib import Path

import apsw
import pytest

from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.errors import AegisError, Misconfigured
from aegis_stream.store import organizations
from aegis_stream.store.recorded_head import RecordedHead
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.settings import make_settings
from support.stores import append_to, events

NOW = Micros(1_780_000_000_000_000)


@pytest.fixture
async def folder(tmp_path) -> Path:
    """Make a data directory with twenty events, as a service leaves it."""
    folder = tmp_path / "data"
    stores = open_stores(make_settings(data_dir=folder), FakeLog())
    no = stores.db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "A", NOW))
    await append_to(stores.log, no, events(1, 20), NOW)
    RecordedHead(folder).write(20)
    stores.close()
    return folder


def start(folder: Path) -> None:
    """Start on a data directory, as each command does."""
    open_stores(make_settings(data_dir=folder), FakeLog()).close()


def doctor(monkeypatch, capsys, folder: Path) -> list[str]:
    """Return what doctor says about events and database, problems alone."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(folder))
    done = run_aegis(monkeypatch, capsys, "doctor", "--json")
    found = [one for one in json.loads(done.stdout)["findings"] if one["check"] in ("events", "database")]
    return [one["detail"] for one in found if one["state"] == "problem"]


def change(folder: Path, *statements: str) -> None:
    """Change the database without the program."""
    connection = apsw.Connection(str(folder / "aegis.db"))
    for one in statements:
        connection.execute(one)
    connection.close()


def remove(folder: Path) -> None:
    """Take the database away, and whatever has its name."""
    for path in folder.glob("aegis.db*"):
        path.unlink()


def empty(folder: Path) -> None:
    """Leave a file without content in its place."""
    remove(folder)
    (folder / "aegis.db").touch()


@pytest.mark.parametrize("damage", [remove, empty])
@pytest.mark.parametrize("kept", ["operator.sha256", "log.head"])
def test_a_lost_database_stops_the_start(folder, monkeypatch, capsys, damage, kept):
    """Whichever file tells that a database was there, the start makes no new one, and doctor says the same."""
    damage(folder)
    for name in {"operator.sha256", "operator.key", "log.head"} - {kept}:
        (folder / name).unlink(missing_ok=True)
    before = sorted(one.name for one in folder.iterdir())

    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"aegis\.db is missing or empty.*aegis restore") as error:
            start(folder)
        assert error.value.code == "database-missing"
    assert sorted(one.name for one in folder.iterdir()) == before
    assert any("is missing or empty" in one for one in doctor(monkeypatch, capsys, folder))


def test_a_master_key_put_there_before_the_first_start_is_no_lost_database(folder, tmp_path):
    """A directory with nothing but a key is the first start of a service whose key was provided."""
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    (fresh / "master.key").write_bytes((folder / "master.key").read_bytes())
    (fresh / "master.key").chmod(0o600)

    start(fresh)

    assert (fresh / "aegis.db").stat().st_size > 0


def test_a_rolled_back_database_stops_the_start(folder, monkeypatch, capsys):
    """A database without the newest events is refused with their number, until a person accepts the loss."""
    change(folder, "DELETE FROM events WHERE sequence > 15", "UPDATE organizations SET head = 15")

    with pytest.raises(Misconfigured, match="lacks 5 of 20 acknowledged events"):
        start(folder)
    assert any("lacks 5 of 20" in one for one in doctor(monkeypatch, capsys, folder))
    (folder / "log.head").unlink()
    start(folder)


@pytest.mark.parametrize("version", [0, 1, 3, 7])
def test_a_version_set_back_stops_the_start(folder, version):
    """The start ends with one sentence, and the database is unchanged."""
    change(folder, f"PRAGMA user_version = {version}")

    with pytest.raises(AegisError) as error:
        start(folder)

    assert isinstance(error.value, Misconfigured)
    assert error.value.code == "schema-mismatch"
    change(folder, f"PRAGMA user_version = {migrations()[-1][0]}")
    start(folder)


def test_doctor_names_damaged_events(folder, monkeypatch, capsys):
    """Events that changed or went missing are named with their organization, without a worker having read them."""
    change(
        folder,
        "UPDATE events SET body = replace(body, 'event', 'evemt') WHERE event_id = 'e3'",
        "DELETE FROM events WHERE event_id = 'e9'",
        "UPDATE events SET body = CAST(x'7bff7d' AS TEXT) WHERE event_id = 'e20'",
    )

    found = doctor(monkeypatch, capsys, folder)

    assert found == ["damaged or missing: event 3 of org_a, event 9 of org_a, event 20 of org_a"]


def test_doctor_is_content_with_an_intact_log(folder, monkeypatch, capsys):
    """Without damage there is no finding, also where retention has removed the oldest events."""
    change(folder, "DELETE FROM events WHERE sequence < 5", "UPDATE organizations SET oldest = 5")

    assert doctor(monkeypatch, capsys, folder) == []
