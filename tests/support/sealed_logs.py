"""Seals the log of one organization in a test until nothing is left, and checks all that is stored of it."""

from pathlib import Path

from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.domain import merkle
from aegis_stream.domain.merkle_proof import includes, inclusion_plan
from aegis_stream.domain.note import Kind, VerifierKey, parse_checkpoint, parse_note
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.vault.ed25519 import check
from support.clock import T0
from support.log import entries
from support.sealing import ORIGIN
from support.simulation import SeededRandom
from support.sql import raw
from support.stores import Store


def deps_on(store: Store, folder: Path, seed: int = 1) -> SealingDeps:
    """Return what sealing needs as another process has it."""
    random = SeededRandom(seed)
    return SealingDeps(
        db=store.db,
        sealer=Vault(GivenKeys((MasterKey(b"o" * 32),)), random),
        clock=store.clock,
        random=random,
        checkpoints=CheckpointLog(folder),
        origin=ORIGIN,
        events_max=100,
        audit_actions=False,
    )


async def state_of(store: Store, org: int) -> tree.SealState:
    """Return how far a log is sealed."""
    return next(
        one
        for one in await store.db.read(lambda unit: tree.seal_states(unit, org - 1))
        if one.organization_no == org
    )


async def seal_all(deps: SealingDeps, store: Store, org: int) -> list[int]:
    """Seal until only checkpoint events of the last seal are left; return how many events each seal covered."""
    covered = []
    while (state := await state_of(store, org)).unsealed > (state.own or 0):
        store.clock.at += 1
        covered.append(await seal(deps, state))
        assert len(covered) < 100
    return covered


async def sealed(store: Store, org: int) -> tree.SealedTree:
    """Return the sealed log."""
    return await store.db.read(lambda unit: tree.newest_tree(unit, org))


async def assert_whole(store: Store, org: int) -> tree.SealedTree:
    """Check that note, tree, tiles and events say the same; return the tree."""
    last = await sealed(store, org)
    bodies = [one.body.encode() for one in await entries(store.log, org, last.base, last.end, 10_000)]
    assert len(bodies) == last.tree.size
    assert merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(bodies)).tree == last.tree
    (key,) = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    note = parse_note(last.note)
    keys = [VerifierKey(last.origin, kind, key.public) for kind in Kind]
    assert len(note.signed_by(keys, check)) == 2
    assert parse_checkpoint(note.text) == (last.origin, last.tree.size, last.tree.root())
    for index in {0, last.tree.size - 1}:
        plan = inclusion_plan(index, last.tree.size)
        tiles = await store.db.read(lambda unit, p=plan: tree.read_tiles(unit, org, last.base, p.tiles()))
        leaf = merkle.leaf_hash(bodies[index])
        assert includes(leaf, index, last.tree.size, plan.hashes(tiles), last.tree.root())
    return last


async def put_back(store: Store, org: int, before: tree.SealedTree) -> None:
    """Bring a database back to where it was, as a backup does."""
    end = before.end

    def work(unit):
        raw(unit).run("DELETE FROM events WHERE org_no = ? AND sequence > ?", (org, end))
        raw(unit).run("UPDATE organizations SET head = ? WHERE org_no = ?", (end, org))
        values = (*before.tree, before.note, before.sealed_at, org)
        raw(unit).run(
            "UPDATE trees SET size = ?, frontier = ?, note = ?, sealed_at = ? WHERE org_no = ?", values
        )
        row = unit.row("tile", (org, 0, 0, 0))
        unit.run("store_tile", (org, 0, 0, 0, bytes(row[0])[: 32 * end], T0))

    await store.db.write(work)
