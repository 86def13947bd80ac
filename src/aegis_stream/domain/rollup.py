"""What a destination did over time: counts of a settlement, added up by the minute, the quarter of an hour and the hour; pure.

The attempt log keeps no row for each attempt, so how many there were in a span cannot be counted from it afterwards.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .ids import SECOND, Micros

CLASSES: Final = ("3xx", "4xx", "429", "5xx", "network", "other")
"""Classes of failed attempts, by the status answered. 4xx without 429; network: no answer; other: the rest, mostly a 2xx whose body
says that the events were not stored."""
LATENCY_PLACES: Final = 17
"""Places of the histogram of latencies. The first one counts what took less than 1 ms; each further one has twice the limit of the one
before it, up to 32.768 s; the last one has no limit."""
_NETWORK, _OTHER = CLASSES.index("network"), CLASSES.index("other")
_LIMITED = 429
_NO_FAILURES, _NO_LATENCIES = (0,) * len(CLASSES), (0,) * LATENCY_PLACES
_BY_HUNDRED = {3: CLASSES.index("3xx"), 4: CLASSES.index("4xx"), 5: CLASSES.index("5xx")}


class Resolution(NamedTuple):
    """Rollups of one length.

    Args:
        step_s: seconds that one covers.
        kept_s: how long they are kept, seconds: a while longer than promised, so that the first step of a span is whole.
    """

    step_s: int
    kept_s: int


MINUTES: Final = Resolution(60, 49 * 3600)
QUARTERS: Final = Resolution(900, 49 * 3600)
"""A day is read as 96 rows instead of 1,440: an overview reads one for each of its destinations."""
HOURS: Final = Resolution(3600, 91 * 86_400)
RESOLUTIONS: Final = (MINUTES, QUARTERS, HOURS)
"""All that are kept, the shortest first; each step is a multiple of the one before it."""
STEPS_USUAL: Final = 170
"""Most steps of a timeline where the step is ours to choose."""
_STEPS_S: Final = (60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400)


class Rollup(NamedTuple):
    """What a destination did in one settlement, or in one step of time.

    Args:
        at: when it was settled; or where the step begins.
        delivered: events.
        failed: attempts that failed, each of one event, by CLASSES.
        latencies: how many requests that succeeded took how long, by place.
        waiting: events that were not delivered yet; of a step, the most of any settlement in it.
        dead_letters: events that became dead letters.
    """

    at: Micros
    delivered: int
    failed: tuple[int, ...]
    latencies: tuple[int, ...]
    waiting: int
    dead_letters: int

    @property
    def failures(self) -> int:
        """Attempts that failed, of all classes."""
        return sum(self.failed)


def rollup(
    at: Micros,
    delivered: int,
    statuses: Iterable[int | None],
    latencies_us: Iterable[int],
    waiting: int,
    dead_letters: int = 0,
) -> Rollup:
    """Count what became certain in one settlement.

    Args:
        statuses: of every attempt that failed; None without an answer.
        latencies_us: of every request that succeeded, microseconds.
        dead_letters: events that became dead letters.
    """
    failed = [0] * len(CLASSES)
    for status_code, count in Counter(statuses).items():
        failed[_class_place(status_code)] += count
    latencies = [0] * LATENCY_PLACES
    # One number for each request of the hot path: counted in C, and only the counts are looked at one by one.
    for place, count in Counter([(one // 1000).bit_length() for one in latencies_us]).items():
        latencies[min(place, LATENCY_PLACES - 1)] += count
    return Rollup(at, delivered, tuple(failed), tuple(latencies), max(0, waiting), dead_letters)


def failure_class(status_code: int | None) -> str:
    """Return the class of a failed attempt, one of CLASSES. Total."""
    return CLASSES[_class_place(status_code)]


def nothing(at: Micros) -> Rollup:
    """Return the rollup of a time in which nothing was attempted."""
    return Rollup(at, 0, _NO_FAILURES, _NO_LATENCIES, 0, 0)


def added(at: Micros, parts: Sequence[Rollup]) -> Rollup:
    """Add rollups up."""
    if not parts:
        return nothing(at)
    _, delivered, failed, latencies, waiting, dead_letters = zip(*parts, strict=True)
    return Rollup(
        at,
        sum(delivered),
        tuple(map(sum, zip(*failed, strict=True))),
        tuple(map(sum, zip(*latencies, strict=True))),
        max(waiting),
        sum(dead_letters),
    )


def began_at(at: Micros, step_s: int) -> Micros:
    """Return where the step begins that a time belongs to: steps are whole multiples since 1970-01-01 UTC."""
    return Micros(at - at % (step_s * SECOND))


def resolution_of(step_s: int) -> Resolution | None:
    """Return the longest rollups that add up to steps of this length; None where none do."""
    return next((one for one in reversed(RESOLUTIONS) if step_s > 0 and step_s % one.step_s == 0), None)


def usual_step_s(since: Micros, until: Micros, now: Micros) -> int:
    """Return a step that people read easily, with at most STEPS_USUAL steps in a span, and that is still kept for all of it."""
    for step_s in _STEPS_S:
        found = resolution_of(step_s)
        is_kept = found is not None and began_at(since, step_s) >= now - found.kept_s * SECOND
        if is_kept and until - since <= step_s * STEPS_USUAL * SECOND:
            return step_s
    return _STEPS_S[-1]


def percentile_ms(latencies: Sequence[int], share: float) -> float | None:
    """Estimate the latency within which a share of the requests was answered, milliseconds; None without any.

    It lies in the right place of the histogram, so it is wrong by less than a factor of two.

    Args:
        share: in (0, 1].
    """
    total = sum(latencies)
    wanted = share * total
    passed = 0
    for place, count in enumerate(latencies):
        if count and passed + count >= wanted:
            low, high = (0.0, 1.0) if place == 0 else (2.0 ** (place - 1), 2.0**place)
            part = max(0.0, wanted - passed) / count
            return high * part if place == 0 else low * math.pow(high / low, part)
        passed += count
    return None


def _class_place(status_code: int | None) -> int:
    if status_code is None:
        return _NETWORK
    if status_code == _LIMITED:
        return CLASSES.index("429")
    return _BY_HUNDRED.get(status_code // 100, _OTHER)
