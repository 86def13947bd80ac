"""JSON shapes ↔ domain: what is written and read over REST. Unknown fields are refused everywhere."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import (
    MASK,
    BatchPolicy,
    Compression,
    Destination,
    DestinationSpec,
    Filter,
    Headers,
    Progress,
    mask_url,
)
from aegis_stream.domain.event import Preflight
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.times import to_text
from aegis_stream.formats import AUTO, choose, resolve
from aegis_stream.settings import Settings

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
Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]
Moment = Annotated[datetime, Meta(tz=True)]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A request body in which a field that we do not know is an error."""


class FilterBody(Strict):
    """Which events a destination wants; an empty list means all."""

    datasets: list[str] = []
    decisions: list[Decision] = []


class BatchBody(Strict):
    """How many events travel together, for formats that batch; what is left out has its default."""

    max_events: int = BatchPolicy().max_events
    max_bytes: int = BatchPolicy().max_bytes
    max_wait_ms: int = BatchPolicy().max_wait_ms


class RetryBody(Strict):
    """When failed attempts are repeated; what is left out has the service's default."""

    max_attempts: int | UnsetType = UNSET
    base_seconds: float | UnsetType = UNSET
    multiplier: float | UnsetType = UNSET
    max_seconds: float | UnsetType = UNSET


class OAuth2Write(Strict):
    """Where tokens come from; a secret that is left out stays, where there is one and neither host changes."""

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


class DestinationPatch(Strict):
    """Changes of a destination; what is left out stays. Another host needs auth header, headers and oauth2 anew."""

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
    """The newest failure of a destination."""

    at: str
    status_code: int | None
    message: str
    event_id: str | None


class StatsBody(msgspec.Struct):
    """Counts since the destination was made; latencies of recent attempts in milliseconds."""

    delivered: int
    failed_attempts: int
    retrying: int
    dead_letters: int
    backlog: int
    p50_ms: float | None
    p99_ms: float | None


class OAuth2Body(msgspec.Struct):
    """Where tokens come from, as it is read: never the secret."""

    token_url: str
    client_id: str
    scope: str


class DestinationBody(msgspec.Struct):
    """A destination as it is read: never its credential, nor the value of any header."""

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


class TestBody(msgspec.Struct, omit_defaults=True):
    """What became of a test event."""

    ok: bool
    status_code: int | None
    latency_ms: float
    error: str | UnsetType = UNSET
    response_excerpt: str | UnsetType = UNSET


class ReplayWrite(Strict):
    """A range by time (`from`, `to`) or by sequence (`from_sequence`, `to_sequence`); without an end it goes up to now."""

    from_: Moment | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Moment | None | UnsetType = UNSET
    from_sequence: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    to_sequence: Annotated[int, Meta(ge=1)] | None | UnsetType = UNSET


class ReplayAccepted(msgspec.Struct):
    """How many events of the log the replay covers, and the id by which it can be followed and cancelled."""

    events: int
    replay_id: str | None


class ReplayBody(msgspec.Struct):
    """A replay and how far it has come."""

    id: str
    from_sequence: int
    to_sequence: int
    done_through: int
    state: Literal["running", "done", "cancelled"]
    created_at: str
    finished_at: str | None


class ReplayList(msgspec.Struct):
    """Replays of a destination, newest first."""

    data: list[ReplayBody]
    next_cursor: str | None


class DeliveryBody(msgspec.Struct):
    """One attempt to deliver one event."""

    id: str
    event_id: str | None
    sequence: int
    attempt: int
    state: Literal["delivered", "failed"]
    status_code: int | None
    error: str | None
    latency_ms: float
    at: str


class DeliveryList(msgspec.Struct):
    """Attempts, newest first."""

    data: list[DeliveryBody]
    next_cursor: str | None


class DeadLetterBody(msgspec.Struct):
    """An event that used up its attempts."""

    event_id: str
    sequence: int
    attempts: int
    last_status_code: int | None
    last_error: str
    about: Literal["destination", "event"]
    dead_at: str


class DeadLetterList(msgspec.Struct):
    """Dead letters in log order."""

    data: list[DeadLetterBody]
    next_cursor: str | None


class RedriveWrite(Strict):
    """Which dead letters to send again; all when `event_ids` is left out."""

    event_ids: Annotated[list[str], Meta(max_length=10_000)] | UnsetType = UNSET


class Redriven(msgspec.Struct):
    """How many dead letters became pending again."""

    redriven: int


class Purged(msgspec.Struct):
    """How many dead letters were thrown away."""

    purged: int


class EventBody(msgspec.Struct):
    """An event as stored, with its place in the log beside it."""

    sequence: int
    received_at: str
    event: msgspec.Raw


class EventList(msgspec.Struct):
    """Events in log order."""

    data: list[EventBody]
    next_cursor: str | None


class EventDelivery(msgspec.Struct):
    """What became of an event at one destination."""

    destination_id: str
    state: Literal["pending", "retrying", "delivered", "dead_letter", "filtered"]
    attempts: int
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: str | None


class EventDetail(msgspec.Struct):
    """An event and what became of it at every destination."""

    sequence: int
    received_at: str
    event: msgspec.Raw
    deliveries: list[EventDelivery]


class PreflightWrite(Preflight, forbid_unknown_fields=True):
    """A preflight decision, flat; the service makes the event around it. Counts of findings, never their values."""

    timestamp: Moment | UnsetType = UNSET


class PreflightRecorded(msgspec.Struct):
    """Where the decision is in the log."""

    event_id: str
    sequence: int


class OrganizationWrite(Strict):
    """A new organization."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    id: str | UnsetType = UNSET


class OrganizationBody(msgspec.Struct):
    """An organization."""

    org_id: str
    name: str
    head_sequence: int
    created_at: str


class OrganizationMade(msgspec.Struct):
    """A new organization with its first admin key, which is shown this once."""

    org_id: str
    name: str
    api_key: str
    key_id: str
    created_at: str


class KeyWrite(Strict):
    """A new API key."""

    name: Annotated[str, Meta(max_length=200)] = ""
    scope: Literal["admin", "ingest", "read"] = "ingest"
    expires_at: Moment | None = None


class KeyBody(msgspec.Struct):
    """A key as it is listed: never its text."""

    id: str
    name: str
    scope: str
    hint: str
    created_at: str
    expires_at: str | None


class KeyMade(msgspec.Struct):
    """A new key with its text, which is shown this once."""

    id: str
    name: str
    scope: str
    api_key: str
    created_at: str
    expires_at: str | None


class KeyList(msgspec.Struct):
    """Keys of an organization."""

    data: list[KeyBody]
    next_cursor: str | None


class RotateWrite(Strict):
    """How long the old key goes on opening, seconds."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = 0


def spec_of(body: DestinationWrite, settings: Settings) -> DestinationSpec:
    """Turn what a user wrote into a spec with defaults in place; nothing is judged yet."""
    return DestinationSpec(
        url=body.url,
        auth_header_name=body.auth_header_name,
        auth_header_value=body.auth_header_value,
        name=body.name,
        enabled=body.enabled,
        format=body.format,
        filter=filter_of(body.filter),
        batch=batch_of(body.batch),
        retry=retry_of(body.retry, settings.retry.policy),
        ca_certificate=body.ca_certificate,
        compression=body.compression,
        headers=headers_of(body.headers),
        oauth2=oauth2_of(body.oauth2),
    )


def filter_of(body: FilterBody | None) -> Filter:
    """Return the filter; without one everything passes."""
    return Filter() if body is None else Filter(tuple(body.datasets), tuple(body.decisions))


def headers_of(body: dict[str, str] | None) -> Headers:
    """Return the further headers, in the order in which they were written."""
    return tuple((body or {}).items())


def oauth2_of(body: OAuth2Write | None, kept_secret: str = "") -> OAuth2 | None:
    """Return where tokens come from.

    Args:
        kept_secret: for where none is given; "" for none.
    """
    if body is None:
        return None
    secret = body.client_secret if body.client_secret is not UNSET else kept_secret
    return OAuth2(body.token_url, body.client_id, secret, body.scope)


def batch_of(body: BatchBody | None) -> BatchPolicy:
    """Return the batch policy, with defaults for what is left out."""
    return BatchPolicy() if body is None else BatchPolicy(body.max_events, body.max_bytes, body.max_wait_ms)


def retry_of(body: RetryBody | None, default: RetryPolicy) -> RetryPolicy:
    """Return the retry policy, with the service's defaults for what is left out."""
    if body is None:
        return default
    given = {
        name: value for name in RetryBody.__struct_fields__ if (value := getattr(body, name)) is not UNSET
    }
    values: dict[str, Any] = {name: getattr(default, name) for name in RetryPolicy.__slots__} | given
    if "max_seconds" not in given:
        values["max_seconds"] = max(values["max_seconds"], values["base_seconds"])
    return RetryPolicy(**values)


DAMAGED = (
    "the stored URL and credential do not open: restore the master key or the row, or change this destination with a url "
    "(and auth_header_value or oauth2) given anew; its backlog is kept"
)
"""What a person is told of a destination whose secrets do not open."""


def _shown_url(destination: Destination) -> str:
    if destination.damaged:
        return MASK
    spec = destination.spec
    has_credential = spec.auth_header_value is not None or spec.oauth2 is not None
    return spec.url if has_credential else mask_url(spec.url)


def destination_body(destination: Destination, progress: Progress) -> DestinationBody:
    """Show a destination: its URL masked where it is the credential, its secret never."""
    spec, health = destination.spec, progress.health
    retry = spec.retry
    failing = health.failures_in_row > 0
    last_error = None
    if health.last_error_at is not None and health.last_error_message is not None:
        at = to_text(health.last_error_at)
        last_error = LastErrorBody(
            at, health.last_error_status, health.last_error_message, progress.last_error_event_id
        )
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
        format_reason=choose(spec.url).reason if spec.format == AUTO else "it was asked for",
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


def time_text(at: Micros | None) -> str | None:
    """Show a time, or null."""
    return to_text(at) if at is not None else None
