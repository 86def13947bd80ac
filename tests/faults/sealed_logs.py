"""What must hold of sealed logs after a fault: one root for a size, no gap, and a verifier that finds everything.

The trees are computed once more from the events, by support/proof_log.py, which knows no module of the product.
"""

import base64
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import TILE_WIDTH, TileAt
from aegis_stream.domain.note import Kind, VerifierKey, parse_checkpoint, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import proof_keys, tree
from aegis_stream.vault.ed25519 import check
from aegis_stream.wiring.stores import Stores
from faults.frame import Run
from support.log import entries
from support.proof_log import leaf, root

EVENTS_MAX = 10**6
VERIFY_S = 120.0


@dataclass
class Recorded:
    """The log of one organization, as the one who recorded it knows it.

    Attributes:
        acknowledged: events by id.
    """

    no: OrganizationNo
    org_id: OrganizationId
    mode: ProofMode
    acknowledged: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Seen:
    """Every checkpoint that anybody could see.

    Attributes:
        roots: by log and size.
        problems: sizes that were signed twice.
    """

    roots: dict[tuple[str, int], bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, origin: str, size: int, signed: bytes) -> None:
        """Take a checkpoint."""
        if self.roots.setdefault((origin, size), signed) != signed:
            self.problems.append(f"{origin}: two roots were signed for the size {size}")

    def add_note(self, note: str) -> None:
        """Take a signed note."""
        found = parse_checkpoint(parse_note(note).text)
        self.add(found.origin, found.size, found.root)


def noted_in(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield what checkpoints.log has: log, size and root of every line that is whole."""
    path = folder / "checkpoints.log"
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        text, _, checksum = line.rpartition(b" ")
        fields = text.decode(errors="replace").split(" ")
        if len(fields) == 3 and checksum == b"%08x" % zlib.crc32(text):
            yield fields[0], int(fields[1]), bytes.fromhex(fields[2])


async def judge(
    run: Run, stores: Stores, seen: Seen, log: Recorded, delivered: Sequence[bytes] | None = None
) -> None:
    """Judge the log of one organization, when all of it but the newest checkpoint events is sealed.

    Args:
        delivered: what a receiver got of it; None for one without a receiver.
    """
    no, name = log.no, log.org_id
    whole = await entries(stores.log, no, 0, EVENTS_MAX, EVENTS_MAX)
    bodies = [one.body.encode() for one in whole]
    stored = {one.event_id: body for one, body in zip(whole, bodies, strict=True)}
    lost = [one for one, body in log.acknowledged.items() if stored.get(one) != body]
    run.add(acked=len(log.acknowledged), lost=len(lost))
    run.expect(not lost, f"{name}: {len(lost)} acknowledged events are lost or changed: {lost[:3]}")
    keys = await stores.db.read(lambda unit: proof_keys.keys_of(unit, no))
    last = await stores.db.read(lambda unit: tree.newest_tree(unit, no))
    if not run.expect(last is not None and len(keys) == 1, f"{name}: {len(keys)} keys, tree {last}"):
        return
    leaves = [leaf(body) for body in bodies]
    _judge_tree(run, log, last, keys[0].public, leaves)
    tiles = [TileAt(0, number) for number in range(-(-last.tree.size // TILE_WIDTH))]
    found = await stores.db.read(lambda unit: tree.read_tiles(unit, no, last.base, tiles))
    hashes = b"".join(found.get(one, b"") for one in tiles)
    run.expect(hashes == b"".join(leaves[: last.tree.size]), f"{name}: the tiles are not the leaves")
    manifests = [json.loads(one.body)["aegis"]["proof"] for one in whole if one.dataset == CHECKPOINT_DATASET]
    for one in manifests:
        if "checkpoint" in one:
            seen.add_note(one["checkpoint"])
    signed = {size: value for (origin, size), value in seen.roots.items() if origin == last.origin}
    wrong = [size for size, value in signed.items() if root(leaves[:size]) != value]
    run.expect(not wrong, f"{name}: the roots signed for the sizes {wrong[:5]} are not those of the events")
    run.expect(not seen.problems, "; ".join(seen.problems[:5]))
    run.add(wrong=len(wrong), roots=len(signed))
    if log.mode is ProofMode.STREAM:
        _judge_manifests(run, log, manifests, leaves[: last.tree.size])
        key = VerifierKey(last.origin, Kind.PLAIN, keys[0].public).text
        _judge_export(run, log, bodies, key, delivered)
    else:
        run.expect(len(bodies) == len(log.acknowledged), f"{name}: the mode sealed has added events")


def _judge_tree(
    run: Run, log: Recorded, last: tree.SealedTree, public: bytes, leaves: Sequence[bytes]
) -> None:
    """The newest tree is that of the events, and its note is signed."""
    name, size = log.org_id, last.tree.size
    run.expect(last.tree.root() == root(leaves[:size]), f"{name}: the tree is not that of the events")
    note = parse_note(last.note)
    signatures = note.signed_by([VerifierKey(last.origin, kind, public) for kind in Kind], check)
    run.expect(len(signatures) == 2, f"{name}: the newest note has {len(signatures)} signatures")
    said = parse_checkpoint(note.text)
    run.expect(said == (last.origin, size, last.tree.root()), f"{name}: the newest note says {said}")


def _judge_manifests(run: Run, log: Recorded, manifests: list[dict], leaves: Sequence[bytes]) -> None:
    """The checkpoint events list every leaf once, in order, up to the end of the tree."""
    firsts, lasts = [one["first"] for one in manifests], [one["last"] for one in manifests]
    gapless = firsts == [1, *(one + 1 for one in lasts[:-1])]
    run.expect(gapless, f"{log.org_id}: the manifests have a gap: {firsts[:9]} to {lasts[:9]}")
    listed = b"".join(base64.b64decode(one["leaves"]) for one in manifests)
    run.expect(
        listed == b"".join(leaves), f"{log.org_id}: the manifests list other leaves than the events have"
    )


def _judge_export(
    run: Run, log: Recorded, bodies: list[bytes], key: str, delivered: Sequence[bytes] | None
) -> None:
    """The verifier finds what the receiver has complete, and misses an event that is taken out."""
    name = log.org_id
    if delivered is not None:
        foreign = set(delivered) - set(bodies)
        run.expect(not foreign, f"{name}: {len(foreign)} events arrived that are not in the log")
        missing = set(bodies) - set(delivered)
        run.add(delivered=len(set(delivered)), lost=len(missing))
        run.expect(not missing, f"{name}: {len(missing)} events were never delivered")
        repeats = len(delivered) - len(set(delivered))
        run.add(repeats=repeats, repeats_max=len(delivered))
    export = list(bodies if delivered is None else delivered)
    status, said = verify(run, key, export)
    run.expect(status == 0, f"{name}: the verifier ended with {status}: {said}")
    taken = export[len(export) // 2]
    status, said = verify(run, key, [one for one in export if one != taken])
    run.expect(status == 1, f"{name}: without one event the verifier ended with {status}: {said}")


def verify(run: Run, key: str, export: Sequence[bytes]) -> tuple[int, str]:
    """Run the verifier on events, one a line; return its exit status and what it said."""
    path = run.folder / "export.ndjson"
    path.write_bytes(b"\n".join(export) + b"\n")
    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream.verify", "--key", key, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=VERIFY_S,
    )
    return done.returncode, (done.stdout + done.stderr)[-1000:]
