"""A destination that is not saved, as calls of the API and as commands, with `…` in place of every secret; pure."""

from typing import Any

from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, mask_url
from aegis_stream.formats import AUTO

from .commands import ShownCall, quoted, shown_call

SECRET = "…"  # noqa: S105 - stands for one


def unsaved_call(base: str, org_id: str, spec: DestinationSpec, *, test: bool) -> ShownCall:
    """Return the call that tests a destination, or creates it.

    Args:
        base: scheme and host of this console.
        spec: what was typed. A URL that is the credential itself is masked.
    """
    path = f"/api/orgs/{org_id}/forwarding-destinations{'/test' if test else ''}"
    body = _body(spec)
    words = [
        "aegis destination add",
        quoted(body["url"]),
        *_options(spec),
        *(["--test-only"] if test else []),
    ]
    variables = []
    if spec.auth_header_value is not None:
        variables.append(f"AEGIS_AUTH_HEADER_VALUE='{SECRET}'")
    if spec.oauth2 is not None:
        variables.append(f"AEGIS_OAUTH2_CLIENT_SECRET='{SECRET}'")
    return shown_call(base, "POST", path, body, aegis=" ".join([*variables, *words]))


def _body(spec: DestinationSpec) -> dict[str, Any]:
    """Return the body of the call, without fields that have their default."""
    has_credential = spec.auth_header_value is not None or spec.oauth2 is not None
    body: dict[str, Any] = {"url": spec.url if has_credential else mask_url(spec.url), "name": spec.name}
    if spec.auth_header_value is not None:
        body |= {"auth_header_name": spec.auth_header_name, "auth_header_value": SECRET}
    if spec.headers:
        body["headers"] = {name: SECRET for name, _ in spec.headers}
    if spec.oauth2 is not None:
        body["oauth2"] = {
            "token_url": spec.oauth2.token_url,
            "client_id": spec.oauth2.client_id,
            "client_secret": SECRET,
            "scope": spec.oauth2.scope,
        }
    if spec.format != AUTO:
        body["format"] = spec.format
    if spec.batch.max_bytes != BatchPolicy().max_bytes:
        body["batch"] = {"max_bytes": spec.batch.max_bytes}
    if spec.ca_certificate is not None:
        body["ca_certificate"] = spec.ca_certificate
    if spec.filter.datasets or spec.filter.decisions:
        body["filter"] = {"datasets": spec.filter.datasets, "decisions": spec.filter.decisions}
    return body


def _options(spec: DestinationSpec) -> list[str]:
    """Return the options of the command, quoted; a certificate is read from a file."""
    found = ["--name", quoted(spec.name)] if spec.name else []
    if spec.auth_header_value is not None and spec.auth_header_name is not None:
        found += ["--auth-header-name", quoted(spec.auth_header_name)]
    for name, _ in spec.headers:
        found += ["--header", quoted(f"{name}: {SECRET}")]
    if spec.oauth2 is not None:
        found += ["--oauth2-token-url", quoted(spec.oauth2.token_url)]
        found += ["--oauth2-client-id", quoted(spec.oauth2.client_id)]
        if spec.oauth2.scope:
            found += ["--oauth2-scope", quoted(spec.oauth2.scope)]
    if spec.format != AUTO:
        found += ["--format", spec.format]
    if spec.batch.max_bytes != BatchPolicy().max_bytes:
        found += ["--batch-max-bytes", str(spec.batch.max_bytes)]
    if spec.ca_certificate is not None:
        found += ["--ca-certificate", "authority.pem"]
    for name in spec.filter.datasets:
        found += ["--dataset", quoted(name)]
    for decision in spec.filter.decisions:
        found += ["--decision", decision]
    return found
