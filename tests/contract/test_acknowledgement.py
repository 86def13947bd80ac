"""Splunk's indexer acknowledgement through the whole service: an event is delivered only when it is indexed.

What becomes of a request that is never confirmed takes minutes: tests/unit/pipeline/test_confirm.py has it on a clock of its own.
"""

import json
from collections import Counter

import pytest

from support.arrival import audit_events, forward
from support.service import RunningService, wait_until
from support.stubs import Splunk, serving
from support.stubs.trial import session, trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CHANNEL = "00000000-0000-4000-8000-000000000001"
TARGET = f"{Splunk.target}?channel={CHANNEL}"
TOKEN = "value-of-SPLUNK_HEC_TOKEN"
"""The credential of the page."""


def test_events_are_delivered_when_they_are_indexed(service: RunningService) -> None:
    """While Splunk says "not yet", events are neither delivered nor sent again; when it confirms them, they are delivered."""
    with trial(service, "splunk", target=TARGET, has_acks=True, ack_after=10**6) as one:
        stub = one.stub
        assert isinstance(stub, Splunk)
        one.record(3)
        wait_until(lambda: len(stub.questions) >= 2)
        stats = one.shown()["stats"]
        assert (stats["delivered"], stats["backlog"], stats["failed_attempts"]) == (0, 3, 0)

        stub.ack_after = 0

        assert one.wait() == {"delivered": 3, "dead": 0}
        assert Counter(stub.ids()) == Counter(one.events.keys())
        assert {state.attempts for state in one.states().values()} == {1}


def test_every_event_is_delivered_once(service: RunningService) -> None:
    """All events arrive once, although the first questions about them are answered with no."""
    stub = Splunk(token=TOKEN, has_acks=True, ack_after=1)
    with serving(stub), session(service) as client:
        events = audit_events(client.organization.org_id)
        shown = forward(
            client,
            events,
            stub.origin + TARGET,
            auth_header_name="Authorization",
            auth_header_value=f"Splunk {TOKEN}",
            compression="gzip",
        )

    assert (shown["stats"]["delivered"], shown["stats"]["failed_attempts"]) == (len(events), 0)
    assert Counter(stub.ids()) == Counter(events.keys())


def test_a_question_goes_where_the_events_went(service: RunningService) -> None:
    """The question is a POST of JSON with the ackIds, to the ack path, with the URL's channel, the credential and the headers, never compressed."""
    fields = {"headers": {"X-Route": "one"}, "compression": "gzip"}
    with trial(service, "splunk", target=TARGET, fields=fields, has_acks=True) as one:
        stub = one.stub
        assert isinstance(stub, Splunk)
        one.record(3)
        assert one.wait() == {"delivered": 3, "dead": 0}

        (event_request,) = [request for request in stub.requests if request not in stub.questions]
        (question,) = stub.questions

    assert event_request.headers["content-encoding"] == "gzip"
    assert (question.path, question.query) == ("/services/collector/ack", {"channel": CHANNEL})
    assert json.loads(question.body) == {"acks": [0]}
    assert question.headers["content-type"] == "application/json"
    assert (question.headers["authorization"], question.headers["x-route"]) == (f"Splunk {TOKEN}", "one")
    assert "content-encoding" not in question.headers


def test_what_is_lost_before_it_is_indexed_is_never_delivered(service: RunningService) -> None:
    """If one of two requests is lost behind its 200, only the events of the other one count as delivered."""
    with trial(service, "splunk", target=TARGET, has_acks=True) as one:
        stub = one.stub
        assert isinstance(stub, Splunk)
        stub.fail("lose_before_index", times=1)
        one.record(2)
        wait_until(lambda: len(stub.questions) >= 1)
        one.record(2, first=2)
        wait_until(lambda: one.states()["e3"].state == "delivered")
        asked = len(stub.questions)
        wait_until(lambda: len(stub.questions) >= asked + 1)

        assert [state.state for state in one.states().values()] == [
            "pending",
            "pending",
            "delivered",
            "delivered",
        ]
        assert stub.ids() == ["e2", "e3"]


@pytest.mark.parametrize("target, code", [(Splunk.target, 10), (f"{Splunk.target}?channel=mine", 11)])
def test_a_token_with_acknowledgement_wants_a_channel(
    target: str, code: int, service: RunningService
) -> None:
    """Without a channel, or with one that is not a GUID, the destination fails and says what to add to the URL; with one, everything arrives."""
    with trial(service, "splunk", target=target, has_acks=True) as one:
        one.record(3)
        assert one.wait() == {"delivered": 0, "dead": 3}
        assert f"code {code}: " in one.last_error()
        assert "add ?channel= and a GUID to the URL" in one.last_error()

        one.change(
            url=one.stub.origin + TARGET,
            auth_header_value=f"Splunk {TOKEN}",
            auth_header_name="Authorization",
        )
        one.record(1, first=3)

        assert one.wait() == {"delivered": 4, "dead": 0}
        assert Counter(one.stub.ids()) == Counter(one.events.keys())


def test_a_token_without_acknowledgement_is_not_asked(service: RunningService) -> None:
    """An answer without an ackId counts as delivered, also with a channel in the URL."""
    with trial(service, "splunk", target=TARGET) as one:
        stub = one.stub
        assert isinstance(stub, Splunk)
        one.record(3)

        assert one.wait() == {"delivered": 3, "dead": 0}
        assert {request.path for request in stub.requests} == {Splunk.target}
