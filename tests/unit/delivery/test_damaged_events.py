"""Events that a disk has damaged or lost, on their way to a destination: they are set aside, and the others arrive."""

import pytest

from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Filter
from support.said import Said
from support.settings import make_settings
from support.simulation import Simulation, status
from support.sql import raw

CHANGED = "UPDATE events SET body = replace(body, 'event', 'evemt') WHERE event_id = ?"
GONE = "DELETE FROM events WHERE event_id = ?"
SPECS = {
    "one by one": DestinationSpec("https://sink.example.com/in"),
    "batches": DestinationSpec(
        "https://sink.example.com/in", format="ndjson", batch=BatchPolicy(max_events=10)
    ),
    "filtered": DestinationSpec("https://sink.example.com/in", filter=Filter(datasets=("sim",))),
}


@pytest.fixture(params=SPECS.values(), ids=SPECS)
def sim(tmp_path, request):
    """Return a simulation that ends with the test."""
    made = Simulation(tmp_path, spec=request.param, settings=make_settings(lease_seconds=20))
    made.telemetry = Said()
    yield made
    made.close()


def change(sim: Simulation, statement: str, *values: str) -> None:
    """Change the store as a disk or a person does."""
    sim.run(sim.db.write(lambda unit: raw(unit).run(statement, values)))


def dead_letters(sim: Simulation) -> list[tuple[int, str]]:
    """Return sequence and event id of every dead letter whose message says what happened."""
    rows = sim.db.read_now(
        lambda unit: raw(unit).rows("SELECT sequence, event_id, message FROM dead_letters")
    )
    return [(sequence, event_id) for sequence, event_id, message in rows if "damaged or missing" in message]


@pytest.mark.parametrize("damage", [CHANGED, GONE])
def test_a_damaged_event_is_a_dead_letter_and_the_rest_arrives(sim, damage):
    """It is never sent, its dead letter names it, it is logged and counted; everything else is delivered."""
    ids = sim.append(12)
    for at in (0, 5, 11):
        change(sim, damage, ids[at])

    sim.start()
    sim.advance(10)

    named = ["missing-1", "missing-6", "missing-12"] if damage == GONE else [ids[0], ids[5], ids[11]]
    assert dead_letters(sim) == list(zip((1, 6, 12), named, strict=True))
    assert sorted(one for one in ids if sim.receiver.accepted[one]) == sorted(
        one for at, one in enumerate(ids) if at not in (0, 5, 11)
    )
    assert (sim.progress().delivered, sim.progress().cursor) == (9, 12)
    assert {one["sequence"] for one in sim.telemetry.named("store.event_damaged")} == {1, 6, 12}
    assert sim.run(sim.directory.totals())[-1] == 3


@pytest.mark.parametrize("damage", [CHANGED, GONE])
def test_an_event_damaged_before_its_retry_is_a_dead_letter(sim, damage):
    """A retry of a damaged event is not sent, and is not tried again; one of an intact event is."""
    sim.receiver.answers = lambda _: status(503)
    sim.start()
    ids = sim.append(2)
    sim.advance(5)
    assert set(sim.retries()) == {1, 2}

    change(sim, damage, ids[0])
    sim.receiver.answers = lambda _: status(200)
    sim.advance(200)

    assert [sequence for sequence, _ in dead_letters(sim)] == [1]
    assert (sim.receiver.accepted[ids[0]], sim.receiver.accepted[ids[1]]) == (0, 1)
    assert sim.retries() == {}
