"""Promises of `domain.histogram`: steps that people read, buckets without holes, estimates that add up."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.histogram import BUCKETS_MAX, bar, edges, shortest_step_s, usual_step_s

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("span_s", "step_s"),
    [(0, 1), (60, 1), (3600, 60), (86_400, 3600), (7 * 86_400, 10_800), (90 * 86_400, 604_800)],
)
def test_the_usual_step_is_one_that_people_read(span_s, step_s):
    """An hour has minutes, a day has hours."""
    assert usual_step_s(0, span_s * SECOND) == step_s


@given(st.integers(0, 10**16), st.integers(0, 10**15), st.none() | st.integers(1, 10**7))
def test_buckets_cover_the_span(since, length, wanted_s):
    """Buckets are neighbours, begin at or before the span and end after it, and are never too many."""
    until = since + length
    step_s = max(wanted_s, shortest_step_s(since, until)) if wanted_s else usual_step_s(since, until)
    starts = edges(since, until, step_s)

    assert starts[0] <= since < starts[1]
    assert starts[-2] <= until < starts[-1]
    assert all(later - earlier == step_s * SECOND for earlier, later in itertools.pairwise(starts))
    assert len(starts) - 1 <= BUCKETS_MAX + 1


def test_a_bucket_that_was_sampled_estimates_its_kinds():
    """Kinds have the share of the sample; the number of events is exact."""
    found = bar(0, 1000, [("app", None)] * 3 + [("aegis.preflight", "BLOCKED")])

    assert (found.events, found.sampled) == (1000, 4)
    assert found.groups == [("app", None, 750), ("aegis.preflight", "BLOCKED", 250)]


def test_an_empty_bucket_has_no_kinds():
    """Nothing was recorded, so nothing is estimated."""
    assert bar(0, 0, []) == (0, 0, 0, [])
