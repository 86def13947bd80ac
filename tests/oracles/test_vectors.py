"""The public vectors of transparency-dev/merkle: the proofs that its own tests accept and refuse, judged by us.

The vectors stay where they are. A test copies the module that go.sum names from Go's cache to a temporary folder, lets its tests
run there, and writes down each call of its verifier: transparency/recording. It is skipped where Go or the module is missing.
After the release that go.sum names, the project wrote its vectors into files as well: where AEGIS_TEST_MERKLE_VECTORS names
the folder `testdata` of a checkout of it, those are judged too.
"""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aegis_stream.domain.merkle import EMPTY, grow, leaf_hashes
from aegis_stream.domain.merkle_proof import continues, includes
from aegis_stream.verify.tree import Tree, leaf_of

HERE = Path(__file__).with_name("transparency")
MODULE = "github.com/transparency-dev/merkle"
EMPTY_TREE = "an empty tree begins every log, which says nothing: we refuse to call it proven"
NO_ROOTS = "two equal texts that are no hashes are no roots"
EIGHT = [
    bytes.fromhex(one)
    for one in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves of the trees that the vectors are about."""
pytestmark = pytest.mark.timeout(700)  # the first build compiles the standard library of Go


class Vector(NamedTuple):
    """A proof and what the Go code says of it.

    Args:
        first: the leaf's index, or the older tree's size.
        start: the leaf, or the older tree's root.
        is_right: whether it is accepted.
    """

    kind: str
    first: int
    start: bytes
    size: int
    root: bytes
    proof: tuple[bytes, ...]
    is_right: bool

    def is_accepted(self) -> bool:
        """Tell whether we accept it."""
        if self.kind == "inclusion":
            return includes(self.start, self.first, self.size, self.proof, self.root)
        return continues(self.first, self.start, self.size, self.root, self.proof)


def go(*arguments: str, folder: Path, **variables: str) -> str:
    """Run Go and return what it prints; a command that fails for want of its module skips the test."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: its tests have the vectors")
    done = subprocess.run(
        ["go", *arguments],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -p=1"} | variables,
    )
    if done.returncode and "download" in arguments:
        pytest.skip(f"the module cannot be had: {done.stderr[-300:]}")
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Vector]:
    """Return every call of the Go module's verifier that its own tests make, each once."""
    own = tmp_path_factory.mktemp("vectors")
    shutil.copy(HERE / "go.mod", own)
    shutil.copy(HERE / "go.sum", own)
    source = Path(json.loads(go("mod", "download", "-json", MODULE, folder=own))["Dir"])
    copied = own / "copy"
    (copied / "proof").mkdir(parents=True)
    for name in ("hasher.go", "rfc6962/rfc6962.go", "proof/verify_test.go"):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_bytes((source / name).read_bytes())
    text = (source / "proof" / "verify.go").read_text()
    for name in ("Inclusion", "Consistency"):
        assert text.count(f"\nfunc Verify{name}(") == 1
        text = text.replace(f"\nfunc Verify{name}(", f"\nfunc judged{name}(")
    (copied / "proof" / "verify.go").write_text(text)
    shutil.copy(HERE / "recording" / "recording.go", copied / "proof")
    (copied / "go.mod").write_text(f"module {MODULE}\n\ngo 1.21\n")

    calls = own / "calls"
    go("test", "-count=1", "-run", "^TestVerify", "./proof", folder=copied, RECORDED=str(calls))

    return list(dict.fromkeys(_recorded(json.loads(line)) for line in calls.read_text().splitlines()))


def _recorded(call: dict[str, Any]) -> Vector:
    is_inclusion = call["Kind"] == "inclusion"
    start, first = (call["Leaf"], call["Index"]) if is_inclusion else (call["Old"], call["First"])
    return _vector({**call, "kind": call["Kind"], "start": start, "first": first, "is_right": call["Right"]})


def _in_file(text: str) -> Vector:
    told = json.loads(text)
    found = {"Root": told.get("root") or told.get("root2"), "Proof": told["proof"]}
    if "leafIdx" in told:
        found |= {"kind": "inclusion", "first": told["leafIdx"], "start": told["leafHash"]}
    else:
        found |= {"kind": "consistency", "first": told["size1"], "start": told["root1"]}
    size = told["treeSize"] if "leafIdx" in told else told["size2"]
    return _vector({**found, "Size": size, "is_right": not told["wantErr"]})


def _vector(told: dict[str, Any]) -> Vector:
    start, root, *proof = (
        b64decode(one or "") for one in (told["start"], told["Root"], *(told["Proof"] or []))
    )
    return Vector(told["kind"], told["first"], start, told["Size"], root, tuple(proof), told["is_right"])


def deviates(vector: Vector) -> str:
    """Say why we judge a vector otherwise than the Go code; "" if we do not."""
    if vector.kind == "consistency" and vector.first == 0:
        return EMPTY_TREE
    if vector.kind == "consistency" and vector.first == vector.size and len(vector.root) != 32:
        return NO_ROOTS
    return ""


def judge(vectors: list[Vector]) -> Counter[str]:
    """Compare our verdict on each vector with that of its makers; returns how many of them deviate by choice, by reason."""
    reasons = Counter[str]()
    for vector in vectors:
        if vector.is_accepted() != vector.is_right:
            assert deviates(vector), vector
            assert vector.is_right, f"we accept what they refuse: {vector}"
            reasons[deviates(vector)] += 1
    return reasons


def test_the_vectors_of_the_go_module_get_the_same_verdict(recorded):
    """Every proof that the module's own tests accept or refuse is accepted or refused by us; three are refused by choice."""
    kinds = Counter((one.kind, one.is_right) for one in recorded)
    reasons = judge(recorded)

    assert kinds == {
        ("inclusion", True): 6,
        ("inclusion", False): 90,
        ("consistency", True): 8,
        ("consistency", False): 89,
    }
    assert reasons == {EMPTY_TREE: 2, NO_ROOTS: 1}


def test_the_verifiers_tree_has_the_roots_of_the_vectors(recorded):
    """The verifier checks no single proofs, but grows trees: each accepted vector is about a tree that it grows alike."""
    roots = {}
    for size in range(1, len(EIGHT) + 1):
        tree = Tree()
        tree.grow(b"".join(map(leaf_of, EIGHT[:size])))
        assert tree.root() == grow(EMPTY, {}, leaf_hashes(EIGHT[:size])).tree.root()
        roots[size] = tree.root()

    accepted = [one for one in recorded if one.is_right and one.proof]

    assert len(accepted) >= 8
    for one in accepted:
        assert one.root == roots[one.size]
        if one.kind == "inclusion":
            assert one.start == leaf_of(EIGHT[one.first])
        else:
            assert one.start == roots[one.first]


def test_the_vectors_in_files_get_the_same_verdict():
    """Each file of `testdata/inclusion` and `testdata/consistency` is judged as it wants."""
    folder = os.environ.get("AEGIS_TEST_MERKLE_VECTORS")
    if not folder:
        pytest.skip(
            "AEGIS_TEST_MERKLE_VECTORS names no folder testdata of a checkout of transparency-dev/merkle"
        )
    files = [one for kind in ("inclusion", "consistency") for one in (Path(folder) / kind).rglob("*.json")]
    vectors = [_in_file(one.read_text()) for one in files]
    reasons = judge(vectors)

    kinds = Counter(one.kind for one in vectors)
    assert (kinds["inclusion"] >= 98, kinds["consistency"] >= 98) == (True, True)
    assert set(reasons) <= {EMPTY_TREE, NO_ROOTS}
