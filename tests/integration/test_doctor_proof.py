"""`aegis doctor` on sealed logs: how far they are sealed, and what to do where they are not any more."""

import asyncio
import json
import shutil

import pytest

from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import NotFound
from aegis_stream.store import organizations, sealing_state, tree
from aegis_stream.store.sealing_state import SILENT_US
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.clock import T0
from support.service import OPERATOR_KEY
from support.settings import make_settings
from support.sql import raw
from support.stores import append_to, events

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def settings(tmp_path):
    """Return the settings of the data directory."""
    return make_settings(
        data_dir=tmp_path / "data",
        operator_key=OPERATOR_KEY,
        proof_origin="audit.example.com",
        proof_seconds=1,
        proof_events=2,
    )


@pytest.fixture
def doctor(settings, monkeypatch, capsys):
    """`doctor()` returns the findings on sealed logs as (state, detail, remedy)."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(settings.store.data_dir))
    monkeypatch.setenv("AEGIS_OPERATOR_KEY", OPERATOR_KEY)

    def run(**environment):
        found = json.loads(run_aegis(monkeypatch, capsys, "doctor", "--json", **environment).stdout)
        named = [one for one in found["findings"] if one["check"] == "proof"]
        return [(one["state"], one["detail"], one["remedy"]) for one in named]

    return run


def on(settings, work):
    """Run a coroutine function on the stores of the data directory."""
    stores = open_stores(settings, FakeLog())
    try:
        return asyncio.run(work(stores))
    finally:
        stores.close()


def change(settings, work) -> None:
    """Change the database in one unit of work."""

    async def write(stores) -> None:
        await stores.db.write(work)

    on(settings, write)


def record(settings, org_id: str, first: int, count: int) -> None:
    """Record events of an organization; make it if it is not there."""

    async def work(stores) -> None:
        try:
            no = (await stores.db.read(lambda unit: organizations.find(unit, org_id))).no
        except NotFound:
            no = await stores.db.write(
                lambda unit: organizations.add(unit, OrganizationId(org_id), org_id, T0)
            )
        await append_to(stores.log, no, events(first, count), T0)

    on(settings, work)


def seal(settings) -> None:
    """Let a sealer look until nothing is due."""

    async def work(stores) -> None:
        sealer = make_sealer(settings, stores, FakeLog())
        while await sealer._look(asyncio.Event()):
            pass

    on(settings, work)


def look_back(settings, ago_us: int, caught_up_ago_us: int | None = None) -> None:
    """Let the last look of the sealer be so long ago."""
    now = SystemClock().now()
    caught_up_at = now - (ago_us if caught_up_ago_us is None else caught_up_ago_us)
    change(
        settings,
        lambda unit: raw(unit).run(
            "UPDATE sealing SET looked_at = ?, caught_up_at = ?", (now - ago_us, caught_up_at)
        ),
    )


def test_what_is_sealed_is_counted(settings, doctor):
    """Before the first event, before the first seal, after it, and with events that wait."""
    on(settings, lambda stores: asyncio.sleep(0))
    assert doctor() == [("ok", "there is no event to seal", "")]
    record(settings, "org_a", 1, 4)
    assert [(one[0], one[1]) for one in doctor()] == [
        ("note", "no sealer has ever run; 4 events wait, and retention removes none of them"),
        ("note", "0 of 4 events of 1 logs are sealed: the first seal is still to come"),
    ]
    seal(settings)
    [(state, detail, _)] = doctor()
    assert (state, detail.partition(" old")[0][:-3].rpartition("seal is")[0]) == (
        "ok",
        "4 of 4 events of 1 logs are sealed, the newest ",
    )
    record(settings, "org_b", 1, 3)
    [(state, detail, _)] = doctor()
    assert state == "ok"
    assert detail.startswith("4 of 7 events of 2 logs are sealed")
    assert detail.endswith("; 3 wait for the next seal")


def test_a_sealer_that_is_gone_is_missed(settings, doctor):
    """Once it has not looked for two minutes; a problem only where an event waits. Switched off it is a note."""
    record(settings, "org_a", 1, 4)
    seal(settings)
    look_back(settings, SILENT_US - 10_000_000)
    assert [one[0] for one in doctor()] == ["ok"]
    look_back(settings, 3 * SILENT_US)
    assert doctor()[0][:2] == ("note", "no sealer runs: the last one was seen 6 minutes ago")

    record(settings, "org_a", 100, 7)
    state, detail, remedy = doctor()[0]

    assert (state, remedy.startswith("start `aegis serve` or `aegis sealer`")) == ("problem", True)
    assert detail.endswith("6 minutes ago; 7 events wait, and retention removes none of them")
    [(state, detail, remedy)] = doctor(AEGIS_PROOF="false")
    assert (state, remedy) == ("note", "set AEGIS_PROOF=true")


def test_a_sealer_that_does_not_keep_up_is_told(settings, doctor):
    """Where it looks, and has not caught up for ten minutes."""
    record(settings, "org_a", 1, 4)
    seal(settings)
    record(settings, "org_a", 100, 7)
    look_back(settings, 5_000_000, 599_000_000)
    assert [one[0] for one in doctor()] == ["ok"]
    look_back(settings, 5_000_000, 3 * 3600 * 1_000_000)

    state, detail, remedy = doctor()[0]

    assert (state, detail.partition(";")[0]) == ("problem", "the sealer has not caught up for 3 hours")
    assert "AEGIS_PROOF_CONTENTS=off" in remedy


def test_a_log_that_the_sealer_refuses_is_named_with_the_way_out(settings, doctor):
    """The sealer's own reason, once, and the command; after that command all is well."""
    for org_id in ("org_a", "org_b"):
        record(settings, org_id, 1, 4)
    seal(settings)
    change(settings, lambda unit: raw(unit).run("UPDATE trees SET frontier = x'00' WHERE org_no = 1"))
    record(settings, "org_a", 100, 4)
    seal(settings)

    [(state, detail, remedy), (fine, _, _)] = doctor()

    assert (state, fine) == ("problem", "ok")
    assert detail.startswith("the log of org_a is not sealed any more: ")
    assert "`aegis proof restart --org org_a --reason TEXT`" in remedy


def test_what_the_next_seal_would_refuse_is_found_before(settings, doctor):
    """Without a sealer, too: changed rows, and a key that is not there any more."""
    record(settings, "org_a", 1, 4)
    seal(settings)
    right = on(settings, lambda stores: stores.db.read(lambda unit: tree.newest_tree(unit, 1)))

    for damage, mended in (
        ("UPDATE trees SET size = 3", ("UPDATE trees SET size = 4", ())),
        ("UPDATE trees SET note = 'x'", ("UPDATE trees SET note = ?", (right.note,))),
        ("UPDATE tree_tiles SET hashes = x'00'", None),
    ):
        change(settings, lambda unit, text=damage: raw(unit).run(text))
        assert doctor()[0][0] == "problem", damage
        assert "org_a is not sealed any more" in doctor()[0][1]
        if mended is not None:
            change(settings, lambda unit, how=mended: raw(unit).run(*how))
            assert [one[0] for one in doctor()] == ["ok"], damage

    change(settings, lambda unit: tree.set_mode(unit, 1, ProofMode.OFF))
    assert [one[0] for one in doctor()] == ["ok"]


def test_an_older_copy_is_found_before_it_is_sealed(settings, doctor, tmp_path):
    """checkpoints.log is ahead of the database: the log is named, with the command that begins another one."""
    folder = settings.store.data_dir
    record(settings, "org_a", 1, 4)
    seal(settings)
    shutil.copy(folder / "aegis.db", tmp_path / "backup.db")
    record(settings, "org_a", 100, 4)
    seal(settings)
    for name in ("aegis.db-wal", "aegis.db-shm", "log.head"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", folder / "aegis.db")

    state, detail, remedy = doctor()[0]

    assert state == "problem"
    assert "checkpoint 8 of audit.example.com/org_a was signed, and the database is back at 4" in detail
    assert "aegis proof restart --org org_a" in remedy


def test_many_refused_logs_are_listed(settings, doctor):
    """The first ten with their way out, the others by name."""

    async def work(stores) -> None:
        for number in range(12):
            no = await stores.db.write(
                lambda unit, n=number: organizations.add(unit, OrganizationId(f"org_{n:02}"), "x", T0)
            )
            at = Micros(T0 + number)
            await stores.db.write(
                lambda unit, n=no, at=at: sealing_state.refuse(
                    unit, n, "key 1 of org_a cannot be used: lost", at
                )
            )

    on(settings, work)

    found = [one for one in doctor() if one[0] == "problem"]

    assert len(found) == 11
    assert all("aegis vault reset" in remedy for _, _, remedy in found[:10])
    assert found[10][1] == "not sealed any more either: org_10, org_11"
