"""Events that travel in one request, where they come from, and how large a request may become."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

import msgspec

from aegis_stream.domain.destination import BatchPolicy
from aegis_stream.domain.ids import Micros
from aegis_stream.formats import Format, narrowed


class Work(msgspec.Struct, eq=False, gc=False):
    """Events that travel in one request, and the stretch of the log that they stand for.

    Args:
        source: where they come from, and where their outcomes go.
        first, last: the stretch, filtered events within it included.
        sequences: positions of the events that travel.
        attempt: number of the attempt about to be made, from 1.
        began_s: when the newest attempt began, seconds of the event loop.
        may_be_stored: the destination may have stored the events when they were sent before.
    """

    source: "Source"
    first: int
    last: int
    sequences: Seq[int]
    bodies: list[bytes]
    attempt: int
    began_s: float = 0.0
    may_be_stored: bool = False

    def halves(self) -> "tuple[Work, Work]":
        """Split a batch, to find the event that the destination refuses."""
        return self.split(len(self.sequences) // 2)

    def bytes_with(self, frame_bytes: int) -> int:
        """Return the bytes of its events, with what the format adds to each."""
        return sum(map(len, self.bodies)) + len(self.bodies) * frame_bytes

    def split(self, middle: int) -> "tuple[Work, Work]":
        """Split a batch before its event number `middle`, from 0; neither part is empty."""
        cut = self.sequences[middle]
        left = Work(
            self.source, self.first, cut - 1, self.sequences[:middle], self.bodies[:middle], self.attempt
        )
        right = Work(self.source, cut, self.last, self.sequences[middle:], self.bodies[middle:], self.attempt)
        left.may_be_stored = right.may_be_stored = self.may_be_stored
        return left, right


class Source(Protocol):
    """Something that has events for a destination."""

    def take(self, limits: "Limits") -> Work | None:
        """Return the next events for one request, or None when none are at hand."""
        ...

    def complete(self, work: Work) -> None:
        """Learn that every event of this work is delivered, dead, or to be retried."""
        ...

    async def refill(self, now: Micros) -> None:
        """Read ahead. Raises: Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one request may become."""

    events_max: int
    bytes_max: int
    frame_bytes: int = 0

    @classmethod
    def of(cls, batch: BatchPolicy, format_: Format, learned_bytes_max: int | None = None) -> "Limits":
        """Return the limits of a destination: the user's, the format's, and what the destination was found to accept."""
        batch = narrowed(batch, format_)
        bytes_max = min(batch.max_bytes, learned_bytes_max or batch.max_bytes)
        return cls(batch.max_events, bytes_max, format_.frame_bytes if format_.batches else 0)
