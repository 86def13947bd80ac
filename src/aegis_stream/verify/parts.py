"""Keeps the checkpoint events of a log while an export is read: on disk what is large, in memory where it is and what it covers."""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from hashlib import sha256
from typing import Any, Dict, List, NamedTuple, Sequence, Set

from .content import DIGEST_BYTES
from .manifest import ID_BYTES, Part
from .tree import HASH_BYTES

ALTERNATIVES_MAX = 64
"""Different checkpoint events that begin at the same sequence and are kept; of an honest log there is one."""
PARTS_MAX = 4_000_000
CUTS_MAX = 200_000
"""Most ends of seals at which parts are cut."""


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

    def cut(self, ends: Sequence[int]) -> None:
        """Add the pieces of parts between the ends of seals: hashes that were told again begin and end anywhere.

        Args:
            ends: sequences at which a note's tree ends, in order.
        """
        left = CUTS_MAX
        for part in [one for others in self.by_first.values() for one in others]:
            inside = ends[bisect_left(ends, part.first) : bisect_left(ends, part.last)]
            left -= len(inside)
            if left < 0:
                return
            if inside:
                self._cut(part, inside)

    def _cut(self, part: PartAt, ends: Sequence[int]) -> None:
        leaves, ids, contents = self.leaves(part), self.ids(part), self.contents(part)
        for first, last in zip([part.first, *[one + 1 for one in ends]], [*ends, part.last]):
            start, end = first - part.first, last - part.first + 1
            piece = Part(
                "",
                first,
                last,
                leaves[start * HASH_BYTES : end * HASH_BYTES],
                ids[start * ID_BYTES : end * ID_BYTES] if part.ids else b"",
                contents[start * DIGEST_BYTES : end * DIGEST_BYTES] if part.contents else b"",
                b"",
                "",
            )
            self.add(piece, part.own_leaves)

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
