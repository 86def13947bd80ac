"""What is done up to where, what was found out, and when it is stored: promises of pipeline/settle.py."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Dead, Delivered, Failure, FailureScope, Retry
from aegis_stream.domain.delivery import AttemptRun, DeadRow, Lease, RetryRow, Settlement
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo
from aegis_stream.domain.rollup import rollup
from aegis_stream.pipeline.settle import (
    FEW_EVENTS,
    RUN_LENGTH_MAX,
    Findings,
    Watermark,
    merge_runs,
)

NOW = Micros(1_000_000)
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)


# ── the watermark ──


@st.composite
def stretches(draw):
    """Draw a start, and the log after it cut into stretches, in any order of completion."""
    start = draw(st.integers(0, 2**40))
    lengths = draw(st.lists(st.integers(1, 5), max_size=40))
    pieces, first = [], start + 1
    for length in lengths:
        pieces.append((first, first + length - 1))
        first += length
    return start, draw(st.permutations(pieces))


@given(stretches())
def test_the_watermark_is_what_a_set_would_say(drawn):
    """In whatever order stretches are done, the watermark is the end of the unbroken beginning, at every moment."""
    start, order = drawn
    watermark, done = Watermark(start), set()

    for first, last in order:
        watermark.complete(first, last)
        done |= set(range(first, last + 1))
        expected = start
        while expected + 1 in done:
            expected += 1
        assert watermark.value == expected

    assert watermark._above == {}, "nothing is remembered once the gap is closed"


# ── runs ──


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from([200, 202, None])), max_size=30),
    st.randoms(use_true_random=False),
)
def test_runs_say_what_their_pieces_said(drawn, chance):
    """Merged or not, in whatever order: every sequence has one status, the one it had, and neighbours alike are one run."""
    pieces, first = [], 1
    for length, gap, status in drawn:
        first += gap
        pieces.append((first, first + length - 1, status, 100))
        first += length
    expected = {sequence: status for a, b, status, _ in pieces for sequence in range(a, b + 1)}
    chance.shuffle(pieces)

    runs = list(merge_runs(pieces))

    assert {sequence: status for a, b, status, _ in runs for sequence in range(a, b + 1)} == expected
    assert sum(b - a + 1 for a, b, *_ in runs) == len(expected)
    for (_, last, status, _), (following, _, status_then, _) in pairwise(runs):
        assert following > last + 1 or status_then != status


def test_no_run_becomes_longer_than_a_search_can_look():
    """However many neighbours succeed alike, a run stops at its longest, and the next one goes on."""
    runs = list(merge_runs([(n, n, 202, 5) for n in range(1, 2 * RUN_LENGTH_MAX + 11)]))

    assert runs[0] == (1, RUN_LENGTH_MAX, 202, 5)
    assert [last - first + 1 for first, last, *_ in runs] == [RUN_LENGTH_MAX, RUN_LENGTH_MAX, 10]


# ── findings ──


def written(findings: Findings) -> Settlement:
    """Return the settlement that these findings make."""
    settlement = Settlement(Lease(DestinationNo(1), 1), OrganizationNo(1), 0, Health())
    findings.write(settlement, NOW, 12)
    return settlement


def test_nothing_found_writes_nothing():
    """Findings without an attempt leave the settlement empty."""
    settlement = written(Findings())

    assert (settlement.runs, settlement.retries, settlement.dead, settlement.resolved) == ([], [], [], [])
    assert (settlement.delivered, settlement.failed_attempts) == (0, 0)
    assert settlement.rollup is None


def test_neighbouring_successes_are_one_run():
    """First attempts that succeeded alike are one row with their mean latency."""
    findings = Findings()
    findings.note_delivered(3, 4, 202, 300)
    findings.note_delivered(1, 2, 202, 100)

    settlement = written(findings)

    assert settlement.runs == [AttemptRun(1, 4, 1, "delivered", 202, None, 200, NOW)]
    assert settlement.delivered == 4


def test_the_rollup_counts_what_the_settlement_counts():
    """Events delivered, failed attempts by class, each request's own latency although runs are merged, and what waits."""
    findings = Findings()
    findings.note_delivered(1, 100, 202, 1_500)
    findings.note_delivered(101, 200, 202, 70_000)
    findings.note(201, 2, Delivered(204), 3_000, NOW)
    findings.note(202, 2, Retry(Micros(NOW + 5), DOWN), 20, NOW)
    findings.note(203, 3, Dead(replace(DOWN, status_code=None)), 30, NOW)
    findings.note_refused(204, 1, replace(DOWN, status_code=429), 30, NOW)

    settlement = written(findings)

    assert settlement.rollup == rollup(NOW, 201, [DOWN.status_code, None, 429], [1_500, 70_000, 3_000], 12, 1)
    assert settlement.rollup.delivered == settlement.delivered
    assert settlement.rollup.failures == settlement.failed_attempts == 3


def test_outcomes_become_rows():
    """A retry that succeeded leaves its row, one that failed gets a new time, one that is dead becomes a dead letter."""
    findings = Findings()
    findings.note(1, 2, Delivered(204), 10, NOW)
    findings.note(2, 2, Retry(Micros(NOW + 5), DOWN), 20, NOW)
    findings.note(3, 3, Dead(DOWN), 30, NOW)

    settlement = written(findings)

    assert settlement.resolved == [1]
    assert settlement.retries == [RetryRow(2, 2, Micros(NOW + 5), DOWN)]
    assert settlement.dead == [DeadRow(3, 3, NOW, DOWN)]
    assert settlement.runs == [
        AttemptRun(1, 1, 2, "delivered", 204, None, 10, NOW),
        AttemptRun(2, 2, 2, "failed", 500, "answered 500", 20, NOW),
        AttemptRun(3, 3, 3, "failed", 500, "answered 500", 30, NOW),
    ]
    assert (settlement.delivered, settlement.failed_attempts) == (1, 2)


def test_runs_have_whole_mean_latencies_and_every_event_counts():
    """Each run has the mean latency of its own attempts in whole microseconds; deliveries of all runs are added up."""
    findings = Findings()
    for first, status_code, latency_us in [
        (1, 202, 100),
        (2, 202, 101),
        (3, 200, 7),
        (4, 200, 8),
        (9, 200, 5),
    ]:
        findings.note_delivered(first, first, status_code, latency_us)

    settlement = written(findings)

    latencies = [run.latency_us for run in settlement.runs]
    assert latencies == [100, 7, 5]
    assert all(isinstance(one, int) for one in latencies)
    assert settlement.delivered == 5


def test_latencies_are_those_of_attempts_that_succeeded():
    """First attempts and retries that succeeded have their latency counted; a failure has none."""
    findings = Findings()
    findings.note_delivered(1, 1, 202, 11)
    findings.note(2, 2, Delivered(202), 22, NOW)
    findings.note(3, 3, Dead(DOWN), 33, NOW)

    assert findings.latencies_us() == [11, 22]


@pytest.mark.parametrize("outcome", [Delivered(202), Dead(DOWN)])
def test_an_outcome_replaces_what_was_parked(outcome):
    """An attempt that was parked in retries and then came to an end leaves no retry behind."""
    findings = Findings()
    findings.retries[7] = RetryRow(7, 1, Micros(NOW + 99), None)

    findings.note(7, 1, outcome, 10, NOW)

    assert written(findings).retries == []


@pytest.mark.parametrize("parked", [False, True])
def test_a_refused_event_is_recorded_and_leaves_the_retries(parked):
    """An event that failed for good and becomes no dead letter has its attempt, counts as failed, and is no retry any more."""
    findings = Findings()
    if parked:
        findings.retries[7] = RetryRow(7, 1, Micros(NOW + 99), None)

    findings.note_refused(7, 2, DOWN, 10, NOW)

    settlement = written(findings)
    assert settlement.runs == [AttemptRun(7, 7, 2, "failed", 500, "answered 500", 10, NOW)]
    assert (settlement.resolved, settlement.retries, settlement.dead) == ([7], [], [])
    assert (settlement.delivered, settlement.failed_attempts) == (0, 1)


@pytest.mark.parametrize(
    ("found", "few"),
    [
        (lambda findings: findings.note_delivered(1, FEW_EVENTS, 202, 1), True),
        (lambda findings: findings.note_delivered(1, FEW_EVENTS + 1, 202, 1), False),
        (lambda findings: [findings.note_delivered(n, n, 202, 1) for n in range(FEW_EVENTS + 1)], False),
        (lambda findings: findings.note(1, 1, Retry(NOW, DOWN), 1, NOW), False),
        (lambda findings: findings.note(1, 3, Dead(DOWN), 1, NOW), False),
        (lambda findings: findings.note(1, 2, Delivered(202), 1, NOW), False),
    ],
)
def test_few_are_at_most_so_many_events_that_succeeded_at_once(found, few):
    """Events are counted, not requests; a retry, a dead letter or an event that leaves the retries is not put off."""
    findings = Findings()
    found(findings)

    assert findings.are_few == few
