"""Promises of every format about answers: total, no success without proof, and retries come to an end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Delivered,
    Failure,
    Fault,
    FaultKind,
    Response,
    RetryPolicy,
    Verdict,
    decide,
)
from aegis_stream.domain.ids import Micros
from aegis_stream.formats import REGISTRY
from support.formats import UNHURRIED

PLAIN = ["json", "ndjson", "json_array"]
"""Formats without a contract about bodies: there a 2xx is success."""
CONTRACTS = sorted(set(REGISTRY) - set(PLAIN))
SUCCESSES = {
    "elastic_bulk": (
        200,
        b'{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409}},{"create":{"status":201}}]}',
    ),
    "elastic_doc": (201, b'{"_index":"a","_id":"b","result":"created"}'),
    "elastic_create": (201, b'{"_index":"a","_id":"b","result":"created"}'),
    "splunk_hec": (200, b'{"text":"Success","code":0}'),
    "datadog": (202, b"{}"),
    "new_relic": (202, b'{"requestId":"1f1f"}'),
    "loki": (204, b""),
    "otlp_logs": (200, b'{"partialSuccess":{"rejectedLogRecords":"0"}}'),
    "cribl": (200, b""),
    "axiom": (200, b'{"ingested":3,"failed":0,"failures":[],"processedBytes":1}'),
    "better_stack": (202, b""),
    "honeycomb": (200, b'[{"status":202},{"status":202},{"status":202}]'),
    "sentinel": (204, b""),
}
"""An answer of every contract that takes three events (the single formats one)."""
JUNK = [
    *(
        b"",
        b" ",
        b"ok",
        b"null",
        b"0",
        b"[]",
        b"{}",
        b'""',
        b"\xff\xfe",
        b"{" * 5000,
        b"[" * 16_000,
        b'{"items":',
    ),
    b'{"items":[' + b'{"create":' * 3000,
    b"<!doctype html><title>Sign in</title>",
    b'{"errors":false,"items":[]}',
    b'{"errors":false}',
    b'{"items":[{"create":{"status":' + b"9" * 400 + b"}}]}",
    b'{"code":' + b"9" * 400 + b"}",
    b'{"code":0,"ackId":' + b"9" * 400 + b"}",
    b'{"code":6,"invalid-event-number":-1}',
    b'{"partialSuccess":{"rejectedLogRecords":"' + b"9" * 400 + b'"}}',
    b'{"partialSuccess":{"rejectedLogRecords":-1}}',
    b'{"ingested":-3,"failed":0}',
    b'{"ingested":' + b"9" * 400 + b',"failed":0}',
    b'[{"status":200.5}]',
]
BODIES = (
    st.binary(max_size=40)
    | st.sampled_from(JUNK)
    | st.sampled_from(sorted(body for _, body in SUCCESSES.values())).flatmap(
        lambda body: st.integers(0, len(body)).map(lambda end: body[:end])
    )
)
STATUSES = st.integers(0, 999) | st.sampled_from([200, 201, 202, 204, 207, 260, 400, 409, 413, 429, 500, 503])
ANSWERS = st.builds(Response, STATUSES, BODIES, st.just(100), st.none() | st.text(max_size=5)) | st.builds(
    Fault, st.sampled_from(list(FaultKind)), st.just("it went wrong"), st.just(100)
)


def judged(name: str, answer: Answer, count: int) -> list[Verdict]:
    """Return a verdict for each event."""
    found = REGISTRY[name].interpret(answer, count)
    return found if isinstance(found, list) else [found] * count


@pytest.mark.parametrize("name", sorted(REGISTRY))
@settings(UNHURRIED, max_examples=150)
@given(answer=ANSWERS, count=st.integers(1, 5))
def test_every_answer_has_verdicts_that_can_be_stored(name, answer, count):
    """Any status with any bytes gives a verdict for every event, with a three-digit status code and our own text."""
    count = count if REGISTRY[name].batches else 1

    verdicts = judged(name, answer, count)

    assert len(verdicts) == count
    for one in verdicts:
        assert one.status_code is None or 0 <= one.status_code <= 999
        if isinstance(one, Accepted):
            assert isinstance(answer, Response)
            assert one.ack_id is None or 0 <= one.ack_id < 2**63
        else:
            assert one.message
            assert one.retry_after_s is None or 0 <= one.retry_after_s <= 3600


@pytest.mark.parametrize("name", sorted(REGISTRY))
@settings(UNHURRIED, max_examples=150)
@given(answer=ANSWERS, count=st.integers(2, 5))
def test_sending_again_what_was_not_judged_ends(name, answer, count):
    """Events that may be sent again without counting an attempt are the last ones of a request, and never all of them."""
    verdicts = judged(name, answer, count if REGISTRY[name].batches else 1)

    unjudged = [isinstance(one, Failure) and one.unjudged for one in verdicts]

    assert unjudged == sorted(unjudged)
    assert not unjudged[0]


@pytest.mark.parametrize("name", CONTRACTS)
@settings(UNHURRIED, max_examples=150)
@given(
    status=STATUSES.filter(lambda one: not 200 <= one < 300 and one != 409),
    body=BODIES.filter(lambda one: b'"invalid-event-number"' not in one),
)
def test_no_body_makes_another_status_a_success(name, status, body):
    """With any body, only a 2xx (or a 409 of a document with its id) delivers."""
    verdicts = judged(name, Response(status, body, 100), 3 if REGISTRY[name].batches else 1)

    assert not any(isinstance(one, Accepted) for one in verdicts)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_contracts_own_success_is_one(name):
    """What the destination answers when it has taken everything is a success for every event."""
    status, body = SUCCESSES[name]

    verdicts = judged(name, Response(status, body, 100), 3 if REGISTRY[name].batches else 1)

    assert all(isinstance(one, Accepted) for one in verdicts)


@pytest.mark.parametrize("name", [one for one in CONTRACTS if SUCCESSES[one][1] and one != "elastic_bulk"])
def test_a_cut_answer_is_no_success(name):
    """A truncated answer delivers nothing; elastic_bulk, with its items, has a test of its own."""
    status, body = SUCCESSES[name]

    for end in range(1, len(body)):
        for one in judged(name, Response(status, body[:end], 100), 3 if REGISTRY[name].batches else 1):
            assert isinstance(one, Failure), body[:end]
            assert not one.permanent


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize(
    "page", [b"<!doctype html><title>Sign in</title>", b"\n\t <html></html>", b"<?xml?><a/>"]
)
def test_a_web_page_is_no_success(name, status, page):
    """A login page or a proxy's page with a 2xx delivers nothing, and the message says to check the URL."""
    verdicts = judged(name, Response(status, page, 100), 3 if REGISTRY[name].batches else 1)

    assert all(isinstance(one, Failure) and one.fix_needed and "web page" in one.message for one in verdicts)


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("status", [203, 205, 207, 226, 260])
def test_a_success_that_no_contract_knows_is_none(name, status):
    """A 2xx that is not in the destination's contract delivers nothing if it has no body."""
    verdicts = judged(name, Response(status, b"", 100), 3 if REGISTRY[name].batches else 1)

    assert not any(isinstance(one, Accepted) for one in verdicts)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_body_of_an_answer_is_never_repeated(name):
    """No message contains text from an answer: it could be a part of an event, or a secret."""
    bodies = [
        b'{"text":"c4n4ry","code":6,"error":"c4n4ry"}',
        b'{"error":{"type":"c4n4ry","reason":"c4n4ry"},"status":400}',
        b'{"errors":true,"items":[{"create":{"status":400,"error":{"type":"c4n4ry","reason":"c4n4ry"}}}]}',
        b'{"partialSuccess":{"rejectedLogRecords":0,"errorMessage":"c4n4ry"}}',
        b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"c4n4ry"}}',
        b'{"ingested":0,"failed":1,"failures":[{"error":"c4n4ry"}]}',
        b'[{"status":400,"error":"c4n4ry"}]',
        b'{"errors":["c4n4ry"]}',
    ]
    for body in bodies:
        for status in (200, 202, 400, 403, 413, 429, 500):
            assert "c4n4ry" not in repr(judged(name, Response(status, body, 100), 1))


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_fault_is_tried_again(name, kind):
    """Without an answer every event of the request is retried, with any format."""
    for one in judged(name, Fault(kind, "it went wrong", 100), 3 if REGISTRY[name].batches else 1):
        assert isinstance(one, Failure)
        assert not one.permanent
        assert "it went wrong" in one.message


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_what_somebody_must_fix_waits(name, status):
    """A wrong credential or URL costs no event: nothing is permanent, and the destination needs a person."""
    for one in judged(name, Response(status, b"", 100), 3 if REGISTRY[name].batches else 1):
        assert isinstance(one, Failure)
        assert (one.fix_needed, one.permanent, one.scope) == (True, False, "destination")


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_for_its_content_is_refused_for_good(name, status):
    """A rejection of the content is about the events, and a single event is not retried."""
    for one in judged(name, Response(status, b"", 100), 1):
        assert isinstance(one, Failure)
        assert (one.permanent, one.scope) == (True, "event")


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_destination_is_given_time(name, status):
    """429 and 503 are retried no earlier than the destination asks, and sending slows down."""
    for one in judged(name, Response(status, b"", 100, "30"), 3 if REGISTRY[name].batches else 1):
        assert isinstance(one, Failure)
        assert (one.overload, one.retry_after_s, one.permanent) == (True, 30, False)


# ── what the additions to verdicts mean ──


def test_a_permanent_failure_is_dead_at_once():
    """An event that would be rejected again becomes a dead letter after its first attempt."""
    policy = RetryPolicy(max_attempts=3)

    once = decide(Failure("event", "no", permanent=True), 1, policy, now=Micros(0), chance=0.5)
    again = decide(Failure("event", "no"), 1, policy, now=Micros(0), chance=0.5)

    assert type(once).__name__ == "Dead"
    assert type(again).__name__ == "Retry"


def test_a_warning_does_not_keep_an_event_from_being_delivered():
    """An accepted event is delivered, also with a warning."""
    verdict = Accepted(201, overload=True, warning="look", ack_id=7)

    assert decide(verdict, 1, RetryPolicy(), now=Micros(0), chance=0.5) == Delivered(201)
