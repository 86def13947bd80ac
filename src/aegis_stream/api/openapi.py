"""The OpenAPI document, and a page to read it.

The framework describes its routes; ingest, which is in front of it, is described here. The page is rendered on the server, without
scripts and without anything from other hosts, so that it works without the internet.
"""

import html
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIMediaType,
    Operation,
    Parameter,
    PathItem,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec import Example as SpecExample
from litestar.openapi.spec import OpenAPIResponse as SpecResponse
from litestar.serialization import encode_json

from aegis_stream import __version__

from .constraints import add_constraints
from .docs import errors
from .examples import add_examples
from .links import add_links
from .scopes import RIGHTS, Right

_EVENT = {
    "@timestamp": "2026-05-15T10:33:21.456789+00:00",
    "event": {
        "id": "pflt_abc123",
        "kind": "event",
        "action": "preflight_check",
        "dataset": "aegis.preflight",
    },
    "aegis": {
        "decision": "ALLOWED_WITH_MASKING",
        "destination": "AI_TOOL",
        "finding_counts_by_type": {"SSN": 1},
    },
}
_ANSWER = {
    "accepted": 98,
    "duplicates": 1,
    "rejected": [{"index": 7, "event_id": "pflt_abc", "error": "aegis.decision expected one of …"}],
}
WITHOUT_KEY = frozenset(path for (_, path), right in RIGHTS.items() if right is Right.OPEN)
INGEST_PATH = "/api/orgs/{org_id}/events"


def make_document(handlers: Sequence[Any]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes and of ingest, as plain JSON."""
    described = Litestar(
        route_handlers=handlers,
        openapi_config=OpenAPIConfig(
            title="Aegis Audit Stream",
            version=__version__,
            description="Records audit events and delivers each of them to every destination: at least once, durably, observably, fast.",
            components=Components(
                security_schemes={
                    "key": SecurityScheme(type="http", scheme="bearer", description="An API key")
                }
            ),
            security=[{"key": []}],
        ),
        logging_config=None,
    )
    describe_ingest(described.openapi_schema)
    plain: dict[str, Any] = json.loads(encode_json(described.openapi_schema.to_schema()))
    add_examples(plain)
    add_constraints(plain)
    add_links(plain)
    for path in WITHOUT_KEY & plain["paths"].keys():
        for operation in plain["paths"][path].values():
            operation["security"] = []
    return plain


def describe_ingest(document: OpenAPI) -> None:
    """Add POST …/events to the document."""
    paths = document.paths if document.paths is not None else {}
    item = paths.setdefault(INGEST_PATH, PathItem())
    schema = Schema(type="object")  # type: ignore[arg-type] # the spelling of the enum's value
    item.post = Operation(
        operation_id="RecordEvents",
        tags=["Events"],
        summary="Record events",
        description="Record one event (an object) or many (an array, or NDJSON); Content-Encoding may be gzip or zstd. "
        "The call answers when they are durable. Missing @timestamp, event.id and organization.id are added.",
        parameters=[
            Parameter("org_id", "path", schema=Schema(type="string"), required=True),  # type: ignore[arg-type]
            Parameter(
                "unwrap",
                "query",
                description="Where each document of the body has its events, such as Records or data.events.",
                schema=Schema(type="string"),  # type: ignore[arg-type]
            ),
        ],
        request_body=RequestBody(
            content={
                "application/json": OpenAPIMediaType(schema, examples={"event": SpecExample(value=_EVENT)}),
                "application/x-ndjson": OpenAPIMediaType(Schema(type="string")),  # type: ignore[arg-type]
            },
            required=True,
        ),
        responses={
            "202": SpecResponse(
                "Durable",
                content={
                    "application/json": OpenAPIMediaType(
                        schema, examples={"answer": SpecExample(value=_ANSWER)}
                    )
                },
            ),
            **{
                str(status): SpecResponse(
                    spec.description,
                    content={
                        "application/problem+json": OpenAPIMediaType(
                            schema,
                            examples={
                                "problem": SpecExample(
                                    value=_plain(spec.examples[0].value if spec.examples else {})
                                )
                            },
                        )
                    },
                )
                for status, spec in errors(400, 403, 413, 415, 429).items()
            },
        },
    )
    document.paths = paths


def docs_page(document: dict[str, Any]) -> str:
    """Render the document as a page of HTML."""
    info = document["info"]
    sections: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                tag = (operation.get("tags") or ["Other"])[0]
                sections.setdefault(tag, []).append(_operation(method.upper(), path, operation, document))
    body = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(parts)}" for tag, parts in sections.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(info['title'])}: API</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(info['title'])} <small>{html.escape(info['version'])}</small></h1><p>{html.escape(info['description'])}</p>"
        "<p>Every call needs <code>Authorization: Bearer &lt;API key&gt;</code>. Errors are <code>application/problem+json</code>. "
        'For programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"{body}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{html.escape(one['name'])}</code> ({one['in']}{', required' if one.get('required') else ''})</li>"
        for one in operation.get("parameters", [])
    )
    request = operation.get("requestBody", {}).get("content", {})
    answers = "".join(
        f"<li><code>{status}</code> {html.escape(answer.get('description', ''))}{_content(answer.get('content', {}), document)}</li>"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<details><summary><b>{method}</b> <code>{html.escape(path)}</code> {html.escape(operation.get('summary') or '')}</summary>"
        f"<p>{html.escape(operation.get('description') or '')}</p>"
        + (f"<h4>Parameters</h4><ul>{parameters}</ul>" if parameters else "")
        + (f"<h4>Request</h4>{_content(request, document)}" if request else "")
        + f"<h4>Answers</h4><ul>{answers}</ul></details>"
    )


def _content(content: dict[str, Any], document: dict[str, Any]) -> str:
    parts = []
    for media_type, media in content.items():
        examples = media.get("examples")
        if examples:
            shown = next(iter(examples.values())).get("value")
        else:
            shown = _outline(media.get("schema", {}), document, 0)
        text = html.escape(json.dumps(shown, indent=2, ensure_ascii=False))
        parts.append(f"<div><small>{html.escape(media_type)}</small><pre>{text}</pre></div>")
    return "".join(parts)


def _outline(schema: dict[str, Any], document: dict[str, Any], depth: int) -> Any:
    """Outline what a schema describes: names and types."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = document["components"]["schemas"][name]
    if depth > 4:
        return "…"
    if "properties" in schema:
        return {name: _outline(one, document, depth + 1) for name, one in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_outline(schema.get("items", {}), document, depth + 1)]
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if "oneOf" in schema:
        shapes = [_outline(one, document, depth + 1) for one in schema["oneOf"] if one.get("type") != "null"]
        return shapes[0] if len(shapes) == 1 else shapes
    return schema.get("type", "any")


def _plain(value: Any) -> Any:

    return msgspec.to_builtins(value)


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}"
    "h1 small{color:#667}summary{cursor:pointer;padding:.4rem 0}details{border-top:1px solid #dde}"
    "pre{background:#f4f6f9;padding:.7rem;overflow:auto}code{color:#0b4f79}"
    "@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}pre{background:#1e242c}code{color:#7cc4f0}"
    "details{border-color:#333c47}a{color:#7cc4f0}}"
)
