"""One destination being served: what tests/property does not reach, in simulated time on a real store."""

from dataclasses import replace

import pytest

from aegis_stream.delivery.pages import PEEK_EVENTS_MAX, SharedPages
from aegis_stream.domain.attempt import Fault, FaultKind, RetryPolicy
from aegis_stream.domain.destination import DestinationSpec, Filter
from aegis_stream.domain.ids import ReplayId
from aegis_stream.errors import Invalid
from aegis_stream.store.records import key_of
from support.said import Said
from support.settings import make_settings
from support.simulation import Running, Simulation, status


@pytest.fixture
def make(tmp_path):
    """Make simulations that end with the test."""
    made: list[Simulation] = []

    def build(**options) -> Simulation:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Simulation(folder, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


def replay(sim: Simulation, first: int, last: int, replay_id: str = "rpl_1") -> None:
    """Ask for a range to be sent once more."""
    sim.run(sim.directory.add_replay(sim.destination, ReplayId(replay_id), first, last, sim.clock.now()))
    sim.bells.notify_changes()


def serve(worker: Running, route_of) -> None:
    """Let a worker find its routes otherwise from now on."""
    shared = worker.worker.loader.shared
    worker.worker.loader.shared = replace(shared, outbound=replace(shared.outbound, route_of=route_of))
    for forwarder in worker.worker.roster.forwarders():
        forwarder.shared, forwarder.attempts._channel = worker.worker.loader.shared, None
        forwarder.attempts.outbound = forwarder.shared.outbound


def test_a_replay_sends_its_range_once_more(make):
    """Exactly the events of the range arrive a second time, and the replay is over."""
    sim = make()
    sim.start()
    ids = sim.append(50)
    sim.advance(5)

    replay(sim, 11, 20)
    sim.advance(5)

    assert {one for one, count in sim.receiver.accepted.items() if count == 2} == set(ids[10:20])
    assert sim.run(sim.ledger.outstanding(key_of(sim.destination))).replays == []
    assert sim.progress().delivered == 60


def test_a_replay_keeps_to_its_range_while_the_log_is_being_sent(make):
    """A range that lies in a page which is just being delivered ends where it was said to."""
    sim = make()
    sim.start()
    ids = sim.append(400)
    sim.receiver.latency_s = 0.5

    replay(sim, 1, 10)
    sim.advance(120)

    assert sum(sim.receiver.accepted.values()) == 410
    assert {one for one, count in sim.receiver.accepted.items() if count == 2} == set(ids[:10])


def test_a_replay_outlives_its_worker(make):
    """A range that was half sent when its worker was killed is sent to its end by the next one."""
    sim = make()
    worker = sim.start()
    ids = sim.append(300)
    sim.advance(30)
    sim.receiver.latency_s = 0.5
    replay(sim, 1, 300)
    sim.advance(3)

    sim.kill(worker)
    half_way = len([one for one in ids if sim.receiver.accepted[one] == 2])
    sim.start()
    sim.advance(300)

    assert 0 < half_way < 300
    assert all(sim.receiver.accepted[one] >= 2 for one in ids)
    assert sim.run(sim.ledger.outstanding(key_of(sim.destination))).replays == []


def test_a_cancelled_replay_sends_no_more(make):
    """What was not sent of a cancelled replay is not sent."""
    sim = make()
    sim.start()
    sim.append(300)
    sim.advance(30)
    sim.receiver.latency_s = 0.5
    replay(sim, 1, 300)
    sim.advance(3)

    sim.run(sim.directory.cancel_replay(sim.destination, "rpl_1", sim.clock.now()))
    sim.bells.notify_changes()
    sim.advance(2)
    when_cancelled = sum(sim.receiver.accepted.values())
    later = sim.append(1)
    sim.advance(300)

    assert 300 < when_cancelled < 600
    assert sum(sim.receiver.accepted.values()) == when_cancelled + 1
    assert sim.receiver.accepted[later[0]] == 1


def test_a_replay_does_not_delay_new_events(make):
    """While a long range is replayed, fresh events have the larger part of the window."""
    sim = make()
    sim.start()
    sim.append(2000)
    sim.advance(30)
    sim.receiver.latency_s = 0.5
    replay(sim, 1, 2000)
    sim.advance(2)

    fresh = sim.append(10)
    sim.advance(1.1)

    assert all(sim.receiver.accepted[one] for one in fresh)
    assert sim.run(sim.ledger.outstanding(key_of(sim.destination))).replays != []


def test_retries_have_a_quarter_of_the_window(make):
    """When many retries fall due at once, no more than their share is in flight, and fresh events go on."""
    sim = make()
    sim.start()
    failing = set(sim.append(60))
    sim.receiver.answers = lambda ids: status(400) if failing & set(ids) else status(202)
    sim.advance(50)
    sim.receiver.latency_s = 1.0
    window = int(sim.running[0].worker.roster.get(sim.destination.no).forwarder.pacing.window)
    before = len(sim.receiver.attempts)

    while len(sim.receiver.attempts) == before:
        sim.advance(0.1)
    fresh = sim.append(10)
    sim.advance(1.2)

    assert sim.receiver.in_flight_most <= window
    assert all(sim.receiver.accepted[one] for one in fresh)


def test_a_paused_destination_is_sent_nothing(make):
    """From the pause on nothing new begins; resumed, everything that waited arrives once."""
    sim = make()
    sim.start()
    sim.change(lambda spec: replace(spec, enabled=False))
    sim.advance(1)

    ids = sim.append(20)
    sim.advance(60)
    paused = dict(sim.receiver.accepted)
    sim.change(lambda spec: replace(spec, enabled=True))
    sim.advance(5)

    assert paused == {}
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_a_new_filter_holds_for_what_was_not_read_yet(make):
    """After a change of the filter only what it wants arrives, and the cursor passes the rest."""
    sim = make()
    sim.start()
    sim.change(lambda spec: replace(spec, filter=Filter(datasets=("wanted",))))
    sim.advance(1)

    unwanted = sim.append(5)
    wanted = sim.append(3, dataset="wanted")
    sim.advance(5)

    assert not any(sim.receiver.accepted[one] for one in unwanted)
    assert all(sim.receiver.accepted[one] == 1 for one in wanted)
    assert sim.progress().cursor == 8


def test_a_url_that_is_no_longer_allowed_is_a_failure_to_fix(make):
    """When the route is refused, nothing is sent, the person reads why, and events wait for the correction."""
    sim = make()
    worker = sim.start()
    allowed = worker.worker.deps.route_of

    def refuse(_):
        raise Invalid("plain http is not allowed any more: use https")

    serve(worker, refuse)
    ids = sim.append(3)
    sim.advance(1)
    progress, attempts = sim.progress(), list(sim.receiver.attempts)
    serve(worker, allowed)
    sim.change(lambda spec: replace(spec, name="corrected"))
    sim.advance(400)

    assert attempts == []
    assert progress.health.last_error_message == "plain http is not allowed any more: use https"
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_a_stopped_worker_gives_back_what_has_no_answer(make):
    """An attempt without an answer at the end of the grace uses up nothing: the next worker makes it as the first."""
    sim = make(settings=make_settings(lease_seconds=80, request_timeout_seconds=60))
    sim.receiver.timeout_s = 60
    worker = sim.start()
    sim.receiver.answers = lambda _: None
    ids = sim.append(3)
    sim.advance(1)

    worker.stop.set()
    sim.advance(9)
    left = sim.progress()

    assert (left.cursor, left.failed_attempts, left.retrying) == (0, 0, 0)
    assert sim.retries() == {}
    assert ids


def test_a_deleted_destination_is_let_go(make):
    """From its deletion on a destination is sent nothing, and its worker goes on with the others."""
    sim = make()
    sim.start()
    other = sim.run(sim.add_destination(DestinationSpec(url="https://other.example.com/in")))
    sim.advance(1)

    sim.run(
        sim.directory.delete_destination(sim.org.organization_no, sim.destination.dst_id, sim.clock.now())
    )
    sim.bells.notify_changes()
    sim.advance(1)
    ids = sim.append(5)
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert sim.run(sim.directory.progress(other)).delivered == 5


@pytest.mark.parametrize("refused", [11, 80, 500])
def test_rejected_events_never_hold_up_the_others(make, refused):
    """However many events a destination rejects for their content, so many become dead letters and no more, and others arrive."""
    sim = make(settings=make_settings(lease_seconds=20, dead_letters_max=10))
    bad = set(sim.append(refused))
    sim.receiver.answers = lambda event_ids: status(400 if bad & set(event_ids) else 202)
    sim.receiver.latency_s = 0.1
    sim.start()
    good = sim.append(20)
    sim.advance(600)
    dead = len(sim.dead())
    purged = sim.run(sim.directory.purge(sim.destination, None))
    bad |= set(sim.append(5))
    good += sim.append(5)
    sim.advance(600)

    progress = sim.run(sim.directory.progress(sim.destination))
    assert sim.receiver.accepted == dict.fromkeys(good, 1)
    assert dead == purged == 10
    assert len(sim.dead()) == 5
    assert (progress.cursor, progress.retrying) == (progress.head, 0)


def test_dead_letters_that_are_not_stored_yet_count(make):
    """Events that are rejected at the same time, and die at once, make no more dead letters than are kept."""
    once = DestinationSpec(url="https://sink.example.com/in", retry=RetryPolicy(max_attempts=1))
    sim = make(spec=once, settings=make_settings(lease_seconds=20, dead_letters_max=10))
    sim.receiver.answers = lambda _: status(400)
    sim.start()
    sim.append(200)
    sim.advance(60)

    progress = sim.run(sim.directory.progress(sim.destination))
    assert len(sim.dead()) == 10
    assert (progress.cursor, progress.retrying) == (progress.head, 0)


def test_redriven_events_that_are_rejected_again_are_settled(make):
    """With as many dead letters as there may be, a redrive of some that are rejected again leaves no retry behind."""
    sim = make(settings=make_settings(lease_seconds=20, dead_letters_max=10))
    sim.receiver.answers = lambda _: status(400)
    sim.start()
    sim.append(30)
    sim.advance(60)
    sim.run(sim.directory.redrive(sim.destination, None))
    sim.bells.notify_changes()
    sim.append(30)
    sim.advance(600)

    progress = sim.run(sim.directory.progress(sim.destination))
    assert len(sim.dead()) == progress.dead_letters <= 10
    assert progress.retrying == 0
    assert progress.cursor == progress.head


def test_at_the_most_dead_letters_of_an_outage_events_wait_in_the_log(make):
    """At the most dead letters for a reason about the destination, what follows waits in the log, and goes on when there is room."""
    sim = make(settings=make_settings(lease_seconds=20, dead_letters_max=10, auto_redrive=False))
    sim.receiver.answers = lambda _: status(500)
    sim.receiver.latency_s = 1.0
    sim.start()
    ids = sim.append(500)
    sim.advance(6 * 3600)
    held_at = len(sim.dead())

    sim.receiver.answers = lambda _: status(202)
    sim.run(sim.directory.purge(sim.destination, None))
    sim.bells.notify_changes()
    sim.advance(7200)

    assert 10 <= held_at <= 10 + sim.settings.delivery.window_max
    assert sim.dead() == []
    assert set(sim.receiver.accepted) == set(ids[held_at:])


def test_below_the_most_dead_letters_everything_is_attempted(make):
    """One dead letter less than the most holds nothing back."""
    sim = make(settings=make_settings(lease_seconds=20, dead_letters_max=10))
    sim.receiver.answers = lambda event_ids: status(400 if event_ids[0] < "e000009" else 202)
    sim.start()
    sim.append(200)
    sim.advance(3600)

    assert len(sim.dead()) == 9
    assert sum(sim.receiver.accepted.values()) == 191


def test_a_replay_that_has_ended_does_not_begin_again(make):
    """What was read of the store before a replay ended, and is told to the destination after, sends nothing twice."""
    sim = make()
    worker = sim.start()
    ids = sim.append(50)
    sim.advance(5)
    replay(sim, 11, 20)
    before = sim.run(sim.ledger.outstanding(key_of(sim.destination)))
    sim.advance(5)
    (forwarder,) = worker.worker.roster.forwarders()

    forwarder.set_outstanding(before)
    sim.advance(5)

    assert before.replays
    assert sum(sim.receiver.accepted.values()) == 60
    assert {one for one, count in sim.receiver.accepted.items() if count == 2} == set(ids[10:20])


def test_a_filter_that_leaves_out_whole_pages_read_at_once_stops_nothing(make):
    """Large events that the filter leaves out fill several pages; the one behind them is sent all the same."""
    sim = make(spec=DestinationSpec(url="https://sink.example.com/in", filter=Filter(datasets=("wanted",))))
    sim.start()
    sim.advance(1)
    sim.bells.notify = lambda *_: None  # the worker sees all of them at once, at its next look
    sim.append(PEEK_EVENTS_MAX - 1, reason="x" * 20_000)

    wanted = sim.append(1, dataset="wanted")
    sim.advance(1)

    assert list(sim.receiver.accepted) == wanted
    assert sim.progress().cursor == PEEK_EVENTS_MAX


def test_few_new_events_are_read_without_a_thread(make, monkeypatch):
    """At a low rate no page is read on a thread: each event is read where it is sent."""
    sim = make()
    sim.start()
    sim.advance(1)
    pages: list[int] = []
    monkeypatch.setattr(SharedPages, "read", lambda _, __, first, *___, **____: pages.append(first))
    for _ in range(20):
        sim.append(1)
        sim.advance(0.1)
    sim.advance(0.5)

    assert (pages, sim.progress().delivered) == ([], 20)


def test_waiting_for_a_limit_of_our_own_is_no_attempt(make):
    """What was not sent because of our own limit is sent later with all its attempts, and nobody is blamed but in the log."""
    sim = make()
    sim.telemetry = Said()
    full = Fault(FaultKind.LIMIT, "all connections that one organization may have were in use for 4 s", 0)
    sim.receiver.answers = lambda _: full
    sim.receiver.latency_s = 4.0
    sim.start()
    ids = sim.append(40)
    sim.advance(60)
    meanwhile = sim.progress()

    sim.receiver.answers = lambda _: status(202)
    sim.advance(15)

    assert (meanwhile.failed_attempts, meanwhile.retrying, meanwhile.dead_letters) == (0, 0, 0)
    assert (meanwhile.health.failures_in_row, meanwhile.health.last_error_message) == (0, None)
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert {one for tried in sim.attempts().values() for one in tried} == {(1, "delivered")}
    [said] = sim.telemetry.named("destination.warning")
    assert said["reason"] == f"nothing was sent: {full.message}"
