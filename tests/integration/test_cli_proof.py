"""`aegis proof` on a data directory: what is sealed is shown, chosen, and begun again after an older database."""

import asyncio
import json
import shutil
import zipfile

import pytest

from aegis_stream.control import log_hashes
from aegis_stream.domain.note import parse_verifier_key
from aegis_stream.sealer import Sealer
from aegis_stream.store import organizations, tree
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.clock import T0
from support.service import OPERATOR_KEY
from support.settings import make_settings
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
        proof_events=1,
    )


@pytest.fixture
def aegis(tmp_path, monkeypatch, capsys):
    """`aegis(…)` runs a command on the data directory."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AEGIS_OPERATOR_KEY", OPERATOR_KEY)

    def run(*arguments, status=0):
        finished = run_aegis(monkeypatch, capsys, *arguments)
        assert finished.status == status, finished
        return finished

    run.json = lambda *arguments: json.loads(run(*arguments, "--json").stdout)
    run("org", "create", "A", "--id", "org_a")
    return run


def seal(settings, count: int, first: int = 1) -> FakeLog:
    """Record events, and let a sealer look once."""
    log = FakeLog()
    stores = open_stores(settings, log)

    async def work() -> None:
        no = (await stores.db.read(lambda unit: organizations.find(unit, "org_a"))).no
        await append_to(stores.log, no, events(first, count), T0)
        sealer: Sealer = make_sealer(settings, stores, log)
        while await sealer._look(asyncio.Event()):
            pass

    try:
        asyncio.run(work())
    finally:
        stores.close()
    return log


def names(log: FakeLog) -> list[str]:
    """Return the names of what was logged."""
    return [name for _, name, _ in log.lines]


def test_what_is_sealed_is_shown(aegis, settings):
    """Before the first seal, and after it: name, size and a key that verifiers read."""
    before = aegis.json("proof", "show", "--org", "org_a")
    plain = aegis("proof", "show", "--org", "org_a").stdout
    seal(settings, 5)
    after = aegis.json("proof", "show", "--org", "org_a")
    printed = aegis("proof", "show", "--org", "org_a").stdout

    assert (before["mode"], before["log"], before["keys"]) == ("sealed", None, [])
    assert "nothing is sealed yet" in plain
    assert (after["log"], after["first_sequence"], after["sealed"]) == (
        "audit.example.com/org_a",
        1,
        after["head"],
    )
    assert after["checkpoint"].startswith(f"audit.example.com/org_a\n{after['sealed']}\n")
    assert parse_verifier_key(after["keys"][0]).name == "audit.example.com/org_a"
    assert after["keys"][0] in printed


def test_a_sealed_log_prints_its_checkpoint(aegis, settings, monkeypatch):
    """`seal` prints the signed note when all is sealed, so that a file can take it; without AEGIS_PROOF it says what to do."""
    monkeypatch.setenv("AEGIS_PROOF", "false")
    refused = aegis("proof", "seal", "--org", "org_a", status=1)
    seal(settings, 5)
    monkeypatch.delenv("AEGIS_PROOF")
    note = aegis.json("proof", "show", "--org", "org_a")["checkpoint"]
    printed = aegis("proof", "seal", "--org", "org_a").stdout
    shown = aegis.json("proof", "seal", "--org", "org_a")

    assert "AEGIS_PROOF=true" in refused.stderr
    assert printed == note
    assert (shown["org_id"], shown["log"], shown["sealed"]) == ("org_a", "audit.example.com/org_a", 5)
    assert shown["checkpoint"] == note


def test_the_evidence_is_written(aegis, settings, tmp_path, monkeypatch):
    """One archive, named after what it proves; before the first seal, for a size that never was, and where it cannot be written, the reason is told."""
    monkeypatch.chdir(tmp_path)
    unsealed = aegis("proof", "bundle", "--org", "org_a", status=1)
    seal(settings, 5)
    end = aegis.json("proof", "show", "--org", "org_a")["sealed"]
    aegis("proof", "bundle", "--org", "org_a", "--from-size", "2")
    chosen = aegis("proof", "bundle", "--org", "org_a", "--output", str(tmp_path / "mine.zip"))
    wrong = aegis("proof", "bundle", "--org", "org_a", "--from-size", "999", status=1)
    nowhere = aegis(
        "proof", "bundle", "--org", "org_a", "--output", str(tmp_path / "none" / "x.zip"), status=1
    )
    with zipfile.ZipFile(tmp_path / f"proof-org_a-{end}.zip") as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]

    assert "no event of this organization is sealed" in unsealed.stderr
    assert names == [
        *("README.txt", "keys.txt", "checkpoint.txt", f"consistency-2-{end}.txt", "aegis-verify.pyz")
    ]
    assert zipfile.is_zipfile(tmp_path / "mine.zip")
    assert "mine.zip" in chosen.stdout
    assert "from_size must be 1 to" in wrong.stderr
    assert "name another file with --output" in nowhere.stderr


def covered(text: str) -> list[tuple[int, int]]:
    """Return which sequences each line of hashes covers."""
    found = [json.loads(line)["aegis"]["proof"] for line in text.splitlines()]
    return [(one["first"], one["last"]) for one in found]


def bodies_of(settings, count: int) -> str:
    """Return the first events of the log, one a line."""
    stores = open_stores(settings, FakeLog())
    try:
        found = asyncio.run(stores.log.entries_at(1, list(range(1, count + 1))))
    finally:
        stores.close()
    return "".join([f"{one.body}\n" for one in found])


def test_the_hashes_are_written(aegis, settings, tmp_path, monkeypatch):
    """All pages of the range come one after the other, to standard output or to a file, and an export is proven with them."""
    seal(settings, 5)
    sealed = aegis.json("proof", "show", "--org", "org_a")
    end, key = sealed["sealed"], sealed["keys"][0]
    export, hashes, note = tmp_path / "siem.ndjson", tmp_path / "hashes.ndjson", tmp_path / "checkpoint.txt"
    export.write_text(bodies_of(settings, end))
    note.write_text(sealed["checkpoint"])
    monkeypatch.setattr(log_hashes, "HASHES_MAX", 2)
    whole = aegis("proof", "hashes", "--org", "org_a").stdout
    some = aegis("proof", "hashes", "--org", "org_a", "--first", "2", "--last", "4").stdout
    told = aegis("proof", "hashes", "--org", "org_a", "--output", str(hashes)).stdout
    checks = ("--checkpoint", str(note), "--key", key)

    assert covered(whole) == [(at, min(at + 1, end)) for at in range(1, end + 1, 2)]
    assert covered(some) == [(2, 3), (4, 4)]
    assert told == f"{hashes}  hashes up to event {end}\n"
    assert hashes.read_text() == whole
    aegis("verify", str(export), *checks, status=1)
    aegis("verify", str(export), str(hashes), *checks)


def test_hashes_that_cannot_be_written(aegis, settings, tmp_path):
    """Before the first seal, for events that are not sealed, for no number, and where no file can be, the reason is told; an older file stays."""
    older, nowhere = tmp_path / "hashes.ndjson", tmp_path / "none" / "x.ndjson"
    older.write_text("older")
    arguments = ("proof", "hashes", "--org", "org_a")
    unsealed = aegis(*arguments, status=1)
    seal(settings, 5)
    beyond = aegis(*arguments, "--first", "999", "--output", str(older), status=1)
    before = aegis(*arguments, "--first", "3", "--last", "2", status=1)
    zero = aegis(*arguments, "--last", "0", status=2)
    lost = aegis(*arguments, "--output", str(nowhere), status=1)
    unknown = aegis("proof", "hashes", "--org", "org_b", status=1)

    assert "no event of this organization is sealed" in unsealed.stderr
    assert "first must be 1 to" in beyond.stderr
    assert "last must be 3 to" in before.stderr
    assert "'0' is not a whole number of at least 1" in zero.stderr
    assert "name another file with --output" in lost.stderr
    assert "org_b" in unknown.stderr
    assert (older.read_text(), [one.name for one in tmp_path.glob("hashes*")]) == ("older", ["hashes.ndjson"])


def test_the_mode_is_chosen_and_recorded(aegis, settings):
    """A change of the mode is an event of the log; in the mode stream checkpoint events are in it."""
    assert aegis.json("proof", "mode", "--org", "org_a", "stream") == {"org_id": "org_a", "proof": "stream"}
    seal(settings, 5)

    stores = open_stores(settings, FakeLog())
    try:
        ids = asyncio.run(stores.log.event_ids(1, 0, 1000))
        bodies = asyncio.run(stores.log.entries_at(1, list(ids)))
    finally:
        stores.close()
    actions = [json.loads(one.body)["event"].get("action") for one in bodies]
    assert [one for one in actions if one and one.startswith("proof")] == ["proof_change", "proof_key_create"]
    assert "checkpoint" in actions
    assert "mode        off" in aegis("proof", "mode", "--org", "org_a", "off").stdout
    aegis("proof", "mode", "--org", "org_a", "loud", status=2)
    aegis("proof", "show", "--org", "org_b", status=1)


def test_an_older_database_is_refused_until_another_log_is_begun(aegis, settings, tmp_path):
    """A backup put in place is not sealed; after a restart with a reason another log goes on, from the end of what is sealed."""
    seal(settings, 5)
    shutil.copy(tmp_path / "data" / "aegis.db", tmp_path / "backup.db")
    older = aegis.json("proof", "show", "--org", "org_a")
    seal(settings, 5, 100)
    for name in ("aegis.db-wal", "aegis.db-shm", "log.head"):
        (tmp_path / "data" / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "data" / "aegis.db")
    assert aegis.json("proof", "show", "--org", "org_a")["sealed"] == older["sealed"]

    refused = seal(settings, 20, 200)
    assert names(refused).count("proof.refused") == 1
    assert "aegis proof restart" in refused.lines[-1][2]["reason"]
    aegis("proof", "restart", "--org", "org_a", "--reason", " ", "--yes", status=1)
    begun = aegis.json("proof", "restart", "--org", "org_a", "--reason", "backup of Monday", "--yes")
    again = seal(settings, 5, 300)
    now = aegis.json("proof", "show", "--org", "org_a")

    first = older["sealed"] + 1
    assert begun == {"org_id": "org_a", "log": f"audit.example.com/org_a@{first}", "first_sequence": first}
    assert "proof.refused" not in names(again)
    assert (now["log"], now["sealed"]) == (begun["log"], now["head"])
    stores = open_stores(settings, FakeLog())
    try:
        assert stores.db.read_now(lambda unit: tree.newest_tree(unit, 1)).base == older["sealed"]
    finally:
        stores.close()


def test_a_log_that_has_not_begun_is_not_begun_again(aegis, settings):
    """Without a sealed event there is nothing to begin again, also right after a restart."""
    assert (
        "nothing to begin again"
        in aegis("proof", "restart", "--org", "org_a", "--reason", "x", "--yes", status=1).stderr
    )
    seal(settings, 5)
    aegis("proof", "restart", "--org", "org_a", "--reason", "x", "--yes")
    assert (
        "since its log began"
        in aegis("proof", "restart", "--org", "org_a", "--reason", "x", "--yes", status=1).stderr
    )
