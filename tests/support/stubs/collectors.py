"""Stub log collectors: they accept lines, objects and arrays as they are, and answer with a status only."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .frame import Received, Reply, Stub, as_json, first_document, lines_of

ARRIVAL = "the time of arrival"
"""Placeholder for a time from the destination's own clock."""


@dataclass
class Sumo(Stub):
    """Sumo Logic HTTP source: every line is a message; the URL is the secret, or a token header.

    Stores texts. Processing rules and the budget drop messages and still answer 200.
    """

    token: str | None = None

    name = "sumo"
    paths = r"/receiver/v1/http(/[^/]+)?"
    target = "/receiver/v1/http/the-path-is-the-secret"
    codings = frozenset({"gzip", "deflate"})
    coding_refused = None
    faults = frozenset({"over_budget"})

    def is_allowed(self, request: Received) -> bool:
        if request.path == "/receiver/v1/http":
            return self.token is not None and request.headers.get("x-sumo-token") == self.token
        return request.path == self.target.partition("?")[0]

    def take(self, request: Received) -> Reply:
        if not self.has("over_budget"):
            self.stored += lines_of(request.body)
        return Reply(200)

    def id_of(self, item: str) -> str:
        return str(json.loads(item)["event"]["id"])


@dataclass
class Cribl(Stub):
    """Cribl HTTP Bulk API source: one record per line, time only from `_time`; its Elasticsearch endpoint fakes other paths.

    Stores (time, record). The token is in Authorization without a scheme.
    """

    token: str = "token"

    name = "cribl"
    paths = r"/(cribl|elastic)(/.*)?"
    target = "/cribl/_bulk"
    denied = Reply(403)
    body_bytes_max = 2_000_000
    busy = Reply(503, b"Server is busy, max active connections reached")

    def is_allowed(self, request: Received) -> bool:
        return request.headers.get("authorization") == self.token

    def take(self, request: Received) -> Reply:
        lines = lines_of(request.body)
        if request.path == "/elastic/_bulk":
            self.stored += [(ARRIVAL, json.loads(line)) for line in lines[1::2]]
            items = [{"create": {"status": 201}} for _ in lines[1::2]]
            return as_json(200, {"errors": False, "items": items})
        if request.path != "/cribl/_bulk":
            return as_json(200, {})  # other requests to Elasticsearch are faked
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                record = {"_raw": line}
            self.stored.append((record.pop("_time", ARRIVAL), record))
        return Reply(200)

    def id_of(self, item: Any) -> str:
        return str(item[1]["event"]["id"])


@dataclass
class Logstash(Stub):
    """Logstash `http` input: json codec for application/json, which reads only the first document; everything else is one text.

    Stores events with what Logstash adds. Basic authentication, if it is configured.
    """

    basic: str | None = None

    name = "logstash"
    denied = Reply(401, b"", (("WWW-Authenticate", 'Basic realm="Logstash"'),))
    codings = frozenset({"gzip", "deflate"})
    coding_refused = None
    body_bytes_max = 100 * 1024 * 1024
    faults = frozenset({"queue_full"})

    def is_allowed(self, request: Received) -> bool:
        return self.basic is None or request.headers.get("authorization") == f"Basic {self.basic}"

    def take(self, request: Received) -> Reply:
        if self.has("queue_full"):
            return Reply(429)
        for event in self._events_of(request):
            if str(event.get("event", {}).get("id")) in self.refused_ids:
                return Reply(500)  # events queued before it stay queued
            self.stored.append(self._enriched(event, request))
        return Reply(200, b"ok")

    def _events_of(self, request: Received) -> list[dict[str, Any]]:
        text = request.body.decode("utf-8", "replace")
        if request.media_type != "application/json":
            return [{"message": text}]
        try:
            value, _ = first_document(text)
        except ValueError:
            return [{"message": text, "tags": ["_jsonparsefailure"]}]
        return value if isinstance(value, list) else [value]

    def _enriched(self, event: dict[str, Any], request: Received) -> dict[str, Any]:
        try:
            moment = datetime.fromisoformat(event["@timestamp"]).isoformat()
        except KeyError:
            moment = ARRIVAL
        except (TypeError, ValueError):
            moment = ARRIVAL
            event = event | {
                "tags": [*event.get("tags", []), "_timestampparsefailure"],
                "_@timestamp": event["@timestamp"],
            }
        host = event["host"] if isinstance(event.get("host"), dict) else {}
        return event | {
            "@timestamp": moment,
            "@version": "1",
            "host": host | {"ip": "127.0.0.1"},
            "http": {"method": "POST", "version": "HTTP/1.1"},
            "url": {"path": request.path},
            "user_agent": {"original": request.headers.get("user-agent")},
        }


@dataclass
class Fluentd(Stub):
    """Fluentd `in_http`: the path is the tag; an event that it cannot parse, or without tag or match, is answered 200 and dropped.

    Stores (tag, time, record). There is no authentication.
    """

    match: str = "aegis"
    """First part of the tags that a <match> takes."""

    name = "fluentd"
    target = "/aegis.audit"
    codings = frozenset({"gzip", "deflate"})
    coding_refused = None  # not decoded: the parser meets the compressed bytes
    media_types = frozenset({"application/json", "application/x-ndjson"})
    media_refused = Reply(400)
    body_bytes_max = 32 * 1024 * 1024
    busy = Reply(500)
    faults = frozenset({"buffer_overflow"})

    def take(self, request: Received) -> Reply:
        tag = request.path.strip("/").replace("/", ".")
        records = [one for one in self._parsed(request) if isinstance(one, dict)]
        if any(isinstance(one.get("time"), str) for one in records):
            return Reply(400, b"400 Bad Request\nno implicit conversion of String into Float")
        if self.has("buffer_overflow"):
            return Reply(500, b"500 Internal Server Error\nbuffer space has too many data")
        for record in records:
            if tag and tag.split(".")[0] == self.match:
                self.stored.append((tag, record.pop("time", ARRIVAL), record))
        return Reply(200)

    def _parsed(self, request: Received) -> list[Any]:
        text = request.body.decode("utf-8", "replace")
        try:
            if request.media_type == "application/x-ndjson":
                return [json.loads(line) for line in text.splitlines()]
            value = json.loads(text)
        except ValueError:
            return []
        return value if isinstance(value, list) else [value]

    def id_of(self, item: Any) -> str:
        return str(item[2]["event"]["id"])


@dataclass
class Vector(Stub):
    """Vector `http_server`: newline framing, codec bytes by default; it ignores the content type.

    Stores events; any header can be its credential, as `front`. A line that is not JSON rejects the whole request. Acknowledgements can turn into 500 and 400.
    """

    codec: str = "json"

    name = "vector"
    paths = target = "/aegis"
    codings = frozenset({"gzip", "deflate", "zstd"})
    coding_broken = Reply(422)
    body_bytes_max = 100 * 1024 * 1024
    faults = frozenset({"errored", "rejected"})

    def take(self, request: Received) -> Reply:
        found: list[Any] = []
        for line in lines_of(request.body):
            if self.codec == "bytes":
                found.append({"message": line})
                continue
            try:
                value = json.loads(line)
            except ValueError:
                return as_json(400, {"code": 400, "message": "Failed decoding body"})
            found += value if isinstance(value, list) else [value]
        if self.has("errored"):
            return as_json(500, {"code": 500, "message": "Error delivering contents to sink"})
        if self.has("rejected") or any(self._is_refused(one) for one in found):
            return as_json(400, {"code": 400, "message": "Contents failed to deliver to sink"})
        self.stored += [
            one | {"path": request.path, "source_type": "http_server", "timestamp": ARRIVAL} for one in found
        ]
        return Reply(200)

    def _is_refused(self, one: dict[str, Any]) -> bool:
        return str(one.get("event", {}).get("id")) in self.refused_ids


@dataclass
class FluentBit(Stub):
    """Fluent Bit `http` input: concatenated objects, or one array, which ends the reading; it checks no header.

    Stores (tag, record). Up to 4.2 it rejects a content type with parameters. A truncated document at the end is dropped.
    """

    parameters_refused: bool = True

    name = "fluent_bit"
    target = "/aegis.audit"
    codings = frozenset({"gzip", "deflate", "zstd"})
    media_types = frozenset({"application/json"})
    media_refused = Reply(400)
    body_bytes_max = 4 * 1024 * 1024
    busy = Reply(503)

    def take(self, request: Received) -> Reply:
        if self.parameters_refused and ";" in request.headers["content-type"]:
            return Reply(400, b"error: invalid 'Content-Type'\n")
        tag = "".join(one if one.isalnum() else "_" for one in request.path[1:])
        rest, count = request.body.decode("utf-8", "replace"), 0
        while rest:
            try:
                value, rest = first_document(rest)
            except ValueError:
                return Reply(201 if count else 400)
            records = value if isinstance(value, list) else [value]
            for record in records:
                if not isinstance(record, dict) or record.get("event", {}).get("id") in self.refused_ids:
                    return Reply(400, b"error: unable to process records\n")  # earlier ones are stored
                self.stored.append((tag, record))
                count += 1
            if isinstance(value, list):
                break
        return Reply(201)

    def id_of(self, item: Any) -> str:
        return str(item[1]["event"]["id"])


@dataclass
class Panther(Stub):
    """Panther HTTP source: object, array or lines, which it detects; the secret is in a header of any name.

    Stores events. It classifies by schema later, and reports failures elsewhere.
    """

    header: tuple[str, str] = ("x-panther-secret", "secret")

    name = "panther"
    target = "/http/unique-id-of-the-source"
    denied = as_json(401, {"message": "Unauthorized"})
    body_bytes_max = 500_000
    too_large = as_json(413, {"message": "Request Too Long"})

    def is_allowed(self, request: Received) -> bool:
        name, value = self.header
        return request.headers.get(name) == value

    def take(self, request: Received) -> Reply:
        try:
            found = [json.loads(line) for line in lines_of(request.body)]
        except ValueError:
            return as_json(400, {"message": "Bad Request"})
        self.stored += found[0] if len(found) == 1 and isinstance(found[0], list) else found
        return Reply(200)


@dataclass
class SecOps(Stub):
    """Google SecOps webhook feed: raw logs, split at the feed's delimiter; key and secret in two headers, or in the URL.

    Stores texts. One log that is not UTF-8 rejects the whole request.
    """

    key: str = "api-key"
    secret: str = "feed-secret"
    delimiter: str | None = "\n"

    name = "secops"
    paths = r"/v1alpha/projects/\w+/locations/\w+/instances/[\w-]+/feeds/[\w-]+:importPushLogs"
    target = "/v1alpha/projects/1/locations/eu/instances/i-1/feeds/f-1:importPushLogs"
    denied = as_json(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
    body_bytes_max = 1_000_000

    def is_allowed(self, request: Received) -> bool:
        in_url = (request.query.get("key"), request.query.get("secret"))
        in_headers = (
            request.headers.get("x-goog-api-key"),
            request.headers.get("x-webhook-access-key"),
        )
        return (self.key, self.secret) in (in_url, in_headers)

    def take(self, request: Received) -> Reply:
        try:
            text = request.body.decode()
        except UnicodeDecodeError:
            return as_json(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
        logs = text.split(self.delimiter) if self.delimiter else [text]
        self.stored += [one for one in logs if one.strip()]
        return as_json(200, {})

    def id_of(self, item: str) -> str:
        return str(json.loads(item)["event"]["id"])
