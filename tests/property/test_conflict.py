"""Receivers that store each event once and answer 409 to an event that they have, on the injected clock."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, RetryPolicy
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.ids import ReplayId, new_id
from support.simulation import Simulation, split_plain, status, timeout

FORMATS = ["json", "ndjson", "json_array"]
LOST = {
    "hang-up": Fault(FaultKind.CLOSED, "closed the connection without an answer", 900),
    "timeout": timeout(),
    "408": status(408),
    "500": status(500),
    "504": status(504),
}
REJECTED = {"400": status(400), "429": status(429), "404": status(404)}


def split_lines_or_array(request: Request) -> list[bytes]:
    """Return the events in a request of any of the formats."""
    if request.body[:1] == b"[":
        return [bytes(one) for one in msgspec.json.decode(request.body, type=list[msgspec.Raw])]
    return split_plain(request)


class OnceOnly:
    """A receiver that stores all events of a request, or answers 409 when it has one of them.

    Args:
        first: its answer to the first request with an event of `about`, or with any event.
        stores: whether it stores the events of that request.
    """

    def __init__(self, first: Answer | None = None, *, stores: bool = True, about: str = "") -> None:
        self.first, self.stores, self.about = first, stores, about
        self.stored: set[str] = set()

    def __call__(self, ids: Sequence[str]) -> Answer:
        if self.stored.intersection(ids):
            return status(409)
        first = None
        if self.first is not None and (not self.about or self.about in ids):
            first, self.first = self.first, None
        if first is None or self.stores:
            self.stored.update(ids)
        return first or status(202)


@pytest.fixture(params=FORMATS)
def sim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulation]:
    """Simulate one destination in one of the plain formats."""
    spec = DestinationSpec(url="https://sink.example.com/in", format=request.param, retry=RetryPolicy())
    one = Simulation(tmp_path, spec=spec)
    one.receiver.split = split_lines_or_array
    yield one
    one.close()


@pytest.mark.parametrize("lost", LOST)
def test_an_event_whose_answer_was_lost_is_delivered_by_409(sim: Simulation, lost: str) -> None:
    """Events that the receiver stored without telling us are delivered, whatever came instead of its answer."""
    sim.receiver.answers = receiver = OnceOnly(LOST[lost])
    sim.start()

    ids = sim.append(5)
    sim.advance(400)

    assert receiver.stored == set(ids)
    assert (sim.dead(), sim.retries()) == ([], {})
    assert sim.progress().delivered == 5


@pytest.mark.parametrize("rejected", REJECTED)
def test_a_conflict_after_a_rejection_is_no_delivery(sim: Simulation, rejected: str) -> None:
    """409 to an event that the receiver has only rejected so far becomes a dead letter: nobody has stored it for us."""
    answers = iter([REJECTED[rejected]])
    sim.receiver.answers = lambda _: next(answers, status(409))
    sim.start()

    sim.append()
    sim.advance(400)

    assert sim.dead() == [1]
    assert sim.progress().delivered == 0


def test_a_conflict_at_the_first_attempt_costs_one_event(sim: Simulation) -> None:
    """An event that conflicts when it is sent first becomes a dead letter at once; its neighbours are delivered."""
    sim.receiver.answers = receiver = OnceOnly()
    receiver.stored.add("e000002")
    sim.start()

    ids = sim.append(8)
    sim.advance(5)

    assert sim.dead() == [3]
    assert receiver.stored == set(ids)
    assert "409" in sim.progress().health.last_error_message


def test_a_redriven_event_that_conflicts_is_delivered(sim: Simulation) -> None:
    """A dead letter that the receiver has is delivered when it is redriven."""
    sim.receiver.answers = receiver = OnceOnly()
    receiver.stored.add("e000000")
    sim.start()
    sim.append()
    sim.advance(5)
    assert sim.dead() == [1]

    sim.redrive()
    sim.advance(5)

    assert (sim.dead(), sim.retries()) == ([], {})
    assert sim.progress().delivered == 1


def test_a_replay_of_events_that_are_there_is_delivered(sim: Simulation) -> None:
    """Replaying what the receiver has ends without a dead letter, and asks for each event once or little more."""
    sim.receiver.answers = OnceOnly()
    sim.start()
    sim.append(20)
    sim.advance(5)
    before = len(sim.receiver.attempts)

    replay_id = ReplayId(new_id("rpl", sim.clock.now(), sim.random.random_bytes(10)))
    sim.run(sim.directory.add_replay(sim.destination, replay_id, 1, 20, sim.clock.now()))
    sim.advance(60)

    assert (sim.dead(), sim.retries()) == ([], {})
    assert not sim.progress().health.failures_in_row
    assert len(sim.receiver.attempts) - before <= 2 * 20
