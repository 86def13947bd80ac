"""Destinations: what a user configures, how it is checked, how it is shown.

The URL is parsed by `domain/url.py` and judged by `netguard.py`; here is everything else about a destination.
"""

import re
from dataclasses import dataclass, field, replace

from aegis_stream.errors import FieldProblem

from .attempt import RetryPolicy
from .ids import DestinationId, DestinationNo, Micros, OrganizationId, OrganizationNo

NAME_CHARACTERS_MAX = 200
HEADER_VALUE_CHARACTERS_MAX = 8192
MASK = "****"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")  # RFC 9110 section 5.6.2
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
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
"""Headers that frame the request or speak for the service; a user's auth header must not be one of them."""


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
    compression: str = "none"


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as it is stored, with its place in the store."""

    no: DestinationNo
    dst_id: DestinationId
    organization_no: OrganizationNo
    org_id: OrganizationId
    spec: DestinationSpec
    revision: int
    created_at: Micros
    updated_at: Micros

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
        problems.append(FieldProblem(missing, "give auth_header_name and auth_header_value both, or neither"))
    if name is not None:
        if not _TOKEN.fullmatch(name):
            problems.append(
                FieldProblem(
                    "auth_header_name", "must be a header name: letters, digits and -, such as Authorization"
                )
            )
        elif name.lower() in _FRAMING_HEADERS:
            problems.append(
                FieldProblem("auth_header_name", f"{name} is set by the service itself; use another header")
            )
    if value is not None and not (_VISIBLE.fullmatch(value) and len(value) <= HEADER_VALUE_CHARACTERS_MAX):
        limit = f"must be 1 to {HEADER_VALUE_CHARACTERS_MAX} visible ASCII characters without line breaks"
        problems.append(
            FieldProblem("auth_header_value", limit + "; check for a pasted newline or quote mark")
        )
    return problems


def policy_problems(spec: DestinationSpec) -> list[FieldProblem]:
    """Check names, batch and retry settings against their ranges."""
    batch, retry = spec.batch, spec.retry
    checks = (
        (
            "name",
            len(spec.name) <= NAME_CHARACTERS_MAX and (spec.name == "" or spec.name.isprintable()),
            "at most 200 printable characters",
        ),
        ("compression", spec.compression == "none", 'only "none" so far'),
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
    scheme, _, rest = url.partition("://")
    place = min((found for found in (rest.find("/"), rest.find("?")) if found >= 0), default=len(rest))
    host, tail = rest[:place], rest[place:]
    first = re.match(r"/[^/?]*", tail)
    shown = first[0] if first else ""
    hidden = tail[len(shown) :]
    if not hidden:
        return f"{scheme}://{host}{shown}"
    return f"{scheme}://{host}{shown}{hidden[0]}{MASK}{hidden[-4:] if len(hidden) > 9 else ''}"
