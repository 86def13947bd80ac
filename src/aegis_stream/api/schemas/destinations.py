"""Forwarding destinations: JSON shapes ↔ domain."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from aegis_stream.control.destinations import DAMAGED, DestinationState
from aegis_stream.domain.destination import (
    MASK,
    BatchPolicy,
    Compression,
    Destination,
    mask_url,
)
from aegis_stream.domain.times import to_text
from aegis_stream.formats import AUTO, choose, resolve

from .base import Strict
from .events import Decision

FormatName = Literal[
    "auto",
    "json",
    "ndjson",
    "json_array",
    "elastic_bulk",
    "elastic_doc",
    "elastic_create",
    "splunk_hec",
    "datadog",
    "new_relic",
    "loki",
    "otlp_logs",
    "cribl",
    "axiom",
    "better_stack",
    "honeycomb",
    "sentinel",
]
"""The formats of aegis_stream.formats.REGISTRY, written out so that the API's document names them."""


class FilterBody(Strict):
    """Which events a destination wants; an empty list means all."""

    datasets: list[str] = msgspec.field(default_factory=list)
    decisions: list[Decision] = msgspec.field(default_factory=list)


class BatchBody(Strict):
    """How many events share a request, for formats that batch; omitted fields have their defaults."""

    max_events: int = BatchPolicy().max_events
    max_bytes: int = BatchPolicy().max_bytes
    max_wait_ms: int = BatchPolicy().max_wait_ms


class RetryBody(Strict):
    """When failed attempts are retried; omitted fields have the service's defaults."""

    max_attempts: int | UnsetType = UNSET
    base_seconds: float | UnsetType = UNSET
    multiplier: float | UnsetType = UNSET
    max_seconds: float | UnsetType = UNSET


class OAuth2Write(Strict):
    """The OAuth2 client that fetches tokens. An omitted client_secret keeps the stored one, unless a host changes."""

    token_url: str
    client_id: str
    client_secret: str | UnsetType = UNSET
    scope: str = ""


class DestinationWrite(Strict):
    """A new destination; only `url` is required."""

    url: str
    auth_header_name: str | None = None
    auth_header_value: str | None = None
    name: str = ""
    enabled: bool = True
    format: FormatName = "auto"
    filter: FilterBody | None = None
    batch: BatchBody | None = None
    retry: RetryBody | None = None
    ca_certificate: str | None = None
    compression: Compression = "none"
    headers: dict[str, str] | None = None
    oauth2: OAuth2Write | None = None


class DestinationPatchWrite(Strict):
    """Changes of a destination; omitted fields stay. For another host send auth header, headers and oauth2 again."""

    url: str | UnsetType = UNSET
    auth_header_name: str | None | UnsetType = UNSET
    auth_header_value: str | None | UnsetType = UNSET
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    format: FormatName | UnsetType = UNSET
    filter: FilterBody | None | UnsetType = UNSET
    batch: BatchBody | None | UnsetType = UNSET
    retry: RetryBody | None | UnsetType = UNSET
    ca_certificate: str | None | UnsetType = UNSET
    compression: Compression | UnsetType = UNSET
    headers: dict[str, str] | None | UnsetType = UNSET
    oauth2: OAuth2Write | None | UnsetType = UNSET


class LastErrorBody(msgspec.Struct):
    """The latest failure of a destination."""

    at: str
    status_code: int | None
    message: str
    event_id: str | None


class StatsBody(msgspec.Struct):
    """Counts since the destination was created; latencies of recent attempts in milliseconds."""

    delivered: int
    failed_attempts: int
    retrying: int
    dead_letters: int
    backlog: int
    p50_ms: float | None
    p99_ms: float | None


class OAuth2Body(msgspec.Struct):
    """The OAuth2 client as it is read: never its secret."""

    token_url: str
    client_id: str
    scope: str


class DestinationBody(msgspec.Struct):
    """A destination as it is read: never its credential or the value of any header."""

    id: str
    org_id: str
    url: str
    auth_header_name: str | None
    auth_header_set: bool
    name: str
    enabled: bool
    format: str
    format_reason: str
    filter: FilterBody
    batch: BatchBody
    batch_bytes_learned: int | None
    retry: dict[str, float]
    ca_certificate: str | None
    compression: Compression
    header_names: list[str]
    oauth2: OAuth2Body | None
    status: Literal["active", "failing", "paused"]
    last_error: LastErrorBody | None
    last_success_at: str | None
    created_at: str
    updated_at: str
    stats: StatsBody


class DestinationList(msgspec.Struct):
    """A page of destinations."""

    data: list[DestinationBody]
    next_cursor: str | None


def destination_body(state: DestinationState, dead_letters_max: int) -> DestinationBody:
    """Show a destination: its URL masked where it is the credential, its secret never.

    Args:
        dead_letters_max: with so many failed events it is failing, and the error says what becomes of further ones.
    """
    destination, progress = state
    spec, health = destination.spec, progress.health
    retry = spec.retry
    failing = health.failures_in_row > 0
    last_error = None
    if health.last_error_at is not None and health.last_error_message is not None:
        at = to_text(health.last_error_at)
        last_error = LastErrorBody(
            at, health.last_error_status, health.last_error_message, progress.last_error_event_id
        )
    if progress.dead_letters + progress.retrying >= dead_letters_max:
        at = to_text(health.last_error_at or destination.updated_at)
        message = _full_message(progress.dead_letters, health.last_error_message)
        failing = True
        last_error = LastErrorBody(at, health.last_error_status, message, progress.last_error_event_id)
    if destination.damaged:
        failing, last_error = True, LastErrorBody(to_text(destination.updated_at), None, DAMAGED, None)
    return DestinationBody(
        id=destination.dst_id,
        org_id=destination.org_id,
        url=_shown_url(destination),
        auth_header_name=spec.auth_header_name,
        auth_header_set=spec.auth_header_value is not None,
        name=spec.name,
        enabled=spec.enabled,
        format=resolve(spec.format, spec.url).name,
        format_reason=choose(spec.url).reason if spec.format == AUTO else "set explicitly",
        filter=FilterBody(list(spec.filter.datasets), list(spec.filter.decisions)),  # type: ignore[arg-type] # checked on writing
        batch=BatchBody(spec.batch.max_events, spec.batch.max_bytes, spec.batch.max_wait_ms),
        batch_bytes_learned=health.batch_bytes_max,
        retry={name: getattr(retry, name) for name in RetryBody.__struct_fields__},
        ca_certificate=spec.ca_certificate,
        compression=spec.compression,
        header_names=spec.header_names,
        oauth2=OAuth2Body(spec.oauth2.token_url, spec.oauth2.client_id, spec.oauth2.scope)
        if spec.oauth2 is not None
        else None,
        status="paused" if not spec.enabled else "failing" if failing else "active",
        last_error=last_error,
        last_success_at=to_text(health.last_success_at) if health.last_success_at is not None else None,
        created_at=to_text(destination.created_at),
        updated_at=to_text(destination.updated_at),
        stats=StatsBody(
            delivered=progress.delivered,
            failed_attempts=progress.failed_attempts,
            retrying=progress.retrying,
            dead_letters=progress.dead_letters,
            backlog=max(0, progress.head - progress.cursor),
            p50_ms=health.p50_ms,
            p99_ms=health.p99_ms,
        ),
    )


def _full_message(dead_letters: int, reason: str | None) -> str:
    message = (
        f"{dead_letters} dead letters are as many as this service keeps (AEGIS_DEAD_LETTERS_MAX): further events that the "
        "destination rejects stay in the log only; redrive or purge dead letters"
    )
    return f"{message}; the newest error: {reason}" if reason else message


def _shown_url(destination: Destination) -> str:
    if destination.damaged:
        return MASK
    spec = destination.spec
    has_credential = spec.auth_header_value is not None or spec.oauth2 is not None
    return spec.url if has_credential else mask_url(spec.url)
