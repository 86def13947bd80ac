"""Retention and sealed logs, in every store: no event goes before it is sealed, and leaf hashes go last, and only if they may."""

from dataclasses import replace

import pytest

from aegis_stream.control import log_proofs
from aegis_stream.control.caller import Caller, Principal
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.merkle import EMPTY, TILE_WIDTH, grow, leaf_hashes
from aegis_stream.domain.merkle_proof import continues, includes
from aegis_stream.domain.organization import ProofMode, Scope
from aegis_stream.errors import Conflict
from aegis_stream.store.retention import Retention
from aegis_stream.store.tile_retention import TILES_PER_STEP, TREES_PER_STEP, first_leaf, remove_old_tiles
from aegis_stream.store.tree import SealedTree
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
from support.stores import add_organization, append_to, event, events, stored

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


# ── several logs, which were never sealed: only their rows are there ──


OLD, HORIZON = T0, Micros(T0 + 1)


async def add_log(store, no, base, tiles, size=TILE_WIDTH):
    """Store a log with tiles of leaves: tile → when it got its last hash."""

    def work(unit):
        raw(unit).run(
            "INSERT INTO trees (org_no, base, origin, size, frontier, note, sealed_at, own) VALUES (?, ?, ?, ?, ?, '', ?, 0)",
            (no, base, f"log-{no}-{base}", size, b"", OLD),
        )
        for tile, stored_at in tiles.items():
            raw(unit).run(
                "INSERT INTO tree_tiles (org_no, base, level, tile, hashes, stored_at) VALUES (?, ?, 0, ?, ?, ?)",
                (no, base, tile, b"", stored_at),
            )

    await store.db.write(work)


async def events_gone_before(store, no, oldest):
    """Let the events of an organization begin at one."""
    text = "UPDATE organizations SET oldest = ?, head = ? WHERE org_no = ?"
    await store.db.write(lambda unit: raw(unit).run(text, (oldest, oldest, no)))


async def all_tiles(store):
    """Return organization, base and number of each tile of leaves."""
    text = "SELECT org_no, base, tile FROM tree_tiles WHERE level = 0 ORDER BY org_no, base, tile"
    return await store.db.read(lambda unit: raw(unit).rows(text))


async def step(store):
    """Take one step; return how many tiles went."""
    return await store.db.write(lambda unit: remove_old_tiles(unit, HORIZON))


async def two_organizations(store, org):
    """Make a second organization; the events of both are gone."""
    other = await add_organization(store, "org_b")
    for no in (org, other):
        await events_gone_before(store, no, 100_000)
    return org, other


async def test_a_log_s_tiles_go_without_those_of_its_neighbours(store, org):
    """Neither another organization's log nor an organization's next log loses one, or keeps one from going."""
    one, other = await two_organizations(store, org)
    for no, base in ((one, 0), (one, 3000), (other, 0)):
        at = OLD if (no, base) == (one, 0) else HORIZON
        await add_log(store, no, base, dict.fromkeys(range(3), at), 3 * TILE_WIDTH)

    assert await step(store) == 3
    assert await all_tiles(store) == [
        (no, base, n) for no, base in ((one, 3000), (other, 0)) for n in range(3)
    ]


async def test_each_log_begins_at_its_own_first_tile(store, org):
    """The first leaf that is left is told of each log by itself, and what is left of each goes."""
    one, other = await two_organizations(store, org)
    firsts = {(one, 0): 3, (one, 3000): 1, (other, 0): 2, (other, 3000): 0}
    for (no, base), tile in firsts.items():
        await add_log(store, no, base, {tile: OLD}, 4 * TILE_WIDTH)

    def leaf_of(no, base):
        return store.db.read_now(lambda unit: first_leaf(unit, no, SealedTree(base, "", EMPTY, "", OLD)))

    assert {log: leaf_of(*log) for log in firsts} == {log: n * TILE_WIDTH for log, n in firsts.items()}
    assert await step(store) == len(firsts)


async def test_a_step_removes_no_more_than_its_share(store, org):
    """Of one log TILES_PER_STEP tiles, and of TREES_PER_STEP logs: what is left goes in the next step."""
    await events_gone_before(store, org, 100_000)
    tiles = dict.fromkeys(range(TILES_PER_STEP + 1), OLD)
    await add_log(store, org, 0, tiles, len(tiles) * TILE_WIDTH)
    for number in range(1, TREES_PER_STEP + 1):
        await add_log(store, org, number * 1000, {0: OLD})

    assert await step(store) == TILES_PER_STEP + TREES_PER_STEP - 1
    assert await step(store) == 2
    assert await all_tiles(store) == []


@pytest.mark.parametrize(
    ("at", "size", "oldest"),
    [
        (HORIZON, TILE_WIDTH, 100_000),
        (OLD, TILE_WIDTH - 1, 100_000),
        (OLD, TILE_WIDTH, 1000 + TILE_WIDTH),
    ],
    ids=["too new", "not full", "its last event is left"],
)
async def test_logs_whose_tiles_stay_keep_no_others_from_going(store, org, at, size, oldest):
    """However many logs have nothing to remove, a step is not used up by them."""
    one, other = await two_organizations(store, org)
    await events_gone_before(store, one, oldest)
    bases = [number * 1000 for number in range(TREES_PER_STEP)]
    for base in bases:
        await add_log(store, other, base, {0: OLD})
        if base:
            await add_log(store, one, base, {0: at}, size)
    await add_log(store, one, 0, {0: OLD})

    assert [await step(store) for _ in range(3)] == [TREES_PER_STEP, 1, 0]
    assert await all_tiles(store) == [(one, base, 0) for base in bases[1:]]
