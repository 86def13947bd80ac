"""Sealed logs in every store: what was signed is stored whole, by one process only, and outlives the events."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from aegis_stream.domain import merkle
from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET
from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, HASH_BYTES, TILE_WIDTH, Broken, TileAt, grow, leaf_hashes
from aegis_stream.domain.merkle_proof import includes, inclusion_plan, root_plan
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Unavailable
from aegis_stream.store import organizations, proof_keys, tree
from aegis_stream.store.proof_keys import BEGINNING
from aegis_stream.store.retention import CHUNK
from aegis_stream.store.tree import Overtaken, SealedTree, Unsealed
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.clock import T0
from support.simulation import SeededRandom
from support.sql import raw
from support.stores import Store, add_destination, add_organization, append_to, event, events, stored

ORIGIN = "audit.example.com/org_a"
BYTES_MAX = 1 << 20
HORIZON = Micros(T0 + 1000)
ORG = OrganizationId("org_a")


async def seal(
    store: Store, org: OrganizationNo, most: int, *, new_base: int | None = None, at: int = T0
) -> SealedTree:
    """Seal so many events more, in the two units of work of which a seal consists."""
    return await write(store, org, await read(store, org, most, new_base=new_base), base=new_base or 0, at=at)


async def read(store: Store, org: OrganizationNo, most: int, *, new_base: int | None = None) -> Unsealed:
    """Read what is to be sealed."""
    return await store.db.read(lambda unit: tree.read_unsealed(unit, org, new_base, most, BYTES_MAX))


async def write(
    store: Store, org: OrganizationNo, found: Unsealed, *, base: int = 0, at: int = T0
) -> SealedTree:
    """Store the seal of what was read."""
    start = found.before.tree if found.before is not None else EMPTY
    growth = grow(start, found.opened, leaf_hashes(found.bodies))
    after = SealedTree(base, ORIGIN, growth.tree, f"note of {growth.tree.size}", Micros(at))
    await store.db.write(lambda unit: tree.store_seal(unit, org, found.before, after, growth.tiles))
    return after


async def tiles_of(store: Store, org: OrganizationNo, wanted, base: int = 0) -> dict[TileAt, bytes]:
    """Read tiles."""
    return await store.db.read(lambda unit: tree.read_tiles(unit, org, base, wanted))


async def test_a_seal_is_stored_whole(store, org):
    """What was sealed in several steps is one tree: note, frontier and tiles, from which every event is proved."""
    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) is None
    await append_to(store.log, org, events(1, 700), T0)

    await seal(store, org, 100)
    await seal(store, org, 156)
    last = await seal(store, org, 1000, at=T0 + 5)

    bodies = [event(f"e{number}").body.encode() for number in range(1, 701)]
    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) == last
    assert last.end == 700
    assert last.tree == grow(EMPTY, {}, leaf_hashes(bodies)).tree
    for index in (0, 255, 256, 699):
        plan = inclusion_plan(index, 700)
        proof = plan.hashes(await tiles_of(store, org, plan.tiles()))
        assert includes(merkle.leaf_hash(bodies[index]), index, 700, proof, last.tree.root())
    widths = {
        at: len(one)
        for at, one in (await tiles_of(store, org, [TileAt(0, 0), TileAt(0, 2), TileAt(1, 0)])).items()
    }
    assert widths == {
        TileAt(0, 0): TILE_WIDTH * HASH_BYTES,
        TileAt(0, 2): 188 * HASH_BYTES,
        TileAt(1, 0): 2 * HASH_BYTES,
    }
    assert await tiles_of(store, org, [TileAt(0, 3), TileAt(2, 0)]) == {}


async def test_events_are_read_with_what_names_them(store, org):
    """Bodies, ids and labels of the next events come in order, and no more than asked for."""
    await append_to(store.log, org, [event("a"), event("b", dataset="x", decision="deny"), event("c")], T0)

    found = await read(store, org, 2)
    rest = await read(store, org, 9, new_base=2)
    nothing = await read(store, org, 9, new_base=3)

    assert found == Unsealed(
        None,
        3,
        1,
        [event("a").body.encode(), event("b").body.encode()],
        ["a", "b"],
        [("app", None), ("x", "deny")],
        {},
    )
    assert (rest.first, rest.ids) == (3, ["c"])
    assert (nothing.first, nothing.bodies, nothing.head) == (4, [], 3)


async def test_large_events_are_read_a_few_at_a_time(store, org):
    """A page is bounded by bytes, and has one event at least."""
    await append_to(store.log, org, [event(f"e{n}", "x" * 1000) for n in range(8)], T0)

    few = await store.db.read(lambda unit: tree.read_unsealed(unit, org, None, 8, 2500))
    one = await store.db.read(lambda unit: tree.read_unsealed(unit, org, None, 8, 1))

    assert 1 <= len(few.bodies) <= 2
    assert len(one.bodies) == 1
    assert len(one.ids) == len(one.labels) == 1


async def test_a_damaged_event_does_not_stop_a_log(store, org):
    """An event whose bytes changed is read as empty: its leaf is one that no event has, and the others keep theirs."""
    await append_to(store.log, org, events(1, 3), T0)
    await store.db.write(lambda unit: raw(unit).run("UPDATE events SET body = 'changed' WHERE sequence = 2"))

    found = await read(store, org, 3)

    assert [bool(one) for one in found.bodies] == [True, False, True]
    assert found.ids == ["e1", "e2", "e3"]


@pytest.mark.parametrize("first", [True, False], ids=["first seal", "later seal"])
async def test_of_two_seals_one_is_stored(store, org, first):
    """Two processes that read the same tree never sign two: the slower one stores nothing, not even a tile."""
    await append_to(store.log, org, events(1, 20), T0)
    if not first:
        await seal(store, org, 5)
    mine, other = await read(store, org, 10), await read(store, org, 12)
    winner = await write(store, org, mine, at=T0 + 1)

    with pytest.raises(Overtaken):
        await write(store, org, other, at=T0 + 2)

    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) == winner
    assert len((await tiles_of(store, org, [TileAt(0, 0)]))[TileAt(0, 0)]) == winner.end * HASH_BYTES


async def test_an_idle_log_is_signed_again_by_one(store, org):
    """A heartbeat changes time and note alone; of two, one is stored."""
    await append_to(store.log, org, events(1, 3), T0)
    before = await seal(store, org, 3)
    again = before._replace(note="later", sealed_at=Micros(T0 + 9))

    await store.db.write(lambda unit: tree.store_seal(unit, org, before, again, {}))
    with pytest.raises(Overtaken):
        await store.db.write(lambda unit: tree.store_seal(unit, org, before, again, {}))

    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) == again


async def test_many_sealers_make_one_history(backend, org, store):
    """Four processes that seal the same log as fast as they can: sizes rise, and the tree is that of the events."""
    others = [store, backend.open(), backend.open(), backend.open()]
    await append_to(store.log, org, events(1, 300), T0)
    sealed = []

    async def work(one: Store, number: int) -> None:
        for turn in range(12):
            found = await read(one, org, 5 + number)
            try:
                sealed.append(await write(one, org, found, at=T0 + turn))
            except Overtaken:
                continue

    await asyncio.gather(*(work(one, number) for number, one in enumerate(others)))

    last = await store.db.read(lambda unit: tree.newest_tree(unit, org))
    bodies = [event(f"e{number}").body.encode() for number in range(1, last.tree.size + 1)]
    assert last.tree == grow(EMPTY, {}, leaf_hashes(bodies)).tree
    sizes = sorted(one.tree.size for one in sealed)
    assert all(before < after for before, after in pairwise(sizes))
    plan = root_plan(sizes[0])
    assert plan.hashes(await tiles_of(store, org, plan.tiles())) == [
        grow(EMPTY, {}, leaf_hashes(bodies[: sizes[0]])).tree.root()
    ]


async def test_a_seal_that_fails_leaves_nothing(backend, org, store):
    """A commit that fails leaves tree and tiles as they were."""
    await append_to(store.log, org, events(1, 10), T0)
    before = await seal(store, org, 5)
    found = await read(store, org, 10)

    backend.fail_next_commit(store)
    with pytest.raises(Unavailable):
        await write(store, org, found)

    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) == before
    assert len((await tiles_of(store, org, [TileAt(0, 0)]))[TileAt(0, 0)]) == 5 * HASH_BYTES
    assert (await write(store, org, found)).end == 10


async def test_a_log_that_begins_again_keeps_the_old_one_s_tiles(store, org):
    """The newest tree counts, and what it replaced can still be proved."""
    await append_to(store.log, org, events(1, 20), T0)
    await seal(store, org, 10)
    old = await tiles_of(store, org, [TileAt(0, 0)])

    new = await seal(store, org, 20, new_base=10)

    assert await store.db.read(lambda unit: tree.newest_tree(unit, org)) == new
    assert (new.base, new.tree.size, new.end) == (10, 10, 20)
    assert await tiles_of(store, org, [TileAt(0, 0)]) == old
    assert await tiles_of(store, org, [TileAt(0, 0)], base=10) != old


async def test_logs_that_ended_are_kept(store, org):
    """Those that another log followed, the last one first, each with the note that it had at its end; the newest is none of them."""
    await append_to(store.log, org, events(1, 30), T0)
    other = await add_organization(store, "org_b")
    await append_to(store.log, other, events(1, 5), T0)
    await seal(store, other, 5)
    first = await seal(store, org, 10)
    second = await seal(store, org, 10, new_base=10)
    await seal(store, org, 10, new_base=20)

    assert await store.db.read(lambda unit: tree.ended_trees(unit, org, 10)) == [second, first]
    assert await store.db.read(lambda unit: tree.ended_trees(unit, org, 1)) == [second]
    assert await store.db.read(lambda unit: tree.ended_trees(unit, other, 10)) == []


async def test_work_is_found_organization_by_organization(store):
    """Organizations with events and without `off` are listed, each with how far it is sealed."""
    orgs = [await add_organization(store, f"org_{name}") for name in "abcd"]
    for one, count in zip(orgs, (5, 3, 0, 2), strict=True):
        await append_to(store.log, one, events(1, count), T0) if count else None
    await seal(store, orgs[0], 4, at=T0 + 7)
    await store.db.write(lambda unit: tree.set_mode(unit, orgs[3], ProofMode.OFF))
    await store.db.write(lambda unit: tree.set_mode(unit, orgs[1], ProofMode.STREAM))

    found = await store.db.read(lambda unit: tree.seal_states(unit, 0))

    assert [(one.org_id, one.mode, one.head, one.base, one.size, one.sealed_at) for one in found] == [
        ("org_a", ProofMode.SEALED, 5, 0, 4, T0 + 7),
        ("org_b", ProofMode.STREAM, 3, None, None, None),
    ]
    assert [one.org_id for one in await store.db.read(lambda unit: tree.seal_states(unit, orgs[0]))] == [
        "org_b"
    ]
    modes = [
        (await store.db.read(lambda unit, name=name: organizations.find(unit, f"org_{name}"))).proof
        for name in "abd"
    ]
    assert modes == [ProofMode.SEALED, ProofMode.STREAM, ProofMode.OFF]


async def test_retention_keeps_what_is_not_sealed(store, org):
    """Events go up to the end of the tree; after the next seal the rest goes, and proofs of all of them stay."""
    await append_to(store.log, org, events(1, 30), T0)
    await seal(store, org, 20)

    await sweep(store)
    left = list(await stored(store, org))
    last = await seal(store, org, 10)
    await sweep(store)

    assert left == list(range(21, 31))
    assert list(await stored(store, org)) == []
    plan = inclusion_plan(0, 30)
    proof = plan.hashes(await tiles_of(store, org, plan.tiles()))
    leaf = merkle.leaf_hash(event("e1").body.encode())
    assert includes(leaf, 0, 30, proof, last.tree.root())


async def test_retention_does_not_wait_for_a_log_that_is_not_sealed(store, org):
    """With the mode off events go as before; those of a log that was never sealed wait, and a destination's cursor holds as ever."""
    await append_to(store.log, org, events(1, 30), T0)
    await seal(store, org, 20)
    await store.db.write(lambda unit: tree.set_mode(unit, org, ProofMode.OFF))
    other = await add_organization(store, "org_b")
    await append_to(store.log, other, events(1, 5), T0)
    third = await add_organization(store, "org_c")
    await add_destination(store, third)
    await append_to(store.log, third, events(1, 5), T0)
    await seal(store, third, 5)

    await sweep(store)

    assert list(await stored(store, org)) == []
    assert list(await stored(store, other)) == [1, 2, 3, 4, 5]
    assert list(await stored(store, third)) == [1, 2, 3, 4, 5]


async def sweep(store: Store) -> None:
    """Take all steps of retention there are, where logs are sealed."""
    retention = replace(store.retention, seals=True)
    for _ in range(CHUNK):
        if not await retention.step(HORIZON):
            return


async def test_tiles_that_were_changed_are_found(store, org):
    """Tiles changed in the database are found before the next seal signs anything."""
    await append_to(store.log, org, events(1, 10), T0)
    before = await seal(store, org, 5)
    await store.db.write(lambda unit: unit.run("store_tile", (org, 0, 0, 0, b"x" * HASH_BYTES * 5, T0)))

    found = await read(store, org, 10)

    with pytest.raises(Broken):
        merkle.check_tiles(before.tree, found.opened)


# ── keys ──


def sealer_with(*keys: bytes) -> Vault:
    """Return a vault with these master keys, the newest first."""
    return Vault(GivenKeys(tuple(MasterKey(one) for one in keys)), SeededRandom(7))


async def add_key(store: Store, org: OrganizationNo, sealer, seed: bytes, at: int = T0):
    """Store a key whose public key is the seed turned round."""
    pair = (seed, seed[::-1])
    return await store.db.write(lambda unit: proof_keys.add_key(unit, sealer, (org, ORG), pair, Micros(at)))


async def test_a_new_key_retires_those_before_it(store, org):
    """Keys count up, one is in use, and each opens to its seed."""
    sealer = sealer_with(b"o" * 32)
    await add_key(store, org, sealer, b"1" * 32)
    await add_key(store, org, sealer, b"2" * 32, T0 + 5)

    newest, oldest = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))

    assert (newest.epoch, newest.retired_at, newest.created_at) == (2, None, T0 + 5)
    assert (oldest.epoch, oldest.retired_at, oldest.public) == (1, T0 + 5, b"1" * 32)
    assert proof_keys.open_seed(sealer, ORG, newest) == b"2" * 32
    assert proof_keys.open_seed(sealer, ORG, oldest) == b"1" * 32


async def test_a_seed_is_bound_to_its_organization_and_never_in_clear_text(backend, store, org):
    """A seed moved to another organization does not open, and no byte of the store shows it."""
    sealer = sealer_with(b"o" * 32)
    key = await add_key(store, org, sealer, b"c4n4ry-seed-of-32-bytes-xxxxxxxx")

    with pytest.raises(Unavailable):
        proof_keys.open_seed(sealer, OrganizationId("org_b"), key)
    written = backend.raw()
    assert b"c4n4ry-seed" not in written
    assert b"YzRuNHJ5" not in written  # its base64


async def test_seeds_follow_a_new_master_key(store):
    """Seeds of all organizations are sealed anew, step by step; those that do not open are named and stay."""
    old, both = sealer_with(b"o" * 32), sealer_with(b"n" * 32, b"o" * 32)
    lost = sealer_with(b"l" * 32)
    for number in range(120):
        org = await add_organization(store, f"org_{number}")
        sealer = lost if number == 60 else old
        organization, seed = (org, OrganizationId(f"org_{number}")), bytes([number]) * 32
        await store.db.write(
            lambda unit, s=sealer, o=organization, p=seed: proof_keys.add_key(unit, s, o, (p, p), T0)
        )

    broken, steps = [], 0
    after = BEGINNING
    while True:
        step = await store.db.write(
            lambda unit, at=after: proof_keys.rewrap_some(unit, both, both.newest, at)
        )
        broken += step.broken
        if step.last is None:
            break
        after, steps = step.last, steps + 1

    assert steps == 3
    assert broken == ["org_60"]
    new = sealer_with(b"n" * 32)
    for number in (0, 59, 61, 119):
        found = await store.db.read(lambda unit, n=number: organizations.find(unit, f"org_{n}"))
        (key,) = await store.db.read(lambda unit, no=found.no: proof_keys.keys_of(unit, no))
        assert proof_keys.open_seed(new, found.org_id, key) == bytes([number]) * 32
    seeds = store.db.read_now(lambda unit: raw(unit).rows("SELECT seed FROM proof_keys"))
    again = await store.db.write(lambda unit: proof_keys.rewrap_some(unit, both, both.newest, BEGINNING))
    assert again.broken == ()
    assert sorted(map(bytes, (row[0] for row in seeds))) == sorted(
        bytes(row[0]) for row in store.db.read_now(lambda unit: raw(unit).rows("SELECT seed FROM proof_keys"))
    )


async def test_a_seed_that_nobody_can_open_is_given_up(store, org):
    """After the loss of a master key the seed goes, the public key stays, and the next key counts on."""
    await add_key(store, org, sealer_with(b"l" * 32), b"1" * 32)
    sealer = sealer_with(b"n" * 32)

    step = await store.db.write(
        lambda unit: proof_keys.forget_unreadable(unit, sealer, BEGINNING, Micros(T0 + 3))
    )
    (key,) = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    fresh = await add_key(store, org, sealer, b"2" * 32)

    assert step.broken == ("org_a",)
    assert (key.sealed_seed, key.public, key.retired_at) == (b"", b"1" * 32, T0 + 3)
    assert fresh.epoch == 2
    assert CHECKPOINT_DATASET.startswith("aegis.audit_stream.")
