"""Promises of rate limits: how many pass, when the next one passes, and how they behave when clocks jump or tables are full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.rate import Buckets, Rate

NOW = 1_780_000_000_000_000
SECOND = 1_000_000


@pytest.mark.parametrize("count, per_s", [(1, 1), (3, 1), (7, 60), (300, 60), (50_000, 1), (2, 0.5)])
def test_a_full_bucket_holds_its_count(count, per_s):
    """Exactly as many as the rate allows pass at once."""
    buckets = Buckets(Rate(count, per_s))

    passed = [buckets.take("key", NOW) == 0 for _ in range(count + 3)]

    assert passed == [True] * count + [False] * 3


def test_the_wait_is_the_time_until_the_next_one():
    """A rejected call gets the time to wait: a moment earlier it is rejected again, then it passes."""
    buckets = Buckets(Rate(4, 2))
    for _ in range(4):
        buckets.take("key", NOW)

    wait = buckets.take("key", NOW)

    assert wait == pytest.approx(0.5 * SECOND, abs=1)
    assert buckets.take("key", NOW + int(wait) - 10) == pytest.approx(10, abs=2)
    assert buckets.take("key", NOW + int(wait) + 1) == 0
    assert buckets.take("key", NOW + int(wait) + 1) > 0


def test_looking_takes_nothing():
    """Asking for the wait does not change a bucket."""
    buckets = Buckets(Rate(2))

    before = [buckets.wait("key", NOW) for _ in range(5)]
    buckets.take("key", NOW)
    half = [buckets.wait("key", NOW) for _ in range(5)]
    buckets.take("key", NOW)
    after = [buckets.wait("key", NOW) for _ in range(5)]

    assert (before, half) == ([0] * 5, [0] * 5)
    assert after == [pytest.approx(SECOND / 2, abs=1)] * 5


def test_buckets_are_apart():
    """Keys do not share buckets."""
    buckets = Buckets(Rate(1))

    assert [buckets.take(key, NOW) == 0 for key in ("one", "other", "one")] == [True, True, False]


def test_a_bucket_fills_up_and_not_beyond():
    """After a long pause a bucket is full, and not more than full."""
    buckets = Buckets(Rate(3))
    for _ in range(3):
        buckets.take("key", NOW)

    passed = [buckets.take("key", NOW + 3600 * SECOND) == 0 for _ in range(5)]

    assert passed == [True, True, True, False, False]


def test_a_clock_set_back_stops_nobody():
    """If the clock is set back an hour, nobody has to wait that hour."""
    buckets = Buckets(Rate(3))
    for _ in range(3):
        buckets.take("key", NOW)

    assert buckets.wait("key", NOW - 3600 * SECOND) == 0
    assert buckets.take("key", NOW - 3600 * SECOND) == 0


def test_the_table_is_bounded():
    """The number of buckets is limited, and the newest are kept."""
    buckets = Buckets(Rate(1), count_max=3)

    for number in range(100):
        assert buckets.take(number, NOW) == 0
        assert len(buckets) <= 3

    assert buckets.take(99, NOW) > 0


@given(
    count=st.integers(1, 50),
    per_s=st.sampled_from([0.1, 1, 60]),
    steps=st.lists(st.integers(0, 3 * SECOND), max_size=60),
)
def test_never_more_than_the_rate_in_any_span(count, per_s, steps):
    """For any arrivals, at most a full bucket plus the refill of the period pass in any period."""
    buckets, now, passed = Buckets(Rate(count, per_s)), NOW, []
    for step in steps:
        now += step
        if buckets.take("key", now) == 0:
            passed.append(now)

    for first in range(len(passed)):
        for last in range(first, len(passed)):
            flowed = (passed[last] - passed[first] + 2 * (last - first + 1)) * count / (per_s * SECOND)
            assert last - first + 1 <= count + flowed + 1e-6


@pytest.mark.parametrize("count, parts", [(100, 1), (100, 3), (100, 100), (2, 3), (1, 40)])
def test_processes_that_share_a_rate_keep_to_it_together(count, parts):
    """In the long run all processes together let as many pass as the rate says, also where that is less than one for each."""
    tables = [Buckets(Rate(count, 60)) for _ in range(parts)]
    for one in tables:
        one.share(parts)
    span_s = 60 * 100

    passed = [
        sum(one.take("key", NOW + now * SECOND) == 0 for one in tables for _ in range(3))
        for now in range(span_s)
    ]

    at_once = max(count, parts)
    assert 0.97 * count * span_s / 60 <= sum(passed) <= count * span_s / 60 + at_once


def test_a_bucket_that_is_shared_keeps_how_full_it_is():
    """A half full bucket is half full of its part, so a change of the number of processes gives nothing away."""
    buckets = Buckets(Rate(8, 60))
    for _ in range(4):
        buckets.take("key", NOW)

    buckets.share(2)
    of_a_half = [buckets.take("key", NOW) == 0 for _ in range(3)]
    buckets.share(1)
    of_the_whole = [buckets.take("key", NOW + 15 * SECOND) == 0 for _ in range(3)]

    assert of_a_half == [True, True, False]
    assert of_the_whole == [True, True, False]


def test_a_bucket_holds_at_least_one_token():
    """Where more processes share a rate than it has tokens, each gets one, and waits as much longer for the next."""
    buckets = Buckets(Rate(1, 60))
    buckets.share(3)

    assert buckets.take("key", NOW) == 0
    assert buckets.wait("key", NOW) == pytest.approx(180 * SECOND, abs=2)
    assert buckets.take("key", NOW + 179 * SECOND) > 0
    assert buckets.take("key", NOW + 181 * SECOND) == 0
