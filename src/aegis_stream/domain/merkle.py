"""A Merkle tree over the events of a log, as RFC 6962 defines it: how it is hashed, how it grows, how it is cut into tiles.

The leaf of an event is the hash of its stored bytes. A tree is known by its size and its frontier, which is enough to grow it; every
node is hashed once. What a proof needs later lies in tiles: the hashes of every eighth level, 256 neighbours to a tile, as
c2sp.org/tlog-tiles has them. `merkle_proof` makes proofs from tiles.

Hashes travel joined together, 32 bytes each: a row of hashes is one `bytes`.

Source: RFC 6962 section 2.1.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
"""Bytes of a hash: SHA-256."""
TILE_HEIGHT = 8
"""Levels of the tree from one level of tiles to the next."""
TILE_WIDTH = 1 << TILE_HEIGHT
"""Most hashes of a tile."""
SIZE_MAX = 1 << 40
"""Most leaves of a tree: sequences of a log are smaller."""
EMPTY_ROOT = sha256(b"").digest()
"""Root of a tree without leaves."""
_LEAF, _NODE = b"\x00", b"\x01"
_PAIR = 2 * HASH_BYTES


class TileAt(NamedTuple):
    """Where a tile lies.

    Args:
        level: of tiles: 0 has the leaves, 1 the roots of full tiles of level 0, and so on; 0 to 4.
        number: counted from the left, from 0.
    """

    level: int
    number: int


class Broken(Exception):
    """What is stored of a tree contradicts itself: a tile is missing, too short, or is not what the frontier was hashed from."""


class Tree(NamedTuple):
    """A tree, as far as it must be known to grow and to be signed.

    Args:
        size: its leaves, 0 to SIZE_MAX.
        frontier: joined hashes of the largest full subtrees from the left, one for each bit that is set in `size`.
    """

    size: int
    frontier: bytes

    def root(self) -> bytes:
        """Return the hash of the whole tree."""
        return fold(self.frontier)


class Growth(NamedTuple):
    """What new leaves make of a tree.

    Args:
        tree: the tree with them.
        tiles: the whole new content of each tile that they change.
    """

    tree: Tree
    tiles: dict[TileAt, bytes]


EMPTY = Tree(0, b"")
"""A tree without leaves."""


def leaf_hash(body: bytes) -> bytes:
    """Return the leaf of an event.

    Args:
        body: the event's stored bytes.
    """
    return sha256(_LEAF + body).digest()


def leaf_hashes(bodies: Iterable[bytes]) -> bytes:
    """Return the joined leaves of a page of events, in order."""
    return b"".join([sha256(_LEAF + body).digest() for body in bodies])


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node from those of its two children."""
    return sha256(_NODE + left + right).digest()


def fold(hashes: bytes) -> bytes:
    """Return the root over neighbouring full subtrees, each smaller than the one before; EMPTY_ROOT of none.

    Args:
        hashes: joined, from the left.
    """
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-HASH_BYTES:]
    for end in range(len(hashes) - HASH_BYTES, 0, -HASH_BYTES):
        root = node_hash(hashes[end - HASH_BYTES : end], root)
    return root


def parents(row: bytes) -> bytes:
    """Return the joined hashes of a row's nodes, pair by pair; a last one without a neighbour is left out."""
    return b"".join(
        [sha256(_NODE + row[at : at + _PAIR]).digest() for at in range(0, len(row) - _PAIR + 1, _PAIR)]
    )


def levels(size: int) -> list[int]:
    """Return the levels of the full subtrees of a frontier, from the left: the bits of a size, the highest first."""
    return [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]


def tile_width(at: TileAt, size: int) -> int:
    """Return how many hashes a tile has in a tree of a size; 0 where the tile is not there yet."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * at.level) - at.number * TILE_WIDTH))


def open_tiles(size: int) -> list[TileAt]:
    """Return the tiles at the right edge of a tree that are not full: those that the next leaves may continue."""
    found = []
    for level in range(-(-size.bit_length() // TILE_HEIGHT)):
        number, width = divmod(size >> TILE_HEIGHT * level, TILE_WIDTH)
        if width:
            found.append(TileAt(level, number))
    return found


def grow(tree: Tree, opened: Mapping[TileAt, bytes], leaves: bytes) -> Growth:
    """Add leaves to a tree. Each new node is hashed once, level by level.

    Args:
        opened: content of the tree's `open_tiles`.
        leaves: joined hashes of the new leaves, at least one; SIZE_MAX must have room for them.
    Raises: Broken when a tile or the frontier does not fit the size.
    """
    check_tree(tree)
    size = tree.size + len(leaves) // HASH_BYTES
    assert leaves and len(leaves) % HASH_BYTES == 0 and size <= SIZE_MAX, "the caller's promise"  # noqa: PT018 - one promise
    left = dict(zip(levels(tree.size), _split(tree.frontier), strict=True))
    tiles: dict[TileAt, bytes] = {}
    row, level = leaves, 0
    while row:
        start = tree.size >> level  # how many nodes of this level there were
        if level % TILE_HEIGHT == 0:
            tiles |= _continued(level // TILE_HEIGHT, start, row, opened)
        if start & 1:
            row = left.pop(level) + row
        if len(row) // HASH_BYTES & 1:
            left[level] = row[-HASH_BYTES:]
        row, level = parents(row), level + 1
    return Growth(Tree(size, b"".join(left[one] for one in levels(size))), tiles)


def check_tree(tree: Tree) -> None:
    """Check that a frontier has as many hashes as its size says. Raises: Broken."""
    if not 0 <= tree.size <= SIZE_MAX or len(tree.frontier) != tree.size.bit_count() * HASH_BYTES:
        raise Broken(f"a frontier of {len(tree.frontier)} bytes is not that of a tree of {tree.size} leaves")


def check_tiles(tree: Tree, opened: Mapping[TileAt, bytes]) -> None:
    """Check that a tree's frontier was hashed from its `open_tiles`. Costs at most 255 hashes a level of tiles.

    Raises: Broken.
    """
    check_tree(tree)
    for at in opened:
        if not tile_width(at, tree.size):
            raise Broken(
                f"tile {at.level}/{at.number} is there, and a tree of {tree.size} leaves has none of its hashes"
            )
    frontier = dict(zip(levels(tree.size), _split(tree.frontier), strict=True))
    for at in open_tiles(tree.size):
        row, level = _whole(opened, at, tile_width(at, tree.size)), TILE_HEIGHT * at.level
        while row:
            if len(row) // HASH_BYTES & 1 and frontier[level] != row[-HASH_BYTES:]:
                raise Broken(f"tile {at.level}/{at.number} is not what the frontier was hashed from")
            row, level = parents(row), level + 1


def _continued(
    level: int, start: int, row: bytes, opened: Mapping[TileAt, bytes]
) -> Iterable[tuple[TileAt, bytes]]:
    """Yield the tiles of one level that new hashes change, with their content.

    Args:
        start: hashes of the level that there were before.
        row: the new ones, joined.
    """
    at, end = start, start + len(row) // HASH_BYTES
    while at < end:
        number, width = divmod(at, TILE_WIDTH)
        until = min(end, (number + 1) * TILE_WIDTH)
        tile = TileAt(level, number)
        before = _whole(opened, tile, width) if width else b""
        yield tile, before + row[(at - start) * HASH_BYTES : (until - start) * HASH_BYTES]
        at = until


def _whole(tiles: Mapping[TileAt, bytes], at: TileAt, width: int) -> bytes:
    content = tiles.get(at)
    if content is None or len(content) != width * HASH_BYTES:
        found = "missing" if content is None else f"of {len(content)} bytes"
        raise Broken(f"tile {at.level}/{at.number} is {found} where {width} hashes must be")
    return content


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
