"""What formats read from answers, and the limits they have, at work in a delivery: simulated time, a real store."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Request, Response
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Filter
from aegis_stream.domain.ids import ReplayId
from aegis_stream.formats import REGISTRY
from aegis_stream.pipeline.attempt import OVERSIZE_LOOK_BYTES
from aegis_stream.pipeline.route import route_of
from aegis_stream.settings import Settings
from support.formats import read_events
from support.said import Said
from support.settings import make_settings
from support.simulation import ScriptedReceiver, Simulation
from support.spoken import BAD_FOR_NOW, DOWN, FAILED_INSIDE, REFUSED, TAKEN, TOO_LARGE, UNJUDGED, Spoken

URL = "https://sink.example.com/in"
HOUR_S = 3600


@pytest.fixture
def spoken():
    """What the destination says, in the format `spoken`."""
    return Spoken()


@pytest.fixture
def make(tmp_path, monkeypatch, spoken):
    """Make the simulation of a destination whose format is `spoken`, with these limits, or another one."""
    made: list[Simulation] = []

    def build(*, format_="spoken", limits=None, look_s=0.25, **spec):
        spoken.register(monkeypatch, **(limits or {}))
        sim = Simulation(
            tmp_path,
            spec=DestinationSpec(url=URL, format=format_, retry=Settings().retry.policy, **spec),
            settings=make_settings(lease_seconds=20, auto_redrive=False),
            look_s=look_s,
        )
        sim.telemetry = Said()
        sim.receiver.answers = lambda ids: spoken.say(ids, TAKEN)
        made.append(sim)
        return sim

    yield build
    for one in made:
        one.close()


def saying(spoken: Spoken, *words) -> Callable[[list[str]], Response]:
    """Say these verdicts, one after the other and the last one for ever; a function makes them from the ids."""
    left = list(words)

    def answer(ids: list[str]) -> Response:
        word = left.pop(0) if len(left) > 1 else left[0]
        return spoken.say(ids, word(ids) if callable(word) else word)

    return answer


def requests(sim: Simulation) -> list[list[str]]:
    """Return the ids of every request that was answered."""
    return [one.event_ids for one in sim.receiver.attempts]


# ── limits of the destination ──


def test_where_order_counts_there_is_one_request_at_a_time(make):
    """A destination that refuses what comes long after something newer gets one request after the other, in the order of the log."""
    sim = make(limits={"in_order": True}, batch=BatchPolicy(max_events=10))
    recorded = sim.append(100)
    sim.start()

    sim.advance(5)

    assert sim.receiver.in_flight_most == 1
    assert [one for ids in requests(sim) for one in ids] == recorded
    assert sim.progress().delivered == 100


def test_a_route_has_what_its_format_needs():
    """As much of an answer is read as the format must know, and the URL has the format's parameters."""
    plain = route_of(DestinationSpec(url=URL, format="json"), Settings())
    bulk = route_of(DestinationSpec(url=URL + "/_bulk?a=b", format="elastic_bulk"), Settings())

    assert (plain.answer_bytes_max, plain.endpoint.target) == (16 * 1024, "/in")
    assert bulk.answer_bytes_max == REGISTRY["elastic_bulk"].answer_bytes_max == 192 * 1024
    assert bulk.endpoint.target.startswith("/in/_bulk?a=b&filter_path=")


def test_no_request_has_more_events_than_the_format_allows(make):
    """Requests are filled up to the format's limit where the user's is wider, and not beyond."""
    sim = make(limits={"events_max": 10})
    sim.start()

    sim.append(100)
    sim.advance(5)

    assert [len(ids) for ids in requests(sim)] == [10] * 10


def test_no_request_has_more_bytes_than_the_format_allows(make):
    """The events of a request have as many bytes as become the format's limit on the way, and not more."""
    sim = make(limits={"body_bytes_max": 4000, "growth": 2.0})
    sim.start()

    sim.append(100)
    sim.advance(5)

    assert 1900 <= max(len(one.body) for one in sim.receiver.attempts) <= 2000
    assert sim.progress().delivered == 100


def test_a_request_that_is_full_by_the_format_does_not_wait_for_company(make):
    """As soon as there is a full request it is sent, however long a user lets lone events wait."""
    sim = make(limits={"events_max": 10}, batch=BatchPolicy(max_wait_ms=60_000))
    sim.start()

    sim.append(10)
    sim.advance(1)

    assert [len(ids) for ids in requests(sim)] == [10]


def test_small_requests_are_within_the_limits_of_every_format():
    """What is not measured before it is sent could not be too large for any destination."""
    for one in REGISTRY.values():
        assert min(one.body_bytes_max, one.event_bytes_max or one.body_bytes_max) >= OVERSIZE_LOOK_BYTES


def widened(times: int) -> Callable[[list[bytes]], Request]:
    """Encode events as lines that are so many times as long as the events."""
    return lambda bodies: Request(
        b"".join(one.ljust(times * len(one)) + b"\n" for one in bodies), "application/x-ndjson"
    )


def test_a_request_that_turns_out_too_large_is_halved_before_it_is_sent(make, spoken):
    """Events that grow more than expected arrive in requests within the limit, and nothing counts as failed."""
    sim = make(limits={"body_bytes_max": 100_000, "encode": widened(4)})
    sim.start()

    ids = sim.append(40, note="x" * 5000)
    sim.advance(5)

    assert max(len(one.body) for one in sim.receiver.attempts) <= 100_000
    assert spoken.taken == dict.fromkeys(ids, 1)
    progress = sim.progress()
    assert (progress.cursor, progress.delivered, progress.failed_attempts) == (40, 40, 0)
    assert progress.health.last_error_message is None


def test_an_event_that_is_too_large_alone_is_given_up_unsent(make):
    """It is a dead letter at once, whose message says its size and the limit; the events around it arrive."""
    sim = make(limits={"event_bytes_max": 80_000})
    sim.start()

    for note in ("x", "x" * 100_000, "x"):
        sim.append(1, note=note)
        sim.advance(1)
    sim.advance(400)

    assert requests(sim) == [["e000000"], ["e000002"]]
    assert sim.dead() == [2]
    assert sim.attempts()[2] == [(1, "failed")]
    message = sim.progress().health.last_error_message
    assert message.startswith("the event has 100")
    assert message.endswith("bytes as spoken; the limit is 80000: send smaller events")


def test_too_large_requests_do_not_stop_what_follows(make):
    """A page full of events that cannot be sent is passed without a request, and the next event arrives."""
    sim = make(limits={"body_bytes_max": 70_000, "encode": widened(20)})
    sim.start()

    sim.append(100, note="x" * 5000)
    (last,) = sim.append(1)
    sim.advance(5)

    assert sim.dead() == list(range(1, 101))
    assert requests(sim) == [[last]]
    assert sim.progress().cursor == 101


@pytest.mark.parametrize("count", [2, 7, 64])
def test_a_500_because_of_one_event_does_not_cost_the_others(make, spoken, count):
    """A batch that meets a 500 for the last time is halved before it is given up: one event dies, and its neighbours arrive."""
    sim = make()
    sim.receiver.answers = lambda ids: spoken.say(ids, FAILED_INSIDE if "e000001" in ids else TAKEN)
    sim.start()

    ids = sim.append(count)
    sim.advance(HOUR_S)

    assert sim.dead() == [2]
    assert set(spoken.taken) == {one for one in ids if one != "e000001"}
    assert max(spoken.taken.values()) == 1
    assert len(sim.receiver.attempts) <= 3 + 2 * (count - 1).bit_length()


def test_a_500_to_everything_costs_a_bounded_number_of_requests(make, spoken):
    """Halving what a destination refuses whole is at most two requests an event more, and every event becomes a dead letter."""
    sim = make()
    sim.receiver.answers = saying(spoken, FAILED_INSIDE)
    sim.start()

    sim.append(32)
    sim.advance(HOUR_S)

    assert len(sim.dead()) == 32
    assert len(sim.receiver.attempts) <= 3 + 2 * 32


def takes_up_to(limit: int, spoken: Spoken, sim: Simulation) -> None:
    """Let the destination answer 413 to requests with more bytes."""
    post = partial(ScriptedReceiver.post, sim.receiver)

    async def bounded(request: Request) -> Response:
        if len(request.body) > limit:
            sim.receiver.answers = lambda ids: spoken.say(ids, TOO_LARGE)
        else:
            sim.receiver.answers = lambda ids: spoken.say(ids, TAKEN)
        return await post(request)

    sim.receiver.post = bounded


def test_a_413_lowers_the_size_of_requests_for_good(make, spoken):
    """What was found too large once is not tried again: not by the same worker, not by the next one; and people see it."""
    sim = make()
    takes_up_to(5000, spoken, sim)
    worker = sim.start()
    ids = sim.append(40, note="x" * 400)
    sim.advance(5)
    refused = [one for one in sim.receiver.attempts if len(one.body) > 5000]
    learned = sim.progress().health.batch_bytes_max
    sim.stop(worker)
    sim.start()
    ids += sim.append(200, note="x" * 400)
    sim.advance(5)

    assert spoken.taken == dict.fromkeys(ids, 1)
    assert sim.progress().dead_letters == 0
    assert [one for one in sim.receiver.attempts if len(one.body) > 5000] == refused
    assert 2500 <= learned <= 5000
    assert sim.progress().health.batch_bytes_max == learned
    said = [values["reason"] for name, values in sim.telemetry.lines if name == "destination.warning"]
    assert any(f"requests get {learned} at most" in one for one in said)


def test_a_change_of_the_destination_forgets_how_much_it_takes(make, spoken):
    """Whoever changes a destination may have raised its limit, so requests are of full size again, and it is found out anew."""
    sim = make()
    takes_up_to(5000, spoken, sim)
    sim.start()
    sim.append(40, note="x" * 400)
    sim.advance(5)

    sim.change(lambda spec: replace(spec, name="with more room"))
    forgotten = sim.progress().health.batch_bytes_max
    takes_up_to(1_000_000, spoken, sim)
    ids = sim.append(40, note="x" * 400)
    sim.advance(5)

    assert forgotten is None
    assert requests(sim)[-1] == ids
    assert sim.progress().health.batch_bytes_max is None


def test_an_event_that_is_too_large_alone_says_nothing_about_requests(make, spoken):
    """A lone event that is refused for its size is a dead letter; the size of requests stays."""
    sim = make()
    takes_up_to(5000, spoken, sim)
    sim.start()

    sim.append(1, note="x" * 6000)
    sim.advance(5)

    assert sim.dead() == [1]
    assert sim.progress().health.batch_bytes_max is None


# ── what an answer says about each event ──


def test_what_was_not_judged_is_sent_again_at_once(make, spoken):
    """The events behind the last one that was judged travel again, by themselves, and no attempt is counted."""
    sim = make()
    sim.receiver.answers = saying(spoken, [TAKEN, TAKEN, TAKEN, REFUSED, *[UNJUDGED] * 4], TAKEN)
    sim.start()

    ids = sim.append(8)
    sim.advance(1)

    assert requests(sim) == [ids, ids[4:]]
    assert sim.attempts() == {n: [(1, "failed" if n == 4 else "delivered")] for n in range(1, 9)}
    assert (sim.dead(), sim.retries(), sim.progress().cursor) == ([4], {}, 8)


def test_retries_that_were_not_judged_keep_the_number_of_their_attempt(make, spoken):
    """Of a second attempt, what was not judged is attempted for the second time, not the third."""
    sim = make()
    sim.receiver.answers = saying(spoken, DOWN, [TAKEN, UNJUDGED, UNJUDGED], DOWN, TAKEN)
    sim.start()

    ids = sim.append(3)
    sim.advance(400)

    assert requests(sim) == [ids, ids, ids[1:], ids[1:]]
    assert sim.attempts()[1] == [(1, "failed"), (2, "delivered")]
    assert sim.attempts()[2] == sim.attempts()[3] == [(1, "failed"), (2, "failed"), (3, "delivered")]
    assert sim.retries() == {}


def test_what_the_filter_leaves_out_is_not_sent_with_the_rest(make, spoken):
    """The stretch of the log between judged and unjudged events is passed without sending what nobody wants."""
    sim = make(filter=Filter(datasets=("wanted",)), batch=BatchPolicy(max_wait_ms=1000))
    sim.receiver.answers = saying(spoken, [TAKEN, TAKEN, UNJUDGED, UNJUDGED], TAKEN)
    sim.start()

    wanted = []
    for _ in range(4):
        sim.append(2, dataset="other")
        wanted += sim.append(1, dataset="wanted")
    sim.append(1, dataset="other")
    sim.advance(5)

    assert requests(sim) == [wanted, wanted[2:]]
    assert (sim.progress().cursor, sim.progress().delivered) == (13, 4)


def test_an_answer_that_judges_nobody_is_a_failed_attempt(make, spoken):
    """An answer that says nothing about any event is not asked for again and again: attempts are counted, and end."""
    sim = make()
    sim.receiver.answers = saying(spoken, [UNJUDGED, UNJUDGED])
    sim.start()

    ids = sim.append(2)
    sim.advance(HOUR_S)

    assert requests(sim) == [ids, ids, ids]
    assert sim.dead() == [1, 2]


def test_what_was_not_judged_is_not_lost_with_its_worker(make, spoken):
    """When the worker is killed before the rest has an answer, the next one sends that rest, and nothing else."""
    sim = make()
    judge = saying(spoken, [TAKEN, TAKEN, UNJUDGED, UNJUDGED], TAKEN)
    sim.receiver.answers = lambda ids: judge(ids) if len(ids) == 4 else None
    worker = sim.start()
    ids = sim.append(4)
    sim.advance(2)

    sim.kill(worker)
    sim.receiver.answers = judge
    sim.start()
    sim.advance(2)

    assert spoken.taken == dict.fromkeys(ids, 1)
    assert sim.progress().cursor == 4


def test_what_was_not_judged_waits_like_everything_else(make, spoken):
    """At once is not before the destination may be sent anything: Retry-After comes first."""
    sim = make()
    busy = Failure(FailureScope.DESTINATION, "busy", 429, retry_after_s=600, overload=True)
    sim.receiver.answers = saying(spoken, [busy, UNJUDGED], TAKEN)
    sim.start()

    ids = sim.append(2)
    sim.advance(590)
    before = requests(sim)
    sim.advance(60)

    assert before == [ids]
    assert spoken.taken == dict.fromkeys(ids, 1)
    assert sim.attempts() == {1: [(1, "failed"), (2, "delivered")], 2: [(1, "delivered")]}


def test_what_is_refused_for_good_is_dead_at_once(make, spoken):
    """No second attempt is made of an event that would be refused the same way; any other refusal has all its attempts."""
    sim = make()
    sim.receiver.answers = saying(spoken, [REFUSED, BAD_FOR_NOW, TAKEN], BAD_FOR_NOW)
    sim.start()

    ids = sim.append(3)
    sim.advance(1)
    at_once = sim.dead()
    sim.advance(400)

    assert (at_once, sim.dead()) == ([1], [1, 2])
    assert [len(sim.receiver.times(one)) for one in ids] == [1, 3, 1]
    assert sim.progress().failed_attempts == 4


def test_one_event_refused_for_good_is_found_by_halving(make, spoken):
    """Of a batch that is refused as a whole the one event at fault is dead without a retry, and the others arrive."""
    sim = make()
    sim.receiver.answers = lambda ids: spoken.say(ids, REFUSED if "e000123" in ids else TAKEN)
    sim.start()

    ids = sim.append(500)
    sim.advance(30)

    assert spoken.taken == dict.fromkeys([one for one in ids if one != "e000123"], 1)
    assert len(requests(sim)) <= 1 + 2 * 9
    assert (sim.dead(), sim.retries()) == ([124], {})
    assert sim.attempts()[124] == [(1, "failed")]


# ── what an answer says about the destination ──


def test_refused_events_beside_accepted_ones_are_a_success(make, spoken):
    """A destination that takes some and refuses others for what they are is well, and no longer failing."""
    sim = make()
    sim.receiver.answers = saying(spoken, DOWN, lambda ids: [*[TAKEN] * (len(ids) - 1), REFUSED])
    sim.start()
    sim.append(2)
    sim.advance(1)
    before = sim.progress().health

    sim.append(2)
    sim.advance(1)

    health = sim.progress().health
    assert (before.failures_in_row, before.last_success_at) == (1, None)
    assert health.failures_in_row == 0
    assert health.last_success_at is not None
    assert (health.last_error_message, health.last_error_sequence) == (REFUSED.message, 4)


def test_one_failure_about_the_destination_makes_it_failing(make, spoken):
    """Whatever else an answer says, a failure about the destination counts, and is what people read."""
    sim = make()
    sim.receiver.answers = saying(spoken, [TAKEN, REFUSED, DOWN, TAKEN], TAKEN)
    sim.start()

    sim.append(4)
    sim.advance(1)

    health = sim.progress().health
    assert (health.failures_in_row, health.last_success_at) == (1, None)
    assert (health.last_error_message, health.last_error_sequence) == (DOWN.message, 3)
    assert (sim.dead(), list(sim.retries()), sim.progress().delivered) == ([2], [3], 2)


@pytest.mark.parametrize("word", [[REFUSED, REFUSED], [REFUSED, UNJUDGED]], ids=["all", "rest"])
def test_a_destination_that_took_nothing_had_no_success(make, spoken, word):
    """Refusals of events alone make a destination neither failing nor well."""
    sim = make()
    answer = saying(spoken, DOWN, word)
    sim.receiver.answers = lambda ids: answer(ids) if len(requests(sim)) < 2 else None
    sim.start()
    sim.append(1)
    sim.advance(1)

    sim.append(2)
    sim.advance(1)

    health = sim.progress().health
    assert (health.failures_in_row, health.last_success_at) == (1, None)
    assert health.last_error_message == REFUSED.message


@pytest.mark.parametrize("each", [False, True])
def test_a_destination_near_its_limits_is_sent_less(make, spoken, each):
    """A success that asks for less shrinks the window by a tenth each time, and costs no event an attempt."""
    sim = make()
    full = Accepted(200, overload=True)
    sim.receiver.answers = lambda ids: spoken.say(ids, [full] * len(ids) if each else full)
    sim.start()

    for _ in range(10):
        sim.append(2)
        sim.advance(1)

    progress = sim.progress()
    assert progress.health.window_size == round(16 * 0.9**10, 1)
    assert (progress.delivered, progress.failed_attempts, progress.health.failures_in_row) == (20, 0, 0)


def test_a_warning_is_said_once_an_hour(make, spoken):
    """What a person should know although events arrive is in the log, with the destination's name, once an hour."""
    sim = make(look_s=5.0)
    sim.receiver.answers = lambda ids: spoken.say(ids, Accepted(200, warning="stored elsewhere"))
    sim.start()

    for _ in range(240):
        sim.append()
        sim.advance(30)

    names = {"destination_id": sim.destination.dst_id, "org_id": sim.org.org_id}
    assert sim.telemetry.named("destination.warning") == [names | {"reason": "stored elsewhere"}] * 2
    assert sim.progress().delivered == 240


def test_a_warning_about_one_event_is_said(make, spoken):
    """Among many events that are simply taken, one that comes with a warning is enough."""
    sim = make()
    sim.receiver.answers = saying(spoken, [TAKEN, Accepted(200, warning="stored elsewhere"), TAKEN])
    sim.start()

    sim.append(3)
    sim.advance(1)

    assert [one["reason"] for one in sim.telemetry.named("destination.warning")] == ["stored elsewhere"]
    assert (sim.progress().delivered, sim.progress().failed_attempts) == (3, 0)


# ── too old for the destination ──


def test_a_backlog_that_has_become_too_old_is_said_once_an_hour(make, spoken):
    """While a destination is down, the log tells when what waits becomes older than the destination keeps, not before."""
    sim = make(limits={"age_max_s": 2 * HOUR_S}, look_s=5.0)
    sim.receiver.answers = lambda ids: spoken.say(ids, DOWN)
    sim.start()
    sim.append(2000)
    sim.append(60_000)

    sim.advance(2 * HOUR_S - 60)
    young = sim.telemetry.named("destination.warning")
    sim.advance(2 * HOUR_S)

    said = [one["reason"] for one in sim.telemetry.named("destination.warning")]
    assert young == []
    assert (
        said
        == [
            "the backlog has events older than 2 hours, which spoken destinations accept with a 2xx and then drop"
        ]
        * 2
    )


def test_a_small_backlog_that_is_too_old_is_said(make, spoken):
    """What waited for so long that the destination drops it is told of, even if all of it travels at once."""
    sim = make(limits={"age_max_s": 2 * HOUR_S})
    sim.start()
    sim.change(lambda spec: replace(spec, enabled=False))
    sim.advance(1)
    sim.append(20)
    sim.advance(3 * HOUR_S)
    sim.change(lambda spec: replace(spec, enabled=True))
    sim.advance(5)

    assert len(requests(sim)) == len(sim.telemetry.named("destination.warning")) == 1


def test_a_redriven_event_that_is_too_old_is_said(make, spoken):
    """A dead letter that is sent again after too long is told of like what comes from the log."""
    sim = make(limits={"age_max_s": 2 * HOUR_S})
    sim.receiver.answers = saying(spoken, REFUSED, TAKEN)
    sim.start()
    (old,) = sim.append()
    sim.advance(3 * HOUR_S)
    before = sim.telemetry.named("destination.warning")

    sim.redrive()
    sim.advance(5)

    assert before == []
    assert spoken.taken[old] == len(sim.telemetry.named("destination.warning")) == 1


def test_a_replay_of_what_is_too_old_is_said(make, spoken):
    """Events that are sent once more are dropped for their age like others, and the log says so."""
    sim = make(limits={"age_max_s": 2 * HOUR_S}, batch=BatchPolicy(max_events=1))
    sim.start()
    sim.append(500)
    sim.advance(3 * HOUR_S)
    before = sim.telemetry.named("destination.warning")

    sim.receiver.latency_s = 0.5
    sim.run(sim.directory.add_replay(sim.destination, ReplayId("rpl_1"), 1, 500, sim.clock.now()))
    sim.bells.notify_changes()
    sim.advance(120)

    assert before == []
    assert len(sim.telemetry.named("destination.warning")) == 1
    assert spoken.taken["e000000"] == 2


# ── when the format is changed ──


def test_an_answer_is_read_in_the_format_of_its_request(make):
    """A 200 that hides a failure is no success, although the destination's new format would take it for one."""
    sim = make(format_="elastic_bulk")
    sim.receiver.split = lambda request: [line for line in request.body.split(b"\n") if b'"dataset"' in line]
    body = b'{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400}}]}'
    sim.receiver.answers = lambda ids: Response(200, body, 5000)
    sim.receiver.latency_s = 5.0
    sim.start()
    sim.append(2)
    sim.advance(1)

    sim.change(lambda spec: replace(spec, format="json"))
    sim.advance(10)

    assert sim.attempts() == {1: [(1, "delivered")], 2: [(1, "failed")]}
    assert sim.dead() == [2]


@pytest.mark.parametrize("word", [REFUSED, [TAKEN, *[UNJUDGED] * 5]], ids=["refused", "unjudged"])
def test_what_is_left_of_a_request_keeps_to_the_new_format(make, spoken, word):
    """When a batch has to be sent again in a format that has no batches, each of its events travels alone."""
    sim = make()
    sim.receiver.answers = saying(spoken, word, TAKEN)
    sim.receiver.latency_s = 5.0
    sim.start()
    ids = sim.append(6)
    sim.advance(1)

    sim.change(lambda spec: replace(spec, format="json"))
    sim.advance(30)

    left = ids if word is REFUSED else ids[1:]
    assert sorted(requests(sim)[1:]) == [[one] for one in left]
    assert spoken.taken == dict.fromkeys(ids, 1)
    assert sim.telemetry.named("destination.halted") == []


# ── formats of real destinations ──


def test_an_event_with_its_id_in_the_path_is_sent_there(make):
    """The suffix of elastic_create reaches the sender with each request."""
    sim = make(format_="elastic_create")
    sim.receiver.answers = lambda _: Response(201, b'{"result":"created"}', 5000)
    sim.start()

    ids = sim.append(3)
    sim.advance(1)

    assert sorted(one.path_suffix for one in sim.receiver.attempts) == [f"/{one}" for one in ids]
    assert sim.progress().delivered == 3


def split_as(name: str) -> Callable[[Request], list[bytes]]:
    """Find events in a request of a format that sends them whole."""
    return lambda request: [json.dumps(one).encode() for one in read_events(name, request)]


def test_splunk_reads_on_behind_every_event_it_refuses(make):
    """Three events that Splunk cannot read cost three requests more, and are the only dead letters."""
    sim = make(format_="splunk_hec")
    sim.receiver.split = split_as("splunk_hec")
    bad = {"e000003", "e000004", "e000399"}

    def answer(ids: list[str]) -> Response:
        number = next((at for at, one in enumerate(ids) if one in bad), None)
        if number is None:
            return Response(200, b'{"text":"Success","code":0}', 5000)
        return Response(400, b'{"text":"Invalid","code":6,"invalid-event-number":%d}' % number, 5000)

    sim.receiver.answers = answer
    sim.start()

    ids = sim.append(400)
    sim.advance(5)

    assert requests(sim) == [ids, ids[4:], ids[5:]]
    assert sim.dead() == [4, 5, 400]
    assert (sim.progress().delivered, sim.progress().failed_attempts) == (397, 3)


def test_elastic_is_asked_again_for_what_its_answer_does_not_tell(make):
    """An answer that is cut off within its items delivers the whole ones, and the other events travel again."""
    sim = make(format_="elastic_bulk")
    sim.receiver.split = split_as("elastic_bulk")
    items = [b'{"create":{"status":%d}}' % (201 if number % 7 else 400) for number in range(100)]
    whole = b'{"errors":true,"items":[' + b",".join(items) + b"]}"
    known = len(b'{"errors":true,"items":[' + b",".join(items[:60]))
    told = [b'{"errors":false,"items":[' + b",".join([b'{"create":{"status":409}}'] * 40) + b"]}"]
    sim.receiver.answers = lambda ids: Response(200, whole[: known + 9] if len(ids) == 100 else told[0], 5000)
    sim.start()

    ids = sim.append(100)
    sim.advance(5)

    assert requests(sim) == [ids, ids[60:]]
    assert sim.dead() == [number + 1 for number in range(60) if number % 7 == 0]
    assert sim.progress().cursor == 100
    assert sim.retries() == {}
