"""Promises of otlp_logs: every value arrives, rejected records are noticed, and the protocol's rule of retries is kept."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings

from aegis_stream.domain.attempt import Accepted, Failure, FailureScope, Response
from aegis_stream.formats.otlp import RETRIED, encode, interpret
from support.formats import UNHURRIED, events, leaves, make_event, otlp_records, stored
from support.otlp import records_of


def record_of(event):
    """Return the one record that is sent for an event, as its receiver reads it."""
    (record,) = records_of(encode([stored(event)]).body)
    return record


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
        (b"-9223372036854775808", {"intValue": "-9223372036854775808"}),
        (b"9223372036854775808", {"stringValue": "9223372036854775808"}),
        (b"-9223372036854775809", {"stringValue": "-9223372036854775809"}),
        (b"1e999", {"stringValue": "1e999"}),
        (b"9" * 5000, {"stringValue": "9" * 5000}),
        (b"1.5e1", {"doubleValue": 15.0}),
    ],
    ids=[
        "largest",
        "smallest",
        "beyond 64 bits",
        "below 64 bits",
        "beyond a double",
        "5,000 digits",
        "double",
    ],
)
def test_a_number_that_fits_nowhere_is_a_text(spelled, sent):
    """A number beyond 64 bits or beyond a double keeps its digits."""
    body = stored(make_event(x="here")).replace(b'"here"', spelled)

    (record,) = otlp_records(encode([body]))

    assert {pair["key"]: pair["value"] for pair in record["attributes"]}["x"] == sent


@pytest.mark.parametrize(
    "spelled, nanos, is_kept",
    [
        ("2026-05-15T10:33:21.456789+00:00", 1778841201456789000, False),
        ("2026-05-15T12:33:21.456789000+02:00", 1778841201456789000, False),
        ("2026-05-15T10:33:21Z", 1778841201000000000, False),
        ("2026-05-15T10:33:21.456789123Z", 1778841201456789000, True),
        ("1969-07-20T20:17:40Z", 0, True),
        ("1970-01-01T00:00:00Z", 0, True),
        ("2262-04-11T23:47:16.854775Z", 9223372036854775000, False),
        ("2262-04-12T00:00:00Z", 2**63 - 1, True),
    ],
    ids=["usual", "offset", "seconds", "nanoseconds", "before 1970", "1970", "latest", "beyond 2262"],
)
def test_a_time_that_the_record_cannot_tell_is_an_attribute(spelled, nanos, is_kept):
    """Where timeUnixNano is a bound, the word for an unknown time, or rounded, the event's own spelling goes beside it."""
    record = record_of(make_event() | {"@timestamp": spelled})

    assert record.time_unix_nano == nanos
    assert record.attributes.get("@timestamp") == (spelled if is_kept else None)


@settings(UNHURRIED, max_examples=60)
@given(event=events())
def test_every_value_travels(event):
    """Every leaf of an event is in its record, once, with its value; no attribute has the name of another."""
    record = record_of(event)

    line = event.get("message")
    kept = dict(leaves(event))
    if "@timestamp" not in record.attributes:
        assert record.time_unix_nano == nanos_of(event["@timestamp"])
        del kept["@timestamp",]
    if isinstance(line, str) and line:
        assert record.body == line
        del kept["message",]
    assert len(record.attributes) == record.pairs == len(kept)
    for path, value in kept.items():
        name = ".".join(path)
        sent = [one for key, one in record.attributes.items() if key.rstrip("_") == name.rstrip("_")]
        assert any(as_sent(value) == one for one in sent), (path, value, sent)


def nanos_of(spelled):
    """Return a time in nanoseconds since 1970, exactly."""
    return (
        (datetime.fromisoformat(spelled) - datetime(1970, 1, 1, tzinfo=UTC))
        // timedelta(microseconds=1)
        * 1000
    )


def as_sent(value):
    """Return a value as it comes back: whole numbers beyond 64 bits as text."""
    if isinstance(value, list):
        return [as_sent(one) for one in value]
    if isinstance(value, dict):
        return {name or as_free(value): as_sent(one) for name, one in value.items()}
    return str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


def as_free(members):
    """Return as many underscores as no other member has for a name."""
    return next("_" * length for length in range(1, len(members) + 1) if "_" * length not in members)


@pytest.mark.parametrize(
    "members, names",
    [
        ({"": 1}, ["_"]),
        ({"": 1, "_": 2}, ["__", "_"]),
        ({"__": 3, "": 1, "_": 2}, ["__", "___", "_"]),
        ({"": {"": 1}}, ["."]),
    ],
)
def test_no_key_is_empty(members, names):
    """A member without a name gets one that is free, as an attribute and within objects in arrays: an empty key would be dropped."""
    record = otlp_records(encode([stored(make_event(list=[members]) | members)]))[0]

    (inside,) = next(one["value"] for one in record["attributes"] if one["key"] == "list")["arrayValue"][
        "values"
    ]
    known = {"event.id", "event.dataset", "organization.id", "list"}
    assert [one["key"] for one in record["attributes"] if one["key"] not in known] == names
    assert "" not in keys_of(inside["kvlistValue"])


def keys_of(kvlist):
    """Return all keys of an object as it is sent, at any depth."""
    found = []
    for pair in kvlist["values"]:
        found += [pair["key"], *keys_of(pair["value"].get("kvlistValue", {"values": []}))]
    return found


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
    """A message without rejected records is a warning, and everything is delivered."""
    verdict = interpret(Response(200, b'{"partialSuccess":{"errorMessage":"old field"}}', 100), 3)

    assert isinstance(verdict, Accepted)
    assert verdict.warning is not None


@pytest.mark.parametrize("rejected", [b"1", b'"1"', b"3", b'"3"', b'"18446744073709551615"'])
@pytest.mark.parametrize("count", [1, 3])
def test_rejected_records_are_never_delivered(rejected, count):
    """If records were rejected, all are dead-lettered and the batch is not halved: the answer does not say which, and retries are forbidden."""
    body = b'{"partialSuccess":{"rejectedLogRecords":%s,"errorMessage":"x"}}' % rejected

    verdicts = interpret(Response(200, body, 100), count)

    assert len(verdicts) == count
    assert all((one.permanent, one.scope) == (True, FailureScope.EVENT) for one in verdicts)


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
    """429, 502, 503 and 504 are retried, failures that need a fix wait, and everything else is dead-lettered at once."""
    verdict = interpret(Response(status, b"", 100, "5"), 3)

    assert isinstance(verdict, Failure)
    assert verdict.permanent == (status not in RETRIED and not verdict.fix_needed)
    assert (verdict.retry_after_s == 5) == (status in (408, 413, 429, 502, 503))
