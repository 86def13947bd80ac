"""Answers that come late or never: the other events of the destination do not wait for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.pipeline.pacing import SPARE_MAX
from support.settings import make_settings
from support.simulation import Simulation, status

LATE_S = 1.0


@dataclass
class Stream:
    """Events at a steady rate, and a receiver that answers some of them late, and others never."""

    sim: Simulation
    rate: int = 100

    def __post_init__(self) -> None:
        self.sent_s: dict[str, float] = {}
        self.silent: set[str] = set()
        self.swallow = 0
        self.sim.receiver.answers = self._answer
        self.sim.start()

    def _answer(self, event_ids: list[str]) -> object:
        if self.silent & set(event_ids):
            return status(202)  # the second attempt
        if self.swallow:
            self.swallow -= 1
            self.silent.update(event_ids)
            return None
        return status(202)

    def send(self, count: int) -> list[str]:
        """Record events one after the other; returns their ids."""
        ids = []
        for _ in range(count):
            ids += self.sim.append()
            self.sent_s[ids[-1]] = self.sim.loop.time()
            self.sim.advance(1 / self.rate)
        return ids

    def late(self, ids: list[str]) -> int:
        """Return how many events that were answered at once arrived more than a second late."""
        arrived = {}
        for one in self.sim.receiver.attempts:
            for event_id in one.event_ids:
                arrived.setdefault(event_id, one.at_s)
        lags = [
            arrived.get(one, self.sim.loop.time()) - self.sent_s[one] for one in ids if one not in self.silent
        ]
        return sum(lag > LATE_S for lag in lags)


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Make streams that end with the test."""
    made: list[Simulation] = []

    def one(**values: object) -> Stream:
        made.append(Simulation(tmp_path, **values))
        return Stream(made[-1])

    yield one
    for simulation in made:
        simulation.close()


def late_now_and_then(seed: int, share: float, late_s: float) -> Callable[[list[str]], float]:
    """Return latencies of a millisecond, and some that are much longer."""
    random = Random(seed)
    return lambda _: 0.001 + (late_s if random.random() < share else 0.0)


@pytest.mark.parametrize("count", [1, 6, 16, 30])
def test_a_few_unanswered_requests_delay_no_others(stream: Callable[..., Stream], count: int) -> None:
    """After ten seconds of jitter some requests are never answered: nothing else comes a second late."""
    one = stream()
    one.sim.receiver.latency_of = late_now_and_then(1, 0.02, 0.06)
    one.send(1000)

    one.swallow = count
    ids = one.send(500)

    assert one.late(ids) <= 4
    assert one.sim.progress().health.failures_in_row == 0


def test_requests_that_go_on_being_unanswered_delay_no_others(stream: Callable[..., Stream]) -> None:
    """One request in thirty is never answered: each costs itself alone, and the destination is not failing."""
    one = stream()
    one.send(100)

    ids = []
    for _ in range(60):
        one.swallow = 1
        ids += one.send(30)

    assert one.late(ids) == 0
    assert one.sim.progress().health.failures_in_row == 0


@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_a_silent_connection_delays_no_others_at_a_low_rate(
    stream: Callable[..., Stream], format_: str
) -> None:
    """A destination of two events a second that answers one in ten never still gets the others at once."""
    one = stream(spec=DestinationSpec(url="https://sink.example.com/in", format=format_))
    one.rate = 2

    ids = []
    for _ in range(30):
        ids += one.send(9)
        one.swallow = 1
        ids += one.send(1)

    assert one.late(ids) == 0


def test_a_destination_that_answers_nothing_is_not_flooded(stream: Callable[..., Stream]) -> None:
    """When no answer comes any more, a window and a few spare attempts are made, and then single ones."""
    one = stream(settings=make_settings(lease_seconds=20))
    one.send(200)
    before = len(one.sim.receiver.attempts)

    one.sim.receiver.answers = lambda _: None
    one.sim.receiver.in_flight_most = 0
    one.send(2000)

    assert one.sim.receiver.in_flight_most <= 16 + SPARE_MAX
    assert len(one.sim.receiver.attempts) - before <= 2 * (16 + SPARE_MAX)
    assert one.sim.progress().health.failures_in_row >= 3


@given(
    rate=st.sampled_from([20, 100, 300]),
    latency_s=st.sampled_from([0.001, 0.02, 0.1]),
    share=st.sampled_from([0.0, 0.02, 0.2]),
    late_s=st.sampled_from([0.03, 0.3]),
    unanswered=st.integers(0, 12),
    seed=st.integers(0, 99),
)
@settings(max_examples=8, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_jitter_others_are_in_time(
    rate: int, latency_s: float, share: float, late_s: float, unanswered: int, seed: int
) -> None:
    """Rate, latency, jitter and unanswered requests in any combination within what 16 requests bear: at most 2 % are late."""
    with TemporaryDirectory() as folder:
        sim = Simulation(Path(folder))
        try:
            one = Stream(sim, min(rate, int(8 / (latency_s + share * late_s))))
            jitter = late_now_and_then(seed, share, late_s)
            sim.receiver.latency_of = lambda ids: latency_s + jitter(ids)
            one.send(5 * one.rate)

            one.swallow = unanswered
            ids = one.send(5 * one.rate)
            sim.advance(2)

            assert one.late(ids) <= 0.02 * len(ids)
        finally:
            sim.close()
