"""An example of every call for the OpenAPI document: request and answer. A test checks them against the document."""

from typing import Any

_TIME = "2026-05-15T10:33:21.456789Z"
_DESTINATION: dict[str, Any] = {
    "id": "dst_01ksr492006zr14463e1x90ggf",
    "org_id": "org_abc",
    "url": "https://elastic.example.com/audit/_doc",
    "auth_header_name": "Authorization",
    "auth_header_set": True,
    "name": "Elastic prod",
    "enabled": True,
    "format": "elastic_doc",
    "format_reason": "the path ends in /_doc, Elasticsearch's API for one document",
    "filter": {"datasets": ["aegis.preflight"], "decisions": []},
    "batch": {"max_events": 500, "max_bytes": 1000000, "max_wait_ms": 200},
    "batch_bytes_learned": None,
    "retry": {"max_attempts": 3, "base_seconds": 60, "multiplier": 2, "max_seconds": 3600},
    "ca_certificate": None,
    "compression": "gzip",
    "header_names": ["X-Scope-OrgID"],
    "oauth2": None,
    "status": "active",
    "last_error": None,
    "last_success_at": _TIME,
    "created_at": _TIME,
    "updated_at": _TIME,
    "stats": {
        "delivered": 42,
        "failed_attempts": 1,
        "retrying": 0,
        "dead_letters": 0,
        "backlog": 0,
        "p50_ms": 8.1,
        "p99_ms": 31.4,
    },
}
_EVENT = {
    "@timestamp": _TIME,
    "event": {"id": "pflt_abc123", "dataset": "aegis.preflight"},
    "organization": {"id": "org_abc"},
}
_KEY = {"id": "key_01ksr492", "name": "ci", "scope": "ingest", "created_at": _TIME, "expires_at": None}
_LIST = {"next_cursor": None}
_ONE = "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"
_ALL = "/api/orgs/{org_id}/forwarding-destinations"
_KEYS = "/api/orgs/{org_id}/api-keys"
_ORGANIZATION = {"org_id": "org_abc", "name": "Example", "created_at": _TIME}
_WHOLE_ORGANIZATION = {
    **_ORGANIZATION,
    "head_sequence": 42,
    "stored_bytes": 31_234,
    "quotas": {"stored_bytes_max": 100_000_000_000, "ingest_bytes_per_second": 0},
}

EXAMPLES: dict[tuple[str, str], tuple[Any, Any]] = {
    ("post", "/api/orgs"): (
        {"name": "Example", "id": "org_abc"},
        {**_ORGANIZATION, "api_key": "aegis_sk_…", "key_id": "key_01ksr492"},
    ),
    ("get", "/api/orgs/{org_id}"): (None, _WHOLE_ORGANIZATION),
    ("patch", "/api/orgs/{org_id}/quotas"): ({"stored_bytes_max": 100_000_000_000}, _WHOLE_ORGANIZATION),
    ("post", _KEYS): ({"name": "ci", "scope": "ingest"}, {**_KEY, "api_key": "aegis_sk_…"}),
    ("get", _KEYS): (None, {"data": [{**_KEY, "hint": "x7Qa"}], **_LIST}),
    ("delete", _KEYS + "/{key_id}"): (None, None),
    ("post", _KEYS + "/{key_id}/rotate"): ({"overlap_seconds": 3600}, {**_KEY, "api_key": "aegis_sk_…"}),
    ("post", _ALL): (
        {
            "url": "https://elastic.example.com/audit/_doc",
            "auth_header_name": "Authorization",
            "auth_header_value": "ApiKey …",
            "name": "Elastic prod",
            "compression": "gzip",
            "headers": {"X-Scope-OrgID": "…"},
        },
        _DESTINATION,
    ),
    ("get", _ALL): (None, {"data": [_DESTINATION], **_LIST}),
    ("get", _ONE): (None, _DESTINATION),
    ("patch", _ONE): ({"filter": {"datasets": ["aegis.preflight"]}}, _DESTINATION),
    ("delete", _ONE): (None, None),
    ("post", _ONE + "/pause"): (None, {**_DESTINATION, "enabled": False, "status": "paused"}),
    ("post", _ONE + "/resume"): (None, _DESTINATION),
    ("post", _ONE + "/test"): (None, {"ok": True, "status_code": 202, "latency_ms": 8.1}),
    ("post", _ONE + "/replay"): (
        {"from": "2026-05-11T00:00:00Z"},
        {"events": 1411, "replay_id": "rpl_01ksr492"},
    ),
    ("get", _ONE + "/replays"): (
        None,
        {
            "data": [
                {
                    "id": "rpl_01ksr492",
                    "from_sequence": 1,
                    "to_sequence": 1411,
                    "done_through": 700,
                    "state": "running",
                    "created_at": _TIME,
                    "finished_at": None,
                }
            ],
            **_LIST,
        },
    ),
    ("delete", _ONE + "/replays/{replay_id}"): (None, None),
    ("get", _ONE + "/deliveries"): (
        None,
        {
            "data": [
                {
                    "id": "7.42",
                    "event_id": "pflt_abc123",
                    "sequence": 42,
                    "attempt": 1,
                    "state": "failed",
                    "status_code": 503,
                    "error": "answered 503: the destination is overloaded or down for maintenance",
                    "latency_ms": 8.1,
                    "at": _TIME,
                }
            ],
            **_LIST,
        },
    ),
    ("get", _ONE + "/dead-letters"): (
        None,
        {
            "data": [
                {
                    "event_id": "pflt_abc123",
                    "sequence": 42,
                    "attempts": 3,
                    "last_status_code": 401,
                    "last_error": "answered 401: the destination does not accept the credential",
                    "about": "destination",
                    "dead_at": _TIME,
                }
            ],
            **_LIST,
        },
    ),
    ("post", _ONE + "/dead-letters/redrive"): ({"event_ids": ["pflt_abc123"]}, {"redriven": 1}),
    ("delete", _ONE + "/dead-letters"): (None, {"purged": 1}),
    ("post", "/api/orgs/{org_id}/preflight-decisions"): (
        {"decision": "BLOCKED", "destination": "AI_TOOL", "finding_counts_by_type": {"SSN": 1}},
        {"event_id": "pflt_01ksr492", "sequence": 42},
    ),
    ("get", "/api/orgs/{org_id}/events"): (
        None,
        {"data": [{"sequence": 42, "received_at": _TIME, "event": _EVENT}], **_LIST},
    ),
    ("get", "/api/orgs/{org_id}/events/{event_id}"): (
        None,
        {
            "sequence": 42,
            "received_at": _TIME,
            "event": _EVENT,
            "deliveries": [
                {
                    "destination_id": "dst_01ksr492006zr14463e1x90ggf",
                    "state": "delivered",
                    "attempts": 1,
                    "last_status_code": 202,
                    "last_error": None,
                    "next_attempt_at": None,
                }
            ],
        },
    ),
}
"""(method, path) → example of the request body, example of the answer; None where there is no body."""


def add_examples(document: dict[str, Any]) -> None:
    """Add the examples to an OpenAPI document. Raises: KeyError when it lacks a call of this table."""
    for (method, path), (sent, answered) in EXAMPLES.items():
        operation = document["paths"][path][method]
        if sent is not None:
            operation["requestBody"]["content"]["application/json"]["examples"] = {"example": {"value": sent}}
        for status, answer in operation["responses"].items():
            if status.startswith("2") and answered is not None:
                answer["content"]["application/json"]["examples"] = {"example": {"value": answered}}
