"""Promises of otlp_logs: every value arrives, rejected records are noticed, and the protocol's rule of retries is kept."""

import json

import pytest
from hypothesis import given, settings

from aegis_stream.domain.attempt import Accepted, Failure, Response, Scope
from aegis_stream.formats.otlp import RETRIED, encode, interpret
from support.formats import UNHURRIED, events, leaves, make_event, otlp_records, stored


def record_of(event):
    """Return the one record that is sent for an event."""
    (record,) = otlp_records(encode([stored(event)]))
    return record


def value_of(any_value):
    """Return what an AnyValue stands for, as its receiver reads it."""
    if not any_value:
        return None
    ((kind, value),) = any_value.items()
    match kind:
        case "intValue":
            return int(value)
        case "arrayValue":
            return [value_of(one) for one in value["values"]]
        case "kvlistValue":
            return {pair["key"]: value_of(pair["value"]) for pair in value["values"]}
    return value


def test_a_record_for_each_event():
    """One resource, one scope; time as text, message as body, and the rest as attributes with dotted names."""
    event = make_event(
        message="Signed in.", user={"roles": ["admin", 7], "mfa": True, "score": 0.5, "name": None, "x": {}}
    )

    request = encode([stored(event)])

    def text(value):
        return {"stringValue": value}

    assert json.loads(request.body) == {
        "resourceLogs": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": text("aegis-audit-stream")}]},
                "scopeLogs": [
                    {
                        "scope": {"name": "aegis"},
                        "logRecords": [
                            {
                                "timeUnixNano": "1778841201456789000",
                                "severityNumber": 9,
                                "body": text("Signed in."),
                                "attributes": [
                                    {"key": "event.id", "value": text("evt_1")},
                                    {"key": "event.dataset", "value": text("crm.audit")},
                                    {"key": "organization.id", "value": text("org_abc")},
                                    {
                                        "key": "user.roles",
                                        "value": {
                                            "arrayValue": {"values": [text("admin"), {"intValue": "7"}]}
                                        },
                                    },
                                    {"key": "user.mfa", "value": {"boolValue": True}},
                                    {"key": "user.score", "value": {"doubleValue": 0.5}},
                                    {"key": "user.name", "value": {}},
                                    {"key": "user.x", "value": {"kvlistValue": {"values": []}}},
                                ],
                            }
                        ],
                    }
                ],
            }
        ]
    }
    assert request.content_type == "application/json"


@pytest.mark.parametrize(
    "spelled, sent",
    [
        (b"9223372036854775807", {"intValue": "9223372036854775807"}),
        (b"-9223372036854775807", {"intValue": "-9223372036854775807"}),
        (b"9223372036854775808", {"stringValue": "9223372036854775808"}),
        (b"1e999", {"stringValue": "1e999"}),
        (b"9" * 5000, {"stringValue": "9" * 5000}),
        (b"1.5e1", {"doubleValue": 15.0}),
    ],
    ids=["largest", "smallest", "beyond 64 bits", "beyond a double", "5,000 digits", "double"],
)
def test_a_number_that_fits_nowhere_is_a_text(spelled, sent):
    """A number beyond 64 bits or beyond a double keeps its digits."""
    body = stored(make_event(x="here")).replace(b'"here"', spelled)

    (record,) = otlp_records(encode([body]))

    assert {pair["key"]: pair["value"] for pair in record["attributes"]}["x"] == sent


@settings(UNHURRIED, max_examples=60)
@given(event=events())
def test_every_value_travels(event):
    """Every leaf of an event is in its record, once, with its value; no attribute has the name of another."""
    record = record_of(event)
    found = {pair["key"]: value_of(pair["value"]) for pair in record["attributes"]}

    line = event.get("message")
    kept = {path: value for path, value in leaves(event) if path != ("@timestamp",)}
    if isinstance(line, str) and line:
        assert record["body"] == {"stringValue": line}
        del kept["message",]
    assert len(found) == len(record["attributes"]) == len(kept)
    for path, value in kept.items():
        name = ".".join(path)
        sent = [one for key, one in found.items() if key.rstrip("_") == name.rstrip("_")]
        assert any(as_sent(value) == one for one in sent), (path, value, sent)


def as_sent(value):
    """Return a value as it comes back: whole numbers beyond 64 bits as text."""
    if isinstance(value, list):
        return [as_sent(one) for one in value]
    if isinstance(value, dict):
        return {name: as_sent(one) for name, one in value.items()}
    return str(value) if type(value) is int and abs(value) > 2**63 - 1 else value


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b"{}"),
        (200, b""),
        (201, b""),
        (202, b'{"partialSuccess":null}'),
        (200, b'{"partialSuccess":{}}'),
        (200, b'{"partialSuccess":{"rejectedLogRecords":0}}'),
        (200, b'{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":""}}'),
    ],
)
def test_a_success_rejects_nothing(status, body):
    """An empty answer, or one without rejected records, delivers everything."""
    assert interpret(Response(status, body, 100), 3) == Accepted(status)


def test_a_remark_is_a_warning():
    """A message without rejected records is told, and everything is delivered."""
    verdict = interpret(Response(200, b'{"partialSuccess":{"errorMessage":"old field"}}', 100), 3)

    assert isinstance(verdict, Accepted)
    assert verdict.warning is not None


@pytest.mark.parametrize("rejected", [b"1", b'"1"', b"3", b'"3"', b'"18446744073709551615"'])
@pytest.mark.parametrize("count", [1, 3])
def test_rejected_records_are_never_delivered(rejected, count):
    """Which records were rejected is not said, and none may be sent again: all are given up, none is halved away."""
    body = b'{"partialSuccess":{"rejectedLogRecords":%s,"errorMessage":"x"}}' % rejected

    verdicts = interpret(Response(200, body, 100), count)

    assert len(verdicts) == count
    assert all((one.permanent, one.scope) == (True, Scope.EVENT) for one in verdicts)


@pytest.mark.parametrize(
    "body",
    [b'{"partialSuccess":{"rejectedLogRecords":-1}}', b'{"partialSuccess":{"rejectedLogRecords":"x"}}'],
)
def test_a_count_that_is_none_is_no_success(body):
    """An answer that cannot be understood delivers nothing."""
    verdict = interpret(Response(200, body, 100), 3)

    assert isinstance(verdict, Failure)
    assert not verdict.permanent


@pytest.mark.parametrize("status", [*range(100, 200), *range(400, 600)])
def test_only_what_the_protocol_allows_is_tried_again(status):
    """429, 502, 503 and 504 come again, what somebody must fix waits, and everything else is given up at once."""
    verdict = interpret(Response(status, b"", 100, "5"), 3)

    assert isinstance(verdict, Failure)
    assert verdict.permanent == (status not in RETRIED and not verdict.fix_needed)
    assert (verdict.retry_after_s == 5) == (status in (429, 503))
