"""Promises of the calls for sealed logs: what they answer holds for whoever checks it, and nobody reads another's."""

import base64
import io
import zipfile

import pytest

from aegis_stream.domain.merkle import leaf_hash
from aegis_stream.domain.merkle_proof import continues, includes
from aegis_stream.domain.note import (
    parse_checkpoint,
    parse_log_proof,
    parse_note,
    parse_verifier_key,
)
from aegis_stream.vault import ed25519
from support.api import Caller, open_world
from support.console import signed_in
from support.seal_now import seal_now

PROOF = "/proof/"


@pytest.fixture
async def world(tmp_path):
    """A running application."""
    async with open_world(tmp_path, proof_events=100) as world:
        yield world


@pytest.fixture
async def tenant(world):
    """An organization with a key of each scope."""
    return await world.make_organization()


async def verified(tenant):
    """Return the newest checkpoint, after its signature was checked with the key that the service names."""
    keys = (await tenant.read.get(PROOF + "keys")).text
    key = parse_verifier_key(keys.splitlines()[0].removeprefix("log "))
    answer = await tenant.read.get(PROOF + "checkpoint")
    note = parse_note(answer.text)
    assert keys.endswith("\nquorum none\n")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    assert note.signed_by([key], ed25519.check)
    return parse_checkpoint(note.text)


async def test_an_event_is_proved(world, tenant):
    """The proof of each event leads from its stored bytes to the root of the signed checkpoint."""
    ids = await world.send_events(tenant, 70)
    await seal_now(world, tenant)
    checkpoint = await verified(tenant)
    for place in (0, 1, 41, 69):
        answer = await tenant.read.get(f"{PROOF}events/{ids[place]}")
        proof = parse_log_proof(answer.text)
        body = (await world.stores.log.entry(tenant.no, ids[place])).body.encode()

        assert proof.leaf_index == place
        assert parse_checkpoint(proof.note.text) == checkpoint
        assert includes(leaf_hash(body), place, checkpoint.size, proof.hashes, checkpoint.root)
        assert not includes(leaf_hash(body + b" "), place, checkpoint.size, proof.hashes, checkpoint.root)


async def test_a_larger_log_continues_a_smaller_one(world, tenant):
    """Whoever kept a checkpoint can tell that nothing before it was changed."""
    await world.send_events(tenant, 41)
    await seal_now(world, tenant)
    kept = await verified(tenant)
    await world.send_events(tenant, 300, prefix="more")
    await seal_now(world, tenant)
    newest = await verified(tenant)
    answer = await tenant.read.get(PROOF + "consistency", from_size=kept.size)
    hashes = [base64.b64decode(one) for one in answer.text.splitlines()]
    same = await tenant.read.get(PROOF + "consistency", from_size=41, to_size=41)

    assert (kept.size, newest.size > 41) == (41, True)
    assert continues(kept.size, kept.root, newest.size, newest.root, hashes)
    assert not continues(kept.size, newest.root, newest.size, newest.root, hashes)
    assert same.text == ""


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from_size": 42}, "from_size"),
        ({"from_size": 0}, "from_size"),
        ({"from_size": 1, "to_size": 42}, "to_size"),
        ({"from_size": 30, "to_size": 20}, "from_size"),
        ({"from_size": 1, "to_size": 0}, "to_size"),
    ],
)
async def test_a_size_that_the_log_never_had(world, tenant, query, field):
    """The error names the parameter, and the sizes that there are."""
    await world.send_events(tenant, 41)
    await seal_now(world, tenant)
    answer = await tenant.read.get(PROOF + "consistency", **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert "must be 1 to" in answer.json()["errors"][0]["message"]


async def test_what_has_no_proof(world, tenant):
    """Before the first seal all four calls say what is missing; later an event that is too new says when to ask again."""
    [first] = await world.send_events(tenant, 1)
    unsealed = [await tenant.read.get(PROOF + one) for one in ("checkpoint", "keys", f"events/{first}")]
    unsealed.append(await tenant.read.get(PROOF + "consistency", from_size=1))
    await seal_now(world, tenant)
    [late] = await world.send_events(tenant, 1, prefix="late")
    too_new = await tenant.read.get(f"{PROOF}events/{late}")
    absent = await tenant.read.get(f"{PROOF}events/nothing")

    assert [one.status_code for one in unsealed] == [404] * 4
    assert all("AEGIS_PROOF=false" in one.json()["detail"] for one in unsealed)
    assert too_new.status_code == 409
    assert too_new.json()["type"].endswith("/not-sealed")
    assert "ask again in 10 seconds" in too_new.json()["detail"]
    assert absent.status_code == 404


async def test_an_id_with_slashes(world, tenant):
    """The rest of the path is the id."""
    await tenant.ingest.send(b'{"event":{"id":"a/b/proof"}}', "application/json")
    await seal_now(world, tenant)
    answer = await tenant.read.get(PROOF + "events/a/b/proof")

    assert answer.status_code == 200
    assert parse_log_proof(answer.text).leaf_index == 0


async def test_an_auditor_gets_one_archive(world, tenant):
    """It holds what the other calls answer, and is the one of the console; a size that the log never had is refused."""
    await world.send_events(tenant, 41)
    unsealed = await tenant.read.get(PROOF + "bundle")
    await seal_now(world, tenant)
    answer = await tenant.read.get(PROOF + "bundle", from_size=40)
    refused = await tenant.read.get(PROOF + "bundle", from_size=42)
    nulls = await tenant.read.get(PROOF + "bundle", from_size="null")
    visitor = await signed_in(world, tenant.read.key)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        texts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}

    assert unsealed.status_code == 404
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="proof-org_abc-41.zip"'
    assert texts["checkpoint.txt"].decode() == (await tenant.read.get(PROOF + "checkpoint")).text
    assert "consistency-40-41.txt" in texts
    assert (await visitor.get("/console/o/org_abc/proof/bundle?from_size=40")).content == answer.content
    for one in (refused, nulls):
        assert one.status_code == 422
        assert one.json()["errors"][0]["field"] == "from_size"


async def test_another_organization_reads_nothing(world, tenant):
    """A key of another organization, and a key that may only send, are refused."""
    [first] = await world.send_events(tenant, 1)
    await seal_now(world, tenant)
    other = await world.make_organization("org_other")
    foreign = Caller(world.client, tenant.org_id, other.read.key)
    for one in ("checkpoint", "keys", "consistency", "bundle", f"events/{first}"):
        sizes = {"from_size": 1} if one == "consistency" else {}
        assert (await tenant.read.get(PROOF + one, **sizes)).status_code == 200
        assert (await foreign.get(PROOF + one, **sizes)).status_code == 404
        assert (await tenant.ingest.get(PROOF + one, **sizes)).status_code == 403
