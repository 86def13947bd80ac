"""The Merkle tree of RFC 6962, as far as a verifier needs it: leaves in order go in, roots come out.

A tree is its frontier: the roots of its largest full subtrees, from the left, one for each bit that is set in its size.
"""

from __future__ import annotations

from hashlib import sha256
from typing import List

HASH_BYTES = 32
SIZE_MAX = 2**40
"""Most leaves of a tree."""
EMPTY_ROOT = sha256(b"").digest()


class Tree:
    """A tree that grows.

    Args:
        size: number of leaves.
        frontier: hashes of its largest full subtrees, from the left; as many as bits are set in `size`.
    """

    __slots__ = ("frontier", "size")

    def __init__(self, size: int = 0, frontier: List[bytes] | None = None) -> None:
        self.size = size
        self.frontier = frontier or []

    def copy(self) -> Tree:
        """Return a tree that grows by itself."""
        return Tree(self.size, self.frontier[:])

    def grow(self, leaves: bytes) -> None:
        """Add leaves: hashes of 32 bytes, joined together."""
        size, frontier = self.size, self.frontier
        for at in range(0, len(leaves), HASH_BYTES):
            node = leaves[at : at + HASH_BYTES]
            full = size
            while full & 1:
                node = sha256(b"\x01" + frontier.pop() + node).digest()
                full >>= 1
            frontier.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Return the root of all leaves."""
        if not self.frontier:
            return EMPTY_ROOT
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = sha256(b"\x01" + left + root).digest()
        return root


def leaf_of(text: bytes) -> bytes:
    """Return the leaf of an event: the hash of its bytes as they were recorded."""
    return sha256(b"\x00" + text).digest()


def tree_of(size: int, frontier: bytes) -> Tree | None:
    """Return the tree of this size with this frontier, joined together; None if their lengths contradict each other."""
    if not 0 < size <= SIZE_MAX or len(frontier) != HASH_BYTES * bin(size).count("1"):  # noqa: FURB161 - Python 3.9
        return None
    return Tree(size, [frontier[at : at + HASH_BYTES] for at in range(0, len(frontier), HASH_BYTES)])
