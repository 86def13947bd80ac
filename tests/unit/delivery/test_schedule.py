"""Promises of the clock by which retries fall due."""

from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.delivery.forwarding import Schedule
from aegis_stream.domain.ids import SECOND, Micros


class Machine:
    """One machine with two clocks, on which each look at a clock takes a while."""

    def __init__(self, started_s: float, look_s: float) -> None:
        self.elapsed_s, self.started_s, self.look_s = 0.0, started_s, look_s
        self.set_by_us = 0

    def now(self) -> Micros:
        """Return the wall clock: whole microseconds, rounded down."""
        self.elapsed_s += self.look_s
        return Micros(1_700_000_000 * SECOND + int(self.elapsed_s * SECOND) + self.set_by_us)

    def steady(self) -> Micros:
        """Return the clock that nobody sets: whole microseconds, rounded down."""
        self.elapsed_s += self.look_s
        return Micros(int((self.started_s + self.elapsed_s) * SECOND))


@given(st.floats(0, 1e6), st.floats(0, 0.01), st.floats(0, 1e5))
def test_a_retry_is_never_shown_earlier_than_it_may_begin(started_s, look_s, passed_s):
    """However long the first look at the clocks took, the schedule is never behind the wall clock that was read before it."""
    machine = Machine(started_s, look_s)
    schedule = Schedule(machine)
    machine.elapsed_s += passed_s
    machine.look_s = 0.0

    shown = machine.now()

    assert 0 <= schedule.now() - shown <= 2 * look_s * SECOND + 3


def test_the_schedule_is_ahead_by_what_rounding_takes():
    """Where neither clock loses anything in rounding it is a microsecond ahead, and no more."""
    machine = Machine(5.0, 0.0)

    assert Schedule(machine).now() - machine.now() == 1


def test_a_clock_that_is_set_moves_no_retry():
    """The schedule goes on as time passes when somebody sets the wall clock."""
    machine = Machine(5.0, 0.0)
    schedule = Schedule(machine)
    began = schedule.now()

    machine.set_by_us = -3600 * SECOND
    machine.elapsed_s += 2

    assert abs(schedule.now() - began - 2 * SECOND) <= 1
