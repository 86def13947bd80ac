"""Checkpoint events: the manifest of a log as events of the same log, so that a receiver needs nothing else to check what it has.

Each lists the leaves of the events it covers, LEAVES_PER_EVENT at most; the last one of a seal has the signed note and the frontier, from
which a verifier can go on. Its own leaf stands in the next seal. docs/explanation/proof.md describes the fields.
"""

import base64
import struct
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

import msgspec

from .event import RESERVED_DATASETS
from .ids import Micros, OrganizationId
from .merkle import HASH_BYTES
from .times import to_text

CHECKPOINT_DATASET = f"{RESERVED_DATASETS}checkpoint"
"""Dataset of checkpoint events: nobody can submit one."""
LEAVES_PER_EVENT = 90
"""Most leaves of one checkpoint event. Base64 of them is 3,840 characters: New Relic searches the first 4,094 of an attribute. A whole
event is about 6.5 KB, below what Splunk cuts off by default (10,000)."""
CONTENT_BYTES = 16
"""Bytes of a content digest."""
_VERSION = 1
_SAFE = "._-:@"
"""Characters of a dataset or decision that stand for themselves in `labels`, beside letters and digits."""

Label = tuple[str, str | None]
"""Dataset and decision of an event."""


class Covered(NamedTuple):
    """Neighbouring events that a seal covers, from the log's sequence `first` on.

    Args:
        leaves: joined, one of HASH_BYTES for each event; at least one.
        ids: event.id of each.
        labels: dataset and decision of each.
        contents: joined content digests, CONTENT_BYTES for each event; None to leave them out.
    """

    first: int
    leaves: bytes
    ids: Sequence[str]
    labels: Sequence[Label]
    contents: bytes | None = None

    @property
    def length(self) -> int:
        """How many events they are."""
        return len(self.leaves) // HASH_BYTES

    def part(self, start: int, end: int) -> "Covered":
        """Return the events from number `start` up to, not including, `end`; counted from 0."""
        contents = self.contents
        return Covered(
            self.first + start,
            self.leaves[start * HASH_BYTES : end * HASH_BYTES],
            self.ids[start:end],
            self.labels[start:end],
            None if contents is None else contents[start * CONTENT_BYTES : end * CONTENT_BYTES],
        )


class Seal(NamedTuple):
    """What is said of a log when it is sealed.

    Args:
        base: sequences of the organization's log before the sealed one begins; 0 but for one that began late, or again.
        note: the signed checkpoint, as text; None where the leaves alone are told again.
        frontier: of the tree that the note is about.
        suffix: of the ids of its events, for a log in which somebody has used the usual ones.
    """

    org_id: OrganizationId
    base: int
    at: Micros
    note: str | None
    frontier: bytes
    suffix: str = ""


class CheckpointEvent(NamedTuple):
    """One event, ready to be appended.

    Args:
        event_id: follows from what it covers, so that a receiver keeps it once.
        body: JSON text.
    """

    event_id: str
    body: str


def log_name(first: str, org_id: OrganizationId, base: int) -> str:
    """Return the name of a log; one that does not begin with the organization's first event says where it begins."""
    return f"{first}/{org_id}" if not base else f"{first}/{org_id}@{base + 1}"


def checkpoint_events(covered: Covered, seal: Seal) -> list[CheckpointEvent]:
    """Return the checkpoint events of a seal, in order; the last one has frontier and note."""
    assert covered.length > 0, "an event that covers nothing says nothing"
    starts = range(0, covered.length, LEAVES_PER_EVENT)
    last = starts[-1]
    return [
        _event(covered.part(start, start + LEAVES_PER_EVENT), seal, is_last=start == last) for start in starts
    ]


def checkpoint_id(base: int, first: int, last: int) -> str:
    """Return the id of the checkpoint event that covers a range of sequences."""
    # A log that began again may cover sequences that another history covered: the receiver must keep both.
    return f"ckpt_{first}_{last}" if not base else f"ckpt_@{base + 1}_{first}_{last}"


def labels_text(labels: Sequence[Label]) -> str:
    """Write labels as runs: dataset, or dataset/decision, and * with a count where it is not 1; commas between."""
    runs = ((label, sum(1 for _ in run)) for label, run in groupby(labels))
    return ",".join(
        f"{_label_text(label)}*{count}" if count > 1 else _label_text(label) for label, count in runs
    )


def _event(part: Covered, seal: Seal, *, is_last: bool) -> CheckpointEvent:
    last = part.first + part.length - 1
    event_id = checkpoint_id(seal.base, part.first, last) + seal.suffix
    proof: dict[str, Any] = {
        "v": _VERSION,
        "first": part.first,
        "last": last,
        "leaves": _base64(part.leaves),
        "ids": _base64(_id_tags(part.ids)),
    }
    if part.contents is not None:
        proof["contents"] = _base64(part.contents)
    proof["labels"] = labels_text(part.labels)
    if is_last and seal.note is not None:
        proof |= {"frontier": _base64(seal.frontier), "checkpoint": seal.note}
    event = {
        "@timestamp": to_text(seal.at),
        "message": f"checkpoint of events {part.first} to {last}",
        "event": {
            "id": event_id,
            "kind": "event",
            "action": "checkpoint",
            "dataset": CHECKPOINT_DATASET,
        },
        "aegis": {"proof": proof},
        "organization": {"id": seal.org_id},
    }
    return CheckpointEvent(event_id, msgspec.json.encode(event).decode())


def _id_tags(ids: Sequence[str]) -> bytes:
    """Return four bytes for each id: a hint which event a missing one was replaced by, no evidence."""
    return struct.pack(f">{len(ids)}I", *[crc32(one.encode()) for one in ids])


def _label_text(label: Label) -> str:
    dataset, decision = label
    text = quote(dataset, _SAFE)
    return text if decision is None else f"{text}/{quote(decision, _SAFE)}"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
