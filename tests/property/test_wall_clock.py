"""Days with a wall clock that jumps: what a worker's retention removes, and what it says."""

from collections.abc import Callable

import pytest

from support.log import entries
from support.settings import make_settings
from support.simulation import EPOCH, Simulation, status

DAY_S = 86_400
HOUR_US = 3600 * 1_000_000
YEAR_US = 365 * 24 * HOUR_US


class KeptLog:
    """Keeps the log events that a worker writes."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **values: object) -> None:
        self.lines.append((event, values))

    warning = error = info

    def named(self, event: str) -> list[dict[str, object]]:
        return [values for name, values in self.lines if name == event]


@pytest.fixture
def make(tmp_path):
    """Make a simulation whose events are kept for a day."""
    made: list[Simulation] = []

    def _make(lease_seconds: int = 20) -> Simulation:
        settings = make_settings(lease_seconds=lease_seconds, retention_days=1)
        sim = Simulation(tmp_path, settings=settings, look_s=60.0)
        sim.telemetry = KeptLog()
        sim.receiver.script = lambda _: status(202)
        made.append(sim)
        return sim

    yield _make
    for sim in made:
        sim.close()


Make = Callable[..., Simulation]


def log_of(sim: Simulation) -> list[int]:
    """Return the sequences that are in the log."""
    return list(sim.run(sim.log.event_ids(sim.org.organization_no, 0, 2**39)))


def test_a_clock_a_year_ahead_for_an_hour_deletes_nothing(make: Make) -> None:
    """Events younger than the retention time stay, the log says why, and a day later they go as they should."""
    sim = make()
    sim.start()
    sim.append(3)
    sim.advance(7200)

    sim.clock.skew_us = YEAR_US
    sim.advance(3600)
    ahead = log_of(sim)
    sim.clock.skew_us = 0
    sim.advance(3600)
    right_again = log_of(sim)
    sim.append(1)
    sim.advance(DAY_S - 3600)
    later = log_of(sim)

    assert (ahead, right_again, later) == ([1, 2, 3], [1, 2, 3], [4])
    [told] = sim.telemetry.named("retention.clock_jumped")
    assert 8700 * 3600 < told["ahead_s"] < 8800 * 3600


def test_a_clock_that_jumps_soon_after_the_first_start_deletes_nothing(make: Make) -> None:
    """Retention's clock begins when the first worker starts, not when it first has something to do."""
    sim = make()
    sim.start()
    sim.append(3)
    sim.advance(10)

    sim.clock.skew_us = YEAR_US
    sim.append(1)
    sim.advance(3600)

    assert log_of(sim) == [1, 2, 3, 4]


def test_a_wrong_clock_does_not_mark_the_events_of_the_year_that_follows(make: Make) -> None:
    """Events recorded after the clock was set right have the right time, and go when they are over it."""
    sim = make()
    sim.start()
    sim.append(1)
    sim.advance(120)
    sim.clock.skew_us = YEAR_US
    sim.append(1)
    sim.advance(120)
    sim.clock.skew_us = 0
    sim.append(1)
    right_us = sim.clock.now()

    stored = sim.run(entries(sim.log, sim.org.organization_no, 0, 9, 9))
    sim.advance(DAY_S + 600)

    assert stored[2].received_at == right_us
    assert stored[1].received_at > right_us + YEAR_US - HOUR_US
    assert log_of(sim) == []


@pytest.mark.parametrize("hours", [1, 6])
def test_times_are_right_at_once_however_long_the_clock_was_wrong(make: Make, hours: int) -> None:
    """What is recorded after a clock was a year ahead for hours has the right time, although retention followed it a little."""
    sim = make(lease_seconds=600)
    sim.start()
    sim.append(1)
    sim.advance(120)
    sim.clock.skew_us = YEAR_US
    sim.append(1)
    sim.advance(hours * 3600)
    sim.append(1)
    sim.clock.skew_us = 0
    right_us = sim.clock.now()
    sim.append(2)

    stored = sim.run(entries(sim.log, sim.org.organization_no, 0, 9, 9))

    assert [one.received_at for one in stored[-2:]] == [right_us, right_us]


@pytest.mark.parametrize(
    "back_us", [HOUR_US, 24 * HOUR_US, YEAR_US, EPOCH], ids=["1 h", "1 d", "1 y", "to 1970"]
)
def test_times_do_not_follow_a_clock_that_is_set_back(make: Make, back_us: int) -> None:
    """What is recorded under a clock that is wrongly behind gets the time of the event before, so retention keeps it."""
    sim = make()
    sim.start()
    sim.append(1)
    sim.advance(7200)
    sim.append(1)
    newest_us = sim.clock.now()
    sim.clock.skew_us = -back_us
    sim.advance(60)
    sim.append(1)
    sim.advance(60)
    sim.clock.skew_us = 0
    sim.advance(300)

    stored = sim.run(entries(sim.log, sim.org.organization_no, 0, 9, 9))

    assert [one.received_at for one in stored[1:]] == [newest_us, newest_us]


def test_a_service_that_was_off_makes_up_for_it(make: Make) -> None:
    """After five hours off retention is five hours late, and fifty-four hours later it is on time again."""
    sim = make()
    one = sim.start()
    sim.append(1)
    sim.advance(120)
    sim.stop(one)
    sim.advance(5 * 3600)
    sim.start()
    sim.append(1)
    sim.advance(DAY_S - 4 * 3600)
    late = log_of(sim)
    sim.advance(DAY_S + 10 * 3600)
    sim.append(1)
    sim.advance(DAY_S + 120)

    assert late == [1, 2]
    assert log_of(sim) == []
