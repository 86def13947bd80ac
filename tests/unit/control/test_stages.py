"""Promises of the ladder of a test: which stage failed, and what its times may tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.control.stages import (
    FAULT_LATENCY_STEP_MS,
    Ended,
    StageResult,
    names_of,
    stages_of,
)
from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.pipeline.token_answer import NoToken
from support.clock import SteadyClock

ALL = names_of(has_token=True, has_tls=True)
FAILED = Failure(FailureScope.DESTINATION, "no")
TAKEN = Accepted(202)
STEPS = [Stage.TOKEN, Stage.RESOLVE, Stage.GUARD, Stage.CONNECT, Stage.TLS, Stage.SEND, Stage.ANSWER]


def made_trace(passed=STEPS, us: int = 1234) -> Trace:
    """Return the trace of an attempt that took so many microseconds for each stage."""
    clock = SteadyClock()
    trace = Trace(clock.steady)
    for one in passed:
        clock.at += us
        trace.mark(one)
    return trace


def faulty(kind: FaultKind) -> Ended:
    """Return how a test ends with a fault."""
    return Ended(Fault(kind, "no", 1), FAILED, "no", 512, None)


def failed_at(trace: Trace, ended: Ended) -> Stage:
    """Return the stage that failed; exactly one has, those before it are passed, those after it were not reached."""
    found = stages_of(ALL, trace, ended)
    (place,) = [at for at, one in enumerate(found) if one.ok is False]
    assert [one.name for one in found] == list(ALL)
    assert all(one.ok for one in found[:place])
    assert all(one == StageResult(one.name, None) for one in found[place + 1 :])
    return found[place].name


def test_a_success_passes_all_stages_with_their_times():
    """Each stage has its own time, to a tenth of a millisecond."""
    found = stages_of(ALL, made_trace(), Ended(Response(202, b"", 1), TAKEN, None, 512, None))

    assert [(one.ok, one.ms) for one in found] == [(True, 1.2)] * 7
    assert [one.detail for one in found[-2:]] == ["512 bytes", "answered 202"]


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        (FaultKind.DNS, Stage.RESOLVE),
        (FaultKind.FORBIDDEN, Stage.GUARD),
        (FaultKind.CONNECT, Stage.CONNECT),
        (FaultKind.TLS, Stage.TLS),
    ],
)
@pytest.mark.parametrize("passed", range(len(STEPS)))
def test_some_faults_belong_to_one_stage(kind, stage, passed):
    """However far the attempt came, such as on another address of the name."""
    assert failed_at(made_trace(STEPS[:passed]), faulty(kind)) is stage


@pytest.mark.parametrize("kind", [FaultKind.TIMEOUT, FaultKind.CLOSED, FaultKind.LIMIT])
@pytest.mark.parametrize("passed", range(len(STEPS) - 1))
def test_other_faults_belong_to_the_first_stage_that_was_not_passed(kind, passed):
    """A timeout tells how far the attempt came."""
    assert failed_at(made_trace(STEPS[:passed]), faulty(kind)) is STEPS[passed]


def test_a_request_that_nobody_reads_fails_at_send():
    """It was written, but the other side has not read it."""
    trace = made_trace(STEPS[:-1])
    trace.unread = True

    assert failed_at(trace, faulty(FaultKind.TIMEOUT)) is Stage.SEND


def test_what_is_not_http_fails_at_the_answer():
    """A request that cannot be written fails before anything is connected."""
    assert failed_at(made_trace(STEPS[:-1]), faulty(FaultKind.PROTOCOL)) is Stage.ANSWER
    assert failed_at(made_trace(()), faulty(FaultKind.PROTOCOL)) is Stage.SEND


def test_without_a_token_nothing_else_is_reached():
    """Whatever the token endpoint's fault is called."""
    for kind in FaultKind:
        ended = Ended(NoToken(kind, "no", 1, FAILED), FAILED, "no", 512, None)
        assert failed_at(made_trace(()), ended) is Stage.TOKEN


def test_a_rejected_answer_fails_at_the_answer():
    """It has a time, and so have all stages before it."""
    found = stages_of(ALL, made_trace(), Ended(Response(401, b"", 1), FAILED, "no", 512, None))

    assert found[-1] == StageResult(Stage.ANSWER, False, 1.2, "no")
    assert [one.ms for one in found] == [1.2] * 7


def test_an_event_that_cannot_be_written_fails_at_send_alone():
    """No connection was tried, so nothing is said of one."""
    found = stages_of(ALL, made_trace(()), Ended(None, FAILED, "no", 0, None))

    assert [one.name for one in found if one.ok is False] == [Stage.SEND]
    assert all(one.ok is None for one in found if one.name is not Stage.SEND)


@given(passed=st.integers(0, 7), us=st.integers(0, 10_000_000), kind=st.sampled_from(FaultKind))
def test_times_without_an_answer_are_told_in_steps(passed, us, kind):
    """No time of a test that nothing answered is finer than a step; of a forbidden address there is none."""
    found = stages_of(ALL, made_trace(STEPS[:passed], us), faulty(kind))

    times = [one.ms for one in found if one.ms is not None]
    assert all(one % FAULT_LATENCY_STEP_MS == 0 for one in times)
    if kind is FaultKind.FORBIDDEN:
        assert found == stages_of(ALL, made_trace(()), faulty(kind))


def test_a_stage_counts_once():
    """A second address that connects does not change when the first one did; another token begins anew."""
    clock = SteadyClock()
    trace = Trace(clock.steady)
    trace.mark(Stage.CONNECT)
    clock.at += 5
    trace.mark(Stage.CONNECT)
    first = dict(trace.passed)
    trace.restart(Stage.TOKEN)

    assert first == {Stage.CONNECT: clock.at - 5}
    assert trace.passed == {Stage.TOKEN: clock.at}
