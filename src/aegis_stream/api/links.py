"""Links of the OpenAPI document: which call can follow which answer."""

from typing import Any

_ALL = "/api/orgs/{org_id}/forwarding-destinations"
_ONE = _ALL + "/{destination_id}"
_KEYS = "/api/orgs/{org_id}/api-keys"
_LINKS = "/api/orgs/{org_id}/console-links"

LINKS: dict[tuple[str, str, str], tuple[str, str, tuple[tuple[str, str], ...]]] = {
    ("post", _ALL, "201"): (
        "destination_id",
        "$response.body#/id",
        (
            *(("get", _ONE), ("patch", _ONE), ("delete", _ONE)),
            *(("post", _ONE + "/pause"), ("post", _ONE + "/resume"), ("post", _ONE + "/test")),
            *(("post", _ONE + "/replay"), ("get", _ONE + "/replays"), ("get", _ONE + "/deliveries")),
            ("get", _ONE + "/timeline"),
            *(("get", _ONE + "/dead-letters"), ("post", _ONE + "/dead-letters/redrive")),
            *(("get", _ONE + "/dead-letters/groups"), ("get", _ONE + "/dead-letters/jobs")),
        ),
    ),
    ("post", _ONE + "/replay", "202"): (
        "replay_id",
        "$response.body#/replay_id",
        (("delete", _ONE + "/replays/{replay_id}"),),
    ),
    ("post", _ONE + "/dead-letters/redrive", "202"): (
        "job_id",
        "$response.body#/job_id",
        (
            ("get", _ONE + "/dead-letters/jobs/{job_id}"),
            ("delete", _ONE + "/dead-letters/jobs/{job_id}"),
        ),
    ),
    ("post", _KEYS, "201"): (
        "key_id",
        "$response.body#/id",
        (
            ("delete", _KEYS + "/{key_id}"),
            ("post", _KEYS + "/{key_id}/rotate"),
            ("get", _KEYS + "/{key_id}/requests"),
        ),
    ),
    ("post", _LINKS, "201"): (
        "link_id",
        "$response.body#/id",
        (("delete", _LINKS + "/{link_id}"),),
    ),
    ("post", "/api/orgs/{org_id}/preflight-decisions", "202"): (
        "event_id",
        "$response.body#/event_id",
        (("get", "/api/orgs/{org_id}/events/{event_id}"),),
    ),
}
"""Answer → the parameter it provides, its place in the answer, and the calls that take it."""


def add_links(document: dict[str, Any]) -> None:
    """Add the links to an OpenAPI document. Raises: KeyError when it lacks a call of the table."""
    for (method, path, status), (parameter, place, calls) in LINKS.items():
        links = document["paths"][path][method]["responses"][status].setdefault("links", {})
        for to_method, to_path in calls:
            operation_id = document["paths"][to_path][to_method]["operationId"]
            given = {
                name: f"$request.path.{name}"
                for name in ("org_id", "destination_id")
                if f"{{{name}}}" in path
            }
            links[operation_id] = {"operationId": operation_id, "parameters": {**given, parameter: place}}
