"""Promises of splunk_hec: the code in the body decides, and a batch is resumed where Splunk stopped reading."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.formats import REGISTRY
from aegis_stream.formats.splunk import interpret
from aegis_stream.formats.splunk_ack import confirmed, encode_question
from support.formats import make_event, stored


def answer_of(code, status=200, retry_after=None, **members):
    """Return an answer of HEC."""
    body = {"text": "words of Splunk's", "code": code} | members
    return Response(status, json.dumps(body).encode(), 100, retry_after)


# ── requests ──


@pytest.mark.parametrize(
    "timestamp, seconds",
    [
        ("2026-05-15T10:33:21.456789+00:00", "1778841201.456"),
        ("2026-05-15T12:33:21.4+02:00", "1778841201.400"),
        ("2026-05-15T10:33:21Z", "1778841201.000"),
        ("1970-01-01T00:00:00.007Z", "0.007"),
        ("1969-12-31T23:59:59Z", "0.000"),
        ("0001-01-01T00:00:00+14:00", "0.000"),
        ("9999-12-31T23:59:59.999999Z", "253402300799.999"),
    ],
)
def test_every_event_has_its_time(timestamp, seconds):
    """The envelope's time is @timestamp in seconds since 1970, exact to the millisecond; before 1970 it is zero."""
    body = stored({**make_event(), "@timestamp": timestamp})

    request = REGISTRY["splunk_hec"].encode([body])

    assert request.body == b'{"time":%s,"source":"aegis-audit-stream","event":%s}' % (seconds.encode(), body)


def test_envelopes_stand_one_after_the_other():
    """Several events are several envelopes without anything between them."""
    first, second = stored(make_event("a")), stored(make_event("b"))

    request = REGISTRY["splunk_hec"].encode([first, second])

    one, other = REGISTRY["splunk_hec"].encode([first]), REGISTRY["splunk_hec"].encode([second])
    assert request.body == one.body + other.body
    assert request.content_type == "application/json"


# ── answers ──


@pytest.mark.parametrize(
    "code, status, scope, permanent, fix_needed, overload",
    [
        *(
            (code, status, FailureScope.DESTINATION, False, True, False)
            for code, status in ((1, 403), (2, 401), (3, 401), (4, 403))
        ),
        *((code, 400, FailureScope.DESTINATION, False, True, False) for code in (7, 10, 11, 14, 16, 21, 22)),
        (17, 200, FailureScope.DESTINATION, False, True, False),
        *((code, 400, FailureScope.EVENT, True, False, False) for code in (5, 6, 12, 13, 15)),
        (8, 500, FailureScope.DESTINATION, False, False, False),
        *((code, 503, FailureScope.DESTINATION, False, False, True) for code in (9, 18, 19, 20, 23)),
        *((code, 429, FailureScope.DESTINATION, False, False, True) for code in (26, 27)),
        (999, 200, FailureScope.DESTINATION, False, False, False),
        (-1, 200, FailureScope.DESTINATION, False, False, False),
        (0, 500, FailureScope.DESTINATION, False, False, False),
        (24, 503, FailureScope.DESTINATION, False, False, True),
        (999, 400, FailureScope.EVENT, True, False, False),
    ],
)
def test_the_code_decides(code, status, scope, permanent, fix_needed, overload):
    """Wrong tokens and URLs need a person, events that Splunk cannot read are dead-lettered, and everything else is retried."""
    verdict = interpret(answer_of(code, status), 3)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent) == (scope, permanent)
    assert (verdict.fix_needed, verdict.overload) == (fix_needed, overload)
    assert (verdict.status_code, verdict.unjudged) == (status, False)


@pytest.mark.parametrize("code, overload", [(0, False), (24, True), (25, True)])
def test_a_full_queue_takes_events_and_asks_for_less(code, overload):
    """Codes 0, 24 and 25 come with a 200 and deliver; the last two slow the sending down."""
    assert interpret(answer_of(code), 500) == Accepted(200, overload=overload)


@pytest.mark.parametrize(
    "number, accepted, unjudged",
    [(0, 0, 3), (1, 1, 2), (3, 3, 0)],
)
def test_a_batch_is_resumed_where_splunk_stopped(number, accepted, unjudged):
    """Events before the rejected one are delivered, that one is dead-lettered, and the rest may be sent at once."""
    verdicts = interpret(answer_of(6, 400, **{"invalid-event-number": number}), 4)

    assert verdicts[:accepted] == [Accepted(200)] * accepted
    bad, rest = verdicts[accepted], verdicts[accepted + 1 :]
    assert (bad.scope, bad.permanent, bad.unjudged) == (FailureScope.EVENT, True, False)
    assert [(one.scope, one.unjudged, one.permanent) for one in rest] == [
        (FailureScope.DESTINATION, True, False)
    ] * unjudged


@pytest.mark.parametrize("number", [None, -1, 4, 10**30])
def test_a_refusal_without_a_place_is_about_the_batch(number):
    """If the answer names no event of the batch, the batch is halved."""
    members = {} if number is None else {"invalid-event-number": number}

    verdict = interpret(answer_of(6, 400, **members), 4)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent) == (FailureScope.EVENT, True)


def test_a_wait_that_splunk_asks_for_is_kept():
    """Retry-After is followed when Splunk is busy, and by nothing else."""
    assert interpret(answer_of(9, 503, "7"), 1).retry_after_s == 7
    assert interpret(answer_of(26, 429, "7"), 1).retry_after_s == 7
    assert interpret(answer_of(4, 403, "7"), 1).retry_after_s is None


@pytest.mark.parametrize(
    "answer, scope, overload",
    [
        (Response(503, b"<html>no upstream</html>", 100), FailureScope.DESTINATION, True),
        (Response(413, b"", 100), FailureScope.EVENT, False),
        (Response(200, b"", 100), FailureScope.DESTINATION, False),
        (Response(200, b'{"text":"Success"}', 100), FailureScope.DESTINATION, False),
        (Fault(FaultKind.TIMEOUT, "too late", 100), FailureScope.DESTINATION, True),
    ],
)
def test_without_a_code_nothing_is_delivered(answer, scope, overload):
    """An answer from a proxy or load balancer is judged by its status, and a 2xx is not a success."""
    verdict = interpret(answer, 2)

    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.overload) == (scope, overload)


# ── indexer acknowledgement ──


@pytest.mark.parametrize("code", [0, 24])
def test_an_answer_carries_the_number_to_ask_about(code):
    """With indexer acknowledgement the verdict has the answer's ackId."""
    assert interpret(answer_of(code, ackId=12), 3).ack_id == 12


def test_asks_about_what_was_accepted():
    """The question names the ackIds in order."""
    request = encode_question({12, 3})

    assert json.loads(request.body) == {"acks": [3, 12]}
    assert request.content_type == "application/json"


@pytest.mark.parametrize(
    "status, body, expected",
    [
        (200, b'{"acks":{"3":true,"12":false}}', {3}),
        (200, b'{"acks":{"3":true,"12":true,"99":true}}', {3, 12}),
        (200, b'{"acks":{"3":1}}', set()),
        (200, b'{"acks":{', set()),
        (200, b"<html>", set()),
        (400, b'{"acks":{"3":true}}', set()),
        (503, b"", set()),
    ],
)
def test_only_what_is_indexed_is_confirmed(status, body, expected):
    """An ackId is confirmed only if a 2xx says true about it."""
    assert confirmed(Response(status, body, 100), [3, 12]) == expected
    assert confirmed(Fault(FaultKind.CLOSED, "gone", 100), [3, 12]) == frozenset()
