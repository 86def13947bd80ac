"""Rate limits: token buckets without a clock and without a task that refills them.

`access` uses them for keys and addresses, the API for test events. A bucket is one number, the time at which it is full
again. So taking a token costs a few hundred nanoseconds, and the size of a table is limited by its number of buckets.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from .ids import SECOND, Micros

BUCKETS_MAX = 10_000
"""Most buckets of one table; beyond it the oldest bucket is evicted, and its key starts with a full one."""
SLACK_US: Final = 1.0
"""Rounding error to tolerate, microseconds: a float holds today's times to a quarter of one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of events in a span of time, at once or spread over it.

    Args:
        count: tokens in a full bucket, at least 1.
        per_s: seconds in which an empty bucket is refilled.
    """

    count: int
    per_s: float = 1.0


class Buckets:
    """One bucket for each key, all with the same rate. Not generic: a compiled class that is costs twice as much.

    Args:
        count_max: most buckets kept.
    """

    __slots__ = ("_count_max", "_full_at", "_one_us", "_rate", "_whole_us")

    def __init__(self, rate: Rate, count_max: int = BUCKETS_MAX) -> None:
        self._rate = rate
        self._one_us = rate.per_s * SECOND / rate.count
        self._whole_us = rate.per_s * SECOND
        self._full_at: dict[Hashable, float] = {}
        self._count_max = count_max

    def share(self, parts: int) -> None:
        """Give out only one of `parts` of the rate from now on: as many processes have a table of their own.

        A bucket keeps the fraction to which it is full. It always holds at least one token, which takes longer than `per_s` to
        come back where there are more parts than tokens.
        """
        self._one_us = self._rate.per_s * SECOND * parts / self._rate.count
        self._whole_us = max(self._rate.per_s * SECOND, self._one_us)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: Micros) -> float:
        """Take a token from a bucket if there is one.

        Returns: 0 if a token was taken, else the microseconds until there is one.
        """
        full_at = self._full_at.get(key)
        lacking = self._one_us if full_at is None else self._lacking(full_at, now) + self._one_us
        if lacking > self._whole_us + SLACK_US:
            return lacking - self._whole_us
        if full_at is None and len(self._full_at) >= self._count_max:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = now + lacking
        return 0.0

    def wait(self, key: Hashable, now: Micros) -> float:
        """Return the microseconds until a bucket has a token, 0 if it has one; takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        beyond = self._lacking(full_at, now) + self._one_us - self._whole_us
        return beyond if beyond > SLACK_US else 0.0

    def _lacking(self, full_at: float, now: Micros) -> float:
        """Return how many microseconds of refilling a bucket lacks."""
        lacking = full_at - now
        # It cannot lack more than a whole bucket: the clock was set back, and nobody must wait until it catches up.
        return lacking if 0 < lacking <= self._whole_us + SLACK_US else 0.0
