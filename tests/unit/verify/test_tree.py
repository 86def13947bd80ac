"""Promises of the verifier's Merkle tree: the constants of RFC 6962's implementations, and the recursive definition."""

import pytest

from aegis_stream.domain import merkle
from aegis_stream.verify.tree import Tree, leaf_of, tree_of
from support import proof_log


def test_known_answers():
    """The empty tree, the empty leaf and the leaf of "L123456" have the hashes that everybody has."""
    assert Tree().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_of(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_of(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"


def test_the_tree_of_eight_leaves():
    """The eight leaves that all implementations of RFC 6962 test with have their root."""
    texts = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    tree = Tree()
    tree.grow(b"".join(leaf_of(bytes.fromhex(one)) for one in texts))

    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 90])
def test_growing_in_any_steps_gives_the_defined_root(step):
    """However many leaves come at once, root and frontier are those of the definition and of the service."""
    leaves = [leaf_of(str(number).encode()) for number in range(200)]
    tree = Tree()
    for at in range(0, len(leaves), step):
        tree.grow(b"".join(leaves[at : at + step]))

        assert tree.root() == proof_log.root(leaves[: tree.size])
        assert tree.frontier == proof_log.frontier(leaves[: tree.size])
        assert merkle.fold(b"".join(tree.frontier)) == tree.root()


def test_a_tree_goes_on_from_its_frontier():
    """A frontier with its size is a tree; one of another length is none."""
    leaves = [leaf_of(str(number).encode()) for number in range(100)]
    begun = tree_of(77, b"".join(proof_log.frontier(leaves[:77])))
    assert begun is not None
    copied = begun.copy()
    begun.grow(b"".join(leaves[77:]))

    assert begun.root() == proof_log.root(leaves)
    assert copied.root() == proof_log.root(leaves[:77])
    assert tree_of(76, b"".join(proof_log.frontier(leaves[:77]))) is None
    assert tree_of(0, b"") is None
