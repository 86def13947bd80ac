"""Requests about destinations → domain values, with defaults in place; nothing is checked here."""

from typing import Any

from msgspec import UNSET, UnsetType

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Filter, Headers
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.patch import DestinationPatch, OAuth2Patch

from .destinations import (
    BatchBody,
    DestinationPatchWrite,
    DestinationWrite,
    FilterBody,
    OAuth2Write,
    RetryBody,
)


def spec_of(body: DestinationWrite, default_retry: RetryPolicy) -> DestinationSpec:
    """Turn a request into a configuration with defaults in place; it is not checked yet."""
    return DestinationSpec(
        url=body.url,
        auth_header_name=body.auth_header_name,
        auth_header_value=body.auth_header_value,
        name=body.name,
        enabled=body.enabled,
        format=body.format,
        filter=filter_of(body.filter),
        batch=batch_of(body.batch),
        retry=retry_of(body.retry, default_retry),
        ca_certificate=body.ca_certificate,
        compression=body.compression,
        headers=headers_of(body.headers),
        oauth2=_oauth2_of(body.oauth2),
    )


def filter_of(body: FilterBody | None) -> Filter:
    """Return the filter; without one every event passes."""
    return Filter() if body is None else Filter(tuple(body.datasets), tuple(body.decisions))


def headers_of(body: dict[str, str] | None) -> Headers:
    """Return the further headers, in the order of the request."""
    return tuple((body or {}).items())


def _oauth2_of(body: OAuth2Write | None) -> OAuth2 | None:
    if body is None:
        return None
    secret = "" if body.client_secret is UNSET else body.client_secret
    return OAuth2(body.token_url, body.client_id, secret, body.scope)


def batch_of(body: BatchBody | None) -> BatchPolicy:
    """Return the batch policy, with defaults for omitted fields."""
    return BatchPolicy() if body is None else BatchPolicy(body.max_events, body.max_bytes, body.max_wait_ms)


def retry_of(body: RetryBody | None, default: RetryPolicy) -> RetryPolicy:
    """Return the retry policy, with the service's defaults for omitted fields."""
    if body is None:
        return default
    given = {
        name: value for name in RetryBody.__struct_fields__ if (value := getattr(body, name)) is not UNSET
    }
    values: dict[str, Any] = {name: getattr(default, name) for name in RetryPolicy.__slots__} | given
    if "max_seconds" not in given:
        values["max_seconds"] = max(values["max_seconds"], values["base_seconds"])
    return RetryPolicy(**values)


def patch_of(body: DestinationPatchWrite, default_retry: RetryPolicy) -> DestinationPatch:
    """Turn a request into a patch: null goes back to the default, an omitted field stays."""
    oauth2: OAuth2Patch | None | UnsetType = UNSET
    if isinstance(body.oauth2, OAuth2Write):
        one = body.oauth2
        oauth2 = OAuth2Patch(one.token_url, one.client_id, one.client_secret, one.scope)
    elif body.oauth2 is None:
        oauth2 = None
    return DestinationPatch(
        url=body.url,
        auth_header_name=body.auth_header_name,
        auth_header_value=body.auth_header_value,
        name=body.name,
        enabled=body.enabled,
        format=body.format,
        filter=UNSET if body.filter is UNSET else filter_of(body.filter),
        batch=UNSET if body.batch is UNSET else batch_of(body.batch),
        retry=UNSET if body.retry is UNSET else retry_of(body.retry, default_retry),
        ca_certificate=body.ca_certificate,
        compression=body.compression,
        headers=UNSET if body.headers is UNSET else headers_of(body.headers),
        oauth2=oauth2,
    )
