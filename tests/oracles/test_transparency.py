"""Proofs, notes and tiles against the Go code that public verifiers of transparency logs use: transparency/main.go.

Skipped where Go is missing, or its module proxy cannot be reached and the modules are not there.
"""

import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis_stream.domain.merkle import EMPTY, TileAt, grow, leaf_hash, leaf_hashes, open_tiles
from aegis_stream.domain.merkle_proof import (
    consistency_plan,
    continues,
    includes,
    inclusion_plan,
    root_plan,
)
from aegis_stream.domain.note import (
    Checkpoint,
    Kind,
    LogProof,
    Note,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    sign_plain,
    sign_timed,
)
from support.api import open_world
from support.log import entries
from support.seal_now import seal_now

SOURCE = Path(__file__).with_name("transparency")
SIZES = (1, 2, 3, 8, 255, 256, 257, 1000, 65_536, 65_537, 70_000)
ORIGIN, AT_S = "audit.example.com/org_a", 1_700_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = VerifierKey(ORIGIN, Kind.PLAIN, PRIVATE.public_key().public_bytes_raw())
pytestmark = pytest.mark.timeout(700)  # the first build compiles the standard library of Go
Judge = Callable[[list[dict[str, Any]]], list[str]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Return the Go program as a function: cases → "yes", or "no" and why."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: its code is the oracle")
    program = tmp_path_factory.mktemp("go") / "transparency"
    # One compiler at a time: the machine has other work to do.
    built = subprocess.run(
        ["go", "build", "-mod=readonly", "-p", "1", "-o", program, "."],
        check=False,
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"GOTOOLCHAIN": "local"},
    )
    if built.returncode:
        assert "main.go:" not in built.stderr, built.stderr
        pytest.skip(f"Go cannot build the oracle: {built.stderr[-300:]}")

    def asked(cases: list[dict[str, Any]]) -> list[str]:
        done = subprocess.run(
            [program], check=True, input=json.dumps(cases), capture_output=True, text=True, timeout=120
        )
        verdicts = done.stdout.splitlines()
        assert len(verdicts) == len(cases)
        return verdicts

    return asked


@pytest.fixture(scope="module")
def log() -> tuple[list[bytes], dict[TileAt, bytes]]:
    """Return the leaves of a log with three levels of tiles, and its tiles."""
    bodies = [b'{"event":{"id":"%d"}}' % number for number in range(SIZES[-1])]
    tree, tiles = EMPTY, dict[TileAt, bytes]()
    for start in range(0, len(bodies), 4096):
        opened = {at: tiles[at] for at in open_tiles(tree.size)}
        tree, changed = grow(tree, opened, leaf_hashes(bodies[start : start + 4096]))
        tiles |= changed
    return [leaf_hash(body) for body in bodies], tiles


def text(value: bytes) -> str:
    """Write bytes as Go reads them from JSON."""
    return b64encode(value).decode()


def inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> dict[str, Any]:
    """Return an inclusion proof as a case."""
    return {
        "Kind": "inclusion",
        "Leaf": text(leaf),
        "Index": index % 2**64,
        "Size": size,
        "Proof": [text(one) for one in proof],
        "Root": text(root),
    }


def consistency(first: int, old: bytes, size: int, root: bytes, proof: list[bytes]) -> dict[str, Any]:
    """Return a consistency proof as a case."""
    return {
        "Kind": "consistency",
        "First": first % 2**64,
        "Old": text(old),
        "Size": size,
        "Root": text(root),
        "Proof": [text(one) for one in proof],
    }


def forged(proof: list[bytes], root: bytes) -> list[list[bytes]]:
    """Return a proof and what somebody could make of it."""
    turned = [[*proof[:at], bytes([one[0] ^ 16]) + one[1:], *proof[at + 1 :]] for at, one in enumerate(proof)]
    shorter = [proof[:-1], proof[1:]] if proof else []
    return [proof, [root, *proof], [*proof, root], [b"", *proof], [*proof, b"x"], *shorter, *turned]


def test_inclusion_is_judged_alike(judge, log):
    """True proofs, and forgeries of their hashes, indexes, sizes and roots, get the same verdict from both."""
    leaves, tiles = log
    cases, ours = [], []
    for size in SIZES:
        (root,) = root_plan(size).hashes(tiles)
        for index in sorted({0, 1, size // 3, size - 1} & set(range(size))):
            proof = inclusion_plan(index, size).hashes(tiles)
            asked = [(leaves[index], index, size, one, root) for one in forged(proof, root)]
            asked += [
                (leaves[index], place, size, proof, root) for place in (index + 1, index ^ 2, index - 1)
            ]
            asked += [(leaves[index], index, other, proof, root) for other in (0, size // 2, size * 2)]
            asked += [(leaf, index, size, proof, root) for leaf in (b"", root, leaf_hash(b"another"))]
            asked += [(leaves[index], index, size, proof, other) for other in (b"", leaf_hash(b"another"))]
            cases += [inclusion(*one) for one in asked]
            ours += [includes(*one) for one in asked]

    verdicts = judge(cases)

    assert [one == "yes" for one in verdicts] == ours
    assert ours.count(True) >= len(SIZES)
    assert ours.count(False) > 500


def test_consistency_is_judged_alike(judge, log):
    """True proofs, and forgeries of their hashes, sizes and roots, get the same verdict from both."""
    _, tiles = log
    roots = {size: root_plan(size).hashes(tiles)[0] for size in SIZES}
    cases, ours = [], []
    for first in SIZES:
        for size in (one for one in SIZES if one >= first):
            proof = consistency_plan(first, size).hashes(tiles)
            old, root = roots[first], roots[size]
            asked = [(first, old, size, root, one) for one in forged(proof, root)]
            # From an empty tree, which the Go code lets begin every log, we prove nothing: tests/unit/domain/test_merkle.py.
            others = {first - 1, first + 1, size + 1} - {0}
            asked += [(other, old, size, root, proof) for other in sorted(others)]
            asked += [(first, old, other, root, proof) for other in (0, size * 2, first - 1)]
            asked += [(first, root, size, root, proof), (first, old, size, old, proof)]
            cases += [consistency(*one) for one in asked]
            ours += [continues(*one) for one in asked]

    verdicts = judge(cases)

    assert [one == "yes" for one in verdicts] == ours
    assert ours.count(True) >= len(SIZES)
    assert ours.count(False) > 500


def signed(checkpoint: Checkpoint) -> Note:
    """Sign a checkpoint in both ways."""
    timed = KEY._replace(kind=Kind.TIMED)
    return Note(
        checkpoint.text,
        (
            sign_plain(checkpoint.text, KEY, PRIVATE.sign),
            sign_timed(checkpoint.text, timed, AT_S, PRIVATE.sign),
        ),
    )


def test_notes_and_proofs_are_read(judge, log):
    """Go verifies both signatures, their time, and the proof that an event is in the log; one changed byte is refused."""
    leaves, tiles = log
    common = {"Origin": ORIGIN, "Plain": KEY.text, "At": AT_S}
    cases = []
    for size in SIZES:
        note = signed(Checkpoint(ORIGIN, size, root_plan(size).hashes(tiles)[0]))
        proof = LogProof(size - 1, tuple(inclusion_plan(size - 1, size).hashes(tiles)), note)
        for kind, whole in (("checkpoint", str(note)), ("proof", proof.text)):
            cases.append(common | {"Kind": kind, "Text": whole, "Leaf": text(leaves[size - 1])})
            spoiled = whole.replace(f"\n{size}\n", f"\n{size + 1}\n")
            cases.append(common | {"Kind": kind, "Text": spoiled, "Leaf": text(leaves[size - 1])})
        cases.append(common | {"Kind": "proof", "Text": proof.text, "Leaf": text(leaf_hash(b"another"))})

    verdicts = judge(cases)

    assert [one == "yes" for one in verdicts] == [True, False, True, False, False] * len(SIZES), verdicts


def test_tiles_are_read(judge, log):
    """Go makes its own proofs from our tiles, and checks every tile that it reads against the root."""
    leaves, tiles = log
    size = SIZES[-1]
    (root,) = root_plan(size).hashes(tiles)
    told = {f"{at.level}/{at.number}": text(content) for at, content in tiles.items()}
    cases = [
        {
            "Kind": "tiles",
            "Size": size,
            "Root": text(root),
            "Index": index,
            "Leaf": text(leaf),
            "Tiles": {name: value for name, value in told.items() if name[0] != "0"}
            | {name: told[name] for name in {f"0/{index // 256}", f"0/{size // 256}"}},
        }
        for index, leaf in ((0, leaves[0]), (size - 1, leaves[-1]), (40_000, leaves[40_000]), (5, leaves[4]))
    ]

    verdicts = judge(cases)

    assert [one == "yes" for one in verdicts] == [True, True, True, False], verdicts


async def test_the_tiles_of_the_api_are_read(judge, tmp_path):
    """Go asks the API for tiles by the paths that it writes, full ones and parts, and makes proofs from them."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        await world.send_events(tenant, 600)
        await seal_now(world, tenant)
        checkpoint = parse_checkpoint(parse_note((await tenant.read.get("/proof/checkpoint")).text).text)
        # As many as a tree of this size has: two full tiles and the beginning of a third one, and above it the beginning of one.
        paths = ("0/000", "0/001", "0/002.p/88", "1/000.p/2")
        answers = {path: await tenant.read.get(f"/proof/tile/{path}") for path in paths}
        bodies = await entries(world.stores.log, tenant.no, 0, 1000, 1000)
    told = {path: text(answer.content) for path, answer in answers.items()}
    leaves = [leaf_hash(one.body.encode()) for one in bodies]
    common = {"Kind": "served tiles", "Size": checkpoint.size, "Root": text(checkpoint.root), "Tiles": told}
    cases = [
        common | {"Index": index, "Leaf": text(leaf)}
        for index, leaf in ((0, leaves[0]), (511, leaves[511]), (599, leaves[599]), (5, leaves[4]))
    ]
    cases.append(cases[0] | {"Tiles": told | {"0/000": told["0/001"]}})

    verdicts = judge(cases)

    assert checkpoint.size == 600
    assert [one == "yes" for one in verdicts] == [True, True, True, False, False], verdicts
