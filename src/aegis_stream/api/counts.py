"""Counts of ingest for /metrics, summed over all API processes of one `aegis serve`.

The processes share memory: a slot of 64-bit numbers for each. A process writes to its own slot only, so nothing is locked, and
a restarted process continues the counts of the one before it.
"""

import mmap
import os

from aegis_stream.errors import Misconfigured

from .problems import STATUSES

COUNTED = (202, *sorted({status for _, status, _ in STATUSES}))
"""Statuses with a count of their own; all others count as "other"."""
LABELS = (*map(str, COUNTED), "other")
RESULTS = ("accepted", "duplicate", "rejected")
SLOT = len(LABELS) + len(RESULTS)
"""Numbers in a slot: requests by status, then events by result."""
SLOT_BYTES = SLOT * 8

_PLACES = {status: place for place, status in enumerate(COUNTED)}
_OTHER = len(COUNTED)
_ACCEPTED, _DUPLICATE, _REJECTED = range(len(LABELS), SLOT)


def share_counts(processes: int) -> int:
    """Create memory for a number of processes, all counts 0; returns its file descriptor, which children may inherit."""
    fd = os.memfd_create("aegis-ingest-counts")
    os.ftruncate(fd, processes * SLOT_BYTES)
    return fd


def open_counts(fd: int, slot: int) -> "IngestCounts":
    """Return the counts in shared memory, as the process with this slot sees them.

    Raises: Misconfigured when the descriptor is not one of `share_counts`, or has no such slot.
    """
    try:
        memory = mmap.mmap(fd, 0)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the counters (descriptor {fd}) cannot be opened: {error}") from error
    if len(memory) % SLOT_BYTES or not 0 <= slot < len(memory) // SLOT_BYTES:
        raise Misconfigured(
            f"the counters (descriptor {fd}, {len(memory)} bytes) have no slot {slot} of {SLOT_BYTES} bytes: another "
            "version created them: restart the service"
        )
    return IngestCounts(memory, slot)


class IngestCounts:
    """Counts for one process, reads for all.

    Args:
        memory: of all slots; None for memory of this process alone.
    """

    __slots__ = ("_all", "_own", "processes")

    def __init__(self, memory: mmap.mmap | None = None, slot: int = 0) -> None:
        self._all = memoryview(memory or mmap.mmap(-1, SLOT_BYTES))[:].cast("q")
        self.processes = len(self._all) // SLOT
        self._own = self._all[slot * SLOT : (slot + 1) * SLOT]

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
