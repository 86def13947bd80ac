"""Compares two things on a machine whose speed drifts: in turns, and pair by pair."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
PAIRS = 6
PART = 5.0
"""Length of one turn, as a share of a run's load."""


def turn_s(seconds: float) -> float:
    """Return the length of one turn if a run's load lasts `seconds`."""
    return max(1.0, seconds / PART)


def by_turns(one: Callable[[], T], other: Callable[[], T], pairs: int = PAIRS) -> list[tuple[T, T]]:
    """Do both this many times, in the order A B, B A, A B, …, so that slow drift affects both equally."""
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
    """Return the median of the pairs' ratios, second to first."""
    return statistics.median([second / first for first, second in pairs])


def ratio_spread(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the lowest and the highest of the pairs' ratios, as notes."""
    ratios = [second / first for first, second in pairs]
    return {"lowest pair": min(ratios), "highest pair": max(ratios)}
