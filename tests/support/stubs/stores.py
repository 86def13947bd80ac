"""Stub stores that report the result of each event, or of the request: Elasticsearch, Splunk, Loki, OTLP and similar."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .frame import Received, Reply, Stub, as_json, first_document, lines_of
from .platforms import system_now


@dataclass
class Elasticsearch(Stub):
    """Elasticsearch and OpenSearch: `_bulk` with an item for each event, `_doc`, `_create/<id>`; data streams accept only `create`.

    Stores (index, id, source). It has no mappings, since tests/real has them: `refused_ids` are the events that a mapping rejects.
    Events that a pipeline drops (`dropped_ids`) and events in the failure store are not in `stored`.
    """

    credential: str = "ApiKey key"
    streams: frozenset[str] = frozenset({"logs-aegis.preflight-default"})
    is_opensearch: bool = False
    dropped_ids: frozenset[str] = frozenset()
    has_failure_store: bool = False
    failure_store: list[Any] = field(default_factory=list)
    _known: set[tuple[str, str]] = field(default_factory=set)

    name = "elasticsearch"
    paths = r"/([^/]+/)?_bulk|/[^/]+/_doc|/[^/]+/_create/.+"
    target = "/logs-aegis.preflight-default/_bulk"
    denied = as_json(401, {"error": {"type": "security_exception"}, "status": 401})
    codings = frozenset({"gzip"})
    coding_refused = as_json(400, {"error": {"type": "illegal_argument_exception"}, "status": 400})
    media_types = frozenset({"application/json", "application/x-ndjson"})
    media_refused = Reply(406)
    body_bytes_max = 100 * 1024 * 1024
    busy = as_json(429, {"error": {"type": "es_rejected_execution_exception"}, "status": 429})
    faults = frozenset({"reject_half"})

    ID_BYTES_MAX = 512

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == self.credential

    def take(self, request: Received) -> Reply:
        if self.is_opensearch and "require_data_stream" in request.query:
            return as_json(400, {"error": {"type": "illegal_argument_exception"}, "status": 400})
        if request.path.endswith("/_bulk"):
            return self._bulk(request)
        index, operation, *rest = request.path[1:].split("/", 2)
        document_id = rest[0] if rest else f"generated-{len(self._known)}"
        try:
            source = json.loads(request.body)
        except ValueError:
            return as_json(400, {"error": {"type": "document_parsing_exception"}, "status": 400})
        item = self._store(
            index, "create" if operation == "_create" else "index", document_id, source, request
        )
        return as_json(item["status"], item)

    def _bulk(self, request: Received) -> Reply:
        bad = as_json(400, {"error": {"type": "illegal_argument_exception"}, "status": 400})
        if not request.body.endswith(b"\n"):
            return bad  # the bulk request must be terminated by a newline
        lines = lines_of(request.body)
        pairs = list(zip(lines[::2], lines[1::2], strict=False))
        default = request.path[1:].removesuffix("/_bulk").removesuffix("_bulk")
        items, late = [], len(pairs) // 2 if self.has("reject_half") else len(pairs)
        for at, (action_line, source_line) in enumerate(pairs):
            ((operation, action),) = json.loads(action_line).items()
            if len(str(action.get("_id", "")).encode()) > self.ID_BYTES_MAX:
                return bad
            if at >= late:
                items.append({operation: _item(429, "es_rejected_execution_exception")})
                continue
            index, document_id = (
                action.get("_index", default),
                action.get("_id", f"generated-{len(self._known)}"),
            )
            items.append(
                {operation: self._store(index, operation, document_id, json.loads(source_line), request)}
            )
        errors = any(one["status"] >= 300 for item in items for one in item.values())
        answer = {"errors": errors, "took": 3, "ingest_took": 0, "items": items}
        return as_json(200, _filtered(answer, request.query.get("filter_path")))

    def _store(
        self, index: str, operation: str, document_id: str, source: Any, request: Received
    ) -> dict[str, Any]:
        event_id = source.get("event", {}).get("id")
        if request.query.get("require_data_stream") == "true" and index not in self.streams:
            return _item(404, "index_not_found_exception")
        if event_id in self.dropped_ids:
            return {"_index": index, "_id": document_id, "result": "noop", "status": 200}
        in_stream = index in self.streams
        if in_stream and operation != "create" and not document_id.startswith("generated-"):
            return _item(400, "illegal_argument_exception")
        if operation == "create" and (index, document_id) in self._known:
            return _item(409, "version_conflict_engine_exception")
        if event_id in self.refused_ids or (in_stream and "@timestamp" not in source):
            if not self.has_failure_store:
                return _item(400, "document_parsing_exception", reason=f"failed to parse: {source}")
            self.failure_store.append(source)
            return {"_index": f".fs-{index}", "result": "created", "failure_store": "used", "status": 201}
        self._known.add((index, document_id))
        self.stored.append((index, document_id, source))
        return {"_index": index, "_id": document_id, "result": "created", "status": 201}

    def forget(self, kept: int) -> None:
        super().forget(kept)
        self._known = {(index, document_id) for index, document_id, _ in self.stored}

    def id_of(self, item: Any) -> str:
        return str(item[2]["event"]["id"])


@dataclass
class VictoriaLogs(Stub):
    """VictoriaLogs: `/insert/elasticsearch/_bulk` answers the status of each event; `/insert/jsonline` skips invalid lines and answers 200.

    Stores events. There are no ids: an event that arrives twice is stored twice.
    """

    name = "victorialogs"
    paths = r"/insert/(elasticsearch/_bulk|jsonline)"
    target = "/insert/elasticsearch/_bulk"

    def take(self, request: Received) -> Reply:
        lines = lines_of(request.body)
        if request.path.endswith("jsonline"):
            for line in lines:
                try:
                    self.stored.append(json.loads(line))
                except ValueError:
                    continue
            return Reply(200)
        self.stored += [json.loads(line) for line in lines[1::2]]
        items = [{"create": {"status": 201}} for _ in lines[1::2]]
        return as_json(200, {"took": 0, "errors": False, "items": items})


@dataclass
class Splunk(Stub):
    """Splunk HTTP Event Collector: concatenated envelopes; a code in the body; it answers before it stores.

    Stores envelopes. It names a rejected event by number, and stores those before it. A token with indexer acknowledgement
    (`has_acks`) requires a channel; `/services/collector/ack` then says once whether an accepted request is indexed, after
    `ack_after` questions.

    Args:
        truncate: most bytes of an event that are kept, as TRUNCATE of a source type; the answer is the same.
    """

    token: str = "hec-token"
    has_acks: bool = False
    ack_after: int = 0
    truncate: int | None = None
    questions: list[Received] = field(default_factory=list)
    _given: dict[str, int] = field(default_factory=dict)
    """Number of ackIds of each channel."""
    _unconfirmed: dict[tuple[str, int], int] = field(default_factory=dict)
    """(channel, ackId) of requests that are or will be indexed → number of questions."""

    name = "splunk"
    paths = r"/services/collector(/event(/1\.0)?|/ack)?"
    target = "/services/collector/event"
    denied = as_json(403, {"text": "Invalid token", "code": 4})
    body_bytes_max = 838_860_800
    busy = as_json(503, {"text": "Server is busy", "code": 9})
    faults = frozenset({"nearly_full", "at_capacity", "lose_before_index"})

    CHANNEL = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == f"Splunk {self.token}"

    def take(self, request: Received) -> Reply:
        is_question = request.path == "/services/collector/ack"
        if is_question and not self.has_acks:
            return as_json(400, {"text": "ACK is disabled", "code": 14})
        channel = request.query.get("channel") or request.headers.get("x-splunk-request-channel", "")
        if self.has_acks and not re.fullmatch(self.CHANNEL, channel):
            code = 11 if channel else 10
            return as_json(
                400, {"text": f"Data channel is {'invalid' if channel else 'missing'}", "code": code}
            )
        if is_question:
            return self._answered(channel, request)
        if self.has("at_capacity"):
            return as_json(429, {"text": "Queue at capacity", "code": 26})
        return self._take_events(channel, request)

    def _take_events(self, channel: str, request: Received) -> Reply:
        rest, number = request.body.decode("utf-8", "replace"), 0
        if not rest.strip():
            return as_json(400, {"text": "No data", "code": 5})
        while rest:
            code, text = 0, ""
            try:
                envelope, rest = first_document(rest)
            except ValueError:
                return self._invalid(6, "Invalid data format", number)
            if "event" not in envelope:
                code, text = 12, "Event field is required"
            elif envelope["event"] == "":
                code, text = 13, "Event field cannot be blank"
            elif _id_in(envelope["event"]) in self.refused_ids:
                code, text = 6, "Invalid data format"
            if code:
                return self._invalid(code, text, number)
            if self.truncate is not None:
                envelope["truncated"] = len(json.dumps(envelope["event"])) > self.truncate
            self.stored.append(envelope)
            number += 1
        said = {"text": "Success", "code": 0}
        if self.has("nearly_full"):
            said = {"text": "Queue is approaching capacity", "code": 24}
        return as_json(200, said | self._ack_of(channel, number))

    def _ack_of(self, channel: str, count: int) -> dict[str, int]:
        """Return the ackId of a request with a number of events, which are indexed later, or lost."""
        if not self.has_acks:
            return {}
        ack_id = self._given.get(channel, 0)
        self._given[channel] = ack_id + 1
        if self.has("lose_before_index"):
            self.forget(len(self.stored) - count)
        else:
            self._unconfirmed[channel, ack_id] = 0
        return {"ackId": ack_id}

    def _answered(self, channel: str, request: Received) -> Reply:
        self.questions.append(request)
        told = {}
        for ack_id in json.loads(request.body)["acks"]:
            asked = self._unconfirmed.pop((channel, ack_id), None)
            told[str(ack_id)] = asked is not None and asked >= self.ack_after
            if asked is not None and asked < self.ack_after:
                self._unconfirmed[channel, ack_id] = asked + 1
        return as_json(200, {"acks": told})

    def _invalid(self, code: int, text: str, number: int) -> Reply:
        return as_json(400, {"text": text, "code": code, "invalid-event-number": number})

    def id_of(self, item: Any) -> str:
        return str(item["event"]["event"]["id"])


@dataclass
class Loki(Stub):
    """Grafana Loki 3, push: times as texts, lines in labelled streams; it stores the valid ones of a request although it answers 400.

    Stores (labels, nanoseconds, line), each once. A blocked tenant is answered 260. It reports what the ingester rejects (too far
    behind the newest line of the stream, and `refused_ids`) only for the last stream of a request.
    """

    tenant: str | None = None
    now: Callable[[], datetime] = system_now
    behind_max_s: float = 3600
    """Half of its max_chunk_age, seconds."""
    _newest: dict[str, int] = field(default_factory=dict)

    name = "loki"
    paths = target = "/loki/api/v1/push"
    denied = Reply(401, b"no org id\n")
    codings = frozenset({"gzip", "deflate"})
    coding_refused = Reply(400, b"Content-Encoding not supported\n")
    media_types = frozenset({"application/json"})
    media_refused = Reply(400, b"snappy: corrupt input\n")
    busy = Reply(429, b"ingestion rate limit exceeded\n")
    faults = frozenset({"blocked"})

    AGE_MAX_S = 168 * 3600
    LINE_BYTES_MAX = 256 * 1024
    LABELS_MAX = 15

    def is_allowed(self, request: Received) -> bool:
        return self.tenant is None or request.headers.get("x-scope-orgid") == self.tenant

    def take(self, request: Received) -> Reply:
        if self.has("blocked"):
            return Reply(
                260, b"ingestion blocked for user fake until '2030-01-01T00:00:00Z' with status code '260'\n"
            )
        try:
            streams = json.loads(request.body).get("streams")
            pushed = [(one["stream"], [value[:2] for value in one["values"]]) for one in streams or ()]
        except (ValueError, KeyError, TypeError, AttributeError):
            return Reply(400, b"couldn't parse push request\n")
        entries = [entry for _, values in pushed for entry in values]
        if not entries:
            return Reply(422, b"error at least one valid stream is required for ingestion\n")
        if not all(isinstance(at, str) and isinstance(line, str) for at, line in entries):
            return Reply(400, b"couldn't parse labels\n")
        # All are checked: valid ones are stored although the answer is an error.
        invalid, is_last_whole = False, True
        for labels, values in pushed:
            valid = [(int(at), line) for at, line in values if self._is_valid(labels, int(at), line)]
            invalid = invalid or len(valid) < len(values)
            is_last_whole = self._ingest(labels, valid)  # the error of the stream before is lost
        return Reply(204) if is_last_whole and not invalid else Reply(400, b"entry refused\n")

    def _is_valid(self, labels: dict[str, str], at_ns: int, line: str) -> bool:
        is_old = self.now().timestamp() - at_ns / 1e9 > self.AGE_MAX_S
        return not is_old and 0 < len(labels) <= self.LABELS_MAX and len(line.encode()) <= self.LINE_BYTES_MAX

    def _ingest(self, labels: dict[str, str], entries: list[tuple[int, str]]) -> bool:
        """Store lines of a stream; return False if some are rejected."""
        stream, refused = json.dumps(labels, sort_keys=True), 0
        for at_ns, line in entries:
            newest = self._newest.get(stream, 0)
            if newest - at_ns > self.behind_max_s * 1e9 or _id_in(_read(line)) in self.refused_ids:
                refused += 1
                continue
            self._newest[stream] = max(newest, at_ns)
            if (labels, at_ns, line) not in self.stored:
                self.stored.append((labels, at_ns, line))
        return not refused

    def id_of(self, item: Any) -> str:
        return str(json.loads(item[2])["event"]["id"])


@dataclass
class Otlp(Stub):
    """An OTLP/HTTP receiver: ignores unknown fields, so that every object is a success.

    Stores log records, and answers the number of rejected ones. The collector sends `partialSuccess` also if everything was
    accepted, others (`is_terse`) do not.
    """

    is_terse: bool = False

    name = "otlp"
    paths = target = "/v1/logs"
    media_types = frozenset({"application/json"})
    body_bytes_max = 20 * 1024 * 1024
    busy = as_json(429, {"code": 8, "message": "too many requests"}, Retry_After="1")
    faults = frozenset({"warn"})

    def take(self, request: Received) -> Reply:
        try:
            records = list(self._records_of(json.loads(request.body)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return as_json(400, {"code": 3, "message": "malformed"})
        kept = [one for one in records if self.id_of(one) not in self.refused_ids]
        self.stored += kept
        rejected = len(records) - len(kept)
        if rejected:
            partial = {"rejectedLogRecords": str(rejected), "errorMessage": "some records were rejected"}
            return as_json(200, {"partialSuccess": partial})
        if self.has("warn"):
            return as_json(200, {"partialSuccess": {"errorMessage": "use another port"}})
        return as_json(200, {} if self.is_terse else {"partialSuccess": {}})

    def _records_of(self, message: Any) -> Iterator[dict[str, Any]]:
        for resource in message.get("resourceLogs", []):
            for scope in resource.get("scopeLogs", []):
                for record in scope.get("logRecords", []):
                    if not re.fullmatch(r"\d{1,19}", str(record.get("timeUnixNano", "0"))):
                        raise ValueError
                    yield record

    def id_of(self, item: Any) -> str:
        pairs = item.get("attributes", [])
        return next(
            (str(pair["value"].get("stringValue")) for pair in pairs if pair["key"] == "event.id"), ""
        )


@dataclass
class OldDatadogReceiver(Stub):
    """The OpenTelemetry collector's Datadog receiver before November 2025: 200 to any path, and nothing stored."""

    name = "old_datadog_receiver"
    target = "/api/v2/logs"

    def take(self, request: Received) -> Reply:
        return Reply(200)


def _item(status: int, kind: str, reason: str = "") -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def _filtered(answer: dict[str, Any], filter_path: str | None) -> dict[str, Any]:
    """Keep only the parts of an answer that filter_path names: "errors,items.*.status,items.*.error.type"."""
    if filter_path is None:
        return answer
    found: dict[str, Any] = _kept(answer, [one.split(".") for one in filter_path.split(",")])
    return found


def _kept(value: Any, paths: list[list[str]]) -> Any:
    if [] in paths:
        return value
    if isinstance(value, list):
        return [kept for one in value if (kept := _kept(one, paths))]
    kept = {}
    for name, one in value.items() if isinstance(value, dict) else ():
        further = [path[1:] for path in paths if path[0] in (name, "*")]
        if further and (inner := _kept(one, further)) not in ({}, []):
            kept[name] = inner
    return kept


def _id_in(event: Any) -> Any:
    inner = event.get("event") if isinstance(event, dict) else None
    return inner.get("id") if isinstance(inner, dict) else None


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
