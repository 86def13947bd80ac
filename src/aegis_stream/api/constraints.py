"""Ranges and shapes of values in the OpenAPI document.

The checks are elsewhere, with better texts; this repeats them for programs. tests/integration/test_openapi_fuzz.py makes calls
from the document, within these limits and beyond them, and compares.
"""

from typing import Any

from aegis_stream.control.timeline import STEP_S_MAX as TIMELINE_STEP_S_MAX
from aegis_stream.domain.console_link import RETURN_URL_CHARACTERS_MAX
from aegis_stream.domain.dead_letters import ERROR_CHARACTERS_MAX
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX, HEADERS_MAX
from aegis_stream.domain.event import EVENT_ID_CHARACTERS_MAX
from aegis_stream.domain.event_filter import DECISIONS
from aegis_stream.domain.merkle import SIZE_MAX
from aegis_stream.domain.names import NAME_CHARACTERS_MAX
from aegis_stream.domain.oauth2 import (
    CLIENT_ID_CHARACTERS_MAX,
    CLIENT_SECRET_CHARACTERS_MAX,
    SCOPE_CHARACTERS_MAX,
)
from aegis_stream.domain.organization import QUOTA_MAX
from aegis_stream.store.attempt_lists import STATUS_CLASSES

from .events import ORDERS, STEP_S_MAX
from .requests import PAGE_DEFAULT, PAGE_MAX
from .schemas.base import Strict
from .schemas.events import PreflightWrite
from .tile_paths import LEVEL, NUMBER

_QUOTA = {"minimum": 0, "maximum": QUOTA_MAX}
_ID_CURSOR = {"pattern": "^[a-z]{3}_[0-9A-Za-z_-]{1,60}$"}
_NUMBER_CURSOR = {"pattern": "^[0-9]{1,18}$"}
_ATTEMPT_CURSOR = {"pattern": "^[0-9]{1,18}\\.[0-9]{1,18}$"}
_HEADER_NAME = {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"}
_VISIBLE = {"pattern": "^[!-~]([ -~]*[!-~])?$"}
_HEADER_VALUE = _VISIBLE | {"maxLength": HEADER_VALUE_CHARACTERS_MAX}
_URL = {"format": "uri", "pattern": "^https?://", "maxLength": 2048}
_NAME = {"maxLength": NAME_CHARACTERS_MAX, "description": "Printable characters only."}
_DESTINATION: dict[str, dict[str, Any]] = {
    "url": _URL,
    "auth_header_name": _HEADER_NAME,
    "auth_header_value": _HEADER_VALUE,
    "headers": {
        "maxProperties": HEADERS_MAX,
        "propertyNames": _HEADER_NAME,
        "additionalProperties": {"type": "string", **_HEADER_VALUE},
    },
    "name": _NAME,
}
_ERROR = {"minLength": 1, "maxLength": ERROR_CHARACTERS_MAX}
FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "DestinationWrite": _DESTINATION,
    "DestinationPatchWrite": _DESTINATION,
    "OAuth2Write": {
        "token_url": _URL,
        "client_id": _VISIBLE | {"maxLength": CLIENT_ID_CHARACTERS_MAX},
        "client_secret": _VISIBLE | {"maxLength": CLIENT_SECRET_CHARACTERS_MAX},
        "scope": {
            "pattern": r"^([!#-\[\]-~]+( [!#-\[\]-~]+)*)?$",
            "maxLength": SCOPE_CHARACTERS_MAX,
        },
    },
    "FilterBody": {"datasets": {"maxItems": 100}},
    "BatchBody": {
        "max_events": {"minimum": 1, "maximum": 10_000},
        "max_bytes": {"minimum": 1_000, "maximum": 10_000_000},
        "max_wait_ms": {"minimum": 0, "maximum": 60_000},
    },
    "RetryBody": {
        "max_attempts": {"minimum": 1, "maximum": 20},
        "base_seconds": {"minimum": 0.001, "maximum": 86_400},
        "multiplier": {"minimum": 1, "maximum": 10},
        "max_seconds": {"minimum": 0.001, "maximum": 604_800},
    },
    "KeyWrite": {"name": _NAME},
    "ConsoleLinkWrite": {"return_url": _URL | {"maxLength": RETURN_URL_CHARACTERS_MAX}},
    "OrganizationWrite": {"name": _NAME, "id": {"pattern": "^org_[A-Za-z0-9_-]{1,60}$"}},
    "QuotasWrite": {"stored_bytes_max": _QUOTA, "ingest_bytes_per_second": _QUOTA},
    "RedriveWrite": {"error": _ERROR},
    "PreflightWrite": {
        "preflight_id": {"minLength": 1, "maxLength": EVENT_ID_CHARACTERS_MAX},
        "input_size_bytes": {"minimum": 0},
        "finding_counts_by_type": {"additionalProperties": {"type": "integer", "minimum": 0}},
    },
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "limit": {"minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    "cursor": _ID_CURSOR,
    "state": {"enum": ["delivered", "failed"]},
    "status_class": {"enum": list(STATUS_CLASSES)},
    "since": {"format": "date-time"},
    "until": {"format": "date-time"},
    "decision": {"enum": list(DECISIONS)},
    "about": {"enum": ["event", "destination"]},
    "error": _ERROR,
    "before": {"format": "date-time"},
    "order": {"enum": list(ORDERS), "default": "asc"},
    "from": {"format": "date-time"},
    "to": {"format": "date-time"},
    "step": {"minimum": 0, "default": 0, "maximum": TIMELINE_STEP_S_MAX, "multipleOf": 60},
    "from_size": {"minimum": 1, "maximum": SIZE_MAX},
    "first": {"minimum": 1, "maximum": SIZE_MAX},
    "last": {"minimum": 1, "maximum": SIZE_MAX},
    "to_size": {"minimum": 1, "maximum": SIZE_MAX},
    "step_seconds": {"minimum": 0, "default": 0, "maximum": STEP_S_MAX},
}
PATHS: dict[str, dict[str, Any]] = {
    "level": {"pattern": f"^{LEVEL}$"},
    "number": {"pattern": f"^{NUMBER}$"},
}
"""Parts of paths."""
OPTIONAL_BODIES = ("/dead-letters/redrive", "/rotate")
"""Calls whose body is optional, by the end of their path."""
CURSORS = {"events": _NUMBER_CURSOR, "dead-letters": _NUMBER_CURSOR, "deliveries": _ATTEMPT_CURSOR}
"""Cursors that are numbers, by the last part of the path."""


def add_constraints(document: dict[str, Any]) -> None:
    """Add the constraints to an OpenAPI document. Raises: KeyError when it lacks something of these tables."""
    schemas = document["components"]["schemas"]
    strict: list[type] = [*Strict.__subclasses__(), PreflightWrite]
    for body in strict:
        schemas[body.__name__]["additionalProperties"] = False
    for name, constrained in FIELDS.items():
        for field, constraint in constrained.items():
            _narrow(schemas[name]["properties"][field], constraint)
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.endswith(OPTIONAL_BODIES):
                operation["requestBody"]["required"] = False
            for one in operation.get("parameters", []):
                if one["in"] != "query":
                    one["schema"] |= PATHS.get(one["name"], {})
                    continue
                constraint = PARAMETERS.get(one["name"], {})
                if one["name"] == "cursor":
                    constraint = CURSORS.get(path.rpartition("/")[2], constraint)
                _narrow(one["schema"], constraint)
                one["schema"] = _without_null(one["schema"])


def _narrow(schema: dict[str, Any], constraint: dict[str, Any]) -> None:
    """Constrain a value; of several kinds, the one that is not null, and it alone."""
    kinds = [one for one in schema.get("oneOf", [schema]) if one.get("type") != "null"]
    for name, value in constraint.items():
        schema.pop(name, None)  # the framework states some limits beside the kinds
        kinds[0][name] = value


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a query parameter's schema without null, which a query cannot express: the parameter is omitted instead."""
    kinds = [one for one in schema.get("oneOf", []) if one.get("type") != "null"]
    if len(kinds) == 1:
        return dict(kinds[0])
    return schema
