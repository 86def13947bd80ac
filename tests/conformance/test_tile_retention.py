"""Retention and sealed logs, in every store: no event goes before it is sealed, and leaf hashes go last, and only if they may."""

from dataclasses import replace

import pytest

from aegis_stream.control import log_proofs
from aegis_stream.control.caller import Caller, Principal
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.merkle import EMPTY, grow, leaf_hashes
from aegis_stream.domain.merkle_proof import continues, includes
from aegis_stream.domain.organization import ProofMode, Scope
from aegis_stream.errors import Conflict
from aegis_stream.store.retention import Retention
from support.clock import T0
from support.sealing import (
    SECOND,
    bodies_of,
    seal_once,
    sealed_tree,
    sealing_deps,
    set_mode,
    store_deps,
)
from support.sql import raw
from support.stores import append_to, event, events, stored

DAY = 86_400 * SECOND
LATER = Micros(T0 + 1000 * DAY)


@pytest.fixture
def deps(store, tmp_path):
    """Return what sealing needs."""
    return replace(sealing_deps(store, tmp_path), events_max=4096, audit_actions=False)


async def sweep(store, horizon, **how):
    """Let retention remove all that it may."""
    retention = Retention(store.db, **({"seals": True} | how))
    for _ in range(1000):
        if not await retention.step(horizon):
            return
    raise AssertionError("there is no end")


async def tiles(store, level=0):
    """Return the numbers of the tiles of one level."""
    text = "SELECT tile FROM tree_tiles WHERE level = ? ORDER BY tile"
    return [one[0] for one in await store.db.read(lambda unit: raw(unit).rows(text, (level,)))]


async def test_what_is_not_sealed_stays(store, org, deps):
    """Neither in a log that was never sealed, nor behind the end of one; without a sealer, or in the mode off, it goes."""
    await append_to(store.log, org, events(1, 10), T0)
    await sweep(store, LATER)
    assert len(await stored(store, org)) == 10

    await seal_once(deps, store, org)
    await append_to(store.log, org, events(11, 10), T0)
    await sweep(store, LATER)
    assert list(await stored(store, org)) == list(range(11, 21))

    await set_mode(store, org, ProofMode.OFF)
    await sweep(store, LATER)
    assert await stored(store, org) == {}
    await set_mode(store, org, ProofMode.SEALED)
    await append_to(store.log, org, events(21, 10), T0)
    await sweep(store, LATER, seals=False)
    assert await stored(store, org) == {}


async def test_a_log_whose_events_went_unsealed_is_not_held_by_its_old_end(store, org, deps):
    """After a time without proof the next log begins at the first event that is left, and retention goes on behind it."""
    await append_to(store.log, org, events(1, 10), T0)
    await seal_once(deps, store, org)
    await append_to(store.log, org, events(11, 10), T0)
    await sweep(store, LATER, seals=False)
    await append_to(store.log, org, events(21, 5), T0)
    await sweep(store, LATER)
    assert list(await stored(store, org)) == list(range(21, 26))

    await seal_once(deps, store, org)
    await sweep(store, LATER)

    assert await stored(store, org) == {}
    assert (await sealed_tree(store, org)).base == 20


async def sealed_in_two(store, org, deps, first=1000, second=100):
    """Seal events, and more a day later; return the leaves of all."""
    await append_to(store.log, org, events(1, first), T0)
    await seal_once(deps, store, org)
    store.clock.at += DAY
    await append_to(store.log, org, events(first + 1, second), store.clock.at)
    await seal_once(deps, store, org)
    return leaf_hashes(await bodies_of(store, org))


async def test_tiles_stay_for_ever_unless_told_otherwise(store, org, deps):
    """They outlive the events, and are kept as much longer as is said."""
    await sealed_in_two(store, org, deps)

    await sweep(store, LATER)
    await sweep(store, LATER, tiles_longer_us=LATER - T0)

    assert await stored(store, org) == {}
    assert await tiles(store) == [0, 1, 2, 3, 4]


async def test_old_tiles_go_and_newer_proofs_hold(store, org, deps):
    """Only full ones that got their last hash before: what is behind them is proven as before, and the log goes on."""
    leaves = await sealed_in_two(store, org, deps)
    root = (await sealed_tree(store, org)).tree.root()
    await sweep(store, Micros(T0 + DAY // 2))
    assert list(await stored(store, org)) == list(range(1001, 1101))

    await sweep(store, Micros(T0 + DAY // 2), tiles_longer_us=0)

    assert (await tiles(store), await tiles(store, 1)) == ([3, 4], [0])
    caller = Caller.of_key(Principal(org, "org_a", Scope.READ, "key_1", "k"), None)
    control = store_deps(deps)
    for number in (1001, 1024, 1025, 1100):
        proof = await log_proofs.of_event(control, caller, f"e{number}")
        leaf = leaves[32 * (number - 1) : 32 * number]
        assert includes(leaf, number - 1, 1100, proof.hashes, root)
    for size in (768, 900, 1000, 1024, 1099):
        older = grow(EMPTY, {}, leaves[: 32 * size]).tree.root()
        found = await log_proofs.consistency(control, caller, size, None)
        assert continues(size, older, 1100, root, found.hashes)
    for size in (1, 300, 767):
        with pytest.raises(Conflict, match=r"up to 768 were removed.*from 768 on") as raised:
            await log_proofs.consistency(control, caller, size, None)
        assert raised.value.code == "proof-removed"
    await append_to(store.log, org, events(2000, 500), store.clock.at)
    assert await seal_once(deps, store, org) == 500


async def test_tiles_are_not_removed_before_their_events(store, org, deps):
    """A destination that still needs an old event keeps its hash as well; what an older version stored has the log's own time."""
    await sealed_in_two(store, org, deps)
    await sweep(store, Micros(T0 + 1), seals=True)
    await sweep(store, T0, tiles_longer_us=-10 * DAY)
    assert await tiles(store) == [3, 4], "events 1 to 1000 are gone, those of tile 3 not all"

    await store.db.write(lambda unit: raw(unit).run("UPDATE tree_tiles SET stored_at = NULL"))
    await sweep(store, Micros(T0 + 2 * DAY))
    await sweep(store, Micros(store.clock.at), tiles_longer_us=0)
    assert await tiles(store) == [3, 4], "the log was sealed at that moment, not before"
    await sweep(store, Micros(store.clock.at + 1), tiles_longer_us=0)
    assert await tiles(store) == [4], "the last one is not full: the log goes on from it"


async def test_a_log_without_any_leaf_tile_says_what_is_gone(store, org, deps):
    """A log whose last tile is full and gone, too, is not taken for a damaged one, and goes on."""
    await sealed_in_two(store, org, deps, first=256, second=256)
    await append_to(store.log, org, [event("last")], store.clock.at)
    await seal_once(deps, store, org)
    await store.db.write(lambda unit: raw(unit).run("DELETE FROM tree_tiles WHERE level = 0 AND tile = 2"))
    await sweep(store, LATER, tiles_longer_us=0)
    caller = Caller.of_key(Principal(org, "org_a", Scope.READ, "key_1", "k"), None)

    assert await tiles(store) == []
    with pytest.raises(Conflict, match="up to 512 were removed"):
        await log_proofs.consistency(store_deps(deps), caller, 100, None)
