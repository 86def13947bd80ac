"""The checkpoint event: hashes of the events that it covers and, in the last part of a seal, the signed note.

Its spelling is part of its form: a checkpoint event that a SIEM wrote anew is spelled again from its values, so that its own leaf
can be checked, and with it the content digests that it carries.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import Any, Dict, NamedTuple

from .content import DIGEST_BYTES
from .fields import CHECKPOINT_DATASET, field, text_of
from .tree import HASH_BYTES, SIZE_MAX

LEAVES_MAX = 4096
"""Most events that one checkpoint event may cover; the service puts 90 into one."""
ID_BYTES = 4
_PROOF = ("v", "first", "last", "leaves", "ids", "contents", "labels", "frontier", "checkpoint")
_EVENT = ("id", "kind", "action", "dataset")


class Part(NamedTuple):
    """What a checkpoint event says.

    Args:
        organization: organization.id, "" if there is none.
        first, last: sequences of the events that it covers.
        leaves: 32 bytes of each.
        ids: 4 bytes of each, or b"".
        contents: 16 bytes of each, or b"".
        frontier: of the tree with `last`, or b"".
        note: the signed note, or "".
    """

    organization: str
    first: int
    last: int
    leaves: bytes
    ids: bytes
    contents: bytes
    frontier: bytes
    note: str


def is_checkpoint(value: Any) -> bool:
    """Tell whether an event claims to be a checkpoint."""
    return text_of(value, "event", "dataset") == CHECKPOINT_DATASET


def part_of(value: Any) -> Part | None:
    """Return what a checkpoint event says, or None if its proof fields cannot be read or contradict each other."""
    first, last = (field(value, "aegis", "proof", name) for name in ("first", "last"))
    first, last = _number(first), _number(last)
    if field(value, "aegis", "proof", "v") not in (1, "1") or not first or not last:
        return None
    count = last - first + 1
    if not 0 < count <= LEAVES_MAX or last > SIZE_MAX:
        return None
    leaves, ids, contents, frontier = (
        _bytes(value, name) for name in ("leaves", "ids", "contents", "frontier")
    )
    if leaves is None or ids is None or contents is None or frontier is None:
        return None
    if len(leaves) != count * HASH_BYTES or len(ids) not in (0, count * ID_BYTES):
        return None
    if len(contents) not in (0, count * DIGEST_BYTES):
        return None
    note = text_of(value, "aegis", "proof", "checkpoint")
    return Part(text_of(value, "organization", "id"), first, last, leaves, ids, contents, frontier, note)


def spelled(value: Any) -> bytes:
    """Return the text of a checkpoint event as the service writes it; members that it does not write are left out."""
    proof = {name: field(value, "aegis", "proof", name) for name in _PROOF}
    event: Dict[str, Any] = {
        "@timestamp": field(value, "@timestamp"),
        "message": field(value, "message"),
        "event": {name: field(value, "event", name) for name in _EVENT},
        "aegis": {"proof": {name: one for name, one in proof.items() if one is not None}},
        "organization": {"id": field(value, "organization", "id")},
    }
    try:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    except (UnicodeEncodeError, RecursionError):
        return b""


def _number(value: Any) -> int:
    """Return a sequence, also from a SIEM that keeps numbers as texts or doubles; 0 if it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return int(value)
    if isinstance(value, float) and value.is_integer() and 0 < value <= SIZE_MAX:
        return int(value)
    return value if type(value) is int and 0 < value <= SIZE_MAX else 0


def _bytes(value: Any, name: str) -> bytes | None:
    """Return a field's bytes; b"" if it is not there, None if it is not base64."""
    try:
        return b64decode(text_of(value, "aegis", "proof", name), validate=True)
    except (binascii.Error, ValueError):
        return None
