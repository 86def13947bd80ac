"""A format with a bug at work: what it raises costs one event, and the destination goes on."""

import pytest

from aegis_stream.delivery.confirmations import CONFIRM_S
from aegis_stream.delivery.read_ahead import ReadAhead
from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.domain.destination import HALTED, BatchPolicy, DestinationSpec
from aegis_stream.formats import REGISTRY, Acks
from aegis_stream.formats.format import Format
from aegis_stream.worker import BUG_PAUSE_S
from support.said import Said
from support.settings import make_settings
from support.simulation import Simulation, split_plain, status
from support.sql import raw

POISON = "poison"
BATCH = BatchPolicy(max_events=10)
ONE_BY_ONE = BatchPolicy(max_events=1)


class SecretError(Exception):
    """An error whose text quotes an event."""


def encode(bodies: list[bytes]) -> Request:
    """Encode as NDJSON; raise for the poisoned event."""
    for body in bodies:
        if POISON.encode() in body:
            raise SecretError(body.decode())
    return REGISTRY["ndjson"].encode(bodies)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make the simulation of a destination whose format has these parts."""
    made: list[Simulation] = []

    def build(batch: BatchPolicy, **parts: object) -> Simulation:
        plain = REGISTRY["ndjson"]
        values = {"encode": plain.encode, "interpret": plain.interpret, "batches": True} | parts
        monkeypatch.setitem(REGISTRY, "faulty", Format("faulty", **values))
        sim = Simulation(
            tmp_path,
            spec=DestinationSpec("https://sink.example.com/in", format="faulty", batch=batch),
            settings=make_settings(lease_seconds=20),
        )
        sim.telemetry = Said()
        made.append(sim)
        return sim

    yield build
    for one in made:
        one.close()


def interpret(answer: Answer, count: int) -> object:
    """Judge by status; raise for the answer to a request with the poisoned event in it."""
    if isinstance(answer, Response) and answer.body == POISON.encode():
        raise SecretError("the answer quotes an event")
    return REGISTRY["ndjson"].interpret(answer, count)


def answer_with_poison(sim: Simulation, code: int = 200) -> None:
    """Let the receiver mark its answers to requests with the poisoned event, which is event 7."""
    sim.receiver.answers = lambda ids: (
        Response(code, POISON.encode(), 5000) if "e000006" in ids else status(200)
    )


def append_with_poison(sim: Simulation) -> None:
    """Record 30 events, of which the seventh is poisoned."""
    sim.append(6)
    sim.append(1, note=POISON)
    sim.append(23)


def reason(sim: Simulation) -> str:
    """Return why the one dead letter is dead."""
    [(message,)] = sim.db.read_now(lambda db: raw(db).rows("SELECT message FROM dead_letters"))
    return str(message)


def assert_cost_one_event(sim: Simulation) -> None:
    """Check that event 7 is a dead letter, everything else is delivered, and the destination goes on."""
    later = sim.append(5)
    sim.advance(5)

    assert sim.dead() == [7]
    assert sim.progress().delivered == 34
    assert all(sim.receiver.accepted[one] for one in later)
    assert sim.progress().health.failures_in_row == 0
    assert sim.telemetry.named("destination.halted") == []


@pytest.mark.parametrize("in_order", [False, True], ids=["any order", "in order"])
@pytest.mark.parametrize("batch", [BATCH, ONE_BY_ONE], ids=["batch", "single"])
def test_an_event_that_cannot_be_encoded_costs_itself_alone(make, batch, in_order):
    """The event on which encode raises becomes a dead letter; its batch and everything after it arrive, each event once."""
    sim = make(batch, encode=encode, in_order=in_order)
    append_with_poison(sim)

    sim.start()
    sim.advance(5)

    assert_cost_one_event(sim)
    assert set(sim.receiver.accepted.values()) == {1}
    if in_order:
        sent = [one for attempt in sim.receiver.attempts for one in attempt.event_ids]
        assert sent == sorted(sent)


def test_the_reason_names_the_format_and_the_kind_of_error_without_its_text(make):
    """The dead letter and the log say format, kind and place, and nothing of the error's text, which may quote an event."""
    sim = make(BATCH, encode=encode)
    append_with_poison(sim)

    sim.start()
    sim.advance(5)

    assert reason(sim).startswith(
        "format faulty failed to encode the event (SecretError at test_format_bugs.py:"
    )
    assert "bug" in reason(sim)
    assert POISON not in reason(sim)
    [line] = sim.telemetry.named("destination.format_failed")
    assert line["reason"] == reason(sim)


@pytest.mark.parametrize("in_order", [False, True], ids=["any order", "in order"])
@pytest.mark.parametrize("batch", [BATCH, ONE_BY_ONE], ids=["batch", "single"])
def test_an_answer_that_cannot_be_interpreted_costs_one_event(make, batch, in_order):
    """When interpret raises on a 2xx, the batch is halved until one event is alone; that one becomes a dead letter."""
    sim = make(batch, in_order=in_order, interpret=interpret)
    answer_with_poison(sim)
    append_with_poison(sim)

    sim.start()
    sim.advance(5)

    assert_cost_one_event(sim)
    assert reason(sim).startswith(
        "answered 200; format faulty failed to interpret the answer (SecretError at "
    )


def test_a_wrong_number_of_verdicts_is_a_bug_of_the_format(make):
    """A format that judges another number of events than were sent costs one event, as if it had raised."""
    plain = REGISTRY["ndjson"].interpret
    sim = make(BATCH, interpret=lambda answer, count: [] if answer.body else plain(answer, count))
    answer_with_poison(sim)
    append_with_poison(sim)

    sim.start()
    sim.advance(5)

    assert_cost_one_event(sim)
    assert "(ValueError at " in reason(sim)


def test_an_error_status_is_judged_without_the_format(make):
    """When interpret raises on a 503, nothing becomes a dead letter: the destination is failing, and recovers."""
    sim = make(BATCH, interpret=interpret)
    sim.receiver.answers = lambda _: Response(503, POISON.encode(), 5000)
    sim.append(10)
    sim.start()
    sim.advance(5)
    health = sim.progress().health

    sim.receiver.answers = lambda _: status(200)
    sim.advance(120)

    assert health.failures_in_row > 0
    assert health.last_error_message.startswith("answered 503: ")
    assert "format faulty failed to interpret the answer" in health.last_error_message
    assert (sim.progress().delivered, sim.dead()) == (10, [])


def test_a_fault_is_judged_without_the_format(make):
    """When interpret raises on a connection that broke, the attempt failed, and the next one delivers the event."""

    def fail_on_fault(answer: Answer, count: int) -> object:
        if isinstance(answer, Fault):
            raise SecretError
        return REGISTRY["ndjson"].interpret(answer, count)

    sim = make(BATCH, interpret=fail_on_fault)
    left = [Fault(FaultKind.CONNECT, "connection refused", 100)]
    sim.receiver.answers = lambda _: left.pop() if left else status(200)
    sim.append(3)

    sim.start()
    sim.advance(120)

    assert (sim.progress().delivered, sim.dead()) == (3, [])


@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_bug_in_asking_for_confirmation_confirms_nothing(make, part):
    """When asking whether events are stored raises, they are sent again, and become dead letters in the end."""
    asked: list[object] = []

    def fail(*given: object) -> None:
        asked.append(given)
        raise SecretError

    plain = REGISTRY["splunk_hec"].acks
    acks = Acks(
        "/ack",
        fail if part == "question" else plain.encode_question,
        fail if part == "answer" else plain.confirmed,
    )
    sim = make(BATCH, interpret=REGISTRY["splunk_hec"].interpret, acks=acks)
    sim.receiver.answers = lambda _: Response(200, b'{"text":"Success","code":0,"ackId":0}', 5000)
    sim.receiver.split = lambda request: split_plain(request) if b'"acks"' not in request.body else []
    sim.append(3)

    sim.start()
    sim.advance(3 * CONFIRM_S + 300)

    assert asked
    assert sim.progress().delivered == 0
    assert sim.dead() == [1, 2, 3]
    assert sim.telemetry.named("destination.halted") == []


# ── other bugs ──


def test_a_halted_destination_is_failing_and_says_why(make, monkeypatch):
    """While a bug halts a destination, its last error has kind and place; after a minute it is served again, and is well."""
    sim = make(BATCH)
    sim.start()
    sim.append(3)
    sim.advance(5)
    monkeypatch.setattr(ReadAhead, "begin", _raise)
    sim.append(3)
    sim.advance(5)
    monkeypatch.undo()
    _register_plain(monkeypatch)
    health = sim.progress().health
    totals = sim.run(sim.directory.totals())
    sim.append(1)
    sim.advance(5)
    meanwhile = sim.progress().delivered

    sim.advance(BUG_PAUSE_S)

    assert health.failures_in_row > 0
    assert health.last_error_message.startswith(f"{HALTED} (SecretError at test_format_bugs.py:")
    assert totals[-3:-1] == (1, 1)
    assert meanwhile == 3
    assert sim.progress().delivered == 7
    assert sim.progress().health.failures_in_row == 0
    assert sim.run(sim.directory.totals())[-2:] == (0, 0)


def test_a_change_resumes_a_halted_destination_at_once(make, monkeypatch):
    """Whoever changes a halted destination need not wait for the pause to end."""
    sim = make(BATCH)
    sim.start()
    sim.append(1)
    sim.advance(1)
    monkeypatch.setattr(ReadAhead, "begin", _raise)
    sim.append(3)
    sim.advance(5)
    monkeypatch.undo()
    _register_plain(monkeypatch)

    sim.change(lambda spec: spec)
    sim.advance(5)

    assert sim.progress().delivered == 4


def _raise(*_: object) -> None:
    raise SecretError


def _register_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = REGISTRY["ndjson"]
    monkeypatch.setitem(REGISTRY, "faulty", Format("faulty", plain.encode, plain.interpret, batches=True))
