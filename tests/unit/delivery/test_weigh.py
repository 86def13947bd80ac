"""What an attempt came to: promises of delivery/weigh.py, for every request and everything that can be said about it."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.delivery.weigh import OTHERS_S, STATUS_FAILED_INSIDE, STATUS_TOO_LARGE, may_be_one_of, weigh
from aegis_stream.delivery.work import Work
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
from aegis_stream.domain.ids import Micros

NOW = Micros(1_780_000_000_000_000)
POLICY = RetryPolicy()


@dataclass
class FakeSource:
    """Where work comes from; nothing is asked of it."""


SOURCE = FakeSource()
ACCEPTED = st.builds(
    Accepted, st.just(200), overload=st.booleans(), warning=st.none() | st.sampled_from(["look", "there"])
)
FAILURES = st.builds(
    Failure,
    st.sampled_from(FailureScope),
    st.sampled_from(["a", "b"]),
    status_code=st.none() | st.sampled_from([400, STATUS_TOO_LARGE, STATUS_FAILED_INSIDE, 503]),
    permanent=st.booleans(),
)
UNJUDGED = Failure(FailureScope.DESTINATION, "not looked at", unjudged=True)


@st.composite
def works(draw) -> Work:
    """Draw a request: events in order, perhaps with filtered ones between them."""
    gaps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=9))
    first = draw(st.integers(1, 1000))
    sequences = [first + sum(gaps[:at]) for at in range(len(gaps))]
    last = sequences[-1] + draw(st.integers(0, 3))
    bodies = [b"%d" % one for one in sequences]
    return Work(SOURCE, first, last, sequences, bodies, draw(st.integers(1, POLICY.max_attempts)))


@st.composite
def answered(draw) -> tuple[Work, object]:
    """Draw a request and what was said about it: one verdict for all, or one for each with an unjudged end."""
    work = draw(works())
    count = len(work.sequences)
    if draw(st.booleans()):
        return work, draw(ACCEPTED | FAILURES)
    judged = draw(st.integers(0, count))
    each = draw(st.lists(ACCEPTED | FAILURES, min_size=judged, max_size=judged))
    return work, [*each, *[UNJUDGED] * (count - judged)]


def weighed(work, verdicts, chance=0.5):
    """Weigh with the usual policy."""
    return weigh(work, verdicts, POLICY, chance=chance, now=NOW)


def parts(found) -> list[Work]:
    """Return what is done and what is left, in order."""
    return [one for one in (found.done, *found.rest) if one is not None]


@given(answered())
def test_every_event_is_done_or_left_over_once(case):
    """No event is lost or doubled, their order is kept, and the stretches of the log join without gaps."""
    work, verdicts = case

    found = parts(weighed(work, verdicts))

    assert [one for part in found for one in part.sequences] == list(work.sequences)
    assert [one for part in found for one in part.bodies] == work.bodies
    assert (found[0].first, found[-1].last) == (work.first, work.last)
    assert all(one.last + 1 == following.first for one, following in pairwise(found))


@given(answered())
def test_sending_again_ends(case):
    """What is left over is smaller than what was sent, and no attempt is counted for it."""
    work, verdicts = case

    rest = weighed(work, verdicts).rest

    assert all(0 < len(one.sequences) < len(work.sequences) for one in rest)
    assert all(one.attempt == work.attempt for one in rest)


@given(answered(), st.floats(0, 1, exclude_max=True))
def test_each_outcome_is_what_its_verdict_decides(case, chance):
    """The outcome of an event depends on its own verdict alone; events of one request share the chance."""
    work, verdicts = case

    found = weighed(work, verdicts, chance)

    each = verdicts if isinstance(verdicts, list) else [verdicts] * len(work.sequences)
    done = len(found.done.sequences) if found.done is not None else 0
    assert found.outcomes == [
        decide(one, work.attempt, POLICY, chance=chance, now=NOW) for one in each[:done]
    ]


@given(works(), FAILURES)
def test_an_event_that_is_alone_always_has_an_outcome(work, failure):
    """A request of one event is never left over: it is tried again by its schedule, or dead."""
    alone, *_ = work.split(1) if len(work.sequences) > 1 else (work,)

    found = weighed(alone, failure)

    assert (len(found.outcomes), found.rest) == (1, ())


@given(works(), FAILURES)
def test_a_batch_is_halved_when_one_event_may_be_to_blame(work, failure):
    """Failures about an event halve a batch; a 500 does so only when it would be the end of all; nothing else does."""
    found = weighed(work, failure)

    one = failure.scope is FailureScope.EVENT
    last = work.attempt == POLICY.max_attempts and not failure.permanent
    halved = len(work.sequences) > 1 and (one or (failure.status_code == STATUS_FAILED_INSIDE and last))
    assert (found.done is None, len(found.rest)) == ((True, 2) if halved else (False, 0))
    assert found.lessons.too_large == (halved and failure.status_code == STATUS_TOO_LARGE)


@given(answered())
def test_lessons_tell_the_destinations_failures_from_the_events(case):
    """A destination failed when a failure is about it, and succeeded when it accepted an event and did not fail."""
    work, verdicts = case

    lessons = weighed(work, verdicts).lessons

    each = verdicts if isinstance(verdicts, list) else [verdicts] * len(work.sequences)
    failures = [one for one in each if isinstance(one, Failure) and not one.unjudged]
    about_it = [one for one in failures if one.scope is FailureScope.DESTINATION]
    accepted = [one for one in each if isinstance(one, Accepted)]
    assert lessons.failure == (about_it[0] if about_it else None)
    assert lessons.succeeded == (bool(accepted) and not about_it)
    assert lessons.overload == any(one.overload for one in accepted)
    assert set(lessons.warnings) == {one.warning for one in accepted if one.warning}
    assert (lessons.shown is None) == (not failures)
    if lessons.shown is not None:
        sequence, shown = lessons.shown
        assert shown == (about_it or failures)[0]
        assert each[list(work.sequences).index(sequence)] == shown


def test_an_answer_that_judged_no_event_is_a_failed_attempt_of_all():
    """Where every event is unjudged none is left over, or the same request would be sent for ever."""
    work = Work(SOURCE, 1, 2, [1, 2], [b"1", b"2"], POLICY.max_attempts)

    found = weighed(work, [UNJUDGED, replace(UNJUDGED)])

    assert found.rest == ()
    assert all(isinstance(one, Dead) for one in found.outcomes)


@pytest.mark.parametrize(
    ("attempt", "permanent", "halved"),
    [
        (POLICY.max_attempts - 1, False, False),
        (POLICY.max_attempts, False, True),
        (POLICY.max_attempts, True, False),
    ],
)
def test_a_500_halves_a_batch_on_its_last_attempt_only(attempt, permanent, halved):
    """Before its last attempt a batch is retried whole, and a failure that is permanent is about all of it."""
    work = Work(SOURCE, 1, 2, [1, 2], [b"1", b"2"], attempt)
    failure = Failure(FailureScope.DESTINATION, "broken", STATUS_FAILED_INSIDE, permanent=permanent)

    assert (len(weighed(work, failure).rest) == 2) is halved


@pytest.mark.parametrize("status", [STATUS_TOO_LARGE, 400])
def test_a_halved_batch_has_no_outcome_and_says_whether_it_was_too_large(status):
    """Smaller requests follow where the size was wrong, and only there."""
    work = Work(SOURCE, 1, 2, [1, 2], [b"1", b"2"], 1)

    found = weighed(work, Failure(FailureScope.EVENT, "no", status))

    assert (found.done, found.outcomes, len(found.rest)) == (None, [], 2)
    assert found.lessons.too_large is (status == STATUS_TOO_LARGE)


def test_a_destination_that_names_a_time_is_asked_again_then():
    """A wait until a time counts from now, for the retry and for what slows the destination down."""
    busy = Failure(FailureScope.DESTINATION, "busy", 429, retry_at=Micros(NOW + 600_000_000))

    found = weighed(Work(SOURCE, 1, 1, [1], [b"1"], 1), busy)

    waiting = replace(busy, retry_at=None, retry_after_s=600.0)
    assert found.outcomes == [Retry(Micros(NOW + 600_000_000), waiting)]
    assert found.lessons.failure == waiting


@pytest.mark.parametrize(
    ("attempt", "retried", "since_s"),
    [
        pytest.param(1, False, None, id="first attempt of new events"),
        pytest.param(1, True, OTHERS_S, id="first attempt of redriven events"),
        pytest.param(2, False, None, id="an attempt is left"),
        pytest.param(2, True, None, id="an attempt is left for retries"),
        pytest.param(3, True, 180.0, id="last attempt"),
        pytest.param(3, False, 180.0, id="last attempt of new events"),
    ],
)
def test_one_event_may_be_to_blame_where_others_were_accepted_since(attempt, retried, since_s):
    """An answer counts up to the longest wait before this attempt; while attempts are left, no single event is suspected."""
    policy = RetryPolicy(max_attempts=3, base_seconds=60, multiplier=2, jitter=0.5)
    work = Work(SOURCE, 1, 2, [1, 2], [b"1", b"2"], attempt, began_s=1000.0)

    def is_suspect(answered_at_s: float) -> bool:
        return may_be_one_of(work, policy, answered_at_s, retried=retried)

    if since_s is None:
        assert not is_suspect(1000.0)
    else:
        assert is_suspect(1000.0 - since_s)
        assert not is_suspect(1000.0 - since_s - 0.1)


def test_one_judged_event_is_done_and_the_others_are_left_over():
    """Where only the first event was judged it has its outcome, and all others are sent again."""
    work = Work(SOURCE, 1, 3, [1, 2, 3], [b"1", b"2", b"3"], 1)

    found = weighed(work, [Accepted(200), UNJUDGED, UNJUDGED])

    assert found.outcomes == [Delivered(200)]
    assert [list(one.sequences) for one in found.rest] == [[2, 3]]


@pytest.mark.parametrize("sent_before", ["by the source", "by the sender"])
def test_a_conflict_is_a_delivery_of_an_event_that_was_sent_before(sent_before):
    """A conflict halves a batch; the events alone are delivered with a warning if the destination may have stored them."""
    conflict = Failure(FailureScope.EVENT, "there", 409, permanent=True, conflict=True)
    work = Work(SOURCE, 1, 2, [1, 2], [b"1", b"2"], 1, may_be_stored=sent_before == "by the source")

    halves = weighed(work, replace(conflict, repeated=sent_before == "by the sender")).rest
    found = [weighed(one, conflict) for one in halves]

    assert [list(one.sequences) for one in halves] == [[1], [2]]
    assert [one.outcomes for one in found] == [[Delivered(409)]] * 2
    assert all("409" in one.lessons.warnings[0] for one in found)


def test_a_conflict_of_an_event_that_was_not_sent_before_is_final():
    """An event that conflicts when it is sent first is dead at once."""
    conflict = Failure(FailureScope.EVENT, "there", 409, permanent=True, conflict=True)

    found = weighed(Work(SOURCE, 1, 1, [1], [b"1"], 1), conflict)

    assert found.outcomes == [Dead(conflict)]
