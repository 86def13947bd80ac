"""What a destination has accepted and not yet stored is on its way until it is confirmed: simulated time, a real store."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from aegis_stream.delivery import confirmations, sources
from aegis_stream.delivery.confirmations import ASK_PAUSE_S, CONFIRM_S, questions_route
from aegis_stream.domain.attempt import Answer, Request, Response
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid
from aegis_stream.formats import REGISTRY
from aegis_stream.formats.splunk_ack import ASK_IDS_MAX
from aegis_stream.settings import Settings
from support.formats import read_events
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
