"""The index template for a data stream of audit events in Elasticsearch or OpenSearch. `aegis` prints it; nothing here sends it.

Events of sixty products in one data stream have sixty shapes. If every key were a field, they would exceed any limit of
fields, and a key that is an object in one event and a text in another would make the second event fail. So an object that the
Elastic Common Schema does not define is one field, in which values can be searched by path; the objects that it defines have
typed fields.
"""

import re
from typing import Any, Literal

Flavor = Literal["elasticsearch", "opensearch"]

PATTERN = "logs-aegis.*-*"
"""Data streams named by event.dataset, as in logs-aegis.preflight-default."""
PRIORITY = 250
"""Above 200, the highest priority of the vendor's templates for logs-*-*; the highest one wins."""

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
_ENVELOPE: dict[str, tuple[str, ...]] = {
    "event": ("id", "kind", "category", "type", "action", "outcome", "dataset", "module", "reason"),
    "organization": ("id", "name"),
    "aegis": (
        *("preflight_id", "decision", "destination", "policy_version", "policy_id", "source_type"),
        *("input_type", "actor_id"),
    ),
}
"""Objects that all events have, or that are ours, with their fields."""
_SCHEMA = (
    *("client", "cloud", "cloud.account", "destination", "ecs", "error", "file", "group", "host", "host.os"),
    *("http", "http.request", "http.response", "log", "network", "observer", "process", "related", "rule"),
    *("server", "service", "source", "threat", "trace", "transaction", "url", "user", "user.effective"),
    *("user.target", "user_agent"),
)
"""Objects of the Elastic Common Schema, version 9, that audit events use. They keep separate fields, which can be aggregated and, as
addresses, be searched by network."""
_DECIMALS = "".join(f"[.{'S' * count}]" for count in range(9, 0, -1))
_TIMES = f"strict_date_optional_time||uuuu-MM-dd[' ']['T']['t']HH:mm:ss{_DECIMALS}[XXX]['z']"
"""All spellings in which the formats `elastic_*` send a time, and those of other senders to the same data stream."""


def index_template(pattern: str = PATTERN, flavor: Flavor = "elasticsearch") -> dict[str, Any]:
    """Return the body of `PUT _index_template/<name>` for a data stream of events.

    For Elasticsearch 8.13 or newer and OpenSearch 2.7 or newer.

    Args:
        pattern: names of the data streams that use it.
        flavor: whose types and settings.
    """
    flat = _flat(flavor)
    properties: dict[str, Any] = {
        # A malformed value is an error here and ignored elsewhere: a data stream requires a time.
        "@timestamp": {"type": "date", "format": _TIMES, "ignore_malformed": False},
        "message": {"type": "text"} if flavor == "opensearch" else {"type": "match_only_text"},
    }
    for name, members in _ENVELOPE.items():
        properties[name] = {"properties": {member: dict(_KEYWORD) for member in members}}
    properties["event"]["properties"] |= {"severity": {"type": "long"}}
    properties["aegis"]["properties"] |= {
        "summary": {"type": "text"},
        "input_size_bytes": {"type": "long"},
        "test": {"type": "boolean"},
        "finding_counts_by_type": dict(flat),
    }
    return {
        "index_patterns": [pattern],
        "data_stream": {},
        "priority": PRIORITY,
        "template": {
            "settings": {"index": _settings(flavor)},
            "mappings": {
                "date_detection": False,
                "dynamic_templates": _dynamic_templates(flat),
                "properties": properties,
            },
        },
        "_meta": {
            "description": "Audit events in the shape of the Elastic Common Schema, from Aegis Audit Stream"
        },
    }


def _flat(flavor: Flavor) -> dict[str, Any]:
    """Return the mapping of an object that is one field."""
    if flavor == "opensearch":
        return {"type": "flat_object"}
    # Events have up to 32 levels. Without a limit of length, one long text would make its event fail.
    return {"type": "flattened", "ignore_above": 1024, "depth_limit": 32}


def _settings(flavor: Flavor) -> dict[str, Any]:
    mapping: dict[str, Any] = {"ignore_malformed": True}
    if flavor == "elasticsearch":
        mapping["total_fields"] = {"ignore_dynamic_beyond_limit": True}
    return {"codec": "best_compression", "mapping": mapping}


def _dynamic_templates(flat: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the mappings of fields that are not named; the first match decides."""
    known = "|".join(re.escape(name) for name in _SCHEMA)
    return [
        {
            "objects_of_the_schema": {
                "match_mapping_type": "object",
                "match_pattern": "regex",
                "path_match": f"^({known})$",
                "mapping": {"type": "object"},
            }
        },
        {"other_objects": {"match_mapping_type": "object", "mapping": dict(flat)}},
        {"addresses": {"match_mapping_type": "string", "path_match": "*.ip", "mapping": {"type": "ip"}}},
        {
            "whole_numbers": {
                "match_mapping_type": "long",
                "path_match": "*.*",
                "mapping": {"type": "long"},
            }
        },
        {
            "fractions": {
                "match_mapping_type": "double",
                "path_match": "*.*",
                "mapping": {"type": "double"},
            }
        },
        # As keywords, a number in one event and a text in another do not conflict.
        {"everything_else": {"match_mapping_type": "*", "mapping": dict(_KEYWORD)}},
    ]
