"""Destinations: what a user configures, how it is checked, how it is shown.

The URL is parsed by `domain/url.py` and judged by `netguard.py`; here is everything else about a destination.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from aegis_stream.errors import FieldProblem

from .attempt import RetryPolicy
from .ids import DestinationId, DestinationNo, Micros, OrganizationId, OrganizationNo
from .oauth2 import OAuth2
from .visible import visible_fault

NAME_CHARACTERS_MAX = 200
HEADER_VALUE_CHARACTERS_MAX = 8192
HEADERS_MAX = 10
"""Further headers of a destination: those that are known want one or two."""
MASK = "****"
HALTED = "a bug in Aegis Audit Stream stops the delivery"
"""How the last error of a destination begins that a bug has halted."""

Compression = Literal["none", "gzip", "zstd"]
"""How request bodies are compressed: "none", or what stands in Content-Encoding."""
Headers = tuple[tuple[str, str], ...]
"""Names and values, in the order in which they are sent."""

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
"""Headers that frame the request or speak for the service; a user's header must not be one of them."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a destination wants; an empty tuple means all."""

    datasets: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    def wants(self, dataset: str, decision: str | None) -> bool:
        """Tell whether an event with these labels is to be delivered."""
        return (not self.datasets or dataset in self.datasets) and (
            not self.decisions or decision in self.decisions
        )

    @property
    def wants_all(self) -> bool:
        """True when nothing is filtered out."""
        return not self.datasets and not self.decisions


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How many events travel together, for formats that batch.

    Args:
        max_events: 1–10,000.
        max_bytes: bytes of request body before compression, 1,000–10,000,000.
        max_wait_ms: longest a lone event waits for company, 0–60,000.
    """

    max_events: int = 500
    max_bytes: int = 1_000_000
    max_wait_ms: int = 200


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """What the user wrote, checked and with defaults in place.

    Args:
        format: as asked for; "auto" is resolved by `formats`.
        compression: which ones a format can have is known to `formats`.
        headers: further ones beside the auth header; their values are as secret as its value.
        oauth2: where the auth header's tokens come from; None where there are none.
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
        """Names of the further headers, which may be shown."""
        return [name for name, _ in self.headers]


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as it is stored, with its place in the store.

    Args:
        damaged: its secrets do not open; they are empty in `spec`.
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
        """Return the same destination configured otherwise."""
        return replace(self, spec=spec, updated_at=updated_at)


@dataclass(frozen=True, slots=True)
class Health:
    """How a destination fares: written by its worker at every settlement, shown to people.

    Args:
        failures_in_row: failures about the destination since its last success.
        window_size: the adaptive window at the last settlement, 0 for none yet.
        p50_ms: median latency of recent attempts, milliseconds; None before the first.
        p99_ms: 99th percentile likewise.
        last_error_sequence: the event that met the newest failure.
        batch_bytes_max: bytes of events in a request that the destination takes at most, as its 413s tell; None for not known.
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
    """How far a destination has come, in counts that people see."""

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
    """Check the auth header: both or neither, a token that frames nothing, visible ASCII.

    Source: RFC 9110 sections 5.1 and 5.5. The value is never repeated in a message.
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
    """Check the further headers: each as the auth header is, none of them twice or the auth header once more.

    A value is never repeated in a message, nor what is no name: it may be a value in the wrong place.
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
            visible_fault(value, HEADER_VALUE_CHARACTERS_MAX),
        )
        problems += [FieldProblem(f"headers.{name}", fault) for fault in faults if fault is not None]
        taken[name.lower()] = "appears twice (header names ignore case): send it once"
    return problems


def _name_fault(name: str) -> str | None:
    if not _TOKEN.fullmatch(name):
        return _NO_NAME
    if name.lower() in _FRAMING_HEADERS:
        return f"{name} is set by the service: use another header"
    return None


def policy_problems(spec: DestinationSpec) -> list[FieldProblem]:
    """Check names, batch and retry settings against their ranges."""
    batch, retry = spec.batch, spec.retry
    checks = (
        (
            "name",
            len(spec.name) <= NAME_CHARACTERS_MAX and (spec.name == "" or spec.name.isprintable()),
            "at most 200 printable characters",
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
            "at most 100 names",
        ),
        (
            "filter.decisions",
            set(spec.filter.decisions) <= {"ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"},
            "ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
        ),
    )
    return [FieldProblem(name, f"must be {allowed}") for name, holds, allowed in checks if not holds]


def mask_url(url: str) -> str:
    """Hide the part of a URL that is a credential: all after the host but the first path segment and the last four characters.

    Short tails are hidden whole, or the last four characters would be most of the secret.
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
