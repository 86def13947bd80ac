"""Promises of `decide` and RetryPolicy: when an event is retried, and when it is dead-lettered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import (
    Accepted,
    Dead,
    Delivered,
    Failure,
    FailureScope,
    Retry,
    RetryPolicy,
    decide,
)
from support.api import SECOND, START

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20),
    base_seconds=st.floats(0.001, 86_400),
    multiplier=st.floats(1, 10),
    max_seconds=st.floats(86_400, 604_800),
    jitter=st.floats(0, 1),
)
CHANCES = st.floats(0, 1, exclude_max=True)
FAILURES = st.builds(
    Failure,
    scope=st.sampled_from(FailureScope),
    message=st.just("no"),
    status_code=st.none() | st.integers(0, 999),
    retry_after_s=st.none() | st.floats(0, 3600),
)


def make_failure(**changes) -> Failure:
    """Build a failure about the destination."""
    return Failure(
        **{"scope": FailureScope.DESTINATION, "message": "answered 503", "status_code": 503} | changes
    )


def test_what_was_accepted_is_delivered():
    """An accepted event is delivered, at any attempt, with the answer's status."""
    for attempt in (1, 3, 99):
        assert decide(Accepted(204), attempt, RetryPolicy(), now=START, chance=0.5) == Delivered(204)


@pytest.mark.parametrize(
    "attempt, chance, seconds",
    [(1, 0.5, 60), (2, 0.5, 120), (1, 0.0, 54), (1, 0.9999999, 66), (2, 0.0, 108)],
)
def test_the_default_schedule(attempt, chance, seconds):
    """With the defaults the second attempt comes after 60 s and the third after 120 s more, each ± 10 %."""
    outcome = decide(make_failure(), attempt, RetryPolicy(), now=START, chance=chance)

    assert isinstance(outcome, Retry)
    assert outcome.at - START == pytest.approx(seconds * SECOND, abs=10)


def test_the_third_attempt_is_the_last():
    """With the defaults an event is dead after its third failure, with the reason."""
    failure = make_failure(scope=FailureScope.EVENT)

    assert decide(failure, 3, RetryPolicy(), now=START, chance=0.5) == Dead(failure)
    assert decide(failure, 4, RetryPolicy(), now=START, chance=0.5) == Dead(failure)
    assert decide(failure, 1, RetryPolicy(max_attempts=1), now=START, chance=0.5) == Dead(failure)


@pytest.mark.parametrize("retry_after_s, seconds", [(None, 60), (5.0, 60), (61.0, 61), (3600.0, 3600)])
def test_retry_after_only_lengthens(retry_after_s, seconds):
    """A destination that asks for more time gets it; one that asks for less is not asked earlier than planned."""
    outcome = decide(make_failure(retry_after_s=retry_after_s), 1, RetryPolicy(), now=START, chance=0.5)

    assert outcome.at == START + seconds * SECOND


def test_retry_after_does_not_add_an_attempt():
    """At the last attempt a Retry-After changes nothing."""
    failure = make_failure(retry_after_s=5.0)

    assert decide(failure, 3, RetryPolicy(), now=START, chance=0.5) == Dead(failure)


def test_an_event_that_would_be_rejected_again_is_dead_at_once():
    """A permanent failure leaves no attempt, however many the policy allows."""
    failure = make_failure(permanent=True)

    assert decide(failure, 1, RetryPolicy(max_attempts=20), now=START, chance=0.5) == Dead(failure)


def test_a_retry_is_later_than_now():
    """Where jitter takes the whole delay away the next attempt is due a microsecond later."""
    outcome = decide(make_failure(), 1, RetryPolicy(jitter=1), now=START, chance=0.0)

    assert outcome.at == START + 1


@pytest.mark.parametrize(
    ("after_s", "asked_s", "waits_s"),
    [
        pytest.param(90.5, None, 90.5, id="a time to come"),
        pytest.param(-90, None, 0, id="a time that is over"),
        pytest.param(86_400, None, 3600, id="a day is an hour"),
        pytest.param(90, 30.0, 90, id="later than the seconds it names"),
        pytest.param(90, 120.0, 120, id="earlier than the seconds it names"),
    ],
)
def test_a_wait_until_a_time_becomes_seconds(after_s, asked_s, waits_s):
    """A destination that names a time is waited for from now until then, at most an hour; the longer of two waits counts."""
    failure = make_failure(retry_at=START + int(after_s * SECOND), retry_after_s=asked_s, overload=True)

    assert failure.waiting_from(START) == make_failure(retry_after_s=waits_s, overload=True)


def test_a_failure_without_a_time_stays_as_it_is():
    """Only a time is counted from now: seconds stay, and so does no wait at all."""
    for failure in (make_failure(retry_after_s=30.0), make_failure()):
        assert failure.waiting_from(START) == failure


def test_the_delay_stops_growing():
    """The delay grows by the multiplier up to max_seconds, and stays there for any number of attempts."""
    policy = RetryPolicy(max_attempts=20, base_seconds=1, multiplier=10.0, max_seconds=500, jitter=0)

    delays = [policy.delay_seconds(attempt, 0.5) for attempt in (1, 2, 3, 4, 64, 65, 10_000)]

    assert delays == [1, 10, 100, 500, 500, 500, 500]


def test_without_jitter_chance_changes_nothing():
    """A jitter of 0 makes the schedule exact."""
    policy = RetryPolicy(jitter=0)

    assert policy.delay_seconds(1, 0.0) == policy.delay_seconds(1, 0.999) == 60


@settings(deadline=None)
@given(
    failure=FAILURES, attempt=st.integers(1, 100), policy=POLICIES, now=st.integers(0, 2**52), chance=CHANCES
)
def test_decide_is_bounded(failure, attempt, policy, now, chance):
    """Every failure is either retried, later than now and within the longest delay or Retry-After, or dead."""
    outcome = decide(failure, attempt, policy, now=now, chance=chance)

    if attempt >= policy.max_attempts:
        assert outcome == Dead(failure)
    else:
        assert isinstance(outcome, Retry)
        assert outcome.failure is failure
        longest = max(policy.max_seconds * (1 + policy.jitter), failure.retry_after_s or 0)
        assert now < outcome.at <= now + longest * SECOND + 1
        assert outcome.at >= now + int((failure.retry_after_s or 0) * SECOND)


@settings(deadline=None)
@given(policy=POLICIES, attempt=st.integers(1, 1000), chance=CHANCES)
def test_jitter_is_bounded(policy, attempt, chance):
    """Jitter lengthens or shortens the delay by at most its share, and never below zero."""
    delay = policy.delay_seconds(attempt, chance)
    middle = policy.delay_seconds(attempt, 0.5)

    assert 0 <= delay <= policy.max_seconds * 2
    assert abs(delay - middle) <= (policy.jitter + 1e-9) * middle


@settings(deadline=None)
@given(policy=POLICIES, attempt=st.integers(1, 100))
def test_the_delay_never_shrinks_from_attempt_to_attempt(policy, attempt):
    """Without jitter each delay is at least as long as the one before."""
    assert policy.delay_seconds(attempt, 0.5) <= policy.delay_seconds(attempt + 1, 0.5)
