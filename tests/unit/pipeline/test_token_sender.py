"""Tokens are fetched once, renewed before their end, and their absence is an outage like any other: simulated time, a real store."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from urllib.parse import parse_qs

import pytest

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Fault, FaultKind, Request, Response
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Grant, Route
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.trace import Trace
from aegis_stream.errors import Invalid
from aegis_stream.pipeline.pacing import OUTAGE_AFTER
from aegis_stream.pipeline.token_answer import NoToken, Token, read_token
from aegis_stream.pipeline.token_sender import TokenChannel, TokenSender
from aegis_stream.settings import Settings
from support.said import Said
from support.settings import make_settings
from support.simulation import ScriptedChannel, ScriptedReceiver, Simulation, timeout

CLIENT = OAuth2("https://login.example.com/token", "client-1", "c4n4ry-client-secret", "siem.write")
TOKEN_ROUTE = Route(Endpoint("https", "login.example.com", 443, "/token", False), (), None, 10.0)


def granted(token: str, life: object = 3600, **more: object) -> Response:
    """Answer as a token endpoint does."""
    body = {"token_type": "Bearer", "access_token": token, "expires_in": life} | more
    return Response(200, json.dumps(body).encode(), 5000)


@dataclass
class TokenEndpoint(ScriptedReceiver):
    """Gives out tokens t1, t2 …; `answers` may say otherwise.

    Args:
        life_s: what it says that they live.
    """

    life_s: float = 3600.0
    asked_at_s: list[float] = field(default_factory=list)
    forms: list[bytes] = field(default_factory=list)
    at_once: int = 0
    at_once_most: int = 0
    made: int = 0

    async def post(self, request: Request) -> Answer:
        self.asked_at_s.append(self.loop.time())
        self.forms.append(request.body)
        self.at_once += 1
        self.at_once_most = max(self.at_once, self.at_once_most)
        answer = self.answers([])
        await asyncio.sleep(self.latency_s if answer is not None else self.timeout_s)
        self.at_once -= 1
        return timeout() if answer is None else answer

    def give(self, _: list[str]) -> Response:
        """Answer with a new token."""
        self.made += 1
        return granted(f"t{self.made}", self.life_s)


@dataclass
class Guarded(ScriptedReceiver):
    """A destination that takes tokens, and the token endpoint beside it.

    Args:
        taken: tells whether a token is good.
        slow_id: id of an event that takes nine seconds each time, the first of which ends with a 401.

    Attributes:
        closed: Authorization of the channels that were closed.
    """

    taken: Callable[[str], bool] = lambda _: True
    slow_id: str = "none"
    closed: list[str] = field(default_factory=list)
    endpoint: TokenEndpoint = field(init=False)
    came: list[str] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.endpoint = TokenEndpoint(self.loop, lambda _: None)
        self.endpoint.answers = self.endpoint.give

    def open(self, route: Route, trace: Trace | None = None) -> ScriptedChannel:
        if route.endpoint.host == "login.example.com":
            return ScriptedChannel(self.endpoint)
        return _Watched(_WithToken(self, dict(route.headers).get("Authorization", "")))


class _Watched(ScriptedChannel):
    """A channel of a guarded destination."""

    def close(self) -> None:
        super().close()
        self._receiver.guarded.closed.append(self._receiver.header)


@dataclass
class _WithToken:
    """The destination as the requests of one channel find it."""

    guarded: Guarded
    header: str

    async def post(self, request: Request) -> Answer:
        guarded, scheme_and_token = self.guarded, self.header.split(" ")
        guarded.came.append(self.header)
        if guarded.slow_id.encode() in request.body:
            await asyncio.sleep(9)
            if not guarded.refused:
                guarded.refused += 1
                return Response(401, b"", 5000)
        if scheme_and_token[0] != "Bearer" or not guarded.taken(scheme_and_token[1]):
            await asyncio.sleep(guarded.latency_s)
            guarded.refused += 1
            return Response(401, b"", 5000)
        return await guarded.post(request)


@pytest.fixture
def sim(tmp_path):
    """A destination that wants tokens, and a worker with a small window."""
    made = Simulation(
        tmp_path,
        spec=DestinationSpec(url="https://sink.example.com/in", oauth2=CLIENT, retry=Settings().retry.policy),
        settings=make_settings(lease_seconds=20, window_max=4, auto_redrive=False),
    )
    made.route = replace(made.route, grant=Grant(TOKEN_ROUTE, CLIENT.form()))
    made.receiver = Guarded(made.loop, made.receiver.answers)
    made.telemetry = Said()
    yield made
    made.close()


def test_a_token_is_fetched_once_and_sent_with_every_request(sim):
    """The form has grant_type, client and scope; one fetch serves all requests, each with the token as Bearer."""
    sim.start()

    ids = sim.append(40)
    sim.advance(5)

    assert set(sim.receiver.accepted) == set(ids)
    assert set(sim.receiver.came) == {"Bearer t1"}
    [form] = sim.receiver.endpoint.forms
    assert parse_qs(form.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client-1"],
        "client_secret": ["c4n4ry-client-secret"],
        "scope": ["siem.write"],
    }


def test_a_token_is_renewed_before_its_end_while_the_old_one_is_in_use(sim):
    """Five minutes before its end a token is renewed, once; nobody waits for that, and none is sent after its end."""
    sim.start()
    sim.append(1)
    sim.advance(3600 - 300 - 10)
    sim.append(1)
    sim.advance(1)
    before = list(sim.receiver.came)
    sim.advance(20)
    sim.receiver.endpoint.latency_s = 5.0
    sim.append(1)
    sim.advance(1)
    during = list(sim.receiver.came)
    sim.advance(10)
    sim.append(1)
    sim.advance(1)

    assert before == ["Bearer t1"] * 2
    assert during == ["Bearer t1"] * 3
    assert sim.receiver.came[3:] == ["Bearer t2"]
    assert len(sim.receiver.endpoint.asked_at_s) == 2


@pytest.mark.parametrize(("life", "holds_s"), [(60, 30), ("600", 300), (None, 150), ("soon", 150), (1, 5)])
def test_a_short_life_is_used_by_half(sim, life, holds_s):
    """A token that lives for less than ten minutes, or does not say how long, is renewed after half that time."""
    endpoint = sim.receiver.endpoint
    endpoint.life_s = life
    sim.start()
    sim.append(1)
    sim.advance(holds_s - 2)
    sim.append(1)
    sim.advance(1)
    held = len(endpoint.asked_at_s)
    sim.advance(2)
    sim.append(1)
    sim.advance(1)

    assert (held, len(endpoint.asked_at_s)) == (1, 2)


def test_a_token_that_ended_unused_is_not_sent(sim):
    """After hours without events the first request waits for a new token, and goes out with that."""
    sim.start()
    sim.append(1)
    sim.advance(7200)
    sim.append(1)
    sim.advance(1)

    assert sim.receiver.came == ["Bearer t1", "Bearer t2"]


def test_a_token_outlives_its_forwarder(sim):
    """An event every few minutes does not fetch a token each: it is kept while the destination is idle."""
    sim.start()
    for _ in range(5):
        sim.append(1)
        sim.advance(300)

    assert len(sim.receiver.endpoint.asked_at_s) == 1


def test_after_a_401_the_token_is_renewed_and_nothing_has_failed(sim):
    """A token that was revoked costs no attempt: whatever met the 401 is sent again with the next token."""
    sim.start()
    sim.append(10)
    sim.advance(5)
    sim.receiver.taken = lambda token: token != "t1"

    ids = sim.append(200)
    sim.advance(10)

    assert set(sim.receiver.accepted) >= set(ids)
    assert sim.receiver.refused >= 1
    assert len(sim.receiver.endpoint.asked_at_s) == 2
    assert sim.progress().failed_attempts == 0


def test_a_destination_that_refuses_every_token_costs_one_renewal_a_minute(sim):
    """A 401 that a new token does not change is a failure that says what to fix, with at most one fetch a minute."""
    sim.receiver.taken = lambda _: False
    sim.start()

    sim.append(5000)
    sim.advance(600)

    progress = sim.progress()
    assert "does not accept the token: check oauth2.scope" in progress.health.last_error_message
    assert (progress.delivered, progress.health.last_error_status) == (0, 401)
    fetches = sim.receiver.endpoint.asked_at_s
    assert len(fetches) <= 12
    # The first renewal comes at once: the token that was refused may have been revoked. From then on a minute apart.
    assert all(after - before >= 59 for before, after in pairwise(fetches[1:]))


def test_a_request_is_made_twice_at_most(sim):
    """When the 401 takes so long that a renewal may be made each time, the second one is a failure all the same."""
    sim.receiver.taken = lambda _: False
    sim.receiver.latency_s = 70.0
    sim.start()

    sim.append(1)
    sim.advance(145)

    assert sim.progress().failed_attempts == 1
    assert sim.receiver.came == ["Bearer t1", "Bearer t2"]


def test_an_attempt_that_takes_four_times_as_long_is_not_made_twice(sim, monkeypatch):
    """What has moved to the retries, because others have overtaken it, is not sent again before token and attempt must have ended."""
    monkeypatch.setattr("aegis_stream.delivery.agenda.SPAN_MAX", 10)
    sim.start()
    sim.append(1)
    sim.advance(1)
    sim.receiver.endpoint.latency_s = 9.0
    sim.receiver.slow_id = "e000001"

    ids = sim.append(50)
    sim.advance(100)

    assert sim.receiver.accepted == dict.fromkeys(["e000000", *ids], 1)
    assert (sim.progress().delivered, sim.progress().failed_attempts) == (51, 0)


def test_connections_with_an_old_token_are_closed(sim):
    """After a renewal the connections that carry the old token are closed, as soon as nothing is under way in them."""
    sim.start()
    sim.append(1)
    sim.advance(1)
    sim.receiver.slow_id = "e000001"
    sim.receiver.refused = 1
    sim.append(1)
    sim.advance(4)
    sim.receiver.taken = lambda token: token != "t1"
    sim.append(1)
    sim.advance(2)
    under_way = list(sim.receiver.closed)
    sim.receiver.taken = lambda _: True
    sim.advance(10)
    ended = list(sim.receiver.closed)
    sim.advance(3300)
    sim.receiver.closed.clear()
    for _ in range(2):
        sim.append(1)
        sim.advance(1)

    assert (under_way, ended) == ([], ["Bearer t1"])
    assert (sim.receiver.came[-1], sim.receiver.closed) == ("Bearer t3", ["Bearer t2"])


@pytest.mark.parametrize(
    "answer",
    [Response(401, b"c4n4ry says the endpoint", 5000), Response(503, b"", 5000), None],
    ids=["refused", "down", "hangs"],
)
def test_an_hour_without_tokens_loses_nothing_and_spends_few_attempts(sim, answer):
    """While no token can be had a backlog waits in the log, the other side is asked now and then, and all arrives afterwards."""
    endpoint = sim.receiver.endpoint
    endpoint.answers = lambda _: answer
    sim.start()

    ids = sim.append(5000)
    sim.advance(3600)
    progress, asked, dead = sim.progress(), len(endpoint.asked_at_s), sim.dead()
    endpoint.answers = endpoint.give
    sim.advance(300)
    sim.redrive()
    sim.advance(300)

    assert (progress.delivered, sim.receiver.came[:1]) == (0, ["Bearer t1"])
    assert progress.health.last_error_message.startswith("the token endpoint")
    assert "c4n4ry" not in progress.health.last_error_message
    # A fetch that fails costs one attempt; the first ones share a failure, until there are enough of them to call it an outage.
    assert asked <= progress.failed_attempts <= asked + OUTAGE_AFTER
    assert asked <= 150
    assert len(dead) <= 50
    assert set(sim.receiver.accepted) == set(ids)
    assert endpoint.at_once_most == 1
    assert sim.progress().delivered == 5000


def test_few_events_without_a_token_keep_their_schedule(sim):
    """A few events get their three attempts as the contract says, and those of one moment share one fetch."""
    endpoint = sim.receiver.endpoint
    endpoint.answers = lambda _: Response(401, b"", 5000)
    sim.start()

    sim.append(8)
    sim.advance(30)
    first = len(endpoint.asked_at_s)
    sim.advance(600)

    assert len(sim.dead()) == 8
    assert sim.progress().failed_attempts == 24
    assert (first, len(endpoint.asked_at_s) < 24) == (1, True)
    assert sim.receiver.came == []


def test_a_failed_renewal_is_not_felt_while_the_token_holds(sim):
    """When the token endpoint is down as a token is to be renewed, the old one is used to its end, and asked for now and then."""
    endpoint = sim.receiver.endpoint
    sim.start()
    sim.append(1)
    sim.advance(3300)
    endpoint.answers = lambda _: Response(500, b"", 5000)
    for _ in range(100):
        sim.append(1)
        sim.advance(2)
    asked = len(endpoint.asked_at_s)
    endpoint.answers = endpoint.give
    sim.advance(30)
    sim.append(1)
    sim.advance(1)
    sim.append(1)
    sim.advance(1)

    assert sim.progress().failed_attempts == 0
    assert 2 <= asked <= 9
    assert (sim.receiver.came[-2], sim.receiver.came[-1]) == ("Bearer t1", "Bearer t2")


def test_a_destination_without_tokens_costs_the_others_nothing(sim):
    """While a token endpoint hangs, another destination of the same worker gets every event at once."""
    sim.receiver.endpoint.answers = lambda _: None
    guarded, plain = sim.route, replace(sim.route, grant=None)

    class PerDestination(Guarded):
        """The second destination needs no token."""

        def open(self, route: Route, trace: Trace | None = None) -> ScriptedChannel:
            return ScriptedChannel(self) if route == plain else super().open(route, trace)

    endpoint = sim.receiver.endpoint
    sim.receiver = PerDestination(sim.loop, sim.receiver.answers)
    sim.receiver.endpoint = endpoint
    sim.run(sim.add_destination(DestinationSpec(url="https://other.example.com/in")))
    sim.route_of = lambda one: guarded if one.spec.oauth2 is not None else plain
    sim.start()

    ids = sim.append(50)
    sim.advance(2)

    assert set(sim.receiver.accepted) == set(ids)
    assert sim.receiver.came == []


def test_a_change_of_the_client_takes_effect_at_once(sim):
    """Whoever corrects the secret is not held back by the failures before: the next attempt fetches with the new one."""
    endpoint = sim.receiver.endpoint
    endpoint.answers = lambda _: Response(401, b"", 5000)
    sim.start()
    sim.append(100)
    sim.advance(60)
    endpoint.answers = endpoint.give
    corrected = replace(CLIENT, client_secret="another")
    sim.route = replace(sim.route, grant=Grant(TOKEN_ROUTE, corrected.form()))
    sim.change(lambda spec: replace(spec, oauth2=corrected))
    sim.advance(300)

    assert b"client_secret=another" in endpoint.forms[-1]
    assert sim.progress().delivered == 100


def test_a_worker_that_stops_ends_a_fetch_and_loses_nothing(sim):
    """A stop while a token is being fetched gives the work back; the next worker delivers it once."""
    endpoint = sim.receiver.endpoint
    endpoint.answers = lambda _: None
    first = sim.start()
    ids = sim.append(10)
    sim.advance(1)
    sim.stop(first)
    endpoint.answers = endpoint.give
    sim.start()
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert sim.progress().failed_attempts == 0


# ── what an answer of a token endpoint means ──

GARBAGE = {
    "empty": b"",
    "a page": b"<!doctype html>c4n4ry",
    "cut short": b'{"access_token": "c4n4ry',
    "no object": b'["c4n4ry"]',
    "deep": b"[" * 16_000,
    "no UTF-8": b'{"access_token": "\xff"}',
    "no token": b'{"error": "c4n4ry"}',
    "null": b'{"access_token": null}',
    "an empty token": b'{"access_token": ""}',
    "a line break": b'{"access_token": "c4n4ry\\r\\nX-Evil: 1"}',
    "a blank": b'{"access_token": "c4n4ry two"}',
    "letters": '{"access_token": "c4n4ryü"}'.encode(),
    "too long": b'{"access_token": "' + b"c4n4ry" * 2000 + b'"}',
    "another kind": b'{"access_token": "c4n4ry", "token_type": "mac"}',
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_token(body):
    """Whatever a 200 has in it that cannot be sent as a bearer token is a failure about the destination that repeats nothing."""
    read = read_token(Response(200, body, 5000))

    assert isinstance(read, NoToken)
    assert (read.failure.scope, read.failure.fix_needed) == (FailureScope.DESTINATION, False)
    assert read.failure.message.startswith("the token endpoint answered 200 with")
    assert "c4n4ry" not in repr(read)


@pytest.mark.parametrize(
    ("status", "fix_needed", "told"),
    [
        (400, True, "answered 400: check client_id, client_secret and scope"),
        (401, True, "answered 401: check client_id and client_secret"),
        (403, True, "answered 403: check client_id and client_secret"),
        (302, False, "answered 302: redirects are not followed; check token_url"),
        (413, False, "answered 413: check token_url"),
        (500, False, "answered 500: check token_url"),
    ],
)
def test_a_refusal_says_what_to_check(status, fix_needed, told):
    """A status is told with what to check, never with text of the answer; the events are not to blame for any of them."""
    answer = Response(status, b'{"error_description": "c4n4ry"}', 5000, location_host="c4n4ry.example")
    read = read_token(answer)

    assert isinstance(read, NoToken)
    assert (read.failure.scope, read.failure.fix_needed) == (FailureScope.DESTINATION, fix_needed)
    assert (read.failure.status_code, read.failure.permanent) == (None, False)
    assert told in read.failure.message
    assert "c4n4ry" not in read.failure.message


def test_a_token_endpoint_may_ask_to_wait():
    """Retry-After of a token endpoint is kept to like a destination's own."""
    read = read_token(Response(429, b"", 5000, retry_after="30"))

    assert isinstance(read, NoToken)
    assert read.failure.retry_after_s == 30.0


def test_no_answer_is_told_as_that_of_the_token_endpoint():
    """A fault of the way there names the token endpoint; what only a person can mend is said to be so."""
    slow = read_token(Fault(FaultKind.TIMEOUT, "no answer within 10 s", 10))
    forbidden = read_token(Fault(FaultKind.FORBIDDEN, "refused", 10))

    assert slow.failure.message.startswith("the token endpoint: no answer within 10 s")
    assert (slow.failure.fix_needed, slow.failure.overload) == (False, False)
    assert forbidden.failure.fix_needed


@pytest.mark.parametrize(
    ("life", "seconds"),
    [
        (3599, 3599),
        (3599.5, 3599.5),
        ("3599", 3599),
        (None, 300),
        ("x", 300),
        (-1, 10),
        (0, 10),
        (10**30, 86_400),
    ],
)
def test_any_life_is_bounded(life, seconds):
    """Times come as numbers or as text, and whatever they say a token is kept for 10 seconds to a day."""
    assert read_token(granted("t", life)) == Token("t", seconds)


def test_a_token_is_in_no_repr():
    """Neither a token nor a client's secret is seen where an object is printed."""
    shown = repr([Token("c4n4ry", 1.0), Grant(TOKEN_ROUTE, b"c4n4ry"), CLIENT])

    assert "c4n4ry" not in shown


def test_closing_ends_what_waits_for_a_token(sim):
    """A channel that is closed answers whatever waits for a token, once, and what the token endpoint says later changes nothing."""
    heard: list[object] = []

    async def close_while_waiting() -> None:
        channel = TokenSender(sim.receiver).open(sim.route)
        assert isinstance(channel, TokenChannel)
        channel.start(
            Request(b'{"event":{"id":"e"}}'), lambda token, answer: heard.append((token, answer)), "one"
        )
        channel.close()
        await asyncio.sleep(20)

    sim.run(close_while_waiting())

    [(token, answer)] = heard
    assert (token, answer.kind) == ("one", FaultKind.CLOSED)
    assert sim.receiver.came == []


def test_a_token_is_kept_to_its_end_and_no_longer(sim):
    """Tokens of several grants are kept side by side; when another one is fetched, those that have ended are forgotten."""
    request = Request(b'{"event":{"id":"e"}}')

    def with_client(name: str) -> Route:
        return replace(sim.route, grant=Grant(TOKEN_ROUTE, replace(CLIENT, client_id=name).form()))

    async def use_three() -> tuple[list[str], list[str]]:
        sender = TokenSender(sim.receiver)
        for name in ("a", "b", "a", "b"):
            await sender.open(with_client(name)).post(request)
        kept = sender.bearers()
        await asyncio.sleep(3600)
        await sender.open(with_client("c")).post(request)
        return kept, sender.bearers()

    assert sim.run(use_three()) == (["t1", "t2"], ["t3"])


def test_a_header_that_the_sender_refuses_is_a_failure(sim):
    """A channel that cannot be opened with a token ends the attempt with the reason, and not the worker."""

    class Refusing(Guarded):
        def open(self, route: Route, trace: Trace | None = None) -> ScriptedChannel:
            if route.headers:
                raise Invalid("the header cannot be used")
            return super().open(route, trace)

    async def attempt() -> Answer:
        receiver = Refusing(sim.loop, lambda _: None)
        return await TokenSender(receiver).open(sim.route).post(Request(b"{}"))

    answer = sim.run(attempt())

    assert isinstance(answer, NoToken)
    assert answer.failure == Failure(FailureScope.DESTINATION, "the header cannot be used", fix_needed=True)
