"""Two things compared on a machine whose speed drifts: by turns, and pair by pair."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
PAIRS = 6
PART = 5.0
"""One turn lasts this part of a run's load."""


def turn_s(seconds: float) -> float:
    """Return how long one turn lasts where a run's load lasts `seconds`."""
    return max(1.0, seconds / PART)


def by_turns(one: Callable[[], T], other: Callable[[], T], pairs: int = PAIRS) -> list[tuple[T, T]]:
    """Do both so many times, in the order A B, B A, A B, …: what drifts slowly falls on both alike."""
    found: list[tuple[T, T]] = []
    for number in range(pairs):
        if number % 2 == 0:
            first = one()
            found.append((first, other()))
        else:
            second = other()
            found.append((one(), second))
    return found


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the second against the first: the median of the pairs' ratios."""
    return statistics.median([second / first for first, second in pairs])


def ratio_spread(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the lowest and the highest of the pairs' ratios, as notes."""
    ratios = [second / first for first, second in pairs]
    return {"lowest pair": min(ratios), "highest pair": max(ratios)}
