"""Stub platforms with their own envelope; most of them validate only after their answer."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .collectors import ARRIVAL
from .frame import Received, Reply, Stub, as_json, lines_of


def system_now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)


@dataclass
class NewRelic(Stub):
    """New Relic Log API: 202 to everything, validation later, which drops arrays, old logs and reserved names.

    Stores flat attributes with `timestamp` and `message`; the errors of the validation are in `integration_errors`.
    """

    key: str = "license-key"
    now: Callable[[], datetime] = system_now
    integration_errors: list[str] = field(default_factory=list)

    name = "new_relic"
    paths = target = "/log/v1"
    denied = as_json(403, {})
    media_types = frozenset({"application/json", "json", "application/gzip", "gzip"})
    body_bytes_max = 1_000_000
    busy = Reply(429, b"", (("Retry-After", "1"),))

    def is_allowed(self, request: Received) -> bool:
        return self.key in (request.headers.get("api-key"), request.query.get("Api-Key"))

    def take(self, request: Received) -> Reply:
        for log in self._logs_of(request.body):
            kept = self._kept(log)
            if kept.get("event.id") in self.refused_ids:
                self.integration_errors.append("refused")
            elif self._is_recent(kept.get("timestamp")):
                self.stored.append(kept)
        return as_json(202, {"requestId": "5bd2ddd5-0000-b000-0000-018ed45a9a9a"})

    def _logs_of(self, body: bytes) -> Iterator[dict[str, Any]]:
        try:
            value = json.loads(body)
        except ValueError:
            self.integration_errors.append("Error unmarshalling message payload")
            return
        for block in value if isinstance(value, list) else [value]:
            if isinstance(value, dict) and "logs" not in value:
                yield block  # the simplified form: one object is one log
            elif not isinstance(block, dict) or not isinstance(block.get("logs"), list):
                self.integration_errors.append("Error unmarshalling message payload")
            else:
                common = block.get("common", {}).get("attributes", {})
                for log in block["logs"]:
                    yield (
                        common
                        | log.get("attributes", {})
                        | {k: v for k, v in log.items() if k != "attributes"}
                    )

    def _kept(self, log: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in _flat(log):
            reserved = name in ("eventType", "accountId") or name.startswith("entity.")
            if isinstance(value, list) or value is None or reserved or len(name) > 255 or len(kept) >= 255:
                continue
            kept[name] = value
        try:
            inner = json.loads(kept.get("message", ""))
        except (TypeError, ValueError):
            return kept
        if isinstance(inner, dict):
            del kept["message"]
            kept |= inner
        return kept

    def _is_recent(self, timestamp: Any) -> bool:
        if not isinstance(timestamp, int):
            return True  # the time of ingest is used instead
        return self.now().timestamp() - timestamp / 1000 <= 48 * 3600

    def id_of(self, item: Any) -> str:
        return str(item["event.id"])


@dataclass
class Datadog(Stub):
    """Datadog intake v2: an array of at most 1,000; truncates long logs, drops old and filtered ones, and still answers 202.

    Stores logs; a truncated one as {"message": the beginning of its text}.
    """

    key: str = "dd-key"
    now: Callable[[], datetime] = system_now

    name = "datadog"
    paths = target = "/api/v2/logs"
    denied = as_json(403, {"errors": [{"status": "403", "title": "Forbidden"}]})
    media_types = frozenset({"application/json"})
    body_bytes_max = 5_000_000
    too_large = as_json(413, {"errors": [{"status": "413", "title": "Payload Too Large"}]})
    busy = as_json(429, {"errors": [{"status": "429", "title": "Too Many Requests"}]})
    faults = frozenset({"excluded"})

    LOG_BYTES_MAX = 1_000_000
    AGE_MAX_S = 18 * 3600

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("dd-api-key") == self.key

    def take(self, request: Received) -> Reply:
        bad = as_json(400, {"errors": [{"status": "400", "title": "Bad Request"}]})
        try:
            value = json.loads(request.body)
        except ValueError:
            return bad
        logs = value if isinstance(value, list) else [value]
        if len(logs) > 1000 or any(log.get("event", {}).get("id") in self.refused_ids for log in logs):
            return bad
        if not self.has("excluded"):
            self.stored += [self._indexed(log) for log in logs if self._is_recent(log)]
        return as_json(202, {})

    def _indexed(self, log: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(log, ensure_ascii=False)
        if len(text.encode()) > self.LOG_BYTES_MAX:
            return {"message": text.encode()[: self.LOG_BYTES_MAX].decode("utf-8", "ignore")}
        reserved = ("host", "service", "source", "ddsource", "ddtags", "hostname", "status", "message")
        return {name: one for name, one in log.items() if name not in reserved or isinstance(one, str)}

    def _is_recent(self, log: dict[str, Any]) -> bool:
        try:
            at = datetime.fromisoformat(log["@timestamp"])
        except (KeyError, TypeError, ValueError):
            return True
        return (self.now() - at).total_seconds() <= self.AGE_MAX_S


@dataclass
class Sentinel(Stub):
    """Microsoft Sentinel, Logs Ingestion API: a body that is not an array is answered 204 and not stored; undeclared columns are dropped.

    Stores rows. Fields above 64 KB are truncated. The token expires when `token` changes.

    Args:
        columns: columns of the data collection rule, name → type.
    """

    token: str = "entra-token"
    columns: dict[str, str] = field(
        default_factory=lambda: {
            "TimeGenerated": "datetime",
            **dict.fromkeys(("timestamp", "message"), "string"),
            **dict.fromkeys(("event", "organization", "aegis", "more"), "dynamic"),
            **{f"text_{number}": "string" for number in range(1, 6)},
        }
    )

    name = "sentinel"
    paths = r"/dataCollectionRules/dcr-[0-9a-f]+/streams/Custom-\w+"
    target = "/dataCollectionRules/dcr-0a1b/streams/Custom-Aegis_CL"
    not_found = as_json(404, {"error": {"code": "NotFound", "message": "Data collection rule not found"}})
    denied = as_json(401, {"error": {"code": "InvalidToken"}})
    media_types = frozenset({"application/json"})
    body_bytes_max = 1_000_000
    too_large = as_json(413, {"error": {"code": "ContentLengthLimitExceeded"}})
    busy = as_json(429, {"error": {"code": "TooManyRequests"}}, Retry_After="1")

    FIELD_BYTES_MAX = 65_536

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def take(self, request: Received) -> Reply:
        bad = as_json(400, {"error": {"code": "InvalidRequest"}})
        if "api-version" not in request.query:
            return bad
        try:
            rows = json.loads(request.body)
        except ValueError:
            return bad
        if isinstance(rows, list):
            if any(row.get("event", {}).get("id") in self.refused_ids for row in rows):
                return bad
            self.stored += [self._mapped(row) for row in rows if isinstance(row, dict)]
        return Reply(204)

    def _mapped(self, row: dict[str, Any]) -> dict[str, Any]:
        mapped: dict[str, Any] = {"TimeGenerated": ARRIVAL}
        for name, value in row.items():
            kind = self.columns.get(name)
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if kind is None or value is None or (kind == "string" and not isinstance(value, str)):
                continue
            cut = len(text.encode()) > self.FIELD_BYTES_MAX
            mapped[name] = text.encode()[: self.FIELD_BYTES_MAX].decode("utf-8", "ignore") if cut else value
        return mapped

    def id_of(self, item: Any) -> str:
        return str(item.get("event", {}).get("id"))


@dataclass
class Axiom(Stub):
    """Axiom ingest: lines or an array; the answer counts failures, and a text that is too long is replaced.

    Stores events with `_time`. A dataset has a limited number of fields, and an event that exceeds it is rejected.
    """

    token: str = "axiom-token"
    fields_max: int = 1024
    _fields: set[str] = field(default_factory=set)

    name = "axiom"
    paths = r"/v1/datasets/\w+/ingest|/v1/ingest/\w+"
    target = "/v1/datasets/audit/ingest"
    denied = as_json(403, {"code": 403, "message": "forbidden"})
    codings = frozenset({"gzip", "zstd"})
    media_types = frozenset({"application/json", "application/x-ndjson", "application/nd-json"})

    EVENTS_MAX = 10_000
    TEXT_BYTES_MAX = 1_000_000

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def take(self, request: Received) -> Reply:
        try:
            if request.media_type == "application/json":
                events = json.loads(request.body)
            else:
                events = [json.loads(line) for line in lines_of(request.body)]
        except ValueError:
            return as_json(400, {"code": 400, "message": "malformed"})
        if not isinstance(events, list) or len(events) > self.EVENTS_MAX:
            return as_json(400, {"code": 400, "message": "an array or lines, 10000 events at most"})
        failures = []
        for event in events:
            names = {name for name, _ in _flat(event)}
            refused = event.get("event", {}).get("id") in self.refused_ids
            if refused or len(self._fields | names) > self.fields_max:
                failures.append({"timestamp": ARRIVAL, "error": "too many fields"})
                continue
            self._fields |= names
            time = event.get(request.query.get("timestamp-field", "_time"), ARRIVAL)
            self.stored.append(_shortened(event, self.TEXT_BYTES_MAX) | {"_time": time})
        taken = len(events) - len(failures)
        return as_json(
            200, {"ingested": taken, "failed": len(failures), "failures": failures, "processedBytes": 1}
        )


@dataclass
class BetterStack(Stub):
    """Better Stack: object, array or lines; time only from `dt`, or the time of arrival.

    Stores (time, event).
    """

    token: str = "source-token"

    name = "better_stack"
    paths = target = "/"
    denied = Reply(403)
    media_types = frozenset({"application/json", "application/x-ndjson"})
    media_refused = Reply(406)
    body_bytes_max = 10 * 1024 * 1024
    faults = frozenset({"quota"})

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def take(self, request: Received) -> Reply:
        if self.has("quota"):
            return Reply(402)
        try:
            if request.media_type == "application/json":
                value = json.loads(request.body)
            else:
                value = [json.loads(line) for line in lines_of(request.body)]
        except ValueError:
            return Reply(406)
        events = value if isinstance(value, list) else [value]
        if any(event.get("event", {}).get("id") in self.refused_ids for event in events):
            return Reply(406)
        self.stored += [(self._time_of(event), event) for event in events]
        return Reply(202)

    def _time_of(self, event: dict[str, Any]) -> Any:
        time = event.pop("dt", None)
        try:
            return time if isinstance(time, int | float) else datetime.fromisoformat(time).isoformat()
        except (TypeError, ValueError):
            return ARRIVAL

    def id_of(self, item: Any) -> str:
        return str(item[1]["event"]["id"])


@dataclass
class Honeycomb(Stub):
    """Honeycomb batches: an array of {time, data}; the answer is 200 with a status for each event, in order.

    Stores (time, flat fields).
    """

    key: str = "ingest-key"

    name = "honeycomb"
    paths = r"/1/batch/[\w.-]+"
    target = "/1/batch/audit"
    denied = as_json(401, {"error": "unknown API key - check your credentials"})
    codings = frozenset({"gzip", "zstd"})
    body_bytes_max = 5_000_000
    faults = frozenset({"throttled_half"})

    FIELDS_MAX = 2000
    TEXT_BYTES_MAX = 64 * 1024

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("x-honeycomb-team") == self.key

    def take(self, request: Received) -> Reply:
        try:
            events = json.loads(request.body)
        except ValueError:
            return as_json(400, {"error": "request body is malformed and cannot be read as JSON"})
        if not isinstance(events, list):
            return as_json(400, {"error": "request body should be an array"})
        late = len(events) // 2 if self.has("throttled_half") else len(events)
        return as_json(
            200, [self._taken(one) if at < late else {"status": 429} for at, one in enumerate(events)]
        )

    def _taken(self, one: dict[str, Any]) -> dict[str, Any]:
        data = one.get("data")
        if not isinstance(data, dict) or not data or len(data) > self.FIELDS_MAX:
            return {"status": 400, "error": "Empty event data"}
        long = any(
            isinstance(text, str) and len(text.encode()) > self.TEXT_BYTES_MAX for text in data.values()
        )
        if long or data.get("event.id") in self.refused_ids:
            return {"status": 400, "error": "Event has a field that is too long"}
        self.stored.append((one.get("time", ARRIVAL), data))
        return {"status": 202}

    def id_of(self, item: Any) -> str:
        return str(item[1]["event.id"])


def _flat(members: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in members.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _shortened(value: Any, bytes_max: int) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one, bytes_max) for name, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one, bytes_max) for one in value]
    if isinstance(value, str) and len(value.encode()) > bytes_max:
        return "<invalid string: too long>"
    return value
