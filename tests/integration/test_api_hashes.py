"""Promises of the hashes of a sealed log: an export that lacks checkpoint events, or never had any, is verified with them."""

import json

import pytest

from aegis_stream.api.scopes import OPTIONAL_NUMBERS
from aegis_stream.control import log_hashes
from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import tree
from aegis_stream.verify.__main__ import main
from support.api import Caller, open_world
from support.exports import sorted_names, write
from support.log import entries
from support.seal_now import seal_now
from support.sql import raw

HASHES = "/proof/hashes"


@pytest.fixture
async def world(tmp_path):
    """A running application, whose seals cover everything."""
    async with open_world(tmp_path, proof_events=10_000) as world:
        yield world


@pytest.fixture
async def tenant(world):
    """An organization with a key of each scope."""
    return await world.make_organization()


class Kept:
    """What an auditor has of a log: files in a folder.

    Args:
        bodies: the events of the log in order.
    """

    def __init__(self, folder, bodies, key, note):
        self.folder, self.bodies, self.key = folder, bodies, key
        self.note = str(folder / "checkpoint.txt")
        (folder / "checkpoint.txt").write_text(note)

    def without_checkpoints(self, first=1, last=10**6):
        """Return the events without the checkpoint events of a range of sequences."""
        return [
            body
            for sequence, body in enumerate(self.bodies, 1)
            if not (first <= sequence <= last and is_checkpoint(body))
        ]

    def verify(self, capsys, bodies, *more, kept=False):
        """Run the verifier on an export and further files; return its exit status and its report."""
        arguments = [write(self.folder / "siem.ndjson", bodies), *more, "--key", self.key, "--json"]
        arguments += ["--checkpoint", self.note] if kept else []
        status = main(arguments, now_s=2**31)
        return status, json.loads(capsys.readouterr().out)


def is_checkpoint(body: bytes) -> bool:
    """Tell whether an event is a checkpoint event."""
    return json.loads(body)["event"].get("dataset") == CHECKPOINT_DATASET


async def seal(world, tenant) -> None:
    """Seal what is not sealed, a while later."""
    world.clock.advance(10)
    await seal_now(world, tenant)


async def kept_of(world, tenant, folder) -> Kept:
    """Return what an auditor has of the log as it is now."""
    key = (await tenant.read.get("/proof/keys")).text.splitlines()[0].removeprefix("log ")
    note = (await tenant.read.get("/proof/checkpoint")).text
    end = (await world.stores.db.read(lambda unit: tree.newest_tree(unit, tenant.no))).end
    found = await entries(world.stores.log, tenant.no, 0, 100_000, 100_000)
    sealed = [one.body.encode() for one in found if one.sequence <= end]
    newest = [one.body.encode() for one in found if one.sequence > end]
    made = Kept(folder, sealed, key, note)
    made.newest = newest
    return made


async def stream(world, tenant, folder) -> Kept:
    """Seal a log three times, the last time only checkpoint events."""
    await world.stores.db.write(lambda unit: tree.set_mode(unit, tenant.no, ProofMode.STREAM))
    for name, count in (("one", 150), ("two", 230)):
        await world.send_events(tenant, count, prefix=name)
        await seal(world, tenant)
    await seal(world, tenant)
    return await kept_of(world, tenant, folder)


async def hashes_in(folder, tenant, **query) -> str:
    """Write all pages of the hashes to a file; return its path."""
    lines, url, params = [], HASHES, query
    while url:
        answer = await tenant.read.get(url, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        lines += answer.text.splitlines()
        link = answer.links.get("next")
        if link is None:
            break
        path, _, text = link["url"].partition("?")
        assert path == f"/api/orgs/{tenant.org_id}{HASHES}"
        params = dict(one.split("=") for one in text.split("&"))
    return write(folder / "hashes.ndjson", [one.encode() for one in lines])


@pytest.mark.parametrize("shape", [list, sorted_names])
async def test_lost_checkpoint_events_are_replaced(world, tenant, tmp_path, capsys, monkeypatch, shape):
    """An export that lost the checkpoint events of a seal, or all, is complete again, page by page, at the level it had."""
    monkeypatch.setattr(log_hashes, "HASHES_MAX", 100)
    log = await stream(world, tenant, tmp_path)
    hashes = await hashes_in(tmp_path, tenant)
    whole, _ = log.verify(capsys, shape(log.bodies + log.newest))
    some = shape(log.without_checkpoints(383, 385) + log.newest)
    none = shape(log.without_checkpoints())

    assert whole == 0
    assert log.verify(capsys, some)[0] == 1
    assert log.verify(capsys, some, hashes)[0] == 0
    assert log.verify(capsys, none)[0] == 3
    status, report = log.verify(capsys, none, hashes, kept=True)
    assert status == 0, report
    [found] = report["logs"]
    assert (found["first"], found["last"]) == (1, len(log.bodies))


async def test_the_hashes_of_a_gap_are_enough(world, tenant, tmp_path, capsys):
    """What the report calls a gap is closed by the hashes of its range, and the report says so."""
    log = await stream(world, tenant, tmp_path)
    lacking = log.without_checkpoints(383, 385) + log.newest
    _, report = log.verify(capsys, lacking)
    [gap] = report["logs"][0]["gaps"]
    main([str(tmp_path / "siem.ndjson"), "--key", log.key], now_s=2**31)
    printed = capsys.readouterr().out
    hashes = await hashes_in(tmp_path, tenant, first=gap["first"], last=gap["last"])

    assert (gap["first"], gap["last"]) == (151, 385)
    assert "proof/hashes?first=151&last=385" in printed
    assert log.verify(capsys, lacking, hashes)[0] == 0


async def test_a_log_without_checkpoint_events_is_verified(world, tenant, tmp_path, capsys):
    """In the mode sealed an export, its hashes and a kept checkpoint prove that it is complete, and name what is not."""
    await world.send_events(tenant, 300)
    await seal(world, tenant)
    await world.send_events(tenant, 70, prefix="more")
    await seal(world, tenant)
    log = await kept_of(world, tenant, tmp_path)
    hashes = await hashes_in(tmp_path, tenant)
    changed = json.dumps({**json.loads(log.bodies[41]), "by": "somebody"}).encode()

    assert log.verify(capsys, log.bodies, hashes, kept=True)[0] == 0
    assert log.verify(capsys, log.bodies, hashes)[0] == 3
    assert log.verify(capsys, log.bodies, kept=True)[0] != 0
    status, report = log.verify(capsys, log.bodies[:41] + log.bodies[42:], hashes, kept=True)
    assert status == 1
    [missing] = report["logs"][0]["missing"]["ranges"]
    assert (missing["first"], missing["last"]) == (42, 42)
    status, report = log.verify(
        capsys, [*log.bodies[:41], changed, *log.bodies[42:]], hashes, "--accept", "exact", kept=True
    )
    assert status != 0


async def test_a_checkpoint_that_was_kept_before_the_end(world, tenant, tmp_path, capsys):
    """Hashes beyond a kept checkpoint do no harm: it proves what is before it."""
    await world.send_events(tenant, 130)
    await seal(world, tenant)
    log = await kept_of(world, tenant, tmp_path)
    await world.send_events(tenant, 130, prefix="more")
    await seal(world, tenant)
    hashes = await hashes_in(tmp_path, tenant)

    assert log.verify(capsys, log.bodies, hashes, kept=True)[0] == 0


async def test_hashes_that_somebody_changed(world, tenant, tmp_path, capsys):
    """A changed hash leads to no signed root, and the hashes of another log to none of this one."""
    await world.send_events(tenant, 130)
    await seal(world, tenant)
    log = await kept_of(world, tenant, tmp_path)
    path = await hashes_in(tmp_path, tenant)
    lines = (tmp_path / "hashes.ndjson").read_bytes().splitlines()
    forged = json.loads(lines[0])
    text = forged["aegis"]["proof"]["leaves"]
    forged["aegis"]["proof"]["leaves"] = ("A" if text[0] != "A" else "B") + text[1:]
    write(tmp_path / "hashes.ndjson", [json.dumps(forged).encode(), *lines[1:]])
    forged_status = log.verify(capsys, log.bodies, path, kept=True)[0]
    both = write(tmp_path / "both.ndjson", [json.dumps(forged).encode(), *lines])
    beside_status = log.verify(capsys, log.bodies, both, kept=True)[0]

    assert forged_status in (1, 3)
    assert beside_status == 3  # it is named, and spoils nothing else


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"first": 0}, "first"),
        ({"first": 42}, "first"),
        ({"last": 42}, "last"),
        ({"first": 9, "last": 8}, "last"),
    ],
)
async def test_events_that_are_not_sealed(world, tenant, query, field):
    """The error names the parameter, and the sequences that there are."""
    await world.send_events(tenant, 41)
    await seal(world, tenant)
    answer = await tenant.read.get(HASHES, **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert "to 41" in answer.json()["errors"][0]["message"]


async def test_events_that_retention_removed(world, tenant):
    """Without the events there are still their hashes; without those the answer says from where on there are."""
    await world.send_events(tenant, 300)
    await seal(world, tenant)
    await world.stores.db.write(lambda unit: raw(unit).run("DELETE FROM events"))
    lines = (await tenant.read.get(HASHES, first=1, last=90)).text.splitlines()
    gone = "DELETE FROM tree_tiles WHERE level = 0 AND tile = 0"
    await world.stores.db.write(lambda unit: raw(unit).run(gone))
    answer = await tenant.read.get(HASHES)

    assert len(lines) == 1
    assert json.loads(lines[0])["aegis"]["proof"]["last"] == 90
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("/proof-removed")
    assert "from 257 on" in answer.json()["detail"]
    assert (await tenant.read.get(HASHES, first=257)).status_code == 200


async def test_another_organization_reads_nothing(world, tenant):
    """A key of another organization, and a key that may only send, are refused; before the first seal there is nothing."""
    await world.send_events(tenant, 1)
    unsealed = await tenant.read.get(HASHES)
    await seal(world, tenant)
    other = await world.make_organization("org_other")
    foreign = Caller(world.client, tenant.org_id, other.read.key)

    assert unsealed.status_code == 404
    assert (await foreign.get(HASHES)).status_code == 404
    assert (await tenant.ingest.get(HASHES)).status_code == 403


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (HASHES, {"first": "null"}, "first"),
        (HASHES, {"last": "NULL"}, "last"),
        ("/proof/consistency", {"from_size": "1", "to_size": "null"}, "to_size"),
        ("/proof/bundle", {"from_size": "Null"}, "from_size"),
    ],
)
async def test_the_word_null_is_no_number(world, tenant, path, query, field):
    """A parameter that is omitted has its default; the word null is rejected, and not taken for that."""
    await world.send_events(tenant, 1)
    await seal(world, tenant)
    answer = await tenant.read.get(path, **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_every_optional_number_of_a_query_is_known(world):
    """Another call with such a parameter must be in the list by which the word null is rejected."""
    found = {
        name
        for route in world.routes.routes
        for handler, _ in getattr(route, "route_handler_map", {}).values()
        for name, one in handler.parsed_fn_signature.parameters.items()
        if one.is_optional and one.has_inner_subclass_of(int)
    }

    assert found - {"data"} <= OPTIONAL_NUMBERS
    assert {"first", "last", "to_size"} <= found
