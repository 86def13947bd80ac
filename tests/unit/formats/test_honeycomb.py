"""Promises of honeycomb: flat fields, and a verdict for every event of a 200."""

import json

import pytest

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats.honeycomb import encode, interpret
from support.formats import make_event, stored


def test_an_event_is_a_time_and_flat_fields():
    """Nested objects become dotted names, arrays become JSON text, scalars stay what they are."""
    event = make_event(user={"roles": ["admin"], "mfa": True, "name": None, "x": {}})

    request = encode([stored(event)])

    assert json.loads(request.body) == [
        {
            "time": "2026-05-15T10:33:21.456789Z",
            "data": {
                "@timestamp": "2026-05-15T10:33:21.456789+00:00",
                "event.id": "evt_1",
                "event.dataset": "crm.audit",
                "organization.id": "org_abc",
                "user.roles": '["admin"]',
                "user.mfa": True,
                "user.name": None,
                "user.x": "{}",
            },
        }
    ]


def test_every_event_has_a_verdict_of_its_own():
    """202 is delivered, 400 is dead-lettered, 429 and 500 are retried, in the order of the request."""
    body = json.dumps([{"status": one} for one in (202, 400, 429, 500)]).encode()

    accepted, refused, limited, failed = interpret(Response(200, body, 100), 4)

    assert accepted == Accepted(202)
    assert (refused.scope, refused.permanent, refused.status_code) == (FailureScope.EVENT, True, 400)
    assert (limited.scope, limited.overload, limited.permanent) == (FailureScope.DESTINATION, True, False)
    assert (failed.scope, failed.permanent) == (FailureScope.DESTINATION, False)


@pytest.mark.parametrize(
    "body",
    [b"[]", b'[{"status":202}]', b'[{"status":202},{"status":202},{"status":202}]', b'[{"error":"x"}]'],
)
def test_results_of_other_events_deliver_nothing(body):
    """If the number of results differs from the number of events, none counts as delivered."""
    assert isinstance(interpret(Response(200, body, 100), 2), Failure)
