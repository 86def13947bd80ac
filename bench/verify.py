"""How fast the offline verifier is, and how much memory it takes: `python -m bench.verify --events 1000000`.

It writes a log of events of some 580 bytes with their checkpoint events to a temporary file, 4,096 events to a seal, in one of two
shapes: as recorded (`exact`), or written anew with the names in order (`content`). A process of its own then verifies it.
"""

import argparse
import base64
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis_stream.verify.content import digest, loads
from aegis_stream.verify.note import SIGNED, SIGNED_WITH_TIME, key_id
from aegis_stream.verify.tree import Tree, leaf_of

ORIGIN = "audit.example.com/org_bench"
SEAL_EVENTS = 4096
PART_EVENTS = 90
PADDING = "The quick brown fox jumps over the lazy dog. " * 5
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
_PUBLIC = _KEY.public_key().public_bytes_raw()


def vkey() -> str:
    """Return the log's key."""
    data = base64.b64encode(bytes([SIGNED]) + _PUBLIC).decode()
    return f"{ORIGIN}+{key_id(ORIGIN, SIGNED, _PUBLIC).hex()}+{data}"


def note(tree: Tree, at_s: int) -> str:
    """Return the signed checkpoint of a tree."""
    text = f"{ORIGIN}\n{tree.size}\n{base64.b64encode(tree.root()).decode()}\n"
    timed = f"cosignature/v1\ntime {at_s}\n{text}".encode()
    signatures = (
        key_id(ORIGIN, SIGNED, _PUBLIC) + _KEY.sign(text.encode()),
        key_id(ORIGIN, SIGNED_WITH_TIME, _PUBLIC) + at_s.to_bytes(8, "big") + _KEY.sign(timed),
    )
    lines = "".join(f"\u2014 {ORIGIN} {base64.b64encode(one).decode()}\n" for one in signatures)
    return f"{text}\n{lines}"


def event(number: int) -> bytes:
    """Return an ordinary event."""
    return (
        f'{{"@timestamp":"2026-05-01T00:00:00.000Z","message":"decision {number}","event":{{"id":"pflt_{number:016}",'
        '"kind":"event","dataset":"aegis.preflight","category":["api"]},"aegis":{"decision":"ALLOWED","policy":"default",'
        f'"latency_ms":{number % 997},"note":"{PADDING}"}},"user":{{"id":"u_{number % 10_007}"}},'
        '"organization":{"id":"org_bench"}}'
    ).encode()


def checkpoint_events(
    bodies: list[bytes], first: int, tree: Tree, at_s: int, *, contents: bool
) -> list[bytes]:
    """Return the checkpoint events that cover these events, and grow the tree by them."""
    events = []
    for at in range(0, len(bodies), PART_EVENTS):
        part = bodies[at : at + PART_EVENTS]
        leaves = b"".join(map(leaf_of, part))
        tree.grow(leaves)
        ids = b"".join(crc32(_id_of(body)).to_bytes(4, "big") for body in part)
        start, end = first + at, first + at + len(part) - 1
        proof: dict[str, object] = {
            "v": 1,
            "first": start,
            "last": end,
            "leaves": base64.b64encode(leaves).decode(),
        }
        proof["ids"] = base64.b64encode(ids).decode()
        if contents:
            digests = b"".join(digest(loads(body.decode())) for body in part)
            proof["contents"] = base64.b64encode(digests).decode()
        proof["labels"] = f"aegis.preflight/ALLOWED*{len(part)}"
        if at + PART_EVENTS >= len(bodies):
            frontier = base64.b64encode(b"".join(tree.frontier)).decode()
            proof |= {"frontier": frontier, "checkpoint": note(tree, at_s)}
        name = {"id": f"ckpt_{start}_{end}", "kind": "event", "action": "checkpoint"}
        whole = {
            "@timestamp": "2026-05-01T00:00:00.000Z",
            "message": f"checkpoint of events {start} to {end}",
            "event": {**name, "dataset": "aegis.audit_stream.checkpoint"},
            "aegis": {"proof": proof},
            "organization": {"id": "org_bench"},
        }
        events.append(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode())
    return events


def _id_of(body: bytes) -> bytes:
    start = body.index(b'"id":"') + 6
    return body[start : body.index(b'"', start)]


def write(path: Path, events: int, shape: str) -> int:
    """Write a log of so many ordinary events, and return how many lines it has."""
    tree, waiting, lines, at_s = Tree(), [], 0, 1_777_600_000
    contents = shape == "content"
    with path.open("wb", 1 << 20) as file:

        def put(bodies: list[bytes]) -> None:
            nonlocal lines
            lines += len(bodies)
            if contents:
                bodies = [
                    json.dumps(json.loads(one), sort_keys=True, ensure_ascii=False).encode() for one in bodies
                ]
            file.write(b"\n".join(bodies) + b"\n")

        for number in range(events):
            waiting.append(event(number))
            if len(waiting) >= SEAL_EVENTS or number == events - 1:
                put([one for one in waiting if b"ckpt_" not in one[:200]])
                at_s += 10
                waiting = checkpoint_events(waiting, tree.size + 1, tree, at_s, contents=contents)
                put(waiting)
        put(checkpoint_events(waiting, tree.size + 1, tree, at_s + 10, contents=contents))
    return lines


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--shape", choices=("exact", "content"), default="exact")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "export.ndjson"
        lines = write(path, options.events, options.shape)
        environment = {**os.environ, "TMPDIR": folder}
        command = [sys.executable, "-m", "aegis_stream.verify", str(path), "--key", vkey()]
        begin = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall_s = time.monotonic() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    print(done.stdout + done.stderr)
    print(
        f"{options.shape}: {lines} events, status {done.returncode}, {cpu_s:.1f} s of CPU, {wall_s:.1f} s: "
        f"{lines / cpu_s:.0f} events/s of CPU, {used.ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
