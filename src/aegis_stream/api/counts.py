"""Counts of ingest for /metrics, summed over all API processes of one `aegis serve`.

The processes share memory: a slot of 64-bit numbers for each. A process writes to its own slot only, so nothing is locked, and
a restarted process continues the counts of the one before it. A slot before all others holds what they all read: `ServiceStanding`, and
which keys somebody looks at.
"""

import mmap
import os
from typing import Final

from aegis_stream.errors import Misconfigured

from .problems import STATUSES
from .recent import RING_BYTES, RecentRequests
from .standing import FIELDS, FOREVER_US, ServiceStanding

COUNTED = (202, *sorted({status for _, status, _ in STATUSES}))
"""Statuses with a count of their own; all others count as "other"."""
LABELS = (*map(str, COUNTED), "other")
RESULTS = ("accepted", "duplicate", "rejected")
COUNTS = len(LABELS) + len(RESULTS)
"""Counts in a slot: requests by status, then events by result."""
SLOT = COUNTS + RING_BYTES // 8
"""Numbers in a slot: its counts, then the memory of recent requests."""
SLOT_BYTES = SLOT * 8

_PLACES: Final = {status: place for place, status in enumerate(COUNTED)}
_OTHER: Final = len(COUNTED)
_ACCEPTED: Final = len(LABELS)
_DUPLICATE: Final = _ACCEPTED + 1
_REJECTED: Final = _ACCEPTED + 2


def share_counts(processes: int) -> int:
    """Create memory for a number of processes, all counts 0; returns its file descriptor, which children may inherit."""
    fd = os.memfd_create("aegis-ingest-counts")
    os.ftruncate(fd, (1 + processes) * SLOT_BYTES)
    return fd


def open_counts(fd: int, slot: int) -> "IngestCounts":
    """Return the counts in shared memory, as the process with this slot sees them.

    Raises: Misconfigured when the descriptor is not one of `share_counts`, or has no such slot.
    """
    try:
        memory = mmap.mmap(fd, 0)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the counters (descriptor {fd}) cannot be opened: {error}") from error
    if len(memory) % SLOT_BYTES or not 0 <= slot < len(memory) // SLOT_BYTES - 1:
        raise Misconfigured(
            f"the counters (descriptor {fd}, {len(memory)} bytes) have no slot {slot} of {SLOT_BYTES} bytes: another "
            "version created them: restart the service"
        )
    return IngestCounts(memory, slot)


class IngestCounts:
    """Counts for one process, reads for all.

    Args:
        memory: of all slots; None for memory of this process alone, which then reports the sums over the store.

    `standing` is where these processes stand among others, `recent` what they note of the last requests.
    """

    __slots__ = ("_all", "_own", "processes", "recent", "standing")

    def __init__(self, memory: mmap.mmap | None = None, slot: int = 0) -> None:
        memory_bytes = memoryview(memory or mmap.mmap(-1, 2 * SLOT_BYTES))
        numbers = memory_bytes[:].cast("q")
        self._all = numbers[SLOT:]
        self.processes = len(self._all) // SLOT
        self.standing = ServiceStanding(numbers[:FIELDS], self.processes)
        if memory is None:
            self.standing.report_until(FOREVER_US)
        self._own = self._all[slot * SLOT : (slot + 1) * SLOT]
        watching, *rings = [
            memory_bytes[start + COUNTS * 8 : start + SLOT_BYTES]
            for start in range(0, (1 + self.processes) * SLOT_BYTES, SLOT_BYTES)
        ]
        self.recent = RecentRequests(watching, rings, slot)

    def answered(self, status: int) -> None:
        """Count a request."""
        self._own[_PLACES.get(status, _OTHER)] += 1

    def recorded(self, accepted: int, duplicates: int, rejected: int) -> None:
        """Count the events of a request."""
        own = self._own
        own[_ACCEPTED] += accepted
        if duplicates:
            own[_DUPLICATE] += duplicates
        if rejected:
            own[_REJECTED] += rejected

    def requests(self) -> dict[str, int]:
        """Return requests by status, of all processes; without statuses that were never sent."""
        return {label: count for place, label in enumerate(LABELS) if (count := self._sum(place))}

    def events(self) -> dict[str, int]:
        """Return events by result, of all processes."""
        return {result: self._sum(place) for place, result in enumerate(RESULTS, len(LABELS))}

    def _sum(self, place: int) -> int:
        return sum(self._all[place::SLOT])
