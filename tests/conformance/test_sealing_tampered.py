"""Rows that were changed, removed or put in place of others: no false history is signed, and the refusal says what is wrong.

Each test is somebody who can write to the database and has no key: attacker E of the table of threats.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.domain import merkle
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.note import Checkpoint, Kind, Note, VerifierKey, sign_plain, sign_timed
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.checkpoint_log import NAME, CheckpointLog, Signed
from aegis_stream.vault import ed25519
from support.clock import T0
from support.log import entries
from support.sealed_logs import assert_whole, deps_on, seal_all, sealed, state_of
from support.sealing import ORIGIN, set_mode
from support.sql import RawUnit, raw
from support.stores import Store, add_organization, append_to, event, events

SIZE = 300
"""More than a tile has, so that a full one lies behind the open one."""
OTHER = "org_b"
THIEF = b"t" * 32


@pytest.fixture
async def deps(store, org, tmp_path) -> SealingDeps:
    """Seal two logs."""
    made = replace(deps_on(store, tmp_path), events_max=1000)
    other = await add_organization(store, OTHER)
    await append_to(store.log, org, events(1, SIZE), T0)
    await append_to(store.log, other, events(1001, SIZE), T0)
    await seal_all(made, store, org)
    await seal_all(made, store, other)
    return made


def flip(value: bytes, at: int) -> bytes:
    """Change a bit."""
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def in_tree(**values: object) -> Callable[[RawUnit, int, int], None]:
    """Return what sets columns of the tree."""

    def work(unit: RawUnit, org: int, _: int) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        unit.run(f"UPDATE trees SET {names} WHERE org_no = ?", (*values.values(), org))

    return work


def change_frontier(unit: RawUnit, org: int, _: int) -> None:
    """Change a hash of the frontier."""
    [(frontier,)] = unit.rows("SELECT frontier FROM trees WHERE org_no = ?", (org,))
    unit.run("UPDATE trees SET frontier = ? WHERE org_no = ?", (flip(bytes(frontier), 40), org))


def change_note(unit: RawUnit, org: int, _: int) -> None:
    """Change a signature of the note."""
    [(note,)] = unit.rows("SELECT note FROM trees WHERE org_no = ?", (org,))
    unit.run("UPDATE trees SET note = ? WHERE org_no = ?", (note.replace(note[-20:-10], "A" * 10), org))


def change_open_tile(unit: RawUnit, org: int, _: int) -> None:
    """Change a leaf of the tile that the next leaves continue."""
    [(hashes,)] = unit.rows(
        "SELECT hashes FROM tree_tiles WHERE org_no = ? AND level = 0 AND tile = 1", (org,)
    )
    unit.run(
        "UPDATE tree_tiles SET hashes = ? WHERE org_no = ? AND level = 0 AND tile = 1",
        (flip(bytes(hashes), 5), org),
    )


def change_upper_tile(unit: RawUnit, org: int, _: int) -> None:
    """Change the hash over the tile that is full."""
    [(hashes,)] = unit.rows(
        "SELECT hashes FROM tree_tiles WHERE org_no = ? AND level = 1 AND tile = 0", (org,)
    )
    unit.run("UPDATE tree_tiles SET hashes = ? WHERE org_no = ? AND level = 1", (flip(bytes(hashes), 5), org))


def remove_open_tile(unit: RawUnit, org: int, _: int) -> None:
    """Remove the tile that the next leaves continue."""
    unit.run("DELETE FROM tree_tiles WHERE org_no = ? AND level = 0 AND tile = 1", (org,))


def remove_tree(unit: RawUnit, org: int, _: int) -> None:
    """Remove the row of the tree."""
    unit.run("DELETE FROM trees WHERE org_no = ?", (org,))


def take_tree_of_other(unit: RawUnit, org: int, other: int) -> None:
    """Put the tree and the tiles of another organization in place."""
    unit.run("DELETE FROM trees WHERE org_no = ?", (org,))
    unit.run("DELETE FROM tree_tiles WHERE org_no = ?", (org,))
    columns = "base, origin, size, frontier, note, sealed_at, own"
    unit.run(
        f"INSERT INTO trees (org_no, {columns}) SELECT ?, {columns} FROM trees WHERE org_no = ?", (org, other)
    )
    columns = "base, level, tile, hashes"
    unit.run(
        f"INSERT INTO tree_tiles (org_no, {columns}) SELECT ?, {columns} FROM tree_tiles WHERE org_no = ?",
        (org, other),
    )


def take_key_of_other(unit: RawUnit, org: int, other: int) -> None:
    """Put the key of another organization in place."""
    unit.run("DELETE FROM proof_keys WHERE org_no = ?", (org,))
    columns = "epoch, public, seed, created_at"
    unit.run(
        f"INSERT INTO proof_keys (org_no, {columns}) SELECT ?, {columns} FROM proof_keys WHERE org_no = ?",
        (org, other),
    )


def change_seed(unit: RawUnit, org: int, _: int) -> None:
    """Change the sealed seed."""
    [(seed,)] = unit.rows("SELECT seed FROM proof_keys WHERE org_no = ?", (org,))
    unit.run("UPDATE proof_keys SET seed = ? WHERE org_no = ?", (flip(bytes(seed), 100), org))


def cut_seed(unit: RawUnit, org: int, _: int) -> None:
    """Remove the seed from the row of the key."""
    unit.run("UPDATE proof_keys SET seed = ? WHERE org_no = ?", (b"", org))


def change_public(unit: RawUnit, org: int, _: int) -> None:
    """Put another public key into the row of the key."""
    unit.run("UPDATE proof_keys SET public = ? WHERE org_no = ?", (ed25519.public_key(THIEF), org))


def remove_key(unit: RawUnit, org: int, _: int) -> None:
    """Remove the key."""
    unit.run("DELETE FROM proof_keys WHERE org_no = ?", (org,))


TAMPERINGS = {
    "frontier changed": (change_frontier, "is not what the frontier was hashed from"),
    "frontier cut": (in_tree(frontier=b"\0" * 31), "is not that of a tree of"),
    "frontier empty": (in_tree(frontier=b""), "is not that of a tree of"),
    "size moved back": (in_tree(size=SIZE - 1), "frontier|hashes must be"),
    "size moved back to a tile": (in_tree(size=256, frontier=b"\1" * 32), "frontier|hashes must be|there"),
    "size moved ahead": (in_tree(size=SIZE + 3), "frontier|hashes must be"),
    "size beyond all": (in_tree(size=1 << 50), "is not that of a tree of"),
    "size below 0": (in_tree(size=-5), "tile 0/0 is there"),
    "size 0": (in_tree(size=0, frontier=b"", note=""), "tile 0/0 is there"),
    "note changed": (change_note, "cannot be verified"),
    "note empty": (in_tree(note=""), "has no signed note"),
    "note is no note": (in_tree(note="\u2014\n\n\u2014 x\ty\n"), "cannot be verified"),
    "note is large": (in_tree(note="x" * 100_000), "cannot be verified"),
    "name changed": (in_tree(origin=f"{ORIGIN}/{OTHER}"), "has signed the last note|not the one"),
    "name has a newline": (in_tree(origin="a\nb"), "has signed the last note|not the one"),
    "beginning moved": (in_tree(base=7), "missing"),
    "open tile changed": (change_open_tile, "is not what the frontier was hashed from"),
    "upper tile changed": (change_upper_tile, "is not what the frontier was hashed from"),
    "open tile removed": (remove_open_tile, "is missing"),
    "tree removed": (remove_tree, "the row of the tree is gone"),
    "tree of another organization": (take_tree_of_other, "has signed the last note|not the one"),
    "key of another organization": (take_key_of_other, "cannot be used"),
    "seed changed": (change_seed, "cannot be used"),
    "seed removed": (cut_seed, "has a seed"),
    "public key changed": (change_public, "is not the one that its public key says"),
    "key removed": (remove_key, "has signed the last note"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_a_changed_row_stops_the_seals_of_its_log_alone(store, org, deps, tmp_path, name):
    """The log is refused with the reason, nothing of it is stored, another one is sealed, and the right row heals it."""
    change, reason = TAMPERINGS[name]
    other, before = org + 1, await rows_of(store, org)
    await store.db.write(lambda unit: change(raw(unit), org, other))
    changed = await rows_of(store, org)
    await append_to(store.log, org, events(2001, 5), T0)
    await append_to(store.log, other, events(2001, 5), T0)
    fresh = deps_on(store, tmp_path, 2)

    with pytest.raises(Refused, match=reason):
        await seal(fresh, await state_of(store, org))

    if name != "key removed":  # a new key is no history
        assert await rows_of(store, org) == changed
    await seal_all(fresh, store, other)
    assert (await assert_whole(store, other)).tree.size == SIZE + 5
    await store.db.write(lambda unit: put_rows(raw(unit), org, before))
    await seal_all(fresh, store, org)
    assert (await assert_whole(store, org)).tree.size == SIZE + 5


TABLES = {
    "trees": "org_no, base, origin, size, frontier, note, sealed_at, own",
    "tree_tiles": "org_no, base, level, tile, hashes, stored_at",
    "proof_keys": "org_no, epoch, public, seed, created_at, retired_at, announced",
}


async def rows_of(store: Store, org: int) -> dict[str, list[tuple[object, ...]]]:
    """Return everything that is stored of a sealed log."""

    def work(unit) -> dict[str, list[tuple[object, ...]]]:
        return {
            table: sorted(
                tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)
                for row in raw(unit).rows(f"SELECT {columns} FROM {table} WHERE org_no = ?", (org,))
            )
            for table, columns in TABLES.items()
        }

    return await store.db.read(work)


def put_rows(unit: RawUnit, org: int, rows: dict[str, list[tuple[object, ...]]]) -> None:
    """Put back everything that was stored of a sealed log."""
    for table, columns in TABLES.items():
        unit.run(f"DELETE FROM {table} WHERE org_no = ?", (org,))
        marks = ", ".join("?" * len(columns.split(",")))
        for row in rows[table]:
            unit.run(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)


async def forge(store: Store, org: int, size: int) -> None:
    """Change an event that is sealed, and make tree, tiles and note of the first `size` events fit, signed with a thief's key.

    The thief's key is a row as a key has that is retired and whose seed nobody could open.
    """
    bodies = [one.body.encode() for one in await entries(store.log, org, 0, size, size)]
    bodies[10] = b'{"event":{"id":"e11"},"never":"happened"}'
    grown = merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(bodies))
    last, public = await sealed(store, org), ed25519.public_key(THIEF)
    text = Checkpoint(last.origin, size, grown.tree.root()).text
    keys = {kind: VerifierKey(last.origin, kind, public) for kind in Kind}
    sign, at_s = ed25519.signer(THIEF), last.sealed_at // SECOND
    lines = (
        sign_plain(text, keys[Kind.PLAIN], sign),
        sign_timed(text, keys[Kind.TIMED], at_s, sign),
    )

    def work(unit) -> None:
        in_tree(size=size, frontier=grown.tree.frontier, note=str(Note(text, lines)))(raw(unit), org, 0)
        for at, hashes in grown.tiles.items():
            unit.run("store_tile", (org, 0, at.level, at.number, hashes, T0))
        values = (org, 0, public, b"", T0, T0, None)
        raw(unit).run(f"INSERT INTO proof_keys ({TABLES['proof_keys']}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    await store.db.write(work)


@pytest.mark.parametrize("more", [0, 5])
@pytest.mark.parametrize("noted", ["newest", "older", "none"])
async def test_a_history_that_a_thief_signed_is_not_continued(store, org, deps, tmp_path, noted, more):
    """Tree, tiles and note that fit each other, under a key that was slipped in as a retired one, are refused everywhere."""
    await append_to(store.log, org, events(2001, 10), T0)
    await forge(store, org, SIZE + more)
    if noted == "none":
        (tmp_path / NAME).unlink()
    elif noted == "older":
        bodies = [one.body.encode() for one in await entries(store.log, org, 0, 100, 100)]
        await note(tmp_path, 100, merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(bodies)).tree.root())

    with pytest.raises(Refused, match=r"another root|none of the organization's keys"):
        await seal(deps_on(store, tmp_path, 2), await state_of(store, org))


async def note(folder, size: int, root: bytes) -> None:
    """Let checkpoints.log have one line."""
    (folder / NAME).unlink()
    CheckpointLog(folder).note(f"{ORIGIN}/org_a", Signed(size, root))


async def test_an_older_note_of_this_machine_is_a_witness(store, org, deps, tmp_path):
    """A machine that sealed last at another size looks whether the tree continues what it noted, before it signs."""
    await append_to(store.log, org, events(2001, 10), T0)
    await note(tmp_path, 100, b"\5" * 32)

    with pytest.raises(Refused, match=r"checkpoint 100 of .* another root"):
        await seal(deps_on(store, tmp_path, 2), await state_of(store, org))

    bodies = [one.body.encode() for one in await entries(store.log, org, 0, 100, 100)]
    await note(tmp_path, 100, merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(bodies)).tree.root())
    await seal_all(deps_on(store, tmp_path, 2), store, org)
    assert (await assert_whole(store, org)).tree.size == SIZE + 10


async def test_a_key_that_is_gone_and_retired_vouches_for_what_was_noted_here(store, org, deps, tmp_path):
    """After `aegis vault drop` the new key goes on from the last note of the old one, on the machine that noted it, and nowhere else."""
    await store.db.write(lambda unit: raw(unit).run("UPDATE proof_keys SET seed = ?, retired_at = 5", (b"",)))
    await append_to(store.log, org, events(2001, 10), T0)
    (tmp_path / "elsewhere").mkdir()

    with pytest.raises(Refused, match="none of the organization's keys"):
        await seal(deps_on(store, tmp_path / "elsewhere", 2), await state_of(store, org))
    assert await seal(deps_on(store, tmp_path, 3), await state_of(store, org)) == 10

    keys = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    assert [(one.epoch, one.retired_at) for one in keys] == [(2, None), (1, 5)]


async def test_a_smaller_limit_seals_what_was_noted(store, org, deps, tmp_path):
    """A checkpoint that was noted and not stored is sealed at its size, even when seals are smaller since."""
    await append_to(store.log, org, events(2001, 50), T0)
    bodies = [one.body.encode() for one in await entries(store.log, org, 0, 1000, 1000)]
    root = merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(bodies)).tree.root()
    await note(tmp_path, SIZE + 50, root)
    await append_to(store.log, org, events(3001, 4), T0)

    covered = await seal_all(replace(deps_on(store, tmp_path, 2), events_max=3), store, org)

    assert covered == [50, 3, 1]
    await assert_whole(store, org)


@pytest.mark.parametrize("audited", [True, False])
async def test_a_tenant_that_knows_the_next_root_stops_nothing(store, tmp_path, audited):
    """Whoever sends all events of a log can compute its next root: an event with such an id stops no seal."""
    org = await add_organization(store, "org_c")
    await set_mode(store, org, ProofMode.STREAM)
    deps = replace(deps_on(store, tmp_path), events_max=3, audit_actions=audited)
    first = events(1, 3)
    root = merkle.grow(merkle.EMPTY, {}, merkle.leaf_hashes(one.body.encode() for one in first)).tree.root()
    taken = [event("ckpt_1_3"), event(f"ckpt_1_3_{root.hex()[:16]}")]
    await append_to(store.log, org, [*first, *taken], T0)

    await seal_all(deps, store, org)

    await assert_whole(store, org)


async def test_an_event_that_was_changed_after_it_was_sealed_keeps_its_true_leaf(store, org, deps):
    """The row of a sealed event is not read again: the tree keeps what was recorded, so the receiver's copy is the true one."""
    text = '{"event":{"id":"e11"},"never":"happened"}'
    await store.db.write(
        lambda unit: raw(unit).run(
            "UPDATE events SET body = ? WHERE org_no = ? AND sequence = 11", (text, org)
        )
    )
    await append_to(store.log, org, events(2001, 5), T0)

    await seal_all(deps, store, org)

    tiles = await store.db.read(lambda unit: tree.read_tiles(unit, org, 0, [merkle.TileAt(0, 0)]))
    leaf = tiles[merkle.TileAt(0, 0)][32 * 10 : 32 * 11]
    assert leaf == merkle.leaf_hash(b'{"event": {"id": "e11"}}')
