"""Changes of a destination: the one way from a stored configuration to a changed one.

A stored credential never follows to another host, or to a host that other authorities vouch for: whoever may change the URL or
the CA certificate may not know the credential, and would learn it by pointing the destination at a server of their own. The
rule is part of applying a patch, so that no caller can bypass it.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from msgspec import UNSET, UnsetType

from aegis_stream.errors import FieldProblem, Invalid

from .attempt import RetryPolicy
from .destination import BatchPolicy, Compression, DestinationSpec, Filter, Headers, mask_url
from .oauth2 import OAuth2
from .url import parse_url

HeadersPatch = tuple[tuple[str, str | UnsetType], ...]
"""Further headers as a patch has them, all of them; a value that is UNSET keeps the stored one of that name, unless the host of the
destination or the CA certificate changes."""


@dataclass(frozen=True, slots=True)
class OAuth2Patch:
    """Where tokens come from, changed as a whole but for the secret.

    Args:
        client_secret: UNSET keeps the stored one, unless the host of the destination or of the token endpoint, or the CA certificate
            changes.
    """

    token_url: str = field(repr=False)
    client_id: str
    client_secret: str | UnsetType = field(default=UNSET, repr=False)
    scope: str = ""


@dataclass(frozen=True, slots=True)
class DestinationPatch:
    """What to change of a destination; what is UNSET stays."""

    url: str | UnsetType = field(default=UNSET, repr=False)
    auth_header_name: str | None | UnsetType = UNSET
    auth_header_value: str | None | UnsetType = field(default=UNSET, repr=False)
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    format: str | UnsetType = UNSET
    filter: Filter | UnsetType = UNSET
    batch: BatchPolicy | UnsetType = UNSET
    retry: RetryPolicy | UnsetType = UNSET
    ca_certificate: str | None | UnsetType = UNSET
    compression: Compression | UnsetType = UNSET
    headers: HeadersPatch | UnsetType = field(default=UNSET, repr=False)
    oauth2: OAuth2Patch | None | UnsetType = UNSET


def apply_patch(spec: DestinationSpec, patch: DestinationPatch) -> DestinationSpec:
    """Return a configuration with a patch applied; pure, and it checks nothing else.

    Returns: where the URL leads to another scheme, host or port, or the trusted authorities change: without the stored
        auth header, further headers and OAuth2 client, unless the patch gives them. Where the token endpoint moves: without
        the stored client secret. A URL that cannot be read counts as another host; the checks that follow say what is wrong
        with it.
    """
    changes: dict[str, Any] = {
        one.name: value for one in fields(patch) if (value := getattr(patch, one.name)) is not UNSET
    }
    moved = not _same_trust(spec, patch) or (patch.url is not UNSET and not _same_origin(patch.url, spec.url))
    if isinstance(patch.oauth2, OAuth2Patch):
        changes["oauth2"] = _oauth2(patch.oauth2, None if moved else spec.oauth2)
    if patch.headers is not UNSET:
        changes["headers"] = _headers(patch.headers, () if moved else spec.headers)
    if moved:
        if "auth_header_value" not in changes:
            changes |= {"auth_header_name": None, "auth_header_value": None}
        changes = {"headers": (), "oauth2": None} | changes
    return replace(spec, **changes)


def missing_with_new_trust(spec: DestinationSpec, patch: DestinationPatch) -> list[FieldProblem]:
    """Return what a patch must send again because it changes the trusted authorities; empty if they stay.

    A host that changes is plain to see, and what is dropped with it as well. With the authorities alone, deliveries would
    go on without their credential.
    """
    if _same_trust(spec, patch):
        return []
    has_credential = spec.auth_header_value is not None or spec.oauth2 is not None
    stored = {
        "auth_header_value": spec.auth_header_value is not None and patch.auth_header_value is UNSET,
        "headers": bool(spec.headers) and patch.headers is UNSET,
        "oauth2": spec.oauth2 is not None and patch.oauth2 is UNSET,
        "url": not has_credential and mask_url(spec.url) != spec.url and patch.url is UNSET,
    }
    message = "is required: stored credentials are not kept when ca_certificate changes"
    return [FieldProblem(name, message) for name, is_missing in stored.items() if is_missing]


def _same_trust(spec: DestinationSpec, patch: DestinationPatch) -> bool:
    if patch.ca_certificate is UNSET:
        return True
    new, old = (
        "".join(one.split()) if one is not None else None
        for one in (patch.ca_certificate, spec.ca_certificate)
    )
    return new == old


def _headers(patch: HeadersPatch, stored: Headers) -> Headers:
    """Return the headers of a patch; `stored` are those whose values may stay. A value that cannot is "", which the checks reject."""
    known = {name.lower(): value for name, value in stored}
    return tuple((name, known.get(name.lower(), "") if value is UNSET else value) for name, value in patch)


def _oauth2(patch: OAuth2Patch, stored: OAuth2 | None) -> OAuth2:
    """Return the OAuth2 client of a patch; `stored` is the one whose secret may stay, None for no such one."""
    secret = "" if patch.client_secret is UNSET else patch.client_secret
    if (
        patch.client_secret is UNSET
        and stored is not None
        and _same_origin(patch.token_url, stored.token_url)
    ):
        secret = stored.client_secret
    return OAuth2(patch.token_url, patch.client_id, secret, patch.scope)


def _same_origin(url: str, stored: str) -> bool:
    try:
        new, old = (parse_url(one, allow_http=True) for one in (url, stored))
    except Invalid:
        return False
    return (new.scheme, new.host, new.port) == (old.scheme, old.host, old.port)
