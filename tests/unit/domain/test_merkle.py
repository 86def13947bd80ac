"""Promises of `domain.merkle` and `domain.merkle_proof`: RFC 6962's tree, grown in any steps, and proofs that hold and convict."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain import merkle
from aegis_stream.domain.merkle import (
    EMPTY,
    EMPTY_ROOT,
    HASH_BYTES,
    SIZE_MAX,
    TILE_WIDTH,
    Broken,
    TileAt,
    Tree,
    grow,
    leaf_hash,
    leaf_hashes,
    node_hash,
    open_tiles,
    tile_width,
)
from aegis_stream.domain.merkle_proof import (
    HASHES_MAX,
    consistency_plan,
    continues,
    includes,
    inclusion_plan,
    left_sides,
    root_plan,
)

RFC_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The eight entries whose trees implementations of RFC 6962 compare."""
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves_of(count: int) -> list[bytes]:
    """Return so many leaves that all differ."""
    return [leaf_hash(b"%d" % number) for number in range(count)]


def plain_root(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 section 2.1 writes it down."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(plain_root(leaves[:split]), plain_root(leaves[split:]))


class Kept:
    """A tree and its tiles, as a store keeps them."""

    def __init__(self) -> None:
        self.tree, self.tiles = EMPTY, dict[TileAt, bytes]()

    def add(self, leaves: list[bytes]) -> None:
        """Grow the tree with what the right edge alone says."""
        opened = {at: self.tiles[at] for at in open_tiles(self.tree.size)}
        self.tree, changed = grow(self.tree, opened, b"".join(leaves))
        self.tiles |= changed

    def hashes(self, plan) -> list[bytes]:
        """Return the hashes of a plan from the tiles that it asks for, and no other."""
        return plan.hashes({at: self.tiles[at] for at in plan.tiles()})


def kept(count: int, step: int = 1000) -> tuple[Kept, list[bytes]]:
    """Return a tree of so many leaves, and these."""
    leaves, tree = leaves_of(count), Kept()
    for at in range(0, count, step):
        tree.add(leaves[at : at + step])
    return tree, leaves


BIG, BIG_LEAVES = kept(70_000)
"""Three levels of tiles: 65,536 leaves fill a tile of level 1."""


def test_hashes_are_those_of_the_rfc():
    """Empty tree, leaf and node are the known values, so leaves and nodes can never be confused."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert (
        node_hash(b"N123", b"N456").hex()
        == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )
    assert EMPTY.root() == EMPTY_ROOT


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_of_the_eight_known_leaves(count):
    """Trees of one to eight known leaves have the known roots."""
    assert grow(EMPTY, {}, leaf_hashes(RFC_LEAVES[:count])).tree.root().hex() == RFC_ROOTS[count - 1]


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_any_steps_make_the_same_tree(steps):
    """However leaves arrive, the tree is the one that the RFC defines, and so are its tiles."""
    tree = Kept()
    leaves = leaves_of(sum(steps))
    start = 0
    for step in steps:
        tree.add(leaves[start : start + step])
        start += step

    assert tree.tree.root() == plain_root(leaves)
    assert tree.tree == grow(EMPTY, {}, b"".join(leaves)).tree
    assert tree.tiles == grow(EMPTY, {}, b"".join(leaves)).tiles
    for at, content in tree.tiles.items():
        assert len(content) == tile_width(at, start) * HASH_BYTES
    merkle.check_tiles(tree.tree, tree.tiles)


def test_tiles_are_those_of_the_specification():
    """A tile of level 0 has 256 leaves; one of level 1 the roots of full tiles of level 0, and of no other."""
    assert BIG.tiles[TileAt(0, 3)] == b"".join(BIG_LEAVES[768:1024])
    assert BIG.tiles[TileAt(0, 273)] == b"".join(BIG_LEAVES[69_888:])
    assert BIG.tiles[TileAt(1, 1)][:HASH_BYTES] == plain_root(BIG_LEAVES[65_536:65_792])
    assert len(BIG.tiles[TileAt(1, 1)]) == (70_000 // 256 - 256) * HASH_BYTES
    assert BIG.tiles[TileAt(2, 0)] == plain_root(BIG_LEAVES[:65_536])
    assert TileAt(1, 2) not in BIG.tiles
    assert [tile_width(TileAt(0, number), 257) for number in range(3)] == [256, 1, 0]
    assert open_tiles(256) == [TileAt(1, 0)]
    assert open_tiles(255) == [TileAt(0, 0)]
    assert open_tiles(65_536) == [TileAt(2, 0)]
    assert open_tiles(0) == []


def test_every_node_is_hashed_once(monkeypatch):
    """1,000 leaves behind 777 others cost as many hashes as there are new nodes, whatever the tiles."""
    tree, _ = kept(777)
    leaves = leaves_of(1777)[777:]
    calls = []

    def counted(data: bytes):
        calls.append(data)
        return sha256(data)

    monkeypatch.setattr(merkle, "sha256", counted)
    tree.add(leaves)

    full_nodes = sum((1777 >> level) - (777 >> level) for level in range(1, 11))
    assert len(calls) == full_nodes
    assert len(set(calls)) == full_nodes


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 255, 256, 257, 1000])
def test_every_leaf_is_proved_by_few_tiles(size):
    """Each leaf of a tree has a proof that holds, at any size the tree once had."""
    root = plain_root(BIG_LEAVES[:size])
    assert BIG.hashes(root_plan(size)) == [root]
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        plan = inclusion_plan(index, size)
        assert len(plan.tiles()) <= 4
        proof = BIG.hashes(plan)
        assert includes(BIG_LEAVES[index], index, size, proof, root)


@given(st.data())
def test_proofs_hold_at_every_size_and_nothing_else_does(data):
    """Proofs at sizes up to three levels of tiles hold; with one bit of anything changed they do not."""
    size = data.draw(st.integers(1, 70_000) | st.sampled_from([65_535, 65_536, 65_537, 70_000]))
    index = data.draw(st.integers(0, size - 1))
    proof = BIG.hashes(inclusion_plan(index, size))
    (root,) = BIG.hashes(root_plan(size))

    assert len(inclusion_plan(index, size).tiles()) <= 6
    assert includes(BIG_LEAVES[index], index, size, proof, root)
    assert not includes(BIG_LEAVES[index], (index + 1) % size, size, proof, root) or size == 1
    assert not includes(leaf_hash(b"another"), index, size, proof, root)
    assert not includes(BIG_LEAVES[index], index, size, proof, leaf_hash(b"another"))
    assert not includes(BIG_LEAVES[index], index, size, [*proof, root], root)
    assert not includes(BIG_LEAVES[index], index, size, proof[:-1], root) or not proof
    for at in range(len(proof)):
        changed = [bytes([one[0] ^ 1]) + one[1:] if at == place else one for place, one in enumerate(proof)]
        assert not includes(BIG_LEAVES[index], index, size, changed, root)


@given(st.data())
def test_a_larger_tree_is_shown_to_continue_a_smaller_one(data):
    """Consistency proofs hold between any two sizes; with one bit of anything changed they do not."""
    second = data.draw(st.integers(1, 70_000) | st.sampled_from([65_536, 65_537, 70_000]))
    first = data.draw(st.integers(1, second) | st.sampled_from([1, second]))
    plan = consistency_plan(first, second)
    proof = BIG.hashes(plan)
    (old,), (new,) = BIG.hashes(root_plan(first)), BIG.hashes(root_plan(second))
    other = leaf_hash(b"another")

    assert len(plan.tiles()) <= 6
    assert continues(first, old, second, new, proof)
    assert not continues(first, other, second, new, proof)
    assert not continues(first, old, second, other, proof)
    assert not continues(first, old, second, new, [*proof, old])
    assert not continues(second, old, first, new, proof) or first == second
    for at in range(len(proof)):
        changed = [bytes([one[0] ^ 1]) + one[1:] if at == place else one for place, one in enumerate(proof)]
        assert not continues(first, old, second, new, changed)
        assert not continues(first, old, second, new, proof[:at] + proof[at + 1 :])


@pytest.mark.parametrize("second", range(1, 34))
def test_all_small_trees(second):
    """Every inclusion and every consistency of trees up to 33 leaves is proved by as many hashes as the RFC's recursion has."""
    new = plain_root(BIG_LEAVES[:second])
    for index in range(second):
        proof = BIG.hashes(inclusion_plan(index, second))
        assert proof == plain_path(index, BIG_LEAVES[:second])
        assert includes(BIG_LEAVES[index], index, second, proof, new)
    for first in range(1, second + 1):
        proof = BIG.hashes(consistency_plan(first, second))
        assert proof == plain_subproof(first, BIG_LEAVES[:second], whole=True)
        assert continues(first, plain_root(BIG_LEAVES[:first]), second, new, proof)


def plain_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return an inclusion proof as RFC 6962 section 2.1.1 writes it down."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*plain_path(index, leaves[:split]), plain_root(leaves[split:])]
    return [*plain_path(index - split, leaves[split:]), plain_root(leaves[:split])]


def plain_subproof(first: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """Return a consistency proof as RFC 6962 section 2.1.2 writes it down."""
    if first == len(leaves):
        return [] if whole else [plain_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if first <= split:
        return [*plain_subproof(first, leaves[:split], whole=whole), plain_root(leaves[split:])]
    return [*plain_subproof(first - split, leaves[split:], whole=False), plain_root(leaves[:split])]


def test_a_proof_of_a_smaller_tree_is_none_of_a_larger_one():
    """A proof that leads to the right root too early is for another size, and is refused."""
    leaf, root = BIG_LEAVES[0], plain_root(BIG_LEAVES[:2])

    assert includes(leaf, 0, 2, [BIG_LEAVES[1]], root)
    assert not includes(leaf, 0, 4, [BIG_LEAVES[1]], root)
    assert not includes(leaf, 0, 3, [BIG_LEAVES[1]], root)
    assert continues(1, leaf, 2, root, [BIG_LEAVES[1]])
    assert not continues(1, leaf, 4, root, [BIG_LEAVES[1]])
    assert not continues(1, leaf, 3, root, [BIG_LEAVES[1]])


def test_nonsense_is_refused_and_not_computed():
    """Sizes out of range, hashes of another length and endless proofs are refused, without an error."""
    leaf, root = BIG_LEAVES[0], plain_root(BIG_LEAVES[:2])

    assert not includes(leaf, 0, 0, [], leaf)
    assert not includes(leaf, -1, 1, [], leaf)
    assert not includes(leaf, 1, 1, [], leaf)
    assert not includes(b"", 0, 1, [], b"")
    assert not includes(leaf, 0, 2, [BIG_LEAVES[1] + b"\0"], root)
    assert not includes(leaf, 0, 1 << 63, [leaf] * 100, root)
    assert not includes(leaf, 0, 2, [leaf] * 1_000_000, root)
    assert not continues(0, EMPTY_ROOT, 2, root, [])
    assert not continues(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not continues(1, b"x", 1, b"x", [])
    assert not continues(3, root, 2, root, [])
    assert not continues(1, leaf, 2, root, [])
    assert not continues(3, root, 4, root, [])
    assert not continues(1, leaf, 2, root, [leaf] * 1_000_000)
    assert HASHES_MAX >= 40


@pytest.mark.parametrize("cut", [1, 31, 33, 63])
def test_a_leaf_cannot_be_cut_elsewhere(cut):
    """The bytes under a node, cut at another place into a leaf and its neighbour, prove nothing."""
    both, root = BIG_LEAVES[0] + BIG_LEAVES[1], plain_root(BIG_LEAVES[:2])

    assert includes(both[:32], 0, 2, [both[32:]], root)
    assert not includes(both[:cut], 0, 2, [both[cut:]], root)
    assert not includes(both[cut:], 1, 2, [both[:cut]], root)


def test_a_tile_that_does_not_fit_stops_the_tree():
    """A missing, short or changed tile, or a frontier of another size, is found before anything is signed."""
    tree, _ = kept(300)
    at = TileAt(0, 1)
    good = tree.tiles[at]
    changed = {**tree.tiles, at: good[:-1] + bytes([good[-1] ^ 1])}

    with pytest.raises(Broken, match="frontier was hashed from"):
        merkle.check_tiles(tree.tree, changed)
    with pytest.raises(Broken, match=r"^tile 0/1 is missing where 44 hashes must be$"):
        grow(tree.tree, {TileAt(1, 0): tree.tiles[TileAt(1, 0)]}, leaf_hash(b"next"))
    with pytest.raises(Broken, match=r"^tile 0/1 is of 1376 bytes where 44 hashes must be$"):
        grow(tree.tree, {**tree.tiles, at: good[:-HASH_BYTES]}, leaf_hash(b"next"))
    with pytest.raises(Broken, match="is not that of"):
        grow(Tree(300, tree.tree.frontier[:-HASH_BYTES]), tree.tiles, leaf_hash(b"next"))
    with pytest.raises(Broken, match="is not that of"):
        merkle.check_tree(Tree(-1, b""))


def test_a_tile_beyond_the_tree_is_found():
    """A tile that a tree of this size cannot have was left by another tree, and is found."""
    tree, _ = kept(300)
    merkle.check_tiles(tree.tree, tree.tiles)

    for at in (TileAt(0, 2), TileAt(1, 1), TileAt(2, 0)):
        with pytest.raises(
            Broken, match=f"^tile {at.level}/{at.number} is there, and a tree of 300 leaves has none"
        ):
            merkle.check_tiles(tree.tree, {**tree.tiles, at: leaf_hash(b"left over")})


def test_a_tree_grows_to_the_largest_size_and_no_further():
    """The last leaf that a tree has room for makes one full subtree of all; there is no room for one more."""
    full = [leaf_hash(b"same")]
    for _ in range(SIZE_MAX.bit_length() - 1):
        full.append(node_hash(full[-1], full[-1]))
    almost = Tree(SIZE_MAX - 1, b"".join(reversed(full[:-1])))
    opened = {at: full[8 * at.level] * (TILE_WIDTH - 1) for at in open_tiles(almost.size)}

    largest = grow(almost, opened, full[0]).tree

    assert largest == Tree(SIZE_MAX, full[-1])
    assert largest.root() == full[-1]
    merkle.check_tiles(almost, opened)
    with pytest.raises(AssertionError):
        grow(largest, {}, full[0])
    with pytest.raises(Broken):
        merkle.check_tree(Tree(SIZE_MAX + 1, full[0] * 2))


@pytest.mark.parametrize("leaves", [b"", b"x", leaf_hash(b"") + b"x"])
def test_a_tree_grows_by_whole_leaves_only(leaves):
    """To add nothing, or a part of a hash, is a mistake of the caller."""
    with pytest.raises(AssertionError):
        grow(EMPTY, {}, leaves)


def test_a_proof_from_too_few_tiles_is_not_made():
    """A proof is made whole or not at all."""
    plan = inclusion_plan(0, 1000)

    with pytest.raises(Broken, match="missing"):
        plan.hashes({})
    with pytest.raises(Broken, match="too few"):
        plan.hashes({at: BIG.tiles[at][: HASH_BYTES * (TILE_WIDTH // 8)] for at in plan.tiles()})


def test_the_sides_of_a_path_are_those_of_the_tree():
    """Each hash of a proof stands on the side on which the tree, as RFC 6962 writes it down, has it."""

    def sides(low: int, high: int, index: int) -> list[bool]:
        if high - low == 1:
            return []
        split = low + (1 << (high - low - 1).bit_length() - 1)
        if index < split:
            return [*sides(low, split, index), False]
        return [*sides(split, high, index), True]

    for size in range(1, 70):
        for index in range(size):
            assert left_sides(index, size) == sides(0, size, index), (index, size)


def test_proofs_are_planned_up_to_the_largest_size():
    """A tree of the largest size has proofs; a leaf or a tree beyond it has none, and to ask is a mistake of the caller."""
    height = SIZE_MAX.bit_length() - 1

    assert len(inclusion_plan(0, SIZE_MAX).parts) == height
    assert len(inclusion_plan(SIZE_MAX - 1, SIZE_MAX).parts) == height
    assert len(consistency_plan(1, SIZE_MAX).parts) == height
    assert consistency_plan(SIZE_MAX, SIZE_MAX).parts == ()
    for index, size in ((-1, 5), (5, 5), (0, 0), (0, SIZE_MAX + 1)):
        with pytest.raises(AssertionError):
            inclusion_plan(index, size)
    for first, second in ((0, 5), (6, 5), (1, SIZE_MAX + 1)):
        with pytest.raises(AssertionError):
            consistency_plan(first, second)


def test_the_longest_proofs_hold():
    """The first and the last leaf of a tree of the largest size are in it, and it begins with its first and its last but one."""
    same = [leaf_hash(b"same")]
    for _ in range(SIZE_MAX.bit_length() - 1):
        same.append(node_hash(same[-1], same[-1]))
    *path, root = same
    almost = Tree(SIZE_MAX - 1, b"".join(reversed(path)))

    for index in (0, 1, SIZE_MAX - 1):
        assert includes(path[0], index, SIZE_MAX, path, root)
    assert continues(1, path[0], SIZE_MAX, root, path)
    assert continues(SIZE_MAX - 1, almost.root(), SIZE_MAX, root, [path[0], *path])
    assert not continues(SIZE_MAX - 1, root, SIZE_MAX, root, [path[0], *path])
