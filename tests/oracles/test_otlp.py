"""OpenTelemetry's own exporter and messages as oracles: they read our JSON strictly, and it says what they would say."""

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import (
    DEFAULT_ENDPOINT,
    DEFAULT_LOGS_EXPORT_PATH,
    OTLPLogExporter,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.sdk._logs import (
    LoggerProvider,
    LogRecordDroppedAttributesWarning,
    LogRecordLimits,
    ReadableLogRecord,
)
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource

from aegis_stream.domain.attempt import Accepted, Failure
from aegis_stream.domain.event import DEFAULT_LIMITS, NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import choose
from aegis_stream.formats.otlp import OTLP_LOGS, encode
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, ANY, Row, unexplained
from oracles.material import CORPUS, GOLDEN, ORGANIZATION, is_flat, line_of, picked, read
from support.formats import EVENTS, UNHURRIED, leaves, make_event, stored

AUTH = ("Authorization", "Bearer synthetic-token-of-the-tests")
PATH = ours.path("otlp_logs", "/v1/logs")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEPTH = DEFAULT_LIMITS.depth_max - 1
"""Levels that a member of an event can have below it."""
ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
RECORD = "body.resourceLogs[].scopeLogs[].logRecords[]"
REQUEST = (
    Row("headers.content-type", "application/x-protobuf", "application/json", "the protocol has both"),
    Row("headers.accept", "*/*", ABSENT, "an answer is of the request's type"),
    Row(f"{RECORD}.observedTimeUnixNano", ANY, ABSENT, "optional: receivers then take their own time"),
)
NO_REPEATS = frozenset({401, 402, 403, 404, 405, 407, 410, 415})
"""Statuses after which the exporter gives up at once, and we wait until somebody has changed something."""
TAKEN_BY_MISTAKE = frozenset({203, 207, 300, 302, 304})
"""Statuses that the exporter takes for success, and we do not: redirects, and 2xx that no receiver of the protocol answers."""


def strictly(body: bytes) -> ExportLogsServiceRequest:
    """Read a request in JSON as a receiver does that ignores nothing: unknown fields and wrong types raise.

    OTLP is stricter than what protobuf itself has for JSON: names in lowerCamelCase alone, and trace and span ids in hexadecimal.
    """
    content = json.loads(body, object_pairs_hook=_checked_pairs)
    return json_format.Parse(json.dumps(content), ExportLogsServiceRequest(), ignore_unknown_fields=False)


def _checked_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of OTLP as protobuf reads it."""
    members = dict(pairs)
    assert len(members) == len(pairs), "a name stands twice"
    for name, value in pairs:
        assert name.isalpha(), f"{name} is not lowerCamelCase"
        if name in ID_BYTES:
            as_bytes = bytes.fromhex(value)
            assert len(as_bytes) == ID_BYTES[name]
            members[name] = base64.b64encode(as_bytes).decode()
    return members


def content_of(body: bytes) -> dict[str, Any]:
    """Return what a request says in either spelling, with the attributes of each record by their names."""
    is_json = body.startswith(b"{")
    message = strictly(body) if is_json else ExportLogsServiceRequest.FromString(body)
    content: dict[str, Any] = json_format.MessageToDict(message)
    for resource in content["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                pairs = record["attributes"]
                record["attributes"] = {pair.get("key", ""): pair["value"] for pair in pairs}
                assert len(record["attributes"]) == len(pairs)
    return content


def as_record(event: dict[str, Any]) -> LogRecord:
    """Return what a program passes to the SDK for an event, flattened by the rules of our page."""
    since = datetime.fromisoformat(event["@timestamp"]) - EPOCH
    attributes = {".".join(path): value for path, value in leaves(event) if path != ("@timestamp",)}
    if attributes.get("message"):
        del attributes["message"]
    return LogRecord(
        timestamp=since // timedelta(microseconds=1) * 1000,
        severity_number=SeverityNumber.INFO,
        body=line_of(event),
        attributes=attributes,
    )


def is_carried(event: dict[str, Any]) -> bool:
    """Tell whether the SDK has a place for every member of an event as it is."""
    return is_flat(event) and isinstance(event.get("message", ""), str)


def recorded(events: Sequence[dict[str, Any]]) -> Sequence[ReadableLogRecord]:
    """Return the records that the SDK makes of events."""
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(
        Resource({"service.name": "aegis-audit-stream"}),
        shutdown_on_exit=False,
        log_record_limits=LogRecordLimits(max_log_record_attributes=LogRecordLimits.UNSET),
    )
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    for event in events:
        provider.get_logger("aegis").emit(as_record(event))
    return kept.get_finished_logs()


@pytest.fixture(scope="module")
def exporter(capture: Capture) -> Iterator[OTLPLogExporter]:
    """Return OpenTelemetry's exporter of logs; it fails instead of waiting a second before a retry."""
    headers = dict([AUTH])
    one = OTLPLogExporter(f"{capture.url}/{DEFAULT_LOGS_EXPORT_PATH}", headers=headers, timeout=0.75)
    yield one
    one.shutdown()


def test_the_request_is_the_exporters(capture, exporter):
    """We send what the exporter sends for the same events: path, credential, time, severity, body, and every attribute with its type."""
    bodies = picked(is_carried)
    capture.answer(Said())

    result = exporter.export(recorded(read(bodies)))
    verdicts = ours.send(capture.url + PATH, bodies, AUTH)

    theirs, own = capture.taken()
    assert unexplained(theirs, own, content_of, REQUEST) == []
    assert result is LogRecordExportResult.SUCCESS
    assert verdicts == [Accepted(200)] * len(bodies)


def test_a_member_without_a_name_is_sent(capture, exporter):
    """The SDK omits an attribute with an empty name; we give it a name, since we omit nothing."""
    event = make_event() | {"": "nameless"}
    capture.answer(Said())

    with pytest.warns(LogRecordDroppedAttributesWarning):
        records = recorded([event])
    exporter.export(records)
    ours.send(capture.url + PATH, [stored(event)], AUTH)

    rows = (
        Row(f"{RECORD}.attributes._", ABSENT, {"stringValue": "nameless"}, "nothing of an event is left out"),
        Row(f"{RECORD}.droppedAttributesCount", 1, ABSENT, "likewise"),
    )
    theirs, own = capture.taken()
    assert unexplained(theirs, own, content_of, REQUEST + rows) == []


@settings(UNHURRIED, max_examples=80)
@given(drawn=EVENTS)
def test_every_request_is_read_strictly(drawn):
    """Whatever the events, the protocol's own messages read the request, and have a record for each, in their order."""
    message = strictly(encode([stored(event) for event in drawn]).body)

    (resource,) = message.resource_logs
    (scope,) = resource.scope_logs
    assert [name_of(record) for record in scope.log_records] == [event["event"]["id"] for event in drawn]


def test_the_requests_of_products_are_read_strictly():
    """The same for events in the shapes of products, and those of the golden files, including odd numbers."""
    bodies = [*GOLDEN, *CORPUS]

    message = strictly(encode(bodies).body)

    names = [name_of(record) for record in message.resource_logs[0].scope_logs[0].log_records]
    assert names == [json.loads(body)["event"]["id"] for body in bodies]


def name_of(record: Any) -> str:
    """Return event.id of a record."""
    (value,) = [one.value.string_value for one in record.attributes if one.key == "event.id"]
    return str(value)


@settings(UNHURRIED, max_examples=60)
@given(shapes=st.lists(st.sampled_from(["list", "object"]), min_size=DEPTH, max_size=DEPTH))
@example(shapes=["object"] * (DEPTH - 1) + ["list"])
def test_the_deepest_event_is_within_the_depth_of_messages(shapes):
    """An event nested as deep as ingest allows is a message of no more levels than the hundred that protobuf reads."""
    value: Any = "deep"
    for shape in shapes:
        value = [value] if shape == "list" else {"a": value}
    body = stored(make_event(x=value))
    assert isinstance(parse_event(body, OrganizationId(ORGANIZATION), Micros(0), lambda: "none"), NewEvent)

    message = strictly(encode([body]).body)

    assert ExportLogsServiceRequest.FromString(message.SerializeToString()) == message


@settings(UNHURRIED, max_examples=40)
@given(
    rejected=st.none() | st.integers(0, 3) | st.just(2**63 - 1),
    warning=st.none() | st.sampled_from(["", "quota is nearly used up"]),
    is_verbose=st.booleans(),
)
def test_partial_success_is_read_as_the_messages_read_it(capture, rejected, warning, is_verbose):
    """Records are delivered exactly if the protocol's message reports none as rejected; its text is a warning."""
    reply = ExportLogsServiceResponse()
    if rejected is not None:
        reply.partial_success.rejected_log_records = rejected
    if warning is not None:
        reply.partial_success.error_message = warning
    text = json_format.MessageToJson(reply, always_print_fields_with_no_presence=is_verbose)
    capture.answer(Said(200, text.encode()))

    verdicts = ours.send(capture.url + PATH, [stored(make_event("a")), stored(make_event("b"))], AUTH)
    capture.taken()

    for verdict in verdicts:
        assert isinstance(verdict, Accepted) == (reply.partial_success.rejected_log_records == 0)
        if isinstance(verdict, Accepted):
            assert bool(verdict.warning) == bool(reply.partial_success.error_message)
        else:
            assert verdict.permanent, "the protocol forbids to send them again"


STATUSES = [*range(200, 205), 207, 300, 302, 304, *range(400, 418), 422, 429, 431, *range(500, 506), 507]


@pytest.mark.parametrize("status", STATUSES)
def test_answers_are_judged_as_the_exporter_judges_them(capture, exporter, status):
    """What the exporter counts as success is delivered, and what it retries is retried, except for the statuses above."""
    capture.answer(Said(status, b"{}", (("Retry-After", "0"),)), Said(200))
    result = exporter.export(recorded([make_event()]))
    requests = len(capture.taken())

    capture.answer(Said(status, b"{}"))
    (verdict,) = ours.send(capture.url + PATH, [stored(make_event())], AUTH)
    capture.taken()

    is_success = result is LogRecordExportResult.SUCCESS and requests == 1
    assert isinstance(verdict, Accepted) == (is_success and status not in TAKEN_BY_MISTAKE)
    if isinstance(verdict, Failure) and not is_success:
        assert verdict.permanent != (requests > 1 or status in NO_REPEATS)


def test_auto_knows_the_path():
    """`auto` is `otlp_logs` at the exporter's own address."""
    assert choose(DEFAULT_ENDPOINT + DEFAULT_LOGS_EXPORT_PATH).format is OTLP_LOGS
