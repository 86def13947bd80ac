"""A small reference log with checkpoints, written from the specification and not from the service's code.

It knows no module of the product, so that both sides, the sealer and the verifier, can be compared with it.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from zlib import crc32

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PART = 90
"""Events to a checkpoint event."""
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def _sha(data):
    return hashlib.sha256(data).digest()


def _b64(data):
    return base64.b64encode(data).decode()


def leaf(body):
    """Return the leaf of an event's text."""
    return _sha(b"\0" + body)


def root(leaves):
    """Return the tree hash of RFC 6962, by its recursive definition."""
    if not leaves:
        return _sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return _sha(b"\1" + root(leaves[:split]) + root(leaves[split:]))


def frontier(leaves):
    """Return the roots of the largest full subtrees, from the left."""
    found, at = [], 0
    for bit in range(len(leaves).bit_length() - 1, -1, -1):
        if len(leaves) >> bit & 1:
            found.append(root(leaves[at : at + (1 << bit)]))
            at += 1 << bit
    return found


class Signer:
    """An Ed25519 key of a log."""

    def __init__(self, origin, seed=b"\7"):
        self.origin = origin
        self.key = Ed25519PrivateKey.from_private_bytes(seed.rjust(32, b"\0"))
        self.public = self.key.public_key().public_bytes_raw()

    def key_id(self, kind):
        """Return the key id of a signature type."""
        return _sha(self.origin.encode() + b"\n" + bytes([kind]) + self.public)[:4]

    @property
    def vkey(self):
        """The key as an auditor keeps it."""
        return f"{self.origin}+{self.key_id(1).hex()}+{_b64(bytes([1]) + self.public)}"

    def lines(self, text, time_s):
        """Return the two signature lines of a note."""
        plain = self.key_id(1) + self.key.sign(text.encode())
        timed = f"cosignature/v1\ntime {time_s}\n{text}".encode()
        cosigned = self.key_id(4) + time_s.to_bytes(8, "big") + self.key.sign(timed)
        return "".join(f"\u2014 {self.origin} {_b64(one)}\n" for one in (plain, cosigned))


def content(body):
    """Return the content digest: canonical JSON, where integers beyond 2^53 keep their digits."""
    return _sha(_canonical(json.loads(body)).encode())[:16]


def _canonical(value):
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda one: one[0].encode("utf-16-be"))
        return "{" + ",".join(_canonical(name) + ":" + _canonical(one) for name, one in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float):
        return rfc8785.dumps(value).decode()
    return json.dumps(value, ensure_ascii=False)


class ProofLog:
    """An organization's log.

    Args:
        org: its id.
        host: first part of the origin.
        base: sequence of its first event; from 2 on the origin says so.
        contents, ids: whether checkpoint events list content digests and short ids.
    """

    def __init__(self, org="org_abc", host="audit.example.com", base=1, seed=b"\7", contents=True, ids=True):
        self.org, self.base, self.contents, self.ids = org, base, contents, ids
        self.origin = f"{host}/{org}" + (f"@{base}" if base > 1 else "")
        self.signers = [Signer(self.origin, seed)]
        self.bodies = []
        self.sealed = 0
        self.notes = []
        self.now = BEGIN

    @property
    def vkey(self):
        """The first key."""
        return self.signers[0].vkey

    @property
    def leaves(self):
        """The leaves of all events."""
        return [leaf(body) for body in self.bodies]

    def time(self):
        """Return the time as events have it, a little later each time."""
        self.now += timedelta(milliseconds=100)
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def append(self, body):
        """Append an event's text, and return its sequence."""
        self.bodies.append(body)
        return self.base + len(self.bodies) - 1

    def event(self, number, **more):
        """Append an ordinary event."""
        event = {
            "@timestamp": self.time(),
            "message": f"Anfrage {number} geprüft",
            "event": {"id": f"pflt_{self.org}_{number}", "kind": "event", "dataset": "aegis.preflight"},
            "aegis": {"decision": "BLOCKED", "score": 0.25, "count": 9007199254740993 + number},
            "organization": {"id": self.org},
            **more,
        }
        return self.append(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())

    def admin(self, action, before=None, after=None):
        """Append an administrative event."""
        audit = {"target": {"type": "proof_key", "id": self.org, "name": ""}}
        audit |= {name: one for name, one in (("before", before), ("after", after)) if one is not None}
        event = {
            "@timestamp": self.time(),
            "message": f"aegis did {action}",
            "event": {
                "id": f"aud_{len(self.bodies)}",
                "kind": "event",
                "action": action,
                "dataset": "aegis.audit_stream.admin",
            },
            "aegis": {"audit": audit},
            "organization": {"id": self.org},
        }
        return self.append(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())

    def announce(self):
        """Append the event that announces the first key."""
        self.admin("proof_key_create", after={"epoch": 1, "public_key": self.signers[0].public.hex()})

    def events(self, count):
        """Append several ordinary events."""
        for _ in range(count):
            self.event(len(self.bodies))
        return self

    def note(self, size, leaves=None, time_s=None):
        """Return the signed checkpoint of a size."""
        leaves = self.leaves if leaves is None else leaves
        text = f"{self.origin}\n{size}\n{_b64(root(leaves[:size]))}\n"
        at = int(self.now.timestamp()) if time_s is None else time_s
        return text + "\n" + "".join(signer.lines(text, at) for signer in self.signers)

    def seal(self, time_s=None, seconds=10):
        """Seal everything that is not sealed: append the checkpoint events, and return the note."""
        self.now += timedelta(seconds=seconds)
        size, leaves = len(self.bodies), self.leaves
        note = self.note(size, leaves, time_s)
        for at in range(self.sealed, size, PART):
            covered = self.bodies[at : min(at + PART, size)]
            first, last = self.base + at, self.base + at + len(covered) - 1
            proof = {"v": 1, "first": first, "last": last}
            proof["leaves"] = _b64(b"".join(map(leaf, covered)))
            if self.ids:
                proof["ids"] = _b64(b"".join(_short_id(body) for body in covered))
            if self.contents:
                proof["contents"] = _b64(b"".join(map(content, covered)))
            proof["labels"] = _labels(covered)
            if at + PART >= size:
                proof |= {"frontier": _b64(b"".join(frontier(leaves))), "checkpoint": note}
            self.append(self._checkpoint_event(first, last, proof))
        self.sealed = size
        self.notes.append(note)
        return note

    def _checkpoint_event(self, first, last, proof):
        event = {
            "@timestamp": self.time(),
            "message": f"checkpoint of events {first} to {last}",
            "event": {
                "id": f"ckpt_{first}_{last}",
                "kind": "event",
                "action": "checkpoint",
                "dataset": "aegis.audit_stream.checkpoint",
            },
            "aegis": {"proof": proof},
            "organization": {"id": self.org},
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

    def rotate(self, seed, action="proof_key_rotate"):
        """Add a key: both sign from now on."""
        new = Signer(self.origin, seed)
        self.admin(action, before={"vkey": self.signers[-1].vkey}, after={"vkey": new.vkey})
        self.signers.append(new)
        return new


def _short_id(body):
    return crc32(json.loads(body)["event"]["id"].encode()).to_bytes(4, "big")


def _labels(bodies):
    runs = []
    for body in bodies:
        event = json.loads(body)
        name = event["event"].get("dataset", "")
        decision = event.get("aegis", {}).get("decision")
        name += f"/{decision}" if decision else ""
        if runs and runs[-1][0] == name:
            runs[-1][1] += 1
        else:
            runs.append([name, 1])
    return ",".join(f"{name}*{count}" if count > 1 else name for name, count in runs)


def sample(seals=(40, 100, 60), **options):
    """Return a log of ordinary events in seals of these sizes, and a heartbeat that covers the last checkpoint."""
    log = ProofLog(**options)
    log.announce()
    for count in seals:
        log.events(count).seal()
    log.seal(seconds=3600)
    return log
