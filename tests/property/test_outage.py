"""Hours of outage in milliseconds: the retry schedule, pacing, Retry-After, automatic redrive, on the injected clock."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Response, RetryPolicy
from aegis_stream.domain.destination import DestinationSpec
from support.settings import make_settings
from support.simulation import Simulation, status

Make = Callable[..., Simulation]
HOUR_S = 3600
REFUSED = Fault(FaultKind.CONNECT, "connection refused", 300)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make simulations that end with the test."""
    made: list[Simulation] = []

    def one(**values: object) -> Simulation:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Simulation(folder, **values))
        return made[-1]

    yield one
    for simulation in made:
        simulation.close()


def test_three_attempts_a_minute_and_two_apart_then_dead(make: Make) -> None:
    """A failing event is attempted at once, after 60 s ± 10 %, after 120 s ± 10 %, and is then a dead letter."""
    sim = make()
    sim.receiver.answers = lambda _: status(500)
    sim.start()
    (event_id,) = sim.append()

    sim.advance(400)

    first, second, third = sim.receiver.times(event_id)
    assert 54 <= second - first <= 66.5
    assert 108 <= third - second <= 132.5
    assert sim.dead() == [1]
    assert sim.retries() == {}
    progress = sim.progress()
    assert (progress.failed_attempts, progress.dead_letters, progress.retrying, progress.delivered) == (
        3,
        1,
        0,
        0,
    )
    assert progress.cursor == 1
    assert "500" in progress.health.last_error_message


def test_jitter_spreads_events_that_failed_together(make: Make) -> None:
    """Events that fail at one moment are not all repeated at one moment."""
    sim = make()
    sim.receiver.answers = lambda _: status(500)
    sim.start()

    sim.append(60)
    sim.advance(30)

    due = sorted(at for _, at in sim.retries().values())
    assert len(due) == 60
    assert due[-1] - due[0] > 5_000_000


@pytest.mark.parametrize("code", [429, 503], ids=str)
def test_retry_after_is_honoured(make: Make, code: int) -> None:
    """Retry-After on 429 and 503 lengthens the delay, and nothing new is sent before it is over."""
    sim = make()
    sim.receiver.answers = lambda _: status(code, "600")
    sim.start()
    (first,) = sim.append()
    sim.advance(1)

    (second,) = sim.append()
    sim.advance(590)
    before = len(sim.receiver.attempts)
    sim.receiver.answers = lambda _: status(202)
    sim.advance(120)

    assert before == 1
    assert sim.receiver.accepted[first] == 1
    assert sim.receiver.accepted[second] == 1


@pytest.mark.parametrize("date", [None, "Tue, 14 Nov 2023 20:00:00 GMT"], ids=["our clock", "its clock"])
def test_retry_after_as_a_date_is_honoured(make: Make, date: str | None) -> None:
    """A destination that names a time ten minutes away gets nothing before it, by its own clock if it tells that."""
    sim = make()
    now_s = sim.clock.now() / 1e6 if date is None else parsedate_to_datetime(date).timestamp()
    busy = Response(503, b"", 5000, formatdate(now_s + 600, usegmt=True), date=date)
    sim.receiver.answers = lambda _: busy
    sim.start()
    (event_id,) = sim.append()
    sim.advance(590)
    before = len(sim.receiver.attempts)
    sim.receiver.answers = lambda _: status(202)
    sim.advance(120)

    assert before == 1
    assert sim.receiver.accepted[event_id] == 1


def test_retry_after_is_bounded_by_an_hour(make: Make) -> None:
    """A Retry-After of ten years counts as an hour."""
    sim = make()
    sim.receiver.answers = lambda _: status(503, "315360000")
    sim.start()
    (event_id,) = sim.append()
    sim.advance(1)
    sim.receiver.answers = lambda _: status(202)

    sim.advance(3700)

    assert sim.receiver.accepted[event_id] == 1


@pytest.mark.parametrize("junk", ["soon", "-5", "1e9", "", "Wed, 33 Oct 2099 07:28:00 GMT"])
def test_unreadable_retry_after_counts_as_absent(make: Make, junk: str) -> None:
    """A Retry-After that is neither seconds nor a date changes nothing."""
    sim = make()
    sim.receiver.answers = lambda _: status(503, junk)
    sim.start()
    (event_id,) = sim.append()

    sim.advance(70)

    assert len(sim.receiver.times(event_id)) == 2


def test_a_few_events_keep_their_schedule_in_an_outage(make: Make) -> None:
    """In an outage each of twenty events gets its three attempts on schedule and is then a dead letter."""
    sim = make(settings=make_settings(lease_seconds=20, auto_redrive=False))
    sim.receiver.answers = lambda _: status(503)
    sim.start()

    sim.append(20)
    sim.advance(300)

    assert sim.dead() == list(range(1, 21))
    assert len(sim.receiver.attempts) == 60


def test_an_outage_of_a_day_burns_few_of_a_large_backlog(make: Make) -> None:
    """While a destination is down for a day, a backlog of 20,000 waits in the log, and all of it arrives afterwards."""
    sim = make(look_s=5.0)
    sim.receiver.answers = lambda _: status(503)
    sim.start()
    ids = sim.append(20_000)

    sim.advance(86_400)
    burnt = {one for attempt in sim.receiver.attempts for one in attempt.event_ids}
    attempts_in_outage = len(sim.receiver.attempts)
    sim.receiver.answers = lambda _: status(202)
    sim.advance(1200)

    assert attempts_in_outage <= 86_400 / 30 + 300
    assert len(burnt) < 2_000
    assert set(sim.receiver.accepted) == set(ids)
    assert sim.dead() == []
    assert sim.retries() == {}
    assert sim.progress().cursor == 20_000


@pytest.mark.parametrize(
    "answer",
    [status(401), status(503), status(404), REFUSED, None],
    ids=["401", "503", "404", "refused", "silent"],
)
def test_an_outage_under_a_steady_stream_is_paced(make: Make, answer: Answer | None) -> None:
    """At 50 events a second for five minutes a destination that rejects everything gets some 256 attempts, and then probes."""
    sim = make(settings=make_settings(lease_seconds=20, retry_base_seconds=5.0), look_s=5.0)
    sim.start()
    sim.append()
    sim.advance(1)
    sim.receiver.answers = lambda _: answer

    ids = []
    for _ in range(600):
        ids += sim.append(25)
        sim.advance(0.5)
    attempts_in_outage, dead = len(sim.receiver.attempts), len(sim.dead())
    sim.receiver.answers = lambda _: status(202)
    sim.advance(300)

    assert attempts_in_outage <= 256 + 64 + 25
    assert dead <= 10
    assert set(ids) <= set(sim.receiver.accepted)
    assert (sim.dead(), sim.retries()) == ([], {})


def test_a_slow_stream_into_an_outage_is_paced_in_the_end(make: Make) -> None:
    """One event every two seconds never makes a backlog, but after a thousand failures in a row only probes are sent."""
    sim = make(look_s=5.0)
    sim.receiver.answers = lambda _: status(401)
    sim.start()

    for _ in range(3000):
        sim.append()
        sim.advance(2)

    assert 1024 <= len(sim.receiver.attempts) <= 1024 + 6000 / 30
    late = len(sim.dead())
    sim.receiver.answers = lambda _: status(202)
    sim.advance(3600)
    assert late < 600
    assert (sim.dead(), sim.retries()) == ([], {})
    assert len(sim.receiver.accepted) == 3000


def test_recovery_is_noticed_within_the_longest_probe_pause(make: Make) -> None:
    """After an outage of hours the first success comes within 35 s of the receiver's return."""
    sim = make()
    sim.receiver.answers = lambda _: status(503)
    sim.start()
    sim.append(5000)
    sim.advance(4 * 3600)
    sim.receiver.answers = lambda _: status(202)
    healthy_again = sim.loop.time()

    sim.advance(60)

    first = next(one.at_s for one in sim.receiver.attempts if one.answer == status(202))
    assert first - healthy_again <= 35


def test_dead_letters_about_the_destination_are_redriven_by_themselves(make: Make) -> None:
    """A token that was wrong for an hour loses nothing: after the first success the dead letters are sent again."""
    sim = make()
    sim.receiver.answers = lambda _: status(401)
    sim.start()
    early = sim.append(10)
    sim.advance(3600)
    assert sim.dead() == list(range(1, 11))
    sim.receiver.answers = lambda _: status(202)

    (late,) = sim.append()
    sim.advance(5)

    assert set(sim.receiver.accepted) == {*early, late}
    assert sim.dead() == []
    assert sim.progress().dead_letters == 0


def test_dead_letters_about_an_event_stay(make: Make) -> None:
    """An event that the destination refuses for its content is not redriven when others succeed."""
    sim = make()
    sim.receiver.answers = lambda ids: status(400) if ids == ["e000000"] else status(202)
    sim.start()
    sim.append(2)
    sim.advance(400)

    sim.append(5)
    sim.advance(400)

    assert sim.dead() == [1]
    assert len(sim.receiver.times("e000000")) == 3


def test_automatic_redrive_can_be_switched_off(make: Make) -> None:
    """With auto_redrive off, dead letters wait for a person."""
    sim = make(settings=make_settings(lease_seconds=20, auto_redrive=False))
    sim.receiver.answers = lambda _: status(401)
    sim.start()
    sim.append(3)
    sim.advance(400)
    sim.receiver.answers = lambda _: status(202)

    sim.append()
    sim.advance(400)

    assert sim.dead() == [1, 2, 3]
    assert sim.redrive() == 3
    sim.advance(1)
    assert sim.dead() == []


@pytest.mark.parametrize("idle_s", [0, HOUR_S], ids=["at once", "after an idle hour"])
def test_a_corrected_destination_gets_what_had_died_without_a_new_event(make: Make, idle_s: int) -> None:
    """Whoever corrects a credential sees the dead letters arrive by themselves: one as a probe, then the others."""
    sim = make(settings=make_settings(lease_seconds=20))
    sim.receiver.answers = lambda _: status(401)
    sim.start()
    ids = sim.append(5)
    sim.advance(HOUR_S)
    dead = sim.dead()
    sim.advance(idle_s)

    sim.receiver.answers = lambda _: status(202)
    sim.change(lambda spec: replace(spec, auth_header_name="Authorization", auth_header_value="Bearer good"))
    sim.advance(120)

    assert dead == [1, 2, 3, 4, 5]
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert (sim.dead(), sim.retries()) == ([], {})


def test_a_correction_that_is_none_costs_one_probe(make: Make) -> None:
    """A change that does not help sends one of the dead letters again, which dies again; the others are left alone."""
    sim = make(settings=make_settings(lease_seconds=20))
    sim.receiver.answers = lambda _: status(401)
    sim.start()
    ids = sim.append(5)
    sim.advance(HOUR_S)
    before = len(sim.receiver.attempts)

    sim.change(lambda spec: replace(spec, name="still wrong"))
    sim.advance(HOUR_S)

    assert sim.dead() == [1, 2, 3, 4, 5]
    assert {one for attempt in sim.receiver.attempts[before:] for one in attempt.event_ids} == {ids[0]}


def test_a_recovery_soon_after_a_redrive_is_made_up_for(make: Make) -> None:
    """What dies within a minute of a redrive is redriven by a success after that minute, not only by the next outage's end."""
    sim = make(settings=make_settings(lease_seconds=20, retry_max_attempts=1))
    mood = [500]
    sim.receiver.answers = lambda _: status(mood[0])
    sim.start()
    ids = sim.append(3)
    sim.advance(10)
    mood[0] = 202
    ids += sim.append(1)
    sim.advance(10)
    mood[0] = 500
    ids += sim.append(3)
    sim.advance(10)
    mood[0] = 202
    ids += sim.append(1)
    sim.advance(10)
    between = len(sim.dead())
    sim.advance(60)
    ids += sim.append(1)
    sim.advance(10)

    assert between == 3
    assert sim.dead() == []
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_redrive_happens_once_per_recovery_and_event(make: Make) -> None:
    """Twenty successes after a recovery redrive what died before it once, not twenty times."""
    sim = make()
    bad = set(sim.append(5))
    sim.receiver.answers = lambda ids: status(403) if bad & set(ids) else status(202)
    sim.start()
    sim.advance(400)
    sim.append()
    sim.advance(500)
    attempts_before = len(sim.receiver.times("e000000"))

    for _ in range(20):
        sim.append(3)
        sim.advance(0.2)

    assert len(sim.receiver.times("e000000")) == attempts_before + 1


def test_changing_the_configuration_ends_the_holding_back(make: Make) -> None:
    """After a fix of the configuration the next attempt is made at once, not after the rest of the pause."""
    sim = make()
    sim.receiver.answers = lambda _: status(401, None)
    sim.start()
    sim.append(3000)
    sim.advance(3600)
    before = len(sim.receiver.accepted)
    sim.receiver.answers = lambda _: status(202)

    sim.change(lambda spec: replace(spec, auth_header_name="Authorization", auth_header_value="Bearer right"))
    sim.advance(0.5)

    assert before == 0
    assert len(sim.receiver.accepted) > 10


def test_a_poison_event_in_a_batch_is_found_by_halving(make: Make) -> None:
    """One refused event among 500 costs at most 2·log₂(500)+1 extra requests; the other 499 arrive."""
    spec = DestinationSpec(
        url="https://sink.example.com/in", format="ndjson", retry=RetryPolicy(base_seconds=60)
    )
    sim = make(spec=spec)
    sim.receiver.answers = lambda ids: status(422) if "e000123" in ids else status(202)
    sim.start()

    sim.append(500)
    sim.advance(30)

    assert len(sim.receiver.accepted) == 499
    assert len(sim.receiver.attempts) <= 1 + 2 * 9 + 1
    assert list(sim.retries()) == [124]
    sim.advance(300)
    assert sim.dead() == [124]


def test_events_wait_for_company_when_the_format_batches(make: Make) -> None:
    """Events that come one by one within max_wait_ms travel in one request."""
    spec = DestinationSpec(url="https://sink.example.com/in", format="ndjson")
    sim = make(spec=spec)
    sim.start()

    for _ in range(5):
        sim.append()
        sim.advance(0.02)
    sim.advance(1)

    assert [len(one.event_ids) for one in sim.receiver.attempts] == [5]


def test_a_slow_answer_does_not_hold_the_watermark(make: Make) -> None:
    """While one attempt hangs, later events are delivered and settled; a crash then repeats only a window."""
    sim = make(settings=make_settings(lease_seconds=20))
    sim.receiver.answers = lambda ids: None if ids == ["e000000"] else status(202)
    sim.receiver.latency_s = 0.001
    sim.start()

    sim.append(30_000)
    sim.advance(5)

    progress = sim.progress()
    assert progress.cursor > 20_000
    assert list(sim.retries()) == [1]
    sim.receiver.answers = lambda _: status(202)
    sim.advance(120)
    assert sim.receiver.accepted["e000000"] == 1
    assert sim.retries() == {}
    assert max(sim.receiver.accepted.values()) == 1


def test_a_lost_ring_costs_only_moments(make: Make) -> None:
    """When no ring arrives, events still start within half a second, by the slow look."""
    sim = make()
    sim.start()
    sim.advance(1)
    sim.bells.deaf = True
    began = sim.loop.time()

    (event_id,) = sim.append()
    sim.advance(2)

    assert sim.receiver.times(event_id)[0] - began <= 0.5


def test_a_failing_destination_that_is_owed_a_redrive_costs_no_turns(make: Make) -> None:
    """An outage that begins within a minute of two recoveries keeps the worker no busier than any other outage."""

    def outage(*, recoveries: int) -> int:
        sim = make(settings=make_settings(lease_seconds=20, retry_max_attempts=1))
        sim.start()
        for code in [500, 202] * recoveries + [500]:
            sim.receiver.answers = lambda _, code=code: status(code)
            sim.append()
            sim.advance(5)
        began = sim.loop.turns
        sim.advance(300)
        assert sim.progress().dead_letters > 0
        return sim.loop.turns - began

    assert outage(recoveries=2) < 1.2 * outage(recoveries=0)


HOUR_US = 3_600_000_000
STEPS_US = {"back": -HOUR_US, "ahead": HOUR_US, "a day back": -24 * HOUR_US, "a year ahead": 8760 * HOUR_US}


@pytest.mark.parametrize("step", STEPS_US)
@pytest.mark.parametrize("there_and_back", [False, True], ids=["once", "there and back"])
def test_a_jump_of_the_wall_clock_moves_no_retry(make: Make, step: str, there_and_back: bool) -> None:
    """Setting the clock, once or there and back, changes nothing of the schedule: three attempts, a minute and two apart."""
    sim = make()
    sim.receiver.answers = lambda _: status(500)
    sim.start()
    (early,) = sim.append()
    sim.advance(10)

    sim.clock.skew_us = STEPS_US[step]
    (late,) = sim.append()
    sim.advance(20)
    if there_and_back:
        sim.clock.skew_us = 0
    sim.advance(300)

    for event_id in (early, late):
        first, second, third = sim.receiver.times(event_id)
        assert 54 <= second - first <= 66.5
        assert 108 <= third - second <= 132.5
    assert sim.dead() == [1, 2]


@pytest.mark.parametrize("code", [500, 503], ids=str)
@pytest.mark.parametrize("step", STEPS_US)
def test_a_worker_that_starts_after_a_jump_keeps_to_the_policy(make: Make, step: str, code: int) -> None:
    """No retry that an earlier worker left is further away than the policy, or the longest Retry-After, allows."""
    sim = make()
    sim.receiver.answers = lambda _: status(code)
    worker = sim.start()
    sim.append(20)
    sim.advance(1)
    sim.stop(worker)

    sim.clock.skew_us = STEPS_US[step]
    sim.receiver.answers = lambda _: status(202)
    sim.start()
    sim.advance(70 if code == 500 else 3700)

    assert len(sim.receiver.accepted) == 20
    assert sim.retries() == {}


def test_a_year_ahead_while_attempts_fail_and_a_restart(make: Make) -> None:
    """Retries written by a worker that started under a clock a year ahead wait a minute after the next start, not a year."""
    sim = make()
    sim.clock.skew_us = STEPS_US["a year ahead"]
    sim.receiver.answers = lambda _: status(500)
    worker = sim.start()
    ids = sim.append(5)
    sim.advance(5)

    sim.stop(worker)
    sim.clock.skew_us = 0
    sim.receiver.answers = lambda _: status(202)
    sim.start()
    sim.advance(70)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_a_shorter_policy_brings_waiting_retries_forward(make: Make) -> None:
    """Whoever shortens the pause from an hour to ten seconds does not wait for the hour to end."""
    sim = make(settings=make_settings(lease_seconds=20, retry_base_seconds=3600.0, retry_max_seconds=7200.0))
    sim.receiver.answers = lambda _: status(500)
    sim.start()
    (event_id,) = sim.append()
    sim.advance(5)

    sim.receiver.answers = lambda _: status(202)
    sim.change(lambda spec: replace(spec, retry=RetryPolicy(base_seconds=10.0)))
    sim.advance(15)

    assert sim.receiver.accepted[event_id] == 1


@pytest.mark.parametrize("step", STEPS_US)
@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by itself"])
def test_dead_letters_are_redriven_whatever_the_clock_says(make: Make, step: str, by_hand: bool) -> None:
    """Dead letters from before a jump are redriven at once after it."""
    sim = make(settings=make_settings(lease_seconds=20, auto_redrive=not by_hand))
    sim.receiver.answers = lambda _: status(500)
    sim.start()
    ids = sim.append(3)
    sim.advance(300)
    assert sim.dead() == [1, 2, 3]

    sim.clock.skew_us = STEPS_US[step]
    sim.receiver.answers = lambda _: status(202)
    if by_hand:
        sim.redrive()
    else:
        ids += sim.append()
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert sim.dead() == []


def test_a_bug_in_serving_one_destination_costs_the_others_nothing(make: Make) -> None:
    """When serving a destination raises, the worker goes on with the others, and later with it: nothing is lost."""
    sim = make()
    worker = sim.start()
    other = sim.run(sim.add_destination(replace(sim.spec, url="https://other.example.com/in")))
    sim.advance(1)
    broken = True

    def answer(ids: list[str]) -> object:
        if broken and len(sim.receiver.attempts) % 2:
            raise RuntimeError("a bug")
        return status(202)

    sim.receiver.answers = answer
    ids = sim.append(50)
    sim.advance(5)
    broken = False
    sim.advance(130)

    assert not worker.task.done()
    assert set(sim.receiver.accepted) == set(ids)
    assert sim.progress().cursor == 50
    assert sim.run(sim.directory.progress(other)).cursor == 50


BLOCKED = {
    "401": status(401),
    "403": status(403),
    "404": status(404),
    "409": status(409),
    "429": status(429),
    "503": status(503),
    "hang-up": Fault(FaultKind.CLOSED, "closed the connection without an answer", 900),
}


@pytest.mark.parametrize("answer", BLOCKED)
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_blocked_event_costs_itself_alone(make: Make, answer: str, attempts: int) -> None:
    """One event of 300 is blocked with any answer, while others are accepted now and then: the other 299 arrive."""
    retry = RetryPolicy(base_seconds=20, max_attempts=attempts)
    spec = DestinationSpec(url="https://sink.example.com/in", format="ndjson", retry=retry)
    sim = make(spec=spec, settings=make_settings(lease_seconds=20))
    sim.receiver.answers = lambda ids: BLOCKED[answer] if "e000123" in ids else status(202)
    sim.start()
    ids = sim.append(300)

    for _ in range(30):
        ids += sim.append(2)
        sim.advance(7)

    assert set(ids) - set(sim.receiver.accepted) == {"e000123"}
    assert {*sim.dead(), *sim.retries()} == {124}
    assert max(sim.receiver.accepted.values()) == 1


def test_a_blocked_event_costs_itself_alone_when_little_happens(make: Make) -> None:
    """With one event in ten minutes the others are given up with the blocked one at first, and arrive by the next redrive."""
    spec = DestinationSpec(url="https://sink.example.com/in", format="ndjson", retry=RetryPolicy())
    sim = make(spec=spec)
    sim.receiver.answers = lambda ids: status(403) if "e000123" in ids else status(202)
    sim.start()
    ids = sim.append(200)
    sim.advance(600)
    dead_at_first = len(sim.dead())

    ids += sim.append(1)
    sim.advance(5)
    after_one = set(ids) - set(sim.receiver.accepted)
    before = len(sim.receiver.attempts)
    sim.advance(595)
    ids += sim.append(1)
    sim.advance(600)

    assert dead_at_first == 200
    assert after_one == {"e000123"}
    assert sim.dead() == [124]
    assert all(
        one.event_ids == ["e000123"] for one in sim.receiver.attempts[before:] if "e000123" in one.event_ids
    )


def test_an_outage_halves_no_batch(make: Make) -> None:
    """When a destination fails and nothing is accepted any more, a batch is given up as a whole, in three requests."""
    spec = DestinationSpec(url="https://sink.example.com/in", format="ndjson", retry=RetryPolicy())
    sim = make(spec=spec)
    sim.start()
    sim.append(5)
    sim.advance(20)
    before = len(sim.receiver.attempts)

    sim.receiver.answers = lambda _: status(503)
    sim.append(200)
    sim.advance(400)

    assert len(sim.dead()) == 200
    assert len(sim.receiver.attempts) - before == 3
