"""Proofs over a Merkle tree: that a leaf is in it, and that it continues an older one. Made from tiles, checked without any.

A proof is planned first: a Plan says which tiles it needs, and makes the hashes from them. The one who has the tiles reads those.

Source: RFC 6962 sections 2.1.1 and 2.1.2 for what a proof is; RFC 9162 sections 2.1.3.2 and 2.1.4.2 for how it is checked.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .merkle import (
    HASH_BYTES,
    SIZE_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    Broken,
    TileAt,
    fold,
    node_hash,
    parents,
)

HASHES_MAX = SIZE_MAX.bit_length() + 1
"""Most hashes of a proof."""


class _Subtree(NamedTuple):
    """A full subtree: of 2**level leaves, and so many of its kind lie to its left."""

    level: int
    number: int

    @property
    def tile(self) -> TileAt:
        """The tile that its hash stands in or is made from."""
        return TileAt(self.level // TILE_HEIGHT, self._first >> TILE_HEIGHT)

    def hash_from(self, tile: bytes) -> bytes:
        """Return its hash from its tile's content. Raises: Broken when the tile is too short."""
        start = self._first % TILE_WIDTH * HASH_BYTES
        end = start + (HASH_BYTES << self.level % TILE_HEIGHT)
        row = tile[start:end]
        if len(row) != end - start:
            raise Broken(f"tile {self.tile.level}/{self.tile.number} has too few hashes")
        while len(row) > HASH_BYTES:
            row = parents(row)
        return row

    @property
    def _first(self) -> int:
        """Number of the first of its hashes on its level of tiles."""
        return self.number << self.level % TILE_HEIGHT


class Plan(NamedTuple):
    """What makes the hashes of a proof.

    Args:
        parts: for each hash of the proof the full subtrees under it, from the left.
    """

    parts: tuple[tuple[_Subtree, ...], ...]

    def tiles(self) -> list[TileAt]:
        """Return the tiles that are needed, in order: at most two a level of tiles."""
        return sorted({one.tile for part in self.parts for one in part})

    def hashes(self, tiles: Mapping[TileAt, bytes]) -> list[bytes]:
        """Return the hashes of the proof, in order.

        Args:
            tiles: those of `tiles`; they may have been continued by a larger tree.
        Raises: Broken when a tile is missing or too short.
        """
        return [fold(b"".join([_hash(one, tiles) for one in part])) for part in self.parts]


def root_plan(size: int) -> Plan:
    """Plan the one hash that is the root of the tree when it had a size, 1 to SIZE_MAX."""
    return Plan((_subtrees(0, size),))


def inclusion_plan(index: int, size: int) -> Plan:
    """Plan the proof that a leaf is in the tree of a size: from the leaf's neighbour up to the root's child.

    Args:
        index: of the leaf, 0 to size - 1.
    """
    assert 0 <= index < size <= SIZE_MAX, "the caller's promise"
    low, high, parts = 0, size, list[tuple[_Subtree, ...]]()
    while high - low > 1:
        middle = low + _largest_below(high - low)
        if index < middle:
            parts.append(_subtrees(middle, high))
            high = middle
        else:
            parts.append(_subtrees(low, middle))
            low = middle
    return Plan(tuple(reversed(parts)))


def consistency_plan(first: int, second: int) -> Plan:
    """Plan the proof that the tree of size `second` begins with the one of size `first`; empty where they are equal.

    Args:
        first: at least 1; an empty tree proves nothing.
    """
    assert 1 <= first <= second <= SIZE_MAX, "the caller's promise"
    low, high, parts = 0, second, list[tuple[_Subtree, ...]]()
    while high != first:
        middle = low + _largest_below(high - low)
        if first <= middle:
            parts.append(_subtrees(middle, high))
            high = middle
        else:
            parts.append(_subtrees(low, middle))
            low = middle
    if low:  # the older tree is no subtree of the newer one, so its last part is not known from its root
        parts.append(_subtrees(low, high))
    return Plan(tuple(reversed(parts)))


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a proof shows that a leaf stands at an index of the tree with a size and a root. Raises nothing.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof[: HASHES_MAX + 1]):
        return False
    node, sides = leaf, left_sides(index, size)
    if len(sides) != len(proof):
        return False
    for one, is_left in zip(proof, sides, strict=True):
        node = node_hash(one, node) if is_left else node_hash(node, one)
    return node == root


def left_sides(index: int, size: int) -> list[bool]:
    """Tell of each hash of an inclusion proof, from the leaf up, whether it stands left of what is hashed with it.

    Args:
        index: of the leaf, 0 to size - 1.
    Source: RFC 9162 section 2.1.3.2.
    """
    place, last, found = index, size - 1, list[bool]()
    while last:
        is_left = bool(place & 1) or place == last
        found.append(is_left)
        while is_left and place and not place & 1:
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    return found


def continues(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that one tree begins with another, smaller or equal one. Raises nothing.

    An empty tree is the beginning of every tree, which says nothing: it is refused.
    Source: RFC 9162 section 2.1.4.2.
    """
    if not 1 <= first <= second or not _are_hashes(first_root, second_root, *proof[: HASHES_MAX + 1]):
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if len(path) < 1:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, one)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _are_hashes(*values: bytes) -> bool:
    """Tell whether these are hashes, and no more than a proof can have, besides two that it is about."""
    return len(values) <= HASHES_MAX + 2 and all(len(one) == HASH_BYTES for one in values)


def _largest_below(count: int) -> int:
    """Return the largest power of two that is smaller than a count of at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _subtrees(low: int, high: int) -> tuple[_Subtree, ...]:
    """Cut a node of the tree, given by its leaves, into full subtrees, from the left."""
    found = []
    while low < high:
        level = (high - low).bit_length() - 1
        # `low` is a multiple of every smaller power of two: a node of the tree begins so.
        found.append(_Subtree(level, low >> level))
        low += 1 << level
    return tuple(found)


def _hash(one: _Subtree, tiles: Mapping[TileAt, bytes]) -> bytes:
    tile = tiles.get(one.tile)
    if tile is None:
        raise Broken(f"tile {one.tile.level}/{one.tile.number} is missing")
    return one.hash_from(tile)
