"""How many events there were in each step of a span of time, and of which kinds; pure."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .ids import SECOND, Micros

BUCKETS_MAX = 200
"""Most steps of a histogram."""
BUCKETS_USUAL = 60
"""Most steps where the step is ours to choose."""
GROUPS_MAX = 10
"""Most kinds of events that a bucket tells apart; the rarer ones are only in its number of events."""
STEPS_S = (1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800, 2_592_000)
"""Steps that people read easily, seconds; longer spans have multiples of the last one."""
SAMPLE_MAX = 6000
"""Most events whose kind is looked at for one histogram."""

Label = tuple[str, str | None]
"""Dataset and decision of an event."""


class Group(NamedTuple):
    """One kind of events in a bucket: how many, an estimate where the bucket was sampled."""

    dataset: str
    decision: str | None
    events: int


class Bar(NamedTuple):
    """One bucket.

    Args:
        at: where it begins.
        events: how many events it has, exactly.
        sampled: how many of them were looked at for `groups`.
        groups: the most frequent kinds first.
    """

    at: Micros
    events: int
    sampled: int
    groups: list[Group]


def usual_step_s(since: Micros, until: Micros) -> int:
    """Return a step with which a span has at most BUCKETS_USUAL buckets, or one more at its edge."""
    whole_s = max(1, (until - since) // SECOND)
    for step_s in STEPS_S:
        if whole_s <= step_s * BUCKETS_USUAL:
            return step_s
    return -(-whole_s // (STEPS_S[-1] * BUCKETS_USUAL)) * STEPS_S[-1]


def edges(since: Micros, until: Micros, step_s: int) -> list[Micros]:
    """Return where buckets begin: whole multiples of the step, from the one that holds `since`; the last is the end, after `until`."""
    step = step_s * SECOND
    first = since - since % step
    return [Micros(at) for at in range(first, until - until % step + 2 * step, step)]


def shortest_step_s(since: Micros, until: Micros) -> int:
    """Return the shortest step with which a span has at most BUCKETS_MAX buckets."""
    return max(1, -(-(until - since) // ((BUCKETS_MAX - 1) * SECOND)))


def bar(at: Micros, events: int, labels: Sequence[Label]) -> Bar:
    """Return a bucket of so many events, some of which have been looked at."""
    counted = Counter(labels).most_common(GROUPS_MAX)
    groups = [
        Group(dataset, decision, round(count * events / len(labels)))
        for (dataset, decision), count in counted
    ]
    return Bar(at, events, len(labels), groups)
