"""What /metrics tells of ingest, summed over all API processes of one `aegis serve`.

The processes share a piece of memory: a slot of 64-bit numbers for each. A process writes to its own slot alone, so nothing is
locked, and one that is started again goes on counting where the one before it stopped.
"""

import mmap
import os

from aegis_stream.errors import Misconfigured

from .problems import STATUSES

COUNTED = (202, *sorted({status for _, status, _ in STATUSES}))
"""The statuses that are counted by name; all others count as "other"."""
LABELS = (*map(str, COUNTED), "other")
RESULTS = ("accepted", "duplicate", "rejected")
SLOT = len(LABELS) + len(RESULTS)
"""Numbers in a slot: requests by status, then events by result."""
SLOT_BYTES = SLOT * 8

_PLACES = {status: place for place, status in enumerate(COUNTED)}
_OTHER = len(COUNTED)
_ACCEPTED, _DUPLICATE, _REJECTED = range(len(LABELS), SLOT)


def share_counts(processes: int) -> int:
    """Make memory for so many processes, all numbers 0; returns its file descriptor, which children may inherit."""
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
            f"the counters (descriptor {fd}, {len(memory)} bytes) have no slot {slot} of {SLOT_BYTES} bytes: they were "
            "made by another version; restart the service"
        )
    return IngestCounts(memory, slot)


class IngestCounts:
    """Counts for one process, reads for all.

    Args:
        memory: as long as all slots; None for memory that nobody else sees.
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
        """Return requests by status, of all processes; statuses that were never answered are left out."""
        return {label: count for place, label in enumerate(LABELS) if (count := self._sum(place))}

    def events(self) -> dict[str, int]:
        """Return events by result, of all processes."""
        return {result: self._sum(place) for place, result in enumerate(RESULTS, len(LABELS))}

    def _sum(self, place: int) -> int:
        return sum(self._all[place::SLOT])
