"""Promises of `domain.rollup`: classes that cover every answer, percentiles that lie where the requests did."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import (
    CLASSES,
    LATENCY_PLACES,
    RESOLUTIONS,
    Rollup,
    added,
    began_at,
    failure_class,
    percentile_ms,
    rollup,
)

AT = Micros(1_900_000_123_456_789)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, "network"),
        (301, "3xx"),
        (400, "4xx"),
        (428, "4xx"),
        (429, "429"),
        (430, "4xx"),
        (499, "4xx"),
        (500, "5xx"),
        (599, "5xx"),
        (200, "other"),
        (101, "other"),
        (600, "other"),
    ],
)
def test_each_failure_has_its_class(status, expected):
    """A failed attempt belongs to the class of its answer; 429 has its own, no answer is network, the rest is other."""
    assert failure_class(status) == expected


def test_a_settlement_is_counted():
    """Failures are counted by class, latencies by place, and nothing twice."""
    made = rollup(AT, 7, [500, None, 429, 503, 400], [0, 999, 1000, 1999, 2000, 90_000_000], 12)

    assert dict(zip(CLASSES, made.failed, strict=True)) == {
        "3xx": 0,
        "4xx": 1,
        "429": 1,
        "5xx": 2,
        "network": 1,
        "other": 0,
    }
    assert (made.delivered, made.failures, made.waiting) == (7, 5, 12)
    assert {place: count for place, count in enumerate(made.latencies) if count} == {0: 2, 1: 2, 2: 1, 16: 1}


@given(st.lists(st.integers(0, 32_767_999), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_wrong_by_less_than_a_factor_of_two(latencies_us, share):
    """The estimate lies between half and twice the latency that the share of requests did not exceed; below 1 ms it says so."""
    counted = rollup(AT, 1, [], latencies_us, 0).latencies
    exact_ms = sorted(latencies_us)[max(0, -int(-share * len(latencies_us) // 1) - 1)] / 1000

    estimate = percentile_ms(counted, share)

    assert estimate is not None
    if exact_ms < 1:
        assert estimate <= 1
    else:
        assert exact_ms / 2 < estimate <= exact_ms * 2


def test_percentiles_grow_with_the_share():
    """What 99 % stay below is not less than what half of them stay below; without requests there is none."""
    counted = rollup(AT, 1, [], [3_000] * 50 + [40_000] * 49 + [700_000], 0).latencies
    found = [percentile_ms(counted, share) for share in (0.1, 0.5, 0.9, 0.99, 1.0)]

    assert all(one <= two for one, two in pairwise(found))
    assert 2 <= found[1] <= 4
    assert 512 <= found[-1] <= 1024
    assert percentile_ms((0,) * LATENCY_PLACES, 0.5) is None


def test_rollups_add_up():
    """Sums of counts, and the most that waited at any time."""
    one = rollup(AT, 1, [500], [5_000], 9, 4)
    two = rollup(AT, 2, [500, None], [5_000, 1], 3, 2)

    both = added(AT, [one, two])

    assert (both.delivered, both.failures, both.waiting, sum(both.latencies)) == (3, 3, 9, 3)
    assert both.dead_letters == 6
    assert both.failed[CLASSES.index("5xx")] == 2
    assert added(AT, []) == Rollup(AT, 0, (0,) * len(CLASSES), (0,) * LATENCY_PLACES, 0, 0)


def test_steps_begin_at_whole_multiples():
    """A time belongs to the step that began last, and each longer step begins with a shorter one."""
    starts = [began_at(AT, one.step_s) for one in RESOLUTIONS]

    assert [AT - start < one.step_s * SECOND for start, one in zip(starts, RESOLUTIONS, strict=True)] == [
        True
    ] * 3
    assert starts == sorted(starts, reverse=True)
    assert [began_at(start, one.step_s) for start, one in zip(starts, RESOLUTIONS, strict=True)] == starts
