"""Keeps the checkpoint events of a log while an export is read: on disk what is large, in memory where it is and what it covers."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from typing import Any, Dict, List, NamedTuple, Set

from .content import DIGEST_BYTES
from .manifest import ID_BYTES, Part
from .tree import HASH_BYTES

ALTERNATIVES_MAX = 64
"""Different checkpoint events that begin at the same sequence and are kept; of an honest log there is one."""
PARTS_MAX = 4_000_000


class PartAt(NamedTuple):
    """A checkpoint event that was put aside.

    Args:
        first, last: sequences that it covers.
        at: where its hashes lie.
        ids, contents, frontier: whether it has them, and the frontier's length.
        leaves_digest: of its leaves.
        own_leaves: the leaves that its own event can have, joined: as it stands in the export, and as the service spells it.
    """

    first: int
    last: int
    at: int
    ids: bool
    contents: bool
    frontier: int
    leaves_digest: bytes
    own_leaves: bytes

    @property
    def events(self) -> int:
        """Number of events that it covers."""
        return self.last - self.first + 1


class Parts:
    """The checkpoint events of one log, each once, by the sequence at which they begin."""

    def __init__(self) -> None:
        self.by_first: Dict[int, List[PartAt]] = {}
        self.count = 0
        self.dropped = 0
        self._file: Any = None
        self._end = 0
        self._known: Set[bytes] = set()

    def add(self, part: Part, own_leaves: bytes) -> None:
        """Put a checkpoint event aside; one that is known already is the same one, delivered twice."""
        data = part.leaves + part.ids + part.contents + part.frontier
        known = sha256(b"%d %d " % (part.first, part.last) + data + own_leaves).digest()[:16]
        if known in self._known:
            return
        others = self.by_first.setdefault(part.first, [])
        if len(others) >= ALTERNATIVES_MAX or self.count >= PARTS_MAX:
            self.dropped += 1
            return
        self._known.add(known)
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="aegis-verify-")  # noqa: SIM115 - lives as long as the parts
        self._file.seek(self._end)
        self._file.write(data)
        leaves_digest = sha256(part.leaves).digest()[:16]
        others.append(
            PartAt(
                part.first,
                part.last,
                self._end,
                bool(part.ids),
                bool(part.contents),
                len(part.frontier),
                leaves_digest,
                own_leaves,
            )
        )
        self._end += len(data)
        self.count += 1

    def leaves(self, part: PartAt) -> bytes:
        """Return the leaf hashes of a part, joined together."""
        return self._read(part.at, part.events * HASH_BYTES)

    def ids(self, part: PartAt) -> bytes:
        """Return the 4 bytes of each event's id; zeros if the part has none."""
        length = part.events * ID_BYTES
        return self._read(part.at + part.events * HASH_BYTES, length) if part.ids else bytes(length)

    def contents(self, part: PartAt) -> bytes:
        """Return the content digests; zeros if the part has none."""
        length = part.events * DIGEST_BYTES
        at = part.at + part.events * (HASH_BYTES + (ID_BYTES if part.ids else 0))
        return self._read(at, length) if part.contents else bytes(length)

    def frontier(self, part: PartAt) -> bytes:
        """Return the frontier, b"" if it has none."""
        at = part.at + part.events * HASH_BYTES
        at += part.events * ID_BYTES if part.ids else 0
        at += part.events * DIGEST_BYTES if part.contents else 0
        return self._read(at, part.frontier)

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        data: bytes = self._file.read(length)
        return data
