"""What the proof of one event costs in a large log: `python -m bench.proofs --events 20000000`.

It fills the tree of a SQLite store with so many leaves, without the bodies of the events: a proof reads tiles of hashes, a row of
the tree and the sequence of the event, and no body. The first events are real, so that the whole use case is measured, as the API
calls it. Each proof is checked against the root. The pages of the database are read by their first use or from the file cache of
the system: the first call is told as well.
"""

import argparse
import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis_stream.control import log_proofs
from aegis_stream.control.caller import Caller, Principal
from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, TileAt, Tree, grow, leaf_hash, open_tiles
from aegis_stream.domain.merkle_proof import continues, includes, inclusion_plan, root_plan
from aegis_stream.domain.note import Checkpoint, Kind, Note, VerifierKey, sign_plain
from aegis_stream.domain.organization import Scope
from aegis_stream.settings import Settings, build
from aegis_stream.store import organizations, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.tree import SealedTree
from aegis_stream.telemetry import Log
from aegis_stream.wiring.administration import make_store_deps
from aegis_stream.wiring.stores import Stores, open_stores

from .events import event_body
from .seal import BATCH, record

AT_ONCE = 65_536
"""Leaves of one transaction while the tree is filled."""
ORIGIN = "audit.example.com/org_large"
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
_VERIFIER = VerifierKey(ORIGIN, Kind.PLAIN, _KEY.public_key().public_bytes_raw())
Call = Callable[[], Awaitable[None]]


def leaf(index: int) -> bytes:
    """Return the leaf of an event: of the real ones their own, of the others a hash of the number."""
    return leaf_hash(event_body("abc", index)) if index < BATCH else sha256(index.to_bytes(8, "big")).digest()


def signed(grown: Tree, clock_us: int) -> SealedTree:
    """Return a tree with its checkpoint."""
    text = Checkpoint(ORIGIN, grown.size, grown.root()).text
    return SealedTree(
        0, ORIGIN, grown, str(Note(text, (sign_plain(text, _VERIFIER, _KEY.sign),))), Micros(clock_us)
    )


async def fill(stores: Stores, no: OrganizationNo, events: int) -> SealedTree:
    """Grow the tree to so many leaves, as seals do, and return it as it was signed last."""
    before: SealedTree | None = None
    grown, kept = EMPTY, dict[TileAt, bytes]()
    for start in range(0, events, AT_ONCE):
        leaves = b"".join([leaf(index) for index in range(start, min(events, start + AT_ONCE))])
        grown, tiles = grow(grown, kept, leaves)
        kept = {at: (kept | tiles)[at] for at in open_tiles(grown.size)}
        after = signed(grown, start + 1)
        await stores.db.write(partial(_store, no, before, after, tiles))
        before = after
    assert before is not None, "there is at least one event"
    return before


def _store(
    no: OrganizationNo, before: SealedTree | None, after: SealedTree, tiles: dict[TileAt, bytes], unit: Unit
) -> None:
    tree.store_seal(unit, no, before, after, tiles)


async def timed(name: str, calls: Sequence[Call]) -> None:
    """Make the calls one after the other and print their time."""
    wall_ms, cpu_ms = [], []
    for call in calls:
        began, began_cpu = time.perf_counter(), time.process_time()
        await call()
        wall_ms.append((time.perf_counter() - began) * 1000)
        cpu_ms.append((time.process_time() - began_cpu) * 1000)
    slowest = sorted(wall_ms)[-max(1, len(wall_ms) // 100)]
    print(
        f"{name:<34}{median(cpu_ms):6.2f} ms of CPU   {median(wall_ms):6.2f} ms, 99 of 100 within {slowest:6.2f}, "
        f"the first {wall_ms[0]:6.2f}"
    )


async def measure(
    stores: Stores, settings: Settings, no: OrganizationNo, last: SealedTree, calls: int
) -> None:
    """Time the use case, and proofs all over the tree."""
    deps = make_store_deps(settings, stores)
    principal = Principal(no, OrganizationId("org_large"), Scope.READ, "key_bench")
    caller = Caller.of_key(principal, None)
    size, root = last.tree.size, last.tree.root()
    chance = random.Random(20)

    async def event(number: int) -> None:
        proof = await log_proofs.of_event(deps, caller, f"e{number}")
        assert includes(leaf(number), number, size, proof.hashes, root)

    async def anywhere(index: int) -> None:
        hashes = await stores.db.read(
            lambda unit: inclusion_plan(index, size).hashes(
                tree.read_tiles(unit, no, 0, inclusion_plan(index, size).tiles())
            )
        )
        assert includes(leaf(index), index, size, hashes, root)

    async def older(first: int) -> None:
        proof = await log_proofs.consistency(deps, caller, first, None)
        plan = root_plan(first)
        old = await stores.db.read(lambda unit: plan.hashes(tree.read_tiles(unit, no, 0, plan.tiles())))
        assert continues(first, old[0], size, root, proof.hashes)

    real = [partial(event, chance.randrange(min(size, BATCH))) for _ in range(calls)]
    await timed("an event, as the API asks", real)
    await timed("a leaf anywhere", [partial(anywhere, chance.randrange(size)) for _ in range(calls)])
    sizes = [chance.randrange(1, size) for _ in range(calls)]
    await timed("from an older checkpoint, checked", [partial(older, one) for one in sizes])


async def run(folder: Path, events: int, calls: int) -> None:
    """Fill a store and measure."""
    settings = build({"data_dir": folder, "operator_key": f"aegis_op_{secrets.token_urlsafe(24)}"})
    stores = open_stores(settings, Log("json", "error"))
    try:
        no = await stores.db.write(
            lambda unit: organizations.add(unit, OrganizationId("org_large"), "", Micros(1))
        )
        await record(stores, no, min(events, BATCH))
        began = time.process_time()
        last = await fill(stores, no, events)
        filled = time.process_time() - began
        bytes_stored = sum(one.stat().st_size for one in folder.glob("aegis.db*"))
        print(
            f"{events:,} leaves: filled in {filled:.0f} s of CPU, {filled / events * 1e6:.2f} us a leaf; "
            f"the store has {bytes_stored / events:.1f} bytes a leaf"
        )
        await measure(stores, settings, no, last, calls)
    finally:
        stores.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="leaves of the tree")
    parser.add_argument("--calls", type=int, default=500, help="proofs of each kind")
    parser.add_argument("--folder", type=Path, default=None, help="where the store is put")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        asyncio.run(run(Path(folder), given.events, given.calls))


if __name__ == "__main__":
    main()
