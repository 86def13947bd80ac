"""What sealing costs: `python -m bench.seal --events 40960`. CPU of this process in microseconds for an event, on a SQLite store.

It records events of 580 bytes, then seals them all, as the sealer does, in each mode; and it times the pure parts alone. Figures are
the least of several rounds: on a machine with other work the least is the one that says most.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.domain.event import NewEvent, checksum
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, grow, leaf_hashes, open_tiles
from aegis_stream.domain.merkle_proof import inclusion_plan
from aegis_stream.domain.organization import ProofMode
from aegis_stream.pipeline.ingest import outcome_of
from aegis_stream.settings import build
from aegis_stream.store import organizations, tree
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import Stores, open_stores

from .events import event_body

BATCH = 4096
CALLS = 200
NANO_IN_MICRO = 1000


def least(work: Callable[[], object], rounds: int) -> float:
    """Return the least CPU of several runs, microseconds."""
    found = []
    for _ in range(rounds):
        began = time.process_time_ns()
        work()
        found.append((time.process_time_ns() - began) / NANO_IN_MICRO)
    return min(found)


def pure(rounds: int) -> None:
    """Time hashing and proofs, without any store."""
    bodies = [event_body("abc", number) for number in range(BATCH)]
    leaves = leaf_hashes(bodies)
    print(f"leaf                     {least(lambda: leaf_hashes(bodies), rounds) / BATCH:6.2f} us an event")
    start = grow(EMPTY, {}, leaves[: 32 * 777])
    opened = {at: start.tiles[at] for at in open_tiles(777)}
    grown = least(lambda: grow(start.tree, opened, leaves), rounds) / BATCH
    print(f"nodes and tiles          {grown:6.2f} us an event, {BATCH} at a time")
    whole = grow(EMPTY, {}, leaves * 5)
    size = whole.tree.size
    plan = inclusion_plan(5000, size)
    proof = least(lambda: plan.hashes(whole.tiles), CALLS)
    print(f"inclusion proof          {proof:6.0f} us, {size} leaves")


async def record(stores: Stores, no: OrganizationNo, count: int) -> None:
    """Record events."""
    clock = SystemClock()
    for start in range(0, count, BATCH):
        batch = []
        for number in range(start, min(count, start + BATCH)):
            body = event_body("abc", number)
            event_id = f"e{number}"
            batch.append(
                NewEvent(
                    event_id, "aegis.preflight", "BLOCKED", body.decode(), checksum(body), None, len(body)
                )
            )
        await outcome_of(lambda ended, some=batch: stores.log.append(no, some, clock.now(), ended))  # type: ignore[misc]


async def seal_all(stores: Stores, deps: SealingDeps, no: OrganizationNo) -> tuple[int, float, float]:
    """Seal a log to its end. Returns: how many events were covered, CPU in microseconds, and seconds."""
    covered, began, began_s = 0, time.process_time_ns(), time.perf_counter()
    while True:
        state = next(
            one
            for one in await stores.db.read(lambda unit: tree.seal_states(unit, no - 1))
            if one.organization_no == no
        )
        if state.unsealed <= (state.own or 0):
            break
        covered += await seal(deps, state)
    return covered, (time.process_time_ns() - began) / NANO_IN_MICRO, time.perf_counter() - began_s


async def stored(folder: Path, count: int, rounds: int) -> None:
    """Seal logs on a store, in each mode."""
    settings = build({"data_dir": folder, "operator_key": f"aegis_op_{secrets.token_urlsafe(24)}"})
    log = Log("json", "error")
    stores = open_stores(settings, log)
    try:
        deps = replace(make_sealer(settings, stores, log).deps, audit_actions=False)
        for mode in (ProofMode.SEALED, ProofMode.STREAM):
            found = []
            for number in range(rounds):
                org_id = OrganizationId(f"org_{mode.value}_{number}")
                no = await stores.db.write(
                    lambda unit, one=org_id: organizations.add(unit, one, "", deps.clock.now())
                )  # type: ignore[misc]
                await stores.db.write(lambda unit, one=no, way=mode: tree.set_mode(unit, one, way))  # type: ignore[misc]
                await record(stores, no, count)
                covered, cpu, took_s = await seal_all(stores, deps, no)
                found.append((cpu / covered, covered / took_s))
            print(
                f"sealer, mode {mode.value:<12}{min(one[0] for one in found):6.2f} us an event, "
                f"{max(one[1] for one in found):,.0f} events/s, written and synced"
            )
    finally:
        stores.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40_960, help="events of a log")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the least counts")
    given = parser.parse_args()
    pure(given.rounds * 5)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(stored(Path(folder), given.events, given.rounds))


if __name__ == "__main__":
    main()
