"""An example of every call for the OpenAPI document: request and answer. A test checks them against the document."""

from typing import Any

_TIME = "2026-05-15T10:33:21.456789Z"
_TYPE: dict[str, Any] = {
    "id": "splunk",
    "name": "Splunk",
    "page": "splunk",
    "format": "splunk_hec",
    "url": "{host}/services/collector/event",
    "fields": [
        {
            "name": "host",
            "label": "HTTP Event Collector URL",
            "kind": "host",
            "find": "Enterprise: port 8088 of an indexer or forwarder.",
            "example": "https://splunk.example.com:8088",
            "choices": [],
        },
        {
            "name": "token",
            "label": "HEC token",
            "kind": "secret",
            "find": "Settings, Data inputs, HTTP Event Collector, New Token.",
            "example": "",
            "choices": [],
        },
    ],
    "trap": "Splunk answers 200 before it indexes the event: search for the test event.",
    "search": {"where": "Search & Reporting, SPL", "query": 'index=aegis "{event_id}"'},
    "auth_header_name": "Authorization",
    "auth_header_value": "Splunk {token}",
    "headers": {},
    "oauth2": None,
    "batch_max_bytes": None,
}
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
_FAILED = {"3xx": 0, "4xx": 0, "429": 3, "5xx": 1, "network": 2, "other": 0}
_ATTEMPT = {
    "id": "7.42",
    "destination_id": "dst_01ksr492006zr14463e1x90ggf",
    "event_id": "pflt_abc123",
    "sequence": 42,
    "attempt": 1,
    "state": "failed",
    "status_code": 503,
    "error": "answered 503: the destination is overloaded or down for maintenance",
    "latency_ms": 8.1,
    "at": _TIME,
}
_REQUEST = {
    "method": "POST",
    "url": "https://elastic.example.com/audit/_doc",
    "headers": [
        {"name": "Host", "value": "elastic.example.com"},
        {"name": "Authorization", "value": "****"},
    ],
    "body": '{"event": {"id": "pflt_abc123"}}',
    "compression": "none",
    "exact": True,
    "note": "",
}
_TEST = {
    "ok": False,
    "status_code": 401,
    "latency_ms": 8.1,
    "stages": [
        {"name": "resolve", "ok": True, "ms": 2.0, "detail": ""},
        {"name": "guard", "ok": True, "ms": 0.1, "detail": ""},
        {"name": "connect", "ok": True, "ms": 1.3, "detail": ""},
        {"name": "tls", "ok": True, "ms": 2.2, "detail": "TLS 1.3, certificate of Example CA, 61 days left"},
        {"name": "send", "ok": True, "ms": 0.1, "detail": "512 bytes"},
        {
            "name": "answer",
            "ok": False,
            "ms": 2.4,
            "detail": "answered 401: the destination does not accept the credential",
        },
    ],
    "certificate": {"issuer": "Example CA", "expires_at": _TIME, "days_left": 61},
    "request": _REQUEST,
    "error": "answered 401: the destination does not accept the credential",
    "response_excerpt": "who are you?",
    "response_headers": [{"name": "WWW-Authenticate", "value": "ApiKey"}],
}
_KEY = {"id": "key_01ksr492", "name": "ci", "scope": "ingest", "created_at": _TIME, "expires_at": None}
_LISTED_KEY = {
    **_KEY,
    "hint": "x7Qa",
    "last_used_at": _TIME,
    "last_used_from": "192.0.2.7",
    "events_last_hour": 1200,
}
_SEEN = {
    "at": _TIME,
    "status": 422,
    "body_bytes": 612,
    "accepted": 0,
    "duplicates": 0,
    "rejected": 1,
    "reason": "event 0: event.dataset must be text",
}
_LIST = {"next_cursor": None}
_ONE = "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"
_ALL = "/api/orgs/{org_id}/forwarding-destinations"
_KEYS = "/api/orgs/{org_id}/api-keys"
_LINKS = "/api/orgs/{org_id}/console-links"
_LINK = {
    "id": "lnk_01ksr492",
    "scope": "read",
    "created_at": _TIME,
    "expires_at": "2026-05-15T10:43:21.456789Z",
    "return_url": "https://app.example.com/audit",
}
_ORGANIZATION = {"org_id": "org_abc", "name": "Example", "created_at": _TIME}
_WHOLE_ORGANIZATION = {
    **_ORGANIZATION,
    "head_sequence": 42,
    "stored_bytes": 31_234,
    "quotas": {"stored_bytes_max": 100_000_000_000, "ingest_bytes_per_second": 0},
    "proof": "stream",
}
_STANDING = {
    **_ORGANIZATION,
    "head_sequence": 4212,
    "stored_bytes": 31_234,
    "destinations": 5,
    "paused": 1,
    "failing": 1,
    "waiting": 18,
    "lag_seconds": 64,
    "dead_letters": 0,
    "events_per_minute": 120,
    "last_event_at": _TIME,
    "proof": "sealed",
}
_INGEST = {
    "requests": {"202": 1411, "429": 3},
    "events": {"accepted": 4212, "duplicate": 0, "rejected": 2},
}
_STATUS = {
    "version": "0.1.0",
    "build": "compiled",
    "store": {
        "kind": "sqlite",
        "stored_bytes": 31_234,
        "disk": {"total_bytes": 100_000_000_000, "free_bytes": 60_000_000_000},
    },
    "organizations": {"total": 214, "failing": 3, "near_quota": 0},
    "destinations": {
        "total": 300,
        "failing": 3,
        "unserved": 0,
        "waiting": 18,
        "retrying": 0,
        "dead_letters": 0,
    },
    "services": [
        {"id": "prc_0123456789_01ksr492006zr14463e1x90ggf", "api_processes": 2, "started_at": _TIME}
    ],
    "workers": [
        {
            "id": "wrk_0123456789_01ksr492006zr14463e1x90ggf",
            "started_at": _TIME,
            "destinations": 300,
            "lease_seconds": 24.1,
        }
    ],
    "ingest": {**_INGEST, "recent": {"seconds": 300.0, **_INGEST}},
}

_JOB = {
    "id": "job_01ksr492",
    "action": "redrive",
    "state": "running",
    "about": None,
    "error": "grp_0f3b6f1c9a7d42e58b10",
    "before": None,
    "total": 4212,
    "done": 2000,
    "eta_seconds": 1.4,
    "started_at": _TIME,
    "finished_at": None,
}
EXAMPLES: dict[tuple[str, str], tuple[Any, Any]] = {
    ("post", "/api/orgs"): (
        {"name": "Example", "id": "org_abc"},
        {**_ORGANIZATION, "api_key": "aegis_sk_…", "key_id": "key_01ksr492"},
    ),
    ("get", "/api/orgs"): (None, {"data": [_STANDING], **_LIST}),
    ("get", "/api/status"): (None, _STATUS),
    ("get", "/api/destination-types"): (None, {"types": [_TYPE]}),
    ("get", "/api/orgs/{org_id}"): (None, _WHOLE_ORGANIZATION),
    ("patch", "/api/orgs/{org_id}"): ({"proof": "stream"}, _WHOLE_ORGANIZATION),
    ("patch", "/api/orgs/{org_id}/quotas"): ({"stored_bytes_max": 100_000_000_000}, _WHOLE_ORGANIZATION),
    ("post", _KEYS): ({"name": "ci", "scope": "ingest"}, {**_KEY, "api_key": "aegis_sk_…"}),
    ("get", _KEYS): (None, {"data": [_LISTED_KEY], **_LIST}),
    ("get", _KEYS + "/{key_id}/requests"): (None, {"data": [_SEEN], "noted_seconds": 300}),
    ("delete", _KEYS + "/{key_id}"): (None, None),
    ("post", _KEYS + "/{key_id}/rotate"): ({"overlap_seconds": 3600}, {**_KEY, "api_key": "aegis_sk_…"}),
    ("post", "/api/orgs/{org_id}/proof/keys/rotate"): (
        {"overlap_seconds": 2_592_000},
        {
            "log": "audit.example.com/org_abc",
            "key": "audit.example.com/org_abc+9f31c0aa+AQ…",
            "old_key": "audit.example.com/org_abc+530d903a+AY…",
            "old_key_until": "2026-06-14T10:33:21.000000Z",
        },
    ),
    ("post", _LINKS): (
        {"scope": "read", "expires_seconds": 600, "return_url": "https://app.example.com/audit"},
        {**_LINK, "url": "https://audit.example.com/console/link#aegis_cl_…"},
    ),
    ("get", _LINKS): (None, {"data": [{**_LINK, "used_at": None, "made_by": "key_01ksr492"}], **_LIST}),
    ("delete", _LINKS + "/{link_id}"): (None, None),
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
    ("post", _ALL + "/test"): (
        {
            "url": "https://elastic.example.com/audit/_doc",
            "auth_header_name": "Authorization",
            "auth_header_value": "ApiKey …",
        },
        _TEST,
    ),
    ("get", _ALL): (None, {"data": [_DESTINATION], **_LIST}),
    ("get", _ONE): (None, _DESTINATION),
    ("patch", _ONE): ({"filter": {"datasets": ["aegis.preflight"]}}, _DESTINATION),
    ("delete", _ONE): (None, None),
    ("post", _ONE + "/pause"): (None, {**_DESTINATION, "enabled": False, "status": "paused"}),
    ("post", _ONE + "/resume"): (None, _DESTINATION),
    ("post", _ONE + "/test"): (None, _TEST),
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
                    "events_total": 1411,
                    "events_done": 700,
                    "rate": 350.0,
                    "eta_seconds": 2.0,
                    "state": "running",
                    "created_at": _TIME,
                    "finished_at": None,
                }
            ],
            **_LIST,
        },
    ),
    ("delete", _ONE + "/replays/{replay_id}"): (None, None),
    ("get", _ONE + "/deliveries"): (None, {"data": [_ATTEMPT], **_LIST}),
    ("get", _ONE + "/deliveries/{delivery_id}"): (
        None,
        {
            **_ATTEMPT,
            "attempts_max": 3,
            "request": _REQUEST,
            "response_at": _TIME,
            "response_headers": [{"name": "Retry-After", "value": "30"}],
            "response_excerpt": "too busy",
            "timing": {
                "recorded_at": _TIME,
                "began_at": _TIME,
                "ended_at": _TIME,
                "waited_ms": 3.2,
                "latency_ms": 8.1,
                "is_mean": False,
            },
            "attempts": [_ATTEMPT],
        },
    ),
    ("get", _ONE + "/timeline"): (
        None,
        {
            "from": "2026-05-15T10:30:00.000000Z",
            "to": "2026-05-15T10:45:00.000000Z",
            "step_seconds": 900,
            "total": {"delivered": 1411, "failed": _FAILED, "p50_ms": 5.9, "p99_ms": 31.4},
            "data": [
                {
                    "at": "2026-05-15T10:30:00.000000Z",
                    "delivered": 1411,
                    "failed": _FAILED,
                    "p50_ms": 5.9,
                    "p99_ms": 31.4,
                    "waiting_max": 12,
                }
            ],
        },
    ),
    ("get", "/api/orgs/{org_id}/deliveries"): (
        None,
        {"data": [_ATTEMPT], "next_cursor": "7.42", "scanned": {"rows": 20_000, "back_to": _TIME}},
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
    ("get", _ONE + "/dead-letters/groups"): (
        None,
        {
            "data": [
                {
                    "id": "grp_0f3b6f1c9a7d42e58b10",
                    "about": "destination",
                    "status_code": 401,
                    "error": "answered 401: the destination does not accept the credential",
                    "count": 4212,
                    "share": 0.8424,
                    "first_at": _TIME,
                    "last_at": _TIME,
                }
            ],
            "total": 5000,
        },
    ),
    ("post", _ONE + "/dead-letters/redrive"): (
        {"error": "grp_0f3b6f1c9a7d42e58b10"},
        {"redriven": 0, "job_id": "job_01ksr492", "total": 4212},
    ),
    ("delete", _ONE + "/dead-letters"): (None, {"purged": 1}),
    ("get", _ONE + "/dead-letters/jobs"): (None, {"data": [_JOB], **_LIST}),
    ("get", _ONE + "/dead-letters/jobs/{job_id}"): (None, _JOB),
    ("delete", _ONE + "/dead-letters/jobs/{job_id}"): (None, None),
    ("post", "/api/orgs/{org_id}/preflight-decisions"): (
        {"decision": "BLOCKED", "destination": "AI_TOOL", "finding_counts_by_type": {"SSN": 1}},
        {"event_id": "pflt_01ksr492", "sequence": 42},
    ),
    ("get", "/api/orgs/{org_id}/events"): (
        None,
        {
            "data": [{"sequence": 42, "received_at": _TIME, "event": _EVENT}],
            "next_cursor": "41",
            "scanned": {"events": 20_000, "sequence": 41, "received_at": _TIME},
        },
    ),
    ("get", "/api/orgs/{org_id}/events/histogram"): (
        None,
        {
            "step_seconds": 900,
            "events_total": 1411,
            "data": [
                {
                    "at": "2026-05-15T10:30:00.000000Z",
                    "events": 1411,
                    "sampled": 600,
                    "groups": [{"dataset": "aegis.preflight", "decision": "BLOCKED", "events": 329}],
                }
            ],
        },
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
    ("post", "/api/orgs/{org_id}/events/{event_id}/send"): (
        {"destination_ids": ["dst_01ksr492006zr14463e1x90ggf"]},
        {"data": [{"destination_id": "dst_01ksr492006zr14463e1x90ggf", "state": "queued"}]},
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
