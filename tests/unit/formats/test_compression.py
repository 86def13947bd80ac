"""Compression: which ones formats support, and how they read answers to compressed requests."""

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.formats import REGISTRY, compression_problem, when_compressed


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_format_takes_what_it_declares(name, compression):
    """`none` is always allowed, another one only if the format supports it; otherwise the reason names the format and the fix."""
    format_ = REGISTRY[name]

    problem = compression_problem(format_, compression)

    assert (problem is None) == (compression == "none" or compression in format_.compressions)
    if problem is not None:
        assert f"with format {name}" in problem
        assert all(one in problem for one in format_.compressions)


def test_without_compression_a_format_is_itself():
    """Without compression, answers are read as usual."""
    assert when_compressed(REGISTRY["json"], "none") is REGISTRY["json"]


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize(
    "answer",
    [
        *(Response(status, b"", 1) for status in (200, 202, 204, 400, 401, 406, 413, 415, 422, 500)),
        Response(200, b'{"errors": true, "items": []}', 1),
        Fault(FaultKind.TIMEOUT, "no answer within 10 s", 1),
    ],
    ids=repr,
)
def test_only_the_words_for_what_was_not_read_are_others(name, answer):
    """Compression does not change the verdict; if the body could not be read, the message says how to turn it off."""
    plain = REGISTRY[name].interpret(answer, 1)

    verdict = when_compressed(REGISTRY[name], "gzip").interpret(answer, 1)

    status = plain.status_code if isinstance(plain, Failure) else None
    if status in (400, 406, 415) and (name, status) not in OWN_WORDS:
        assert (
            verdict.message
            == f"{plain.message}; if the destination does not support gzip, set compression to none"
        )
        assert [getattr(verdict, one) for one in FACTS] == [getattr(plain, one) for one in FACTS]
    else:
        assert verdict == plain


OWN_WORDS = {("loki", 400)}
"""Formats and statuses of which they say more than the status does: it is not about reading."""
FACTS = ("scope", "status_code", "retry_after_s", "fix_needed", "overload", "permanent", "unjudged")


def test_verdicts_of_single_events_stay_as_they_are():
    """If an answer has a result for each event, the body was read, and the message does not mention compression."""
    bulk = REGISTRY["elastic_bulk"]
    body = b'{"errors":true,"items":[{"create":{"status":400}},{"create":{"status":201,"result":"created"}}]}'
    answer = Response(200, body, 1)

    first, second = when_compressed(bulk, "gzip").interpret(answer, 2)

    assert [first, second] == bulk.interpret(answer, 2)
    assert (first.scope, type(second)) == (FailureScope.EVENT, Accepted)


@pytest.mark.parametrize(
    "name, status, body",
    [
        ("elastic_doc", 400, b'{"error":{"type":"document_parsing_exception"},"status":400}'),
        ("elastic_bulk", 400, b'{"error":{"type":"index_closed_exception"},"status":400}'),
        ("elastic_bulk", 400, b'{"error":{"type":"illegal_argument_exception"},"status":400}'),
        ("splunk_hec", 400, b'{"text":"Incorrect index","code":7}'),
        ("loki", 400, b"entry too far behind"),
    ],
)
def test_where_the_reason_is_known_compression_is_not_blamed(name, status, body):
    """A 400 whose reason the format knows has only that reason."""
    answer = Response(status, body, 1)

    verdict = when_compressed(REGISTRY[name], "gzip").interpret(answer, 1)

    assert isinstance(verdict, Failure)
    assert verdict == REGISTRY[name].interpret(answer, 1)
