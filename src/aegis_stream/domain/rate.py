"""How often something may happen: token buckets that know no clock and need no task to fill them.

`access` keeps them for keys and addresses, the API for test events. A bucket is one number, the time at which it is full
again, so that taking from it costs a few hundred nanoseconds and a table of them is bounded by its length.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .ids import SECOND, Micros

BUCKETS_MAX = 10_000
"""Buckets kept in one table; beyond it the one made first goes, and with it what was taken from it."""
SLACK_US = 1.0
"""What sums of fractions may be off by: a time in microseconds is exact to a quarter of one."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a span of time, all at once or spread over it.

    Args:
        count: how many, at least 1: what a full bucket holds.
        per_s: seconds in which an empty bucket fills up again.
    """

    count: int
    per_s: float = 1.0


class Buckets(Generic[K]):
    """One bucket for each key, all of one rate.

    Args:
        count_max: buckets kept at most.
    """

    __slots__ = ("_count_max", "_full_at", "_one_us", "_whole_us")

    def __init__(self, rate: Rate, count_max: int = BUCKETS_MAX) -> None:
        self._one_us = rate.per_s * SECOND / rate.count
        self._whole_us = rate.per_s * SECOND
        self._full_at: dict[K, float] = {}
        self._count_max = count_max

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: K, now: Micros) -> float:
        """Take one from a bucket, if there is one in it.

        Returns: 0 when it was taken, else the microseconds until there is one, and nothing was taken.
        """
        full_at = self._full_at.get(key)
        lacking = self._one_us if full_at is None else self._lacking(full_at, now) + self._one_us
        if lacking > self._whole_us + SLACK_US:
            return lacking - self._whole_us
        if full_at is None and len(self._full_at) >= self._count_max:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = now + lacking
        return 0.0

    def wait(self, key: K, now: Micros) -> float:
        """Return the microseconds until there is one in a bucket, 0 for now; takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        beyond = self._lacking(full_at, now) + self._one_us - self._whole_us
        return beyond if beyond > SLACK_US else 0.0

    def _lacking(self, full_at: float, now: Micros) -> float:
        """Return how far a bucket is from full, in microseconds of filling."""
        lacking = full_at - now
        # Further from full than empty: the clock was set back, and nobody shall wait for it to catch up.
        return lacking if 0 < lacking <= self._whole_us + SLACK_US else 0.0
