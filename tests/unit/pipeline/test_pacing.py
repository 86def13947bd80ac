"""How much may be sent, and when: the rules of pipeline/pacing.py, one by one, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.pipeline.pacing import (
    FEW_FAILURES_MAX,
    FEW_MAX,
    OUTAGE_AFTER,
    OVERDUE_MIN_S,
    OVERDUE_UNKNOWN_S,
    PROBE_LONGEST_S,
    RETRY_SHARE,
    WINDOW_START,
    Pacing,
)

MANY = 10**6
RTT_US = 10_000
BROKEN = Failure(FailureScope.DESTINATION, "answered 500", 500)
BUSY = Failure(FailureScope.DESTINATION, "answered 503", 503, overload=True)
LOCKED = Failure(FailureScope.DESTINATION, "answered 401", 401, fix_needed=True)
POISON = Failure(FailureScope.EVENT, "answered 400", 400)


def answer(pacing: Pacing, count: int = 1, *, latency_us: int = RTT_US, now_s: float = 0.0) -> None:
    """Let the destination answer well while the window is in full use."""
    for _ in range(count):
        pacing.succeeded(latency_us, int(pacing.window), now_s)


def in_outage(pacing: Pacing, now_s: float = 0.0) -> Pacing:
    """Let the destination fail until it is an outage."""
    for _ in range(OUTAGE_AFTER):
        pacing.failed(BROKEN, MANY, now_s)
    return pacing


# ── the window ──


@pytest.mark.parametrize(
    ("remembered", "window"), [(0.0, WINDOW_START), (40.0, 40.0), (0.2, 1.0), (999.0, 64.0)]
)
def test_a_window_begins_where_it_was(remembered, window):
    """The window survives a restart, within its bounds; one that was never known begins small."""
    assert Pacing(64, remembered).window == window


def test_the_window_grows_by_one_a_round_trip():
    """While in full use and as quick as ever, a windowful of answers makes room for one more, up to the most."""
    pacing = Pacing(64)

    answer(pacing, 16)
    after_one = pacing.window
    answer(pacing, 64 * 64)

    assert after_one == pytest.approx(17, abs=0.05)
    assert pacing.window == 64


def test_an_idle_window_does_not_grow():
    """What is not used is not enlarged: nothing is known about it."""
    pacing = Pacing(64)

    for _ in range(1000):
        pacing.succeeded(RTT_US, 3, 0.0)

    assert pacing.window == WINDOW_START


def test_answers_slower_than_the_mean_do_not_enlarge():
    """A destination that gets slower is not sent more."""
    pacing = Pacing(64)
    answer(pacing)
    before = pacing.window

    answer(pacing, latency_us=RTT_US + 100)

    assert pacing.window == before


def test_overload_shrinks_once_a_round_trip():
    """429, 503 and timeouts take a tenth of the window; all answers of one congested moment count as one."""
    pacing = Pacing(64, 40.0)
    answer(pacing)
    start = pacing.window

    for _ in range(10):
        pacing.failed(BUSY, 10, 5.0)
    at_once = pacing.window
    pacing.failed(BUSY, 10, 5.0 + 1.1 * RTT_US / 1e6)

    assert at_once == pytest.approx(start * 0.9)
    assert pacing.window == pytest.approx(start * 0.81)


def test_failures_that_are_no_overload_leave_the_window():
    """A refused event says nothing about how much the destination can take, nor does an error of its own."""
    pacing = Pacing(64, 40.0)

    pacing.failed(POISON, 10, 0.0)
    pacing.failed(BROKEN, 10, 0.0)

    assert (pacing.window, pacing.failures_in_row) == (40.0, 1)


def test_a_late_answer_shrinks():
    """An answer far above mean and deviation is a sign of overload before the destination says so."""
    pacing = Pacing(64, 40.0)
    answer(pacing, 50)
    before = pacing.window

    answer(pacing, latency_us=10 * RTT_US, now_s=1.0)

    assert pacing.window == pytest.approx(before * 0.9)


def test_noise_of_the_machine_is_no_lateness():
    """A few milliseconds more than a very steady mean do not count as late."""
    pacing = Pacing(64, 40.0)
    answer(pacing, 500)
    before = pacing.window

    answer(pacing, latency_us=RTT_US + 4_999, now_s=1.0)

    assert pacing.window == before


def test_the_window_never_falls_below_one():
    """However long the overload, one request may be in flight."""
    pacing = Pacing(64)

    for second in range(200):
        pacing.failed(BUSY, 10, float(second))

    assert pacing.window == 1.0
    assert pacing.room(0, 10, 1000.0) == 1


@pytest.mark.parametrize(("window", "share"), [(1, 1), (3, 1), (4, 1), (8, 2), (64, 16)])
def test_retries_get_a_share(window, share):
    """Retries and replays have a quarter of the window, and at least one place."""
    assert Pacing(64, float(window)).share == share == max(1, window // RETRY_SHARE)


# ── outages ──


def test_a_few_failures_are_no_outage():
    """One failure may be chance: the whole window stays open until there are several in a row."""
    pacing = Pacing(64)

    for _ in range(OUTAGE_AFTER - 1):
        pacing.failed(BROKEN, MANY, 0.0)
    before = pacing.room(0, MANY, 0.0)
    pacing.failed(BROKEN, MANY, 0.0)

    assert before == 16
    assert pacing.in_outage
    assert pacing.room(0, MANY, 0.0) == 0


def test_what_a_person_must_fix_is_an_outage_at_once():
    """After a 401 there is no point in trying the others."""
    pacing = Pacing(64)

    pacing.failed(LOCKED, MANY, 0.0)

    assert pacing.in_outage
    assert pacing.room(0, MANY, 0.0) == 0


def test_failures_of_events_are_no_outage():
    """However many events are refused for what they are, the destination is well."""
    pacing = Pacing(64)

    for _ in range(100):
        pacing.failed(POISON, MANY, 0.0)

    assert not pacing.in_outage
    assert pacing.room(0, MANY, 0.0) == 16


def test_probes_come_at_growing_pauses():
    """In an outage one attempt at a time is made after 1, 2, 4 … seconds, and then every half minute."""
    pacing = in_outage(Pacing(64))
    now_s, pauses = 0.0, []

    for _ in range(8):
        at = pacing.resumes_at_s(now_s)
        assert pacing.room(0, MANY, at - 0.001) == 0
        assert pacing.room(0, MANY, at) == 1
        assert pacing.room(1, MANY, at) == 0, "one at a time"
        pauses.append(at - now_s)
        now_s = at
        pacing.failed(BROKEN, MANY, now_s)

    assert pauses == [1, 2, 4, 8, 16, PROBE_LONGEST_S, PROBE_LONGEST_S, PROBE_LONGEST_S]


def test_what_was_in_flight_when_it_began_is_one_probe():
    """A windowful that fails at about one time does not stretch the pause."""
    pacing = Pacing(64)

    for number in range(16):
        pacing.failed(BROKEN, MANY, number * 0.001)

    assert pacing.resumes_at_s(0.1) == pytest.approx(1.0, abs=0.1)


def test_a_few_events_keep_their_schedule():
    """Up to 256 events each get their attempts as promised, whatever the outage."""
    pacing = in_outage(Pacing(64))
    pacing._hold_until_s = 0.0

    assert FEW_MAX == 256
    assert pacing.room(0, FEW_MAX, 1.0) == 16
    assert pacing.room(0, FEW_MAX + 1, 1.0) == 1


def test_a_few_events_are_paced_after_many_failures_in_a_row():
    """A slow stream to a destination that rejects everything becomes single probes as well, after a thousand failures."""
    pacing = Pacing(64)
    for number in range(FEW_FAILURES_MAX):
        pacing.failed(LOCKED, 3, float(number))
    before = pacing.room(0, 3, 2000.0)

    pacing.failed(LOCKED, 3, 2000.0)

    assert before == 16
    assert pacing.room(0, 3, 2000.0) == 0
    assert pacing.room(0, 3, 2001.0) == 1


def test_a_recovery_begins_with_one_and_doubles():
    """After an outage the window opens from one, doubling with every round trip, up to what it was before."""
    pacing = in_outage(Pacing(64, 32.0))

    answer(pacing, now_s=100.0)  # the probe
    windows = [round(pacing.window)]
    for _ in range(5):
        answer(pacing, int(pacing.window), now_s=100.0)
        windows.append(round(pacing.window))

    assert windows == [2, 4, 8, 16, 32, 33]
    assert not pacing.in_outage
    assert pacing.resumes_at_s(100.0) is None


def test_after_a_recovery_the_pauses_are_short_again():
    """The next outage begins with the first pause."""
    pacing = in_outage(Pacing(64))
    for now_s in (1.0, 3.0, 7.0):
        pacing.failed(BROKEN, MANY, now_s)
    answer(pacing, now_s=15.0)

    in_outage(pacing, 20.0)

    assert pacing.resumes_at_s(20.0) == 21.0


def test_retry_after_holds_everything():
    """A destination that asks for a pause gets it, few events or many, and the longest one counts."""
    pacing = Pacing(64)

    pacing.failed(Failure(FailureScope.DESTINATION, "busy", 429, retry_after_s=30, overload=True), 5, 100.0)
    pacing.failed(Failure(FailureScope.DESTINATION, "busy", 429, retry_after_s=10, overload=True), 5, 100.0)

    assert pacing.resumes_at_s(100.0) == 130.0
    assert pacing.room(0, 5, 129.9) == 0
    assert pacing.room(0, 5, 130.0) > 0
    assert pacing.resumes_at_s(130.0) is None


def test_a_new_configuration_begins_anew():
    """Whoever corrects the destination does not wait for the pause to end."""
    pacing = in_outage(Pacing(64))
    pacing.failed(LOCKED, MANY, 1.0)

    pacing.forget_failures()

    assert not pacing.in_outage
    assert pacing.room(0, MANY, 1.0) == int(pacing.window)


@given(
    st.integers(1, 1024),
    st.lists(
        st.tuples(
            st.sampled_from([None, BROKEN, BUSY, LOCKED, POISON]),
            st.integers(0, 60_000_000),
            st.floats(0, 100),
            st.integers(0, 10**7),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_the_window_keeps_its_bounds(window_max, story):
    """The window is between one and its most, and a place is always found again: nothing is held for ever."""
    pacing, now_s = Pacing(window_max), 0.0
    for failure, latency_us, pause_s, waiting in story:
        now_s += pause_s
        if failure is None:
            pacing.succeeded(latency_us, int(pacing.window), now_s)
        else:
            pacing.failed(failure, waiting, now_s)
        assert 1 <= pacing.window <= window_max
        assert pacing.room(0, waiting, now_s) <= window_max
        assert pacing.room(0, waiting, now_s + PROBE_LONGEST_S) >= 1


# ── late and missing answers ──


def test_a_late_answer_that_nobody_waits_for_shrinks_nothing():
    """At a low rate a slot is always free, so answers that come late cost nobody anything, and say nothing."""
    pacing = Pacing(64, 40.0)
    answer(pacing, 50)
    before = pacing.window

    for second in range(100):
        pacing.succeeded(10 * RTT_US, 3, float(second))

    assert pacing.window == before


def test_late_and_missing_answers_leave_sixteen():
    """However late answers come, or however often none comes, sixteen requests may be in flight."""
    pacing = Pacing(64)
    silent = Failure(FailureScope.DESTINATION, "no answer within 10 s", overload=True)

    for second in range(100):
        answer(pacing, latency_us=RTT_US * (1 + 50 * (second % 2)), now_s=float(second))
        pacing.failed(silent, 10, float(second))

    assert pacing.window >= 16.0


def test_a_small_window_of_the_user_stays():
    """Where at most four requests may be in flight, late and missing answers change nothing."""
    pacing = Pacing(4)
    answer(pacing, 50)

    answer(pacing, latency_us=100 * RTT_US, now_s=1.0)

    assert pacing.window == 4.0


def test_a_timeout_beside_many_answers_is_no_overload():
    """One lost request in twenty says nothing about the load; one in five does."""
    silent = Failure(FailureScope.DESTINATION, "no answer within 10 s", overload=True)
    few, many = Pacing(64, 64.0), Pacing(64, 64.0)

    for second in range(20):
        answer(few, 20, now_s=float(second))
        few.failed(silent, 10, float(second), began_s=second - 10.0)
        answer(many, 5, now_s=float(second))
        many.failed(silent, 10, float(second), began_s=second - 10.0)

    assert few.window == 64.0
    assert many.window < 40.0


def test_failures_beside_successes_are_no_outage():
    """Attempts that failed after the destination had answered others that came later are not failures in a row."""
    pacing = Pacing(64)
    silent = Failure(FailureScope.DESTINATION, "no answer within 10 s", overload=True)
    answer(pacing, now_s=15.0)

    for _ in range(10):
        pacing.failed(silent, MANY, 16.0, began_s=6.0)
    beside = pacing.failures_in_row
    for _ in range(OUTAGE_AFTER):
        pacing.failed(silent, MANY, 26.0, began_s=16.0)

    assert beside == 0
    assert pacing.in_outage


def test_one_answer_of_a_firewall_is_no_outage():
    """A 403 soon after a success may be about one event: it takes several in a row."""
    pacing = Pacing(64)
    answer(pacing, now_s=100.0)

    pacing.failed(LOCKED, MANY, 100.1, began_s=100.05)
    one = pacing.in_outage
    pacing.failed(LOCKED, MANY, 100.2, began_s=100.1)
    pacing.failed(LOCKED, MANY, 100.3, began_s=100.2)

    assert not one
    assert pacing.in_outage


def test_requests_are_overdue_long_after_usual_answers():
    """What counts as overdue follows the destination: a quarter of a second at least, and much more than it usually takes."""
    unknown, quick, slow = Pacing(64), Pacing(64), Pacing(64)

    answer(quick, 100)
    answer(slow, 100, latency_us=2_000_000)

    assert unknown.overdue_s == OVERDUE_UNKNOWN_S
    assert quick.overdue_s == OVERDUE_MIN_S
    assert slow.overdue_s == pytest.approx(8.0)


def test_overdue_requests_do_not_count_but_for_the_most():
    """Overdue requests leave the window to others; all together never exceed the most that may be in flight."""
    pacing = Pacing(64)

    assert pacing.room(10, 0, 0.0, overdue=6) == 6
    assert pacing.room(16, 0, 0.0, overdue=6) == 0
    assert pacing.room(3, 0, 0.0, overdue=60) == 1
    in_outage(pacing)
    assert pacing.room(0, MANY, 1.0, overdue=1) == 0


# ── a destination that is far away ──

FAR_US = 50_000


def round_trips(
    pacing: Pacing, count: int, *, bears: float = 10**6, jitter_us: int = 0, now_s: float = 0.0
) -> None:
    """Let a far destination answer whole windows; with more than `bears` in flight, requests queue there."""
    for trip in range(count):
        window = int(pacing.window)
        latency_us = int(FAR_US * max(1.0, window / bears))
        for number in range(window):
            late_us = jitter_us if number % 4 == 0 else 0
            pacing.succeeded(latency_us + late_us, int(pacing.window), now_s + trip * latency_us / 1e6)


def far(window_max: int = 512) -> Pacing:
    """Return the pacing of a destination that has answered from far away."""
    pacing = Pacing(window_max)
    round_trips(pacing, 2)
    return pacing


def test_a_far_destination_gets_what_it_bears_within_seconds():
    """At 50 ms the window grows by a quarter a round trip: after 20 of them, a second, it is enough for 5,000 a second."""
    pacing = far()

    round_trips(pacing, 18)

    assert pacing.window >= 5_000 * FAR_US / 1e6


def test_a_near_destination_gets_no_more_than_64():
    """Answers from near come late only because requests queue there, so more of them in flight would arrive no sooner."""
    pacing = Pacing(512)

    answer(pacing, 100_000)

    assert int(pacing.window) == 64


@pytest.mark.parametrize("bears", [24, 100, 300])
def test_a_far_destination_gets_no_more_than_it_bears(bears):
    """When more in flight only wait there, the window stops growing: at most a third more than the destination works on."""
    pacing = far()

    round_trips(pacing, 200, bears=bears)

    assert bears * 0.9 <= pacing.window <= bears * 1.7


def test_jitter_of_a_far_destination_does_not_shrink():
    """Every fourth answer comes 25 ms later than the others, as on the Internet: the window grows all the same."""
    pacing = far()

    round_trips(pacing, 40, jitter_us=FAR_US // 2)

    assert pacing.window >= 5_000 * FAR_US / 1e6


def test_after_an_overload_a_far_destination_gets_more_only_slowly():
    """A destination that has answered 503 gets one more a round trip, as one that is near."""
    pacing = far()
    round_trips(pacing, 18)
    pacing.failed(BUSY, MANY, 10.0)
    shrunk = pacing.window

    round_trips(pacing, 5, now_s=11.0)

    assert shrunk <= pacing.window <= shrunk + 6
