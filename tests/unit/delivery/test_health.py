"""How a destination is doing: quantiles of its latencies, and what is said when it begins or ends to fail."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.delivery.health import (
    BATCH_BYTES_MIN,
    BUCKETS,
    SAMPLE_MAX,
    WARNING_PAUSE_US,
    WARNINGS_MAX,
    HealthTracker,
    Latencies,
    Warnings,
    is_ailing,
)
from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, Micros
from support.said import Said

NOW = Micros(1_700_000_000_000_000)
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)


def tracker(health: Health | None = None) -> tuple[HealthTracker, Said]:
    """Return a tracker and what it says."""
    said = Said()
    return HealthTracker(health or Health(), said, {"destination_id": "dst_1"}), said


# ── latencies ──


def test_there_is_no_quantile_before_the_first():
    """Nothing is claimed about attempts that were not made."""
    assert Latencies().quantile_ms(0.5) is None


@given(st.lists(st.integers(1, 60_000_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_right_to_a_bucket(latencies, share):
    """A quantile is at most a twelfth of an octave above the true one, and not below it."""
    counted = Latencies()
    for latency_us in latencies:
        counted.add(latency_us)

    rank = max(1, -(-int(share * len(latencies) * 1000) // 1000))
    true_ms = sorted(latencies)[rank - 1] / 1000

    assert true_ms * 0.99 - 0.01 <= counted.quantile_ms(share) <= true_ms * 2 ** (1 / 12) * 1.01 + 0.01


def test_old_latencies_fade():
    """After some thousand new ones, what was long ago says nothing any more."""
    counted = Latencies()
    for _ in range(5000):
        counted.add(1_000_000)
    for _ in range(60_000):
        counted.add(1000)

    assert counted.quantile_ms(0.99) < 2


def test_a_latency_of_nothing_is_counted():
    """An attempt that never left has a latency of zero, and the buckets have no hole for it."""
    counted = Latencies()
    counted.add(0)

    assert counted.quantile_ms(1.0) == 0


def test_latencies_beyond_the_last_bucket_are_counted_in_it():
    """An attempt of many hours counts as one of an hour."""
    counted = Latencies()
    for latency_us in (1 << 40, (1 << 32) - 1):
        counted.add(latency_us)

    assert counted.quantile_ms(0.5) == counted.quantile_ms(1.0) == round(2 ** (BUCKETS / 12) / 1000, 2)


def test_latencies_fade_by_half():
    """When 8,192 are counted each bucket keeps half of its own."""
    counted = Latencies()
    for _ in range(8191):
        counted.add(1000)
    before = counted._total
    counted.add(1_000_000)

    assert (before, counted._total, sum(counted._counts)) == (8191, 4095, 4095)
    assert counted.quantile_ms(1.0) < 2
    counted.add(1_000_000)
    assert counted._total == 4096


# ── the tracker ──


@pytest.mark.parametrize(
    ("health", "ailing"),
    [
        (Health(), False),
        (Health(failures_in_row=1), True),
        (Health(failures_in_row=1, last_success_at=Micros(2), last_error_at=Micros(1)), True),
        (Health(last_error_at=Micros(1)), True),
        (Health(last_success_at=Micros(1)), False),
        (Health(last_success_at=Micros(1), last_error_at=Micros(2)), True),
        (Health(last_success_at=Micros(2), last_error_at=Micros(2)), False),
        (Health(last_success_at=Micros(2), last_error_at=Micros(1)), False),
    ],
)
def test_a_destination_ails_when_its_newest_attempt_failed(health, ailing):
    """An error after the last success counts, and so does one in a row whose time nobody knows."""
    assert is_ailing(health) is ailing


@pytest.mark.parametrize(
    ("size", "bytes_max", "less"),
    [
        (10_001, 1_000_000, 5000),
        (10_000, 5001, 5000),
        (10_000, 5000, None),
        (2 * BATCH_BYTES_MIN - 2, BATCH_BYTES_MIN + 1, BATCH_BYTES_MIN),
        (10, BATCH_BYTES_MIN, None),
    ],
)
def test_a_request_that_was_too_large_makes_the_next_ones_half_as_large(size, bytes_max, less):
    """What is learned is stored and said, unless requests are that small already; there is a size below which none goes."""
    watched, said = tracker()

    assert watched.too_large(size, bytes_max, NOW) is (less is not None)

    assert watched.health == Health(batch_bytes_max=less)
    words = f"a request with {size} bytes of events was too large: requests get {less} at most until the destination is changed"
    line = ("destination.warning", {"destination_id": "dst_1", "reason": words})
    assert said.lines == ([line] if less is not None else [])


@pytest.mark.parametrize(
    ("holds", "follows"),
    [
        (True, "new events wait in the log"),
        (False, "events that the destination rejects stay in the log only"),
    ],
)
def test_too_many_dead_letters_are_said_with_what_follows(holds, follows):
    """The warning has the counts, the setting, what to do, and what happens until then."""
    watched, said = tracker()

    watched.full(90, 10, NOW, holds=holds)

    reason = (
        "90 dead letters and 10 retries reach AEGIS_DEAD_LETTERS_MAX: "
        f"redrive or purge dead letters; until then {follows}"
    )
    assert said.lines == [("destination.warning", {"destination_id": "dst_1", "reason": reason})]


def test_damage_is_said_each_time_and_a_bug_once_an_hour():
    """Each damaged event is named; a bug in a format would fill the log. An ordinary failure is no line of its own."""
    watched, said = tracker()
    for at in (NOW, Micros(NOW + 1)):
        watched.failed(DOWN, 6, at)
        watched.failed(replace(DOWN, damaged=True, message="damaged"), 7, at)
        watched.failed(replace(DOWN, bug=True, message="KeyError"), 8, at)

    damaged = ("store.event_damaged", {"destination_id": "dst_1", "sequence": 7})
    bug = ("destination.format_failed", {"destination_id": "dst_1", "reason": "KeyError"})
    assert said.lines == [damaged, bug, damaged]
    watched.failed(replace(DOWN, bug=True, message="TypeError"), 8, Micros(NOW + 2))
    assert said.lines[3:] == [("destination.format_failed", bug[1] | {"reason": "TypeError"})]


def test_destinations_do_not_wait_for_each_other_s_warnings():
    """What was said of one destination is said of another at once, though they share what was said."""
    said, shared = Said(), Warnings()
    for number in (1, 2):
        watched = HealthTracker(Health(), said, {"destination_id": f"dst_{number}"}, shared)
        watched.warned("stored elsewhere", NOW)
        watched.failed(replace(DOWN, bug=True), 8, NOW)

    assert [fields["destination_id"] for _, fields in said.lines] == ["dst_1", "dst_1", "dst_2", "dst_2"]


def test_what_is_full_or_too_large_is_said_once_an_hour():
    """These warnings wait like all others, each by its own words."""
    watched, said = tracker()
    for at in (NOW, Micros(NOW + WARNING_PAUSE_US - 1), Micros(NOW + WARNING_PAUSE_US)):
        watched.full(90, 10, at, holds=True)
        watched.too_large(10_000, 1_000_000, at)

    assert len(said.lines) == 4


def test_quantiles_are_computed_once_a_second():
    """Between two computations the last ones are told; the first latencies are told at once."""
    watched, _ = tracker()
    told = [watched.take_stock([], 0, 1.0, NOW, 1.0).p50_ms]
    for at, latencies in ((1, [1000]), (SECOND, [64_000] * 3), (SECOND + 1, [])):
        told.append(watched.take_stock(latencies, 0, 1.0, Micros(NOW + at), 1.0).p50_ms)

    fast, slow = told[1], told[3]
    assert told == [None, fast, fast, slow]
    assert (0.9 < fast < 1.1, 60 < slow < 70) == (True, True)


def test_the_time_of_the_last_success_is_when_it_came():
    """A success is told with the time of its answer, not of the settlement that stores it."""
    watched, _ = tracker()
    watched.succeeded_at_s = 100.0

    health = watched.take_stock([1000], 0, 16.0, NOW, 100.25)

    assert health.last_success_at == NOW - SECOND // 4
    assert (
        watched.take_stock([], 0, 16.0, Micros(NOW + SECOND), 101.25).last_success_at
        == health.last_success_at
    )


def test_a_clock_that_stands_still_puts_no_success_into_the_future():
    """Whatever the loop's clock says, a success is never later than its settlement."""
    watched, _ = tracker()
    watched.succeeded_at_s = 100.0

    assert watched.take_stock([], 0, 16.0, NOW, 99.0).last_success_at == NOW


def test_failing_and_recovery_are_each_said_once():
    """The log has one line when a destination begins to fail and one when it is well again, with the reason."""
    watched, said = tracker()
    watched.failed(DOWN, 7, NOW)
    failing = (
        "destination.failing",
        {"destination_id": "dst_1", "status_code": 500, "reason": "answered 500"},
    )
    recovered = ("destination.recovered", {"destination_id": "dst_1"})
    for failures_in_row, lines in (
        (1, [failing]),
        (2, [failing]),
        (0, [failing, recovered]),
        (0, [failing, recovered]),
    ):
        watched.take_stock([], failures_in_row, 1.0, NOW, 1.0)
        assert said.lines == lines


def test_an_error_is_kept_until_the_next_one():
    """A later success does not wipe out what the last error was, and for which event."""
    watched, _ = tracker()
    watched.failed(DOWN, 7, NOW)
    watched.succeeded_at_s = 1.0

    health = watched.take_stock([500], 0, 3.26, Micros(NOW + 1), 1.0)

    assert (health.last_error_message, health.last_error_status, health.last_error_sequence) == (
        "answered 500",
        500,
        7,
    )
    assert (health.last_error_at, health.window_size, health.failures_in_row) == (NOW, 3.3, 0)


def test_of_many_latencies_a_sample_is_counted_from_all_over():
    """However many attempts a settlement has, what is counted is bounded and has the early as well as the late ones."""
    watched, _ = tracker()

    health = watched.take_stock([1000] * 50 * SAMPLE_MAX + [64_000] * 50 * SAMPLE_MAX, 0, 1.0, NOW, 1.0)

    assert watched._latencies._total <= 2 * SAMPLE_MAX
    few, _ = tracker()
    few.take_stock([1000] * 3, 0, 1.0, NOW, 1.0)
    assert few._latencies._total == 3
    assert health.p50_ms < 2
    assert health.p99_ms > 60


def test_a_destination_taken_over_while_failing_is_not_announced_again():
    """A new worker that finds a destination failing says nothing until that changes."""
    for failures_in_row in (1, 3):
        watched, said = tracker(Health(failures_in_row=failures_in_row))
        watched.take_stock([], failures_in_row, 1.0, NOW, 1.0)

        assert said.lines == []


def test_the_same_warning_is_said_once_an_hour():
    """A warning that comes with every answer is one line an hour, which names the destination."""
    watched, said = tracker()
    for minute in range(181):
        watched.warned("stored elsewhere", Micros(NOW + minute * 60 * SECOND))

    assert (
        said.lines == [("destination.warning", {"destination_id": "dst_1", "reason": "stored elsewhere"})] * 4
    )


def test_another_warning_is_said_at_once():
    """Other words do not wait for the hour to be over."""
    watched, said = tracker()
    for warning in ("stored elsewhere", "nearly full"):
        watched.warned(warning, NOW)

    assert [fields["reason"] for _, fields in said.lines] == ["stored elsewhere", "nearly full"]


def test_warnings_in_turn_are_each_said_once_an_hour():
    """Two warnings that come with every answer are two lines an hour."""
    watched, said = tracker()
    for minute in range(120):
        for warning in ("stored elsewhere", "nearly full"):
            watched.warned(warning, Micros(NOW + minute * 60 * SECOND))

    assert len(said.lines) == 4


def test_what_was_said_is_remembered_within_bounds():
    """However many warnings there are, as many are remembered as fit, those said last."""
    warnings = Warnings()
    for number in range(WARNINGS_MAX):
        assert warnings.is_due("dst_1", f"warning {number}", NOW)
    assert not warnings.is_due("dst_1", "warning 0", NOW)
    assert warnings.is_due("dst_1", f"warning {WARNINGS_MAX}", NOW)

    assert warnings.is_due("dst_1", "warning 0", NOW)
    assert not warnings.is_due("dst_1", f"warning {WARNINGS_MAX}", NOW)
    assert warnings.is_due("dst_2", f"warning {WARNINGS_MAX}", NOW)


def test_what_was_said_again_is_remembered_longest():
    """A warning that is said a second time is not the oldest any more."""
    warnings, later = Warnings(), Micros(NOW + WARNING_PAUSE_US)
    for number in range(WARNINGS_MAX):
        warnings.is_due("dst_1", f"warning {number}", NOW)
    warnings.is_due("dst_1", "warning 0", later)
    warnings.is_due("dst_1", "another", later)

    assert not warnings.is_due("dst_1", "warning 0", later)
    assert not warnings.is_due("dst_1", "warning 2", Micros(later - 1))


def test_an_hour_is_an_hour():
    """One microsecond before the hour is over the same words are not said again."""
    watched, said = tracker()
    for at in (NOW, Micros(NOW + WARNING_PAUSE_US - 1), Micros(NOW + WARNING_PAUSE_US)):
        watched.warned("stored elsewhere", at)

    assert WARNING_PAUSE_US == 3600 * SECOND
    assert len(said.lines) == 2


def test_a_warning_is_no_failure():
    """What a person should know although events arrive neither makes a destination failing nor stands as its last error."""
    watched, said = tracker()
    watched.warned("stored elsewhere", NOW)

    health = watched.take_stock([], 0, 16.0, NOW, 1.0)

    assert (health.last_error_message, health.last_error_at, health.failures_in_row) == (None, None, 0)
    assert [name for name, _ in said.lines] == ["destination.warning"]
