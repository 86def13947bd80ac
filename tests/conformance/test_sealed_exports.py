"""What a store seals, an auditor verifies: from every database, with the keys, notes and events of the service itself."""

import json

import pytest

from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.verify.demands import Demands
from aegis_stream.verify.judge import judge
from aegis_stream.verify.note import key_of
from aegis_stream.verify.read import Export
from support.clock import T0
from support.exports import hits, plain, sorted_names
from support.log import entries
from support.simulation import SeededRandom
from support.stores import append_to, event

ORIGIN = "audit.example.com"


def ordinary(first, count):
    """Return events as applications send them."""
    bodies = [
        {
            "@timestamp": "2026-05-01T00:00:00Z",
            "event": {"id": f"e{number}", "dataset": "app"},
            "aegis": {"ratio": number / 7, "text": "geprüft"},
            "organization": {"id": "org_a"},
        }
        for number in range(first, first + count)
    ]
    return [event(one["event"]["id"], json.dumps(one, ensure_ascii=False)) for one in bodies]


async def seal_now(store, org, deps):
    """Seal what is not sealed, the last checkpoint events too."""
    store.clock.at += 10_000_000
    state = next(
        one
        for one in await store.db.read(lambda unit: tree.seal_states(unit, org - 1))
        if one.organization_no == org
    )
    await seal(deps, state)


async def exported(store, org, deps):
    """Return the whole log of an organization with three seals, the last of which covers only checkpoint events."""
    await store.db.write(lambda unit: tree.set_mode(unit, org, ProofMode.STREAM))
    for first, count in ((1, 150), (151, 20)):
        await append_to(store.log, org, ordinary(first, count), T0)
        await seal_now(store, org, deps)
    await seal_now(store, org, deps)
    return [one.body.encode() for one in await entries(store.log, org, 0, 10_000, 10_000)]


def verified(tmp_path, lines, **demands):
    """Judge an export."""
    path = tmp_path / "export"
    path.write_bytes(b"\n".join(lines))
    export = Export(str(path))
    try:
        return judge([export], Demands(now_s=2**31, **demands))
    finally:
        export.close()


@pytest.mark.parametrize("shape", [plain, hits, sorted_names])
async def test_what_is_sealed_is_verified(store, org, tmp_path, shape):
    """An export of the log is complete by the key of the organization, and undecided by the one that it announces itself."""
    deps = SealingDeps(
        db=store.db,
        sealer=Vault(GivenKeys((MasterKey(b"o" * 32),)), SeededRandom(1)),
        clock=store.clock,
        random=SeededRandom(1),
        checkpoints=CheckpointLog(tmp_path),
        origin=ORIGIN,
        events_max=1000,
        audit_actions=True,
    )
    bodies = await exported(store, org, deps)
    (made,) = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    key = key_of(f"{ORIGIN}/org_a", made.public)

    whole = verified(tmp_path, shape(bodies), keys=(key,))
    assert whole.status == 0, (whole.logs[0].damages(), whole.logs[0].doubts())
    assert whole.logs[0].present >= 172

    announced = verified(tmp_path, shape(bodies))
    assert (announced.status, announced.logs[0].keys) == (3, [key])

    lost = verified(tmp_path, shape(bodies[:60] + bodies[61:]), keys=(key,))
    assert (lost.status, [one[:2] for one in lost.logs[0].missing]) == (1, [(61, 61)])
