"""The index template for a data stream of audit events in Elasticsearch or OpenSearch; `aegis` shows it, nothing here sends it."""

from typing import Any

PATTERN = "logs-aegis.*-*"
"""Data streams named by event.dataset, as in logs-aegis.preflight-default."""
PRIORITY = 250
"""Above 200, which the vendor's own templates for logs-*-* have at most; the highest one wins."""

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
_FIELDS: dict[str, tuple[str, ...]] = {
    "event": ("id", "kind", "category", "type", "action", "outcome", "dataset", "module", "reason"),
    "organization": ("id", "name"),
    "aegis": (
        *(
            "preflight_id",
            "decision",
            "destination",
            "policy_version",
            "policy_id",
            "source_type",
            "input_type",
        ),
        "actor_id",
    ),
}


def index_template(pattern: str = PATTERN, *, opensearch: bool = False) -> dict[str, Any]:
    """Return the body of `PUT _index_template/<name>` for a data stream of ECS events.

    Counts of findings are one flattened field, whatever names their types have: as fields of their own, every new type would
    enlarge the mapping until the limit of fields refuses events. Texts that are not named here become keywords, so that no
    event is refused because a text looks like a date.

    Args:
        pattern: names of the data streams that get it.
        opensearch: spell the flattened type as OpenSearch does.
    """
    properties: dict[str, Any] = {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"} if opensearch else {"type": "match_only_text"},
        "ecs": {"properties": {"version": dict(_KEYWORD)}},
    }
    properties |= {
        name: {"properties": {member: dict(_KEYWORD) for member in members}}
        for name, members in _FIELDS.items()
    }
    properties["aegis"]["properties"] |= {
        "summary": {"type": "text"},
        "input_size_bytes": {"type": "long"},
        "test": {"type": "boolean"},
        "finding_counts_by_type": {"type": "flat_object" if opensearch else "flattened"},
    }
    return {
        "index_patterns": [pattern],
        "data_stream": {},
        "priority": PRIORITY,
        "template": {
            "settings": {"index": {"codec": "best_compression"}},
            "mappings": {
                "date_detection": False,
                "dynamic_templates": [{"texts": {"match_mapping_type": "string", "mapping": dict(_KEYWORD)}}],
                "properties": properties,
            },
        },
        "_meta": {
            "description": "Audit events in the shape of the Elastic Common Schema, from Aegis Audit Stream"
        },
    }
