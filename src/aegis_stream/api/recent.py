"""The last ingest requests of a key, for whoever looks why events do not arrive: status, size, and what was rejected.

Nothing is noted unless somebody has looked at the key within WATCH_US: then all API processes of this `aegis serve` note its
requests, in memory that they share. Otherwise a request costs the look at one empty dictionary.
"""

import hashlib
import struct
from typing import Final, NamedTuple

from aegis_stream.domain.ids import SECOND, Micros

KEYS_MAX: Final = 8
"""Most keys that are looked at; another one takes the place of the one that nobody has looked at for longest."""
SHOWN_MAX: Final = 20
"""Requests of a key that are remembered, by each process."""
WATCH_US: Final = 300 * SECOND
"""Requests are noted for so long after somebody looked."""

_HEAD: Final = struct.Struct("<qQHIIIIH")
"""Time, mark of the key, status, bytes, events accepted, duplicate and rejected, bytes of the reason."""
ENTRY_BYTES: Final = 240
_REASON_BYTES_MAX: Final = ENTRY_BYTES - _HEAD.size
_UINT_MAX: Final = (1 << 32) - 1
_WATCH: Final = struct.Struct("<Qq")
"""Mark of a key, and until when it is watched by the machine's steady clock."""
_NEWEST: Final = struct.Struct("<q")
_NEWEST_AT: Final = KEYS_MAX * _WATCH.size
"""Behind the marks: until when the key is watched that somebody looked at last. It differs after each look."""
RING_BYTES: Final = KEYS_MAX * SHOWN_MAX * ENTRY_BYTES
"""Memory of one process; more than the watched keys need."""


class SeenRequest(NamedTuple):
    """One ingest request.

    Args:
        size: bytes of its body as sent; 0 where it was refused before.
        reason: why it, or its first rejected event, was refused; "" for nothing.
    """

    at: Micros
    status: int
    size: int
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reason: str = ""


class RecentRequests:
    """What one process notes, and what all of them have noted.

    Args:
        watching: shared memory with the marks of watched keys.
        rings: shared memory of all processes.
        own: which of these is this process's.

    `watched` has the place of each watched key, by its mark; it is empty unless somebody looks.
    """

    __slots__ = ("_newest", "_next", "_own", "_rings", "_watching", "watched")

    def __init__(self, watching: memoryview, rings: list[memoryview], own: int) -> None:
        self._watching = watching
        self._rings = rings
        self._own = rings[own]
        self._next = [0] * KEYS_MAX
        self._newest = 0
        self.watched: dict[int, int] = {}

    def note(self, key_id: str, seen: SeenRequest) -> None:
        """Note a request, if somebody looks at its key."""
        mark = mark_of(key_id)
        place = self.watched.get(mark)
        if place is None:
            return
        reason = seen.reason.encode()[:_REASON_BYTES_MAX]
        number = self._next[place]
        self._next[place] = (number + 1) % SHOWN_MAX
        start = (place * SHOWN_MAX + number) * ENTRY_BYTES
        numbers = (min(one, _UINT_MAX) for one in (seen.size, seen.accepted, seen.duplicates, seen.rejected))
        # A reader in another process skips an entry whose time is 0: it is being written.
        self._own[start : start + 8] = bytes(8)
        self._own[start + _HEAD.size : start + _HEAD.size + len(reason)] = reason
        head = _HEAD.pack(seen.at, mark, seen.status, *numbers, len(reason))
        self._own[start + 8 : start + _HEAD.size] = head[8:]
        self._own[start : start + 8] = head[:8]

    def watch(self, key_id: str, steady_us: int) -> None:
        """Let all processes note the requests of a key for a while from now on."""
        mark = mark_of(key_id)
        held = [_WATCH.unpack_from(self._watching, place * _WATCH.size) for place in range(KEYS_MAX)]
        known = [place for place, one in enumerate(held) if one[0] == mark]
        place = known[0] if known else min(range(KEYS_MAX), key=lambda one: held[one][1])
        _WATCH.pack_into(self._watching, place * _WATCH.size, mark, steady_us + WATCH_US)
        _NEWEST.pack_into(self._watching, _NEWEST_AT, steady_us + WATCH_US)
        self.refresh(steady_us)

    def refresh(self, steady_us: int) -> None:
        """Learn which keys somebody looks at. A process does so twice a second; while nobody looks it compares one number."""
        newest = _NEWEST.unpack_from(self._watching, _NEWEST_AT)[0]
        if newest == self._newest and not self.watched:
            return
        self._newest = newest
        held = [_WATCH.unpack_from(self._watching, place * _WATCH.size) for place in range(KEYS_MAX)]
        self.watched = {mark: place for place, (mark, until) in enumerate(held) if until > steady_us}

    def of(self, key_id: str) -> list[SeenRequest]:
        """Return the newest requests of a key, the newest first, those of all processes."""
        mark = mark_of(key_id)
        found = [one for ring in self._rings for one in _entries(ring, mark)]
        return sorted(found, key=lambda one: -one.at)[:SHOWN_MAX]


def mark_of(key_id: str) -> int:
    """Return a number for a key, never 0."""
    return int.from_bytes(hashlib.blake2b(key_id.encode(), digest_size=8).digest(), "little") or 1


def _entries(ring: memoryview, mark: int) -> list[SeenRequest]:
    found = []
    for start in range(0, RING_BYTES, ENTRY_BYTES):
        at, marked, status, size, accepted, duplicates, rejected, length = _HEAD.unpack_from(ring, start)
        if not at or marked != mark:
            continue
        reason = bytes(ring[start + _HEAD.size : start + _HEAD.size + min(length, _REASON_BYTES_MAX)])
        if _HEAD.unpack_from(ring, start)[0] == at:  # nobody has written over it meanwhile
            text = reason.decode("utf-8", "ignore")
            found.append(SeenRequest(at, status, size, accepted, duplicates, rejected, text))
    return found
