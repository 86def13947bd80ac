"""Seals logs of a store, and verifies them as an auditor does, for tests of what every store promises."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aegis_stream.control.deps import StoreDeps
from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.verify.demands import Demands
from aegis_stream.verify.findings import Findings
from aegis_stream.verify.judge import judge
from aegis_stream.verify.note import key_of
from aegis_stream.verify.read import Export
from support.log import entries
from support.simulation import SeededRandom
from support.stores import Store

ORIGIN = "audit.example.com"
SECOND = 1_000_000


def sealing_deps(store: Store, folder: Path, **changes: Any) -> SealingDeps:
    """Return what sealing needs, with few events to a seal, and actions recorded."""
    random = SeededRandom(1)
    deps = SealingDeps(
        db=store.db,
        sealer=Vault(GivenKeys((MasterKey(b"o" * 32),)), random),
        clock=store.clock,
        random=random,
        checkpoints=CheckpointLog(folder),
        origin=ORIGIN,
        events_max=100,
        audit_actions=True,
    )
    return replace(deps, **changes)


def store_deps(deps: SealingDeps) -> StoreDeps:
    """Return what use cases need on the same store."""
    return StoreDeps(deps.db, deps.clock, deps.random, deps.audit_actions, 1000, lambda _: None, deps.sealer)


async def set_mode(store: Store, org: int, mode: ProofMode) -> None:
    """Choose how a log is sealed."""
    await store.db.write(lambda unit: tree.set_mode(unit, org, mode))


async def seal_state(store: Store, org: int) -> tree.SealState:
    """Return how far a log is sealed."""
    found = await store.db.read(lambda unit: tree.seal_state(unit, org))
    assert found is not None
    return found


async def seal_once(deps: SealingDeps, store: Store, org: int) -> int:
    """Seal what is not sealed, a second later, checkpoint events of the last seal too; return how many events that covers."""
    store.clock.at += SECOND
    return await seal(deps, await seal_state(store, org))


async def sealed_tree(store: Store, org: int) -> tree.SealedTree:
    """Return the sealed log."""
    found = await store.db.read(lambda unit: tree.newest_tree(unit, org))
    assert found is not None
    return found


async def keys_of(store: Store, org: int) -> list[proof_keys.ProofKey]:
    """Return the keys of an organization, the newest first."""
    return await store.db.read(lambda unit: proof_keys.keys_of(unit, org))


async def bodies_of(store: Store, org: int) -> list[bytes]:
    """Return the whole log as a receiver gets it."""
    return [one.body.encode() for one in await entries(store.log, org, 0, 100_000, 100_000)]


def verified(folder: Path, bodies: list[bytes], *publics: bytes, org_id: str = "org_a") -> Findings:
    """Judge an export by public keys of an organization."""
    path = folder / "export"
    path.write_bytes(b"\n".join(bodies))
    export = Export(str(path))
    keys = tuple(key_of(f"{ORIGIN}/{org_id}", one) for one in publics)
    try:
        return judge([export], Demands(keys=keys, now_s=2**31))
    finally:
        export.close()
