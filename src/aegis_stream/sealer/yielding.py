"""When the sealer rests, so that it takes no processor from ingest and delivery while there is none to spare.

Niceness alone does not do it: a process of niceness 10 still gets a tenth of a processor that others want all of, and its commits take
turns with theirs. So the sealer looks how long it had to wait for a processor during a seal. If that was long, it rests, and
falls behind; it catches up when the others rest. It does so for a minute at most: then it seals as fast as niceness lets it, until it
has caught up once.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

WAITED_SHARE: Final = 0.1
"""A seal that waited longer than this share of the time it ran is one for which there was no processor to spare."""
REST: Final = 100
"""The rest after it, in times of what the sealer's own thread ran. With the threads that read and write for it, sealing then takes some
2 % of a processor."""
REST_LONGEST_S: Final = 5.0
"""Longest rest, seconds."""
PATIENCE_S: Final = 60.0
"""After being behind for so long, the sealer rests no more, seconds."""
SCHEDULED = Path("/proc/thread-self/schedstat")


class Ran(NamedTuple):
    """What the calling thread has had of the processors.

    Args:
        ran_s: how long it ran, seconds.
        waited_s: how long it could have run and waited for a processor, seconds.
    """

    ran_s: float
    waited_s: float


def ran() -> Ran:
    """Return what this thread has had of the processors since it began; on a system that does not tell, it never waited.

    Source: Documentation/scheduler/sched-stats.rst of Linux, "/proc/<pid>/schedstat".
    """
    try:
        ran_ns, waited_ns, *_ = SCHEDULED.read_bytes().split()
        return Ran(int(ran_ns) / 1e9, int(waited_ns) / 1e9)
    except (OSError, ValueError):
        return Ran(time.thread_time(), 0.0)


class Yielding:
    """Tells after each seal how long to rest.

    Args:
        clock_s: a clock that nobody moves, seconds.
        ran: what the sealer's thread has had so far.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, ran: Callable[[], Ran] = ran) -> None:
        self._clock_s, self._ran = clock_s, ran
        self._last = ran()
        self._behind_since_s: float | None = None

    def begin(self) -> None:
        """Note that a seal begins."""
        self._last = self._ran()
        if self._behind_since_s is None:
            self._behind_since_s = self._clock_s()

    def caught_up(self) -> None:
        """Note that nothing is due."""
        self._behind_since_s = None

    def rest_s(self) -> float:
        """Return how long to rest after the seal that began last, 0 to `REST_LONGEST_S` seconds."""
        now = self._ran()
        ran_s, waited_s = now.ran_s - self._last.ran_s, now.waited_s - self._last.waited_s
        behind_s = 0.0 if self._behind_since_s is None else self._clock_s() - self._behind_since_s
        if waited_s <= WAITED_SHARE * ran_s or behind_s > PATIENCE_S:
            return 0.0
        return min(REST * ran_s, REST_LONGEST_S)
