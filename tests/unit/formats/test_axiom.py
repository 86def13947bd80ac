"""Promises of axiom: an answer is a success only if it counts every event."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats import REGISTRY, with_query
from aegis_stream.formats.axiom import interpret


@pytest.mark.parametrize(
    "ingested, failed, delivered",
    [(3, 0, True), (0, 3, False), (2, 1, False), (2, 0, False), (3, 1, False), (4, 0, False), (0, 0, False)],
)
def test_every_event_is_counted(ingested, failed, delivered):
    """Only an answer that counts each event as ingested and none as failed delivers; otherwise the batch is halved."""
    body = json.dumps({"ingested": ingested, "failed": failed, "failures": [], "processedBytes": 9}).encode()

    verdict = interpret(Response(200, body, 100), 3)

    if delivered:
        assert verdict == Accepted(200)
        return
    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.permanent) == (FailureScope.EVENT, True)


def test_axiom_is_told_where_the_time_is():
    """The parameter for the time is added to the URL, so that no event needs a second one."""
    assert with_query(REGISTRY["axiom"], "/v1/datasets/audit/ingest").endswith("?timestamp-field=@timestamp")
