"""What a destination has accepted and not yet stored is on its way until it is confirmed: simulated time, a real store."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from aegis_stream.delivery import confirmations, sources
from aegis_stream.delivery.confirmations import ASK_PAUSE_S, CONFIRM_S, Confirmations, questions_route
from aegis_stream.delivery.work import Work
from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Failure,
    FailureScope,
    Request,
    Response,
    Verdict,
)
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid
from aegis_stream.formats import REGISTRY, Acks
from aegis_stream.formats.splunk_ack import ASK_IDS_MAX
from aegis_stream.settings import Settings
from support.formats import read_events
from support.outbound import ROUTE, HeldChannel, answered, in_virtual_time
from support.said import Said
from support.settings import make_settings
from support.simulation import ScriptedReceiver, Simulation

HEC = "https://sink.example.com/services/collector/event?channel=c"


@dataclass
class Indexer(ScriptedReceiver):
    """Splunk with indexer acknowledgement, as far as a client sees it.

    Args:
        indexes: what it has accepted is indexed by the time of the next question.
        deaf: questions are answered 503.
    """

    indexes: bool = True
    deaf: bool = False
    next_ack: int = 0
    accepted_acks: dict[int, list[str]] = field(default_factory=dict)
    indexed: Counter[str] = field(default_factory=Counter)
    questions: list[list[int]] = field(default_factory=list)

    async def post(self, request: Request) -> Answer:
        if not request.body.startswith(b'{"acks"'):
            return await super().post(request)
        asked = json.loads(request.body)["acks"]
        self.questions.append(asked)
        if self.deaf:
            return Response(503, b"", 100)
        said = {}
        for one in asked:
            ids = self.accepted_acks.pop(one, None) if self.indexes else None
            self.indexed.update(ids or [])
            said[str(one)] = ids is not None
        return Response(200, json.dumps({"acks": said}).encode(), 100)

    def take(self, ids: list[str]) -> Response:
        """Accept a request."""
        ack = self.next_ack
        self.next_ack += 1
        self.accepted_acks[ack] = ids
        return Response(200, json.dumps({"text": "Success", "code": 0, "ackId": ack}).encode(), 100)


@pytest.fixture
def sim(tmp_path):
    """A Splunk destination with acknowledgement, requests of ten events."""
    made = Simulation(
        tmp_path,
        spec=DestinationSpec(
            url=HEC, format="splunk_hec", retry=Settings().retry.policy, batch=BatchPolicy(max_events=10)
        ),
        settings=make_settings(lease_seconds=20, auto_redrive=False),
    )
    made.telemetry = Said()
    splunk = Indexer(made.loop, lambda _: None)
    splunk.answers = splunk.take
    splunk.split = lambda request: [json.dumps(one).encode() for one in read_events("splunk_hec", request)]
    made.receiver = splunk
    yield made
    made.close()


def test_events_are_delivered_when_they_are_confirmed(sim):
    """A 200 is not the end: nothing counts as delivered before the destination says that it is stored, and then all of it does."""
    sim.receiver.indexes = False
    sim.start()

    ids = sim.append(30)
    sim.advance(60)
    before = sim.progress()
    sim.receiver.indexes = True
    sim.advance(2 * ASK_PAUSE_S)
    after = sim.progress()

    assert (before.delivered, before.cursor, before.failed_attempts) == (0, 0, 0)
    assert (after.delivered, after.cursor) == (30, 30)
    assert sim.receiver.indexed == dict.fromkeys(ids, 1)
    asked = len(sim.receiver.questions)
    sim.advance(60)
    assert len(sim.receiver.questions) == asked, "nothing is left to ask about"


def test_what_is_not_confirmed_in_time_is_sent_again(sim):
    """After five minutes a request counts as lost: a failed attempt with a reason, and its events are sent again."""
    sim.receiver.indexes = False
    sim.start()

    ids = sim.append(10)
    sim.advance(CONFIRM_S + 2 * ASK_PAUSE_S)
    failed = sim.progress()
    sim.receiver.indexes = True
    sim.receiver.accepted_acks.clear()
    sim.advance(120)

    assert (failed.delivered, failed.retrying) == (0, 10)
    assert "was not confirmed as stored within 300 s" in failed.health.last_error_message
    assert sim.progress().delivered == 10
    assert sim.receiver.indexed == dict.fromkeys(ids, 1)


def test_a_crash_before_the_confirmation_loses_nothing(sim):
    """A worker that dies while it waits leaves everything for the next one, which sends it again."""
    sim.receiver.indexes = False
    first = sim.start()
    ids = sim.append(25)
    sim.advance(10)
    sim.kill(first)
    sim.receiver.accepted_acks.clear()  # the destination crashed as well, and lost what it had accepted

    sim.receiver.indexes = True
    sim.start()
    sim.advance(30)

    assert sim.progress().delivered == 25
    assert sim.receiver.indexed == dict.fromkeys(ids, 1)


def test_questions_that_fail_are_asked_again(sim):
    """While questions are not answered events wait, and are delivered as soon as they are."""
    sim.receiver.deaf = True
    sim.start()

    sim.append(10)
    sim.advance(60)
    before = sim.progress()
    sim.receiver.deaf = False
    sim.advance(2 * ASK_PAUSE_S)

    assert (before.delivered, before.failed_attempts) == (0, 0)
    assert sim.progress().delivered == 10
    assert len(sim.receiver.attempts) == 1


def test_questions_that_nobody_may_ask_end_with_the_time(sim):
    """Where the way to ask is no longer allowed, what waits counts as lost when its time is over, and is sent again."""
    worker = sim.start()
    sim.receiver.indexes = False
    sim.append(10)
    sim.advance(0.5)
    (forwarder,) = worker.worker.roster.forwarders()

    def refuse(_: object) -> Route:
        raise Invalid("the operator allows this no longer")

    allowed = forwarder.attempts.outbound
    forwarder.attempts.outbound = replace(allowed, route_of=refuse)
    sim.advance(CONFIRM_S + 2 * ASK_PAUSE_S)
    waiting = sim.progress()
    forwarder.attempts.outbound = allowed
    sim.receiver.indexes = True
    sim.advance(120)

    assert sim.receiver.questions[0] == [1]
    assert (waiting.delivered, waiting.retrying) == (0, 10)
    assert sim.progress().delivered == 10


def test_a_change_of_the_destination_sends_again_what_waits(sim):
    """Whoever changes a destination may change where questions lead, so what was not confirmed is sent again at once."""
    sim.receiver.indexes = False
    sim.start()
    ids = sim.append(10)
    sim.advance(10)

    sim.change(lambda spec: replace(spec, auth_header_name="Authorization", auth_header_value="Splunk t"))
    sim.receiver.indexes = True
    sim.advance(10)

    assert sim.progress().delivered == 10
    assert [one.event_ids for one in sim.receiver.attempts] == [ids, ids]


def test_a_number_given_out_twice_is_believed_once(sim):
    """When the destination has restarted and counts from zero again, the request before that counts as lost, not as stored."""
    sim.receiver.indexes = False
    sim.start()
    first = sim.append(10)
    sim.advance(1)
    sim.receiver.next_ack = 0
    sim.receiver.accepted_acks.clear()
    second = sim.append(10)
    sim.advance(1)
    sim.receiver.indexes = True
    sim.advance(5)

    progress = sim.progress()
    assert (progress.delivered, progress.retrying) == (10, 10)
    assert sim.receiver.indexed == dict.fromkeys(second, 1)
    sim.advance(120)
    assert sim.receiver.indexed == dict.fromkeys(first + second, 1)


def test_what_waits_is_bounded(sim, monkeypatch):
    """A destination that confirms nothing is sent no more than a bounded number of requests."""
    monkeypatch.setattr("aegis_stream.delivery.attempts.UNCONFIRMED_MAX", 5)
    sim.receiver.indexes = False
    sim.start()

    sim.append(1000)
    sim.advance(60)
    sent = len(sim.receiver.attempts)
    sim.receiver.indexes = True
    sim.advance(1000)

    assert 5 <= sent <= 5 + sim.settings.delivery.window_max
    assert sim.progress().delivered == 1000


def test_one_request_that_waits_holds_nobody_back(sim, monkeypatch):
    """A request without confirmation is parked when many after it are stored: the cursor moves on, and nothing is lost."""
    monkeypatch.setattr(sources, "SPAN_MAX", 100)
    monkeypatch.setattr("aegis_stream.delivery.agenda.SPAN_MAX", 100)
    splunk = sim.receiver
    sim.start()
    stuck = sim.append(10)
    sim.advance(1)
    splunk.accepted_acks = {ack: ids for ack, ids in splunk.accepted_acks.items() if ids != stuck}
    ids = sim.append(500)
    sim.advance(30)
    passed = sim.progress()
    sim.advance(CONFIRM_S + 200)

    assert passed.cursor == 510
    assert sim.progress().delivered == 510
    assert set(splunk.indexed) == {*stuck, *ids}


def test_questions_go_to_their_own_path_with_the_query_of_the_url():
    """The channel is part of an ackId, and a question is never compressed; everything else is the destination's."""
    headers = (("Authorization", "Splunk t"), ("Content-Encoding", "gzip"))
    route = Route(
        Endpoint("https", "h", 8088, "/services/collector/event?channel=c", False), headers, None, 10.0
    )

    asked = questions_route(route, REGISTRY["splunk_hec"].acks)

    assert asked.endpoint.target == "/services/collector/ack?channel=c"
    assert asked.headers == headers[:1]
    assert asked == replace(route, endpoint=asked.endpoint, headers=asked.headers)


def test_one_question_can_ask_about_everything():
    """As many requests wait at most as one question may have numbers."""
    assert confirmations.UNCONFIRMED_MAX <= ASK_IDS_MAX


def test_questions_of_a_url_without_a_query_have_none():
    """The path of the question stands alone, and headers that have nothing to do with compression stay."""
    route = Route(
        Endpoint("https", "h", 8088, "/services/collector/event", False), (("X-A", "gzip"),), None, 10.0
    )

    asked = questions_route(route, REGISTRY["splunk_hec"].acks)

    assert asked.endpoint.target == "/services/collector/ack"
    assert asked.headers == (("X-A", "gzip"),)


# ── one by one, answered by hand ──


@dataclass
class Asking:
    """Requests that wait for their confirmation, and a destination that answers by hand.

    Attributes:
        stored: what the next answer confirms; an error to raise it.
        ended: what became of the requests.
        closed: why no channel can be opened.
        bug: raised when a question is written.
    """

    stored: frozenset[int] | Exception = frozenset()
    ended: list[tuple[Work, Verdict, int]] = field(default_factory=list)
    channels: list[HeldChannel] = field(default_factory=list)
    closed: Failure | None = None
    bug: Exception | None = None

    def __post_init__(self) -> None:
        acks = Acks("/ack", self.encode, self.confirmed)
        self.waiting = Confirmations(acks, self.open, lambda *one: self.ended.append(one))

    def open(self) -> HeldChannel | Failure:
        if self.closed is not None:
            return self.closed
        self.channels.append(HeldChannel(ROUTE))
        return self.channels[-1]

    def encode(self, ack_ids) -> Request:
        if self.bug is not None:
            raise self.bug
        return Request(json.dumps(list(ack_ids)).encode())

    def confirmed(self, answer: Answer, ack_ids) -> frozenset[int]:
        if isinstance(self.stored, Exception):
            raise self.stored
        return self.stored

    def add(self, ack_id: int, latency_us: int = 1500) -> Work:
        """Have a request wait under a number."""
        work = Work(None, ack_id, ack_id, [ack_id], [b"{}"], 1)
        self.waiting.add(work, Accepted(201, ack_id=ack_id), latency_us)
        return work

    def answer(self, stored: frozenset[int] | Exception) -> None:
        """Answer the question that waits."""
        self.stored = stored
        self.channels[-1].answer(answered(200))

    @property
    def questions(self) -> list[list[int]]:
        """What was asked about so far, in order."""
        return [json.loads(request.body) for one in self.channels for request in one.requests]


@in_virtual_time
async def test_one_question_asks_about_all_that_wait():
    """The first question comes after ASK_PAUSE_S, the next one so long after its answer, over the same channel."""
    asking = Asking()
    one = asking.add(5, latency_us=7)
    await asyncio.sleep(ASK_PAUSE_S - 0.1)
    two = asking.add(6)
    before = (list(asking.questions), len(asking.waiting), list(asking.waiting))
    await asyncio.sleep(0.2)
    first = list(asking.questions)
    await asyncio.sleep(10 * ASK_PAUSE_S)
    unanswered = list(asking.questions)
    asking.answer(frozenset({5, 99}))
    await asyncio.sleep(ASK_PAUSE_S - 0.1)
    early = list(asking.questions)
    await asyncio.sleep(0.2)

    assert before == ([], 2, [one, two])
    assert first == unanswered == early == [[5, 6]]
    assert asking.ended == [(one, Accepted(201, ack_id=5), 7)]
    assert asking.questions == [[5, 6], [6]]
    assert (len(asking.channels), list(asking.waiting)) == (1, [two])


@in_virtual_time
async def test_what_comes_while_a_question_is_unanswered_is_asked_about_later():
    """A request that was accepted meanwhile waits for a question of its own, ASK_PAUSE_S after it was accepted."""
    asking = Asking()
    asking.add(5)
    await asyncio.sleep(ASK_PAUSE_S + 1)
    asking.add(6)
    asking.answer(frozenset())
    await asyncio.sleep(ASK_PAUSE_S - 0.1)
    early = list(asking.questions)
    await asyncio.sleep(0.2)
    asked = list(asking.questions)
    asking.answer(frozenset({5, 6}))
    await asyncio.sleep(10 * ASK_PAUSE_S)

    assert (early, asked) == ([[5]], [[5], [5, 6]])
    assert asking.questions == asked, "nothing is left to ask about"


@in_virtual_time
async def test_a_request_is_lost_after_its_time():
    """At CONFIRM_S after its answer, and not before, a request has failed, with its status and what to do; others wait on."""
    asking = Asking()
    one = asking.add(5, latency_us=7)
    await asyncio.sleep(2 * ASK_PAUSE_S)
    two = asking.add(6)
    asking.answer(frozenset())
    await asyncio.sleep(CONFIRM_S - 2 * ASK_PAUSE_S - 0.01)
    asking.answer(frozenset())
    before = list(asking.ended)
    await asyncio.sleep(ASK_PAUSE_S)
    asking.answer(frozenset())
    [(lost, verdict, latency_us)] = asking.ended

    assert before == []
    assert (lost, latency_us, list(asking.waiting)) == (one, 7, [two])
    assert (verdict.scope, verdict.status_code) == (FailureScope.DESTINATION, 201)
    assert verdict.message.startswith(
        "answered 201, and then it was not confirmed as stored within 300 s: it is sent again"
    )


@in_virtual_time
async def test_a_request_is_lost_at_the_end_of_its_time():
    """A question that is answered exactly then finds it lost."""
    asking = Asking()
    asking.add(5)
    await asyncio.sleep(CONFIRM_S)
    asking.answer(frozenset())

    assert len(asking.ended) == 1
    assert len(asking.waiting) == 0


@in_virtual_time
async def test_a_number_that_is_given_out_twice_counts_from_the_second_time():
    """The first request is lost, and says why; the second waits its whole time, and is the one that is confirmed."""
    asking = Asking()
    one, other = asking.add(5), asking.add(6)
    again = asking.add(5)
    [(lost, verdict, _)] = asking.ended
    await asyncio.sleep(ASK_PAUSE_S)
    await asyncio.sleep(0.1)
    asking.answer(frozenset({5}))

    assert (lost, asking.ended[1][0], list(asking.waiting)) == (one, again, [other])
    assert "ackId 5 was given out a second time before the first was confirmed" in verdict.message
    assert asking.questions == [[6, 5]]


@in_virtual_time
@pytest.mark.parametrize("fault", ["closed", "encode", "confirmed"])
async def test_a_question_that_fails_is_asked_again(fault):
    """Without a channel, or with a bug in the format, nothing is confirmed, and the next question comes after the pause."""
    asking = Asking()
    one = asking.add(5)
    asking.closed = Failure(FailureScope.DESTINATION, "no") if fault == "closed" else None
    asking.bug = ValueError("no") if fault == "encode" else None
    await asyncio.sleep(ASK_PAUSE_S + 0.1)
    if fault == "confirmed":
        asking.answer(ValueError("no"))
    before, asking.closed, asking.bug = list(asking.questions), None, None
    await asyncio.sleep(ASK_PAUSE_S)
    asking.answer(frozenset({5}))

    assert before == ([[5]] if fault == "confirmed" else [])
    assert [ended[0] for ended in asking.ended] == [one]


@in_virtual_time
async def test_who_gives_up_hears_no_more():
    """What waited is handed back, the channel is closed, and no question follows; what comes later is asked about anew."""
    asking = Asking()
    one = asking.add(5)
    asked_not_yet = asking.waiting.give_up()
    await asyncio.sleep(2 * ASK_PAUSE_S)
    before = list(asking.questions)
    two = asking.add(6)
    await asyncio.sleep(ASK_PAUSE_S + 0.1)
    asked = asking.waiting.give_up()
    asked += asking.waiting.give_up()
    [channel] = asking.channels
    asking.add(7)
    await asyncio.sleep(ASK_PAUSE_S + 0.1)

    assert (asked_not_yet, before, asked) == ([one], [], [two])
    assert (channel.closed, asking.ended, asking.waiting.give_up()[0].first) == (True, [], 7)
    assert asking.questions == [[6], [7]]
