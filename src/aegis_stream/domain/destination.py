"""Destinations: what a user configures, how it is checked, how it is shown.

`domain/url.py` parses the URL and `netguard.py` checks its host; everything else about a destination is here.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from aegis_stream.errors import FieldProblem

from .attempt import RetryPolicy
from .certificate import certificate_fault
from .ids import DestinationId, DestinationNo, Micros, OrganizationId, OrganizationNo
from .names import NAME_ALLOWED, is_name
from .oauth2 import OAuth2
from .visible import visible_fault

HEADER_VALUE_CHARACTERS_MAX = 8192
HEADERS_MAX = 10
"""Most additional headers of a destination; known destinations need one or two."""
MASK = "****"
HALTED = "a bug in Aegis Audit Stream stops the delivery"
"""Beginning of the last error of a destination that a bug has halted."""

Compression = Literal["none", "gzip", "zstd"]
"""How request bodies are compressed: "none", or the value of Content-Encoding."""
Headers = tuple[tuple[str, str], ...]
"""(name, value) pairs, in the order in which they are sent."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")  # RFC 9110 section 5.6.2
_NO_NAME = "must be a header name: letters, digits and -, such as Authorization"
_FRAMING_HEADERS = frozenset(
    {
        *(
            "host",
            "content-length",
            "content-type",
            "content-encoding",
            "transfer-encoding",
            "connection",
            "keep-alive",
        ),
        *(
            "te",
            "trailer",
            "upgrade",
            "expect",
            "proxy-authorization",
            "proxy-connection",
            "user-agent",
            "accept-encoding",
        ),
        *("x-aegis-signature", "date", "via", "forwarded"),
    }
)
"""Headers that frame the request or identify the service; users cannot set them."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a destination gets; an empty tuple means all."""

    datasets: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    def wants(self, dataset: str, decision: str | None) -> bool:
        """Tell whether an event with this dataset and decision is delivered."""
        return (not self.datasets or dataset in self.datasets) and (
            not self.decisions or decision in self.decisions
        )

    @property
    def wants_all(self) -> bool:
        """True if no event is filtered out."""
        return not self.datasets and not self.decisions


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How many events a request has, for formats that batch.

    Args:
        max_events: 1–10,000.
        max_bytes: bytes of request body before compression, 1,000–10,000,000.
        max_wait_ms: longest wait of an event for others to fill the batch, 0–60,000.
    """

    max_events: int = 500
    max_bytes: int = 1_000_000
    max_wait_ms: int = 200


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """What the user configured, checked and with defaults.

    Args:
        format: as configured; `formats` resolves "auto".
        compression: `formats` knows which ones a format supports.
        headers: headers in addition to the auth header; their values are secret, too.
        oauth2: where the tokens of the auth header come from; None if it has no tokens.
    """

    url: str = field(repr=False)
    auth_header_name: str | None = None
    auth_header_value: str | None = field(default=None, repr=False)
    name: str = ""
    enabled: bool = True
    format: str = "auto"
    filter: Filter = Filter()
    batch: BatchPolicy = BatchPolicy()
    retry: RetryPolicy = RetryPolicy()
    ca_certificate: str | None = None
    compression: Compression = "none"
    headers: Headers = field(default=(), repr=False)
    oauth2: OAuth2 | None = None

    @property
    def header_names(self) -> list[str]:
        """Names of the additional headers; unlike the values they may be shown."""
        return [name for name, _ in self.headers]


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as stored.

    Args:
        damaged: its secrets cannot be decrypted; they are empty in `spec`.
    """

    no: DestinationNo
    dst_id: DestinationId
    organization_no: OrganizationNo
    org_id: OrganizationId
    spec: DestinationSpec
    revision: int
    created_at: Micros
    updated_at: Micros
    damaged: bool = False

    def with_spec(self, spec: DestinationSpec, updated_at: Micros) -> "Destination":
        """Return the same destination with another configuration."""
        return replace(self, spec=spec, updated_at=updated_at)


@dataclass(frozen=True, slots=True)
class Health:
    """Health of a destination: written by its worker at every settlement, shown to people.

    Args:
        failures_in_row: failures about the destination since its last success.
        window_size: the adaptive window at the last settlement, 0 for none yet.
        p50_ms: median latency of recent attempts, milliseconds; None before the first.
        p99_ms: 99th percentile likewise.
        last_error_sequence: sequence of the event with the newest failure.
        batch_bytes_max: most bytes of events in a request, learned from the destination's 413s; None if unknown.
    """

    failures_in_row: int = 0
    window_size: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    last_success_at: Micros | None = None
    last_error_at: Micros | None = None
    last_error_status: int | None = None
    last_error_message: str | None = None
    last_error_sequence: int | None = None
    batch_bytes_max: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a destination, in the counts that people see."""

    start_sequence: int
    cursor: int
    head: int
    delivered: int
    failed_attempts: int
    retrying: int
    dead_letters: int
    health: Health
    last_error_event_id: str | None = None


def auth_header_problems(name: str | None, value: str | None) -> list[FieldProblem]:
    """Check the auth header: name and value both or neither, an allowed name, a value of visible ASCII.

    Source: RFC 9110 sections 5.1 and 5.5. No message repeats the value.
    """
    problems = []
    if (name is None) != (value is None):
        missing = "auth_header_name" if name is None else "auth_header_value"
        problems.append(FieldProblem(missing, "set both auth_header_name and auth_header_value, or neither"))
    if name is not None and (fault := _name_fault(name)) is not None:
        problems.append(FieldProblem("auth_header_name", fault))
    if value is not None and (fault := visible_fault(value, HEADER_VALUE_CHARACTERS_MAX)) is not None:
        problems.append(FieldProblem("auth_header_value", fault))
    return problems


def header_problems(headers: Headers, auth_header_name: str | None) -> list[FieldProblem]:
    """Check the additional headers: each like the auth header, none of them twice, none equal to the auth header.

    No message repeats a value, nor an invalid name: it may be a value in the wrong place.
    """
    if len(headers) > HEADERS_MAX:
        return [
            FieldProblem("headers", f"has {len(headers)} headers; the limit is {HEADERS_MAX}: remove some")
        ]
    problems = []
    taken = (
        {auth_header_name.lower(): "is already the auth header: remove it from headers"}
        if auth_header_name is not None
        else {}
    )
    for number, (name, value) in enumerate(headers, 1):
        if not _TOKEN.fullmatch(name):
            problems.append(FieldProblem("headers", f"name number {number} {_NO_NAME}"))
            continue
        faults = (
            _name_fault(name),
            taken.get(name.lower()),
            _value_fault(value),
        )
        problems += [FieldProblem(f"headers.{name}", fault) for fault in faults if fault is not None]
        taken[name.lower()] = "appears twice (header names ignore case): send it once"
    return problems


def _value_fault(value: str) -> str | None:
    if not value:
        return "is required: a stored value is not kept when the host of url, or ca_certificate, changes"
    return visible_fault(value, HEADER_VALUE_CHARACTERS_MAX)


def _name_fault(name: str) -> str | None:
    if not _TOKEN.fullmatch(name):
        return _NO_NAME
    if name.lower() in _FRAMING_HEADERS:
        return f"{name} is set by the service: use another header"
    return None


def policy_problems(spec: DestinationSpec) -> list[FieldProblem]:
    """Check name, compression, batch, retry, filter and the size of the CA certificate against their ranges."""
    batch, retry = spec.batch, spec.retry
    checks = (
        (
            "name",
            is_name(spec.name),
            NAME_ALLOWED,
        ),
        ("compression", spec.compression in get_args(Compression), "none, gzip or zstd"),
        ("batch.max_events", 1 <= batch.max_events <= 10_000, "1 to 10000"),
        ("batch.max_bytes", 1_000 <= batch.max_bytes <= 10_000_000, "1000 to 10000000 bytes"),
        ("batch.max_wait_ms", 0 <= batch.max_wait_ms <= 60_000, "0 to 60000 milliseconds"),
        ("retry.max_attempts", 1 <= retry.max_attempts <= 20, "1 to 20"),
        ("retry.base_seconds", 0.001 <= retry.base_seconds <= 86_400, "0.001 to 86400 seconds"),
        ("retry.multiplier", 1 <= retry.multiplier <= 10, "1 to 10"),
        (
            "retry.max_seconds",
            retry.base_seconds <= retry.max_seconds <= 604_800,
            "from base_seconds to 604800 seconds",
        ),
        (
            "filter.datasets",
            len(spec.filter.datasets) <= 100 and all(0 < len(one) <= 256 for one in spec.filter.datasets),
            "at most 100 names of 1 to 256 characters",
        ),
        (
            "filter.decisions",
            set(spec.filter.decisions) <= {"ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"},
            "ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
        ),
    )
    problems = [FieldProblem(name, f"must be {allowed}") for name, holds, allowed in checks if not holds]
    if spec.ca_certificate is not None and (fault := certificate_fault(spec.ca_certificate)) is not None:
        problems.append(FieldProblem("ca_certificate", fault))
    return problems


def mask_url(url: str) -> str:
    """Hide the part of a URL that may be a credential: everything after the host except the first path segment and the last four
    characters.

    Of a short rest all is hidden, because the last four characters would be most of the secret.
    """
    scheme, mark, rest = url.partition("://")
    place = min((found for found in (rest.find("/"), rest.find("?")) if found >= 0), default=len(rest))
    host, tail = rest[:place], rest[place:]
    first = re.match(r"/[^/?]*", tail)
    shown = first[0] if first else ""
    hidden = tail[len(shown) :]
    if not hidden:
        return f"{scheme}{mark}{host}{shown}"
    return f"{scheme}{mark}{host}{shown}{hidden[0]}{MASK}{hidden[-4:] if len(hidden) > 9 else ''}"
