"""How many ingest requests were answered with which status of late: differences of the counts, taken when somebody looks."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aegis_stream.domain.ids import SECOND

from .counts import IngestCounts

WINDOW_US: Final = 300 * SECOND
"""The counts are compared with those of so long ago, or as near to it as somebody looked."""
APART_US: Final = 10 * SECOND
"""Samples are at least so far apart; so there are WINDOW_US / APART_US at most."""


class RecentCounts(NamedTuple):
    """What was counted in the last while.

    Args:
        seconds: how long that was.
        requests: by status.
        events: by result.
    """

    seconds: float
    requests: dict[str, int]
    events: dict[str, int]


class _Sample(NamedTuple):
    at_us: int
    requests: dict[str, int]
    events: dict[str, int]


@dataclass(slots=True)
class IngestRates:
    """Compares the counts with earlier ones. The first ones are those of the first look."""

    counts: IngestCounts
    _samples: deque[_Sample] = field(default_factory=deque)

    def recent(self, steady_us: int) -> RecentCounts:
        """Return what was counted since about five minutes ago, or since the first look.

        Args:
            steady_us: now, by the machine's steady clock.
        """
        now = _Sample(steady_us, self.counts.requests(), self.counts.events())
        while len(self._samples) > 1 and self._samples[1].at_us <= steady_us - WINDOW_US:
            self._samples.popleft()
        if not self._samples or steady_us - self._samples[-1].at_us >= APART_US:
            self._samples.append(now)
        before = self._samples[0]
        return RecentCounts(
            (steady_us - before.at_us) / SECOND,
            {name: count - before.requests.get(name, 0) for name, count in now.requests.items()},
            {name: count - before.events.get(name, 0) for name, count in now.events.items()},
        )
