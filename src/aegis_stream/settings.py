"""Settings: one frozen tree; unit, default and reason beside each field.

`cli` reads them once; nothing below reads the environment. Order of precedence: environment variables (AEGIS_…), then the
TOML file, then the defaults here. docs/reference/configuration.md is checked against this file.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from .domain.attempt import RetryPolicy
from .errors import Invalid, Misconfigured
from .netguard import Network, parse_networks

PREFIX = "AEGIS_"
SECRET_FIELDS = frozenset({"master_key", "operator_key", "database_url"})
NOT_SETTINGS = frozenset(
    {
        *("AEGIS_CONFIG", "AEGIS_URL", "AEGIS_API_KEY", "AEGIS_ORG", "AEGIS_AUTH_HEADER_VALUE"),
        *("AEGIS_HEADERS", "AEGIS_OAUTH2_CLIENT_SECRET"),
        *("AEGIS_DEMO_EVENTS", "AEGIS_RECEIVER_BEARER", "AEGIS_RECEIVER_HMAC"),
    }
)
"""Variables with our prefix that belong to the command line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decides. Every field is the variable AEGIS_<NAME> and the same key in lower case in the TOML file."""

    data_dir: Path = Path("aegis-data")
    """Directory of the SQLite file and the generated keys. Relative, so that a first try leaves nothing elsewhere."""
    database_url: str | None = None
    """sqlite:///path; None for the file aegis.db in data_dir."""
    master_key: str | None = field(default=None, repr=False)
    """32 bytes, base64, that seal the credentials; None for master_key_file."""
    master_key_file: Path | None = None
    """File with the master key; None for the generated master.key in data_dir."""
    operator_key: str | None = field(default=None, repr=False)
    """Key that makes organizations; None for one generated at the first start and shown once."""
    allow_http: bool = False
    """Take plain http destinations. Off: events and credentials would cross networks in plain text."""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that destinations may lie in although they are not public. Empty: strangers choose the URLs."""
    ca_bundle: Path | None = None
    """PEM file of the authorities to trust; None for the system's."""
    request_timeout_seconds: float = 10.0
    """A whole attempt, from connect to the end of the answer, 0.1–60 seconds: part of the contract with destinations."""
    retry_max_attempts: int = 3
    """Attempts before the dead letter, 1–20."""
    retry_base_seconds: float = 60.0
    """Delay before the second attempt, 0.001–86,400 seconds: long enough for a restart of the receiver."""
    retry_multiplier: float = 2.0
    """Growth of the delay from attempt to attempt, 1–10."""
    retry_max_seconds: float = 3600.0
    """Longest delay, up to 604,800 seconds."""
    retry_jitter: float = 0.1
    """Share of the delay that chance moves it by, 0–1, so that destinations do not retry in step."""
    window_max: int = 64
    """Most requests in flight to one destination, 1–1024: enough for 30,000 a second at 2 ms."""
    retention_days: float = 30.0
    """Events older than this go, unless a destination still needs them, 0.01–36,500 days."""
    auto_redrive: bool = True
    """Redrive dead letters by themselves when a destination is healthy again."""
    dead_letters_max: int = 100_000
    """Failed events of one destination, dead letters and retries, at which the others wait in the log, where they are safe."""
    log_format: str = "auto"
    """console, json, or auto: console on a terminal, else json."""
    log_level: str = "info"
    """debug, info, warning or error."""
    lease_seconds: float = 30.0
    """How long a silent worker keeps its destinations, seconds; must outlast request_timeout_seconds by 5."""
    settle_interval_ms: float = 25.0
    """Shortest time between two settlements of a worker, milliseconds: what a crash repeats, against syncs a second."""
    metrics_port: int = 0
    """Port for /metrics alone; 0 for the API's own port."""
    destinations_max: int = 1000
    """Destinations of one organization at most."""
    audit_actions: bool = True
    """Record what is done to destinations and keys in the organization's own log, so that it reaches its destinations."""
    privacy_check: bool = True
    """Refuse preflight events with a card number, a key and the like in their summary: counts of findings, never values."""
    ingest_queue_bytes_max: int = 128 * 1024 * 1024
    """Event bytes waiting for their commit at most; beyond it ingest answers 503."""

    # How large: what one request may cost.
    request_bytes_max: int = 10 * 1024 * 1024
    """Largest ingest body, bytes, before and after decompression: 10,000 ordinary events."""
    request_events_max: int = 10_000
    """Most events in one request: one transaction, a tenth of a second of one core."""
    event_bytes_max: int = 256 * 1024
    """Largest event, bytes of JSON: what most destinations take."""
    json_depth_max: int = 32
    """Deepest nesting of objects and arrays in an event, the event itself being 1: parsers elsewhere are recursive."""
    number_digits_max: int = 400
    """Most characters of a number in an event: the largest double has 309 digits, and reading long ones takes time squared."""
    decompression_ratio_max: int = 200
    """Bytes that a compressed byte may become, beyond the first MiB: repetitive events reach 100, bombs 1,000 and more."""
    call_bytes_max: int = 1_000_000
    """Largest body of any call but ingest, bytes: 10,000 event ids in one redrive."""

    # How often: what one key, one address, one organization may ask for.
    key_ingest_per_second: int = 50_000
    """Ingest requests of one key a second, twice that at once: several times what a machine takes, so it stops runaways only."""
    key_calls_per_second: int = 1_000
    """Other calls of one key a second, twice that at once."""
    failed_keys_per_minute: int = 300
    """Keys that open nothing, tried from one address a minute: guessing is hopeless, but it must not cost the others."""
    tests_per_minute: int = 60
    """Test events of one organization a minute: enough for a person, too few to look around a network with."""
    trusted_proxies: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Proxies whose X-Forwarded-For tells the client's address; only those on this machine, because anybody can send it."""

    # How many: what one organization may have.
    keys_max: int = 1000
    """API keys of one organization at most; at the limit, those that have expired make room."""
    replays_max: int = 8
    """Replays under way to one destination at most: they share a quarter of its window."""

    # What leaves: how much of it may go to one address, since strangers choose where it goes.
    address_connections_max: int = 2048
    """Connections of a worker to one IP address at most. An organization alone there gets half, of n each gets one part in n + 1."""
    address_requests_per_second: int = 0
    """Requests of a worker to one IP address a second at most, 0 for no limit: connections and windows bound them already."""

    # Connections: what one client may hold open.
    connections_max: int = 4096
    """Open connections at most; beyond it the one that has been idle for longest is closed. Below the usual limits of files."""
    header_bytes_max: int = 32 * 1024
    """Largest head of a request, bytes of request line and headers: proxies add a few KiB."""
    headers_max: int = 100
    """Most headers of a request."""
    header_timeout_seconds: float = 10.0
    """Longest time for a head to arrive, from connect or its first byte: a slow line needs a tenth of it."""
    body_timeout_seconds: float = 30.0
    """Longest time for a body to arrive, and for a client to take an answer: 10 MiB at 3 Mbit/s."""
    keep_alive_seconds: float = 75.0
    """How long an idle connection is kept, seconds: longer than the minute after which many clients send again."""

    @property
    def retry(self) -> RetryPolicy:
        """The retry policy of destinations that have none of their own."""
        return RetryPolicy(
            self.retry_max_attempts,
            self.retry_base_seconds,
            self.retry_multiplier,
            self.retry_max_seconds,
            self.retry_jitter,
        )

    def shown(self) -> dict[str, str]:
        """Return every setting as text with secrets masked."""
        return {one.name: _shown(one.name, getattr(self, one.name)) for one in fields(self)}


_RANGES: dict[str, tuple[float, float]] = {
    "request_timeout_seconds": (0.1, 60),
    "retry_max_attempts": (1, 20),
    "retry_base_seconds": (0.001, 86_400),
    "retry_multiplier": (1, 10),
    "retry_max_seconds": (0.001, 604_800),
    "retry_jitter": (0, 1),
    "window_max": (1, 1024),
    "retention_days": (0.01, 36_500),
    "lease_seconds": (0.5, 3600),
    "settle_interval_ms": (0, 1000),
    "metrics_port": (0, 65_535),
    "destinations_max": (1, 100_000),
    "ingest_queue_bytes_max": (1_048_576, 8_589_934_592),
    "dead_letters_max": (1, 100_000_000),
    "request_bytes_max": (1024, 1_073_741_824),
    "request_events_max": (1, 1_000_000),
    "event_bytes_max": (1024, 16_777_216),
    "json_depth_max": (4, 128),
    "number_digits_max": (20, 4300),
    "decompression_ratio_max": (10, 100_000),
    "call_bytes_max": (16_384, 16_777_216),
    "key_ingest_per_second": (1, 10_000_000),
    "key_calls_per_second": (1, 1_000_000),
    "failed_keys_per_minute": (1, 1_000_000),
    "tests_per_minute": (1, 10_000),
    "keys_max": (2, 10_000),
    "replays_max": (1, 16),
    "address_connections_max": (2, 1_000_000),
    "address_requests_per_second": (0, 1_000_000),
    "connections_max": (16, 1_000_000),
    "header_bytes_max": (4096, 1_048_576),
    "headers_max": (16, 1000),
    "header_timeout_seconds": (0.1, 300),
    "body_timeout_seconds": (0.1, 3600),
    "keep_alive_seconds": (1, 3600),
}
_CHOICES = {"log_format": ("auto", "console", "json"), "log_level": ("debug", "info", "warning", "error")}


def load_settings(environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Read the settings from environment and file.

    Args:
        config: TOML file; None for AEGIS_CONFIG, and no file where that is not set either.
    Raises: Misconfigured in one line that names the wrong or unknown value.
    """
    known = {one.name for one in fields(Settings)}
    values: dict[str, tuple[str, Any]] = {}
    path = config or (Path(environment["AEGIS_CONFIG"]) if environment.get("AEGIS_CONFIG") else None)
    if path is not None:
        values |= {name: (f"{name} in {path}", value) for name, value in _read_file(path).items()}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS:
            values[variable.removeprefix(PREFIX).lower()] = (variable, text)
    for name, (source, _) in values.items():
        if name not in known:
            raise Misconfigured(
                f"{source} is not a setting: see docs/reference/configuration.md for those there are"
            )
    settings = Settings(**{name: _convert(name, source, value) for name, (source, value) in values.items()})
    _check_together(settings)
    return settings


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the configuration file {path} is not TOML: {error}") from error


def _convert(name: str, source: str, value: Any) -> Any:
    if name in ("allowed_networks", "trusted_proxies"):
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in texts):
            raise Misconfigured(
                f"{source} is {value!r}: it must be CIDRs such as 10.0.0.0/8, separated by commas"
            )
        try:
            return parse_networks(",".join(texts))
        except Invalid as error:
            raise Misconfigured(f"{source}: {error.problems[0].message}") from error
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        return _boolean(source, value)
    if isinstance(default, int | float):
        return _number(name, source, value, type(default))
    if not isinstance(value, str):
        raise Misconfigured(
            f"{source} is {'no text' if name in SECRET_FIELDS else repr(value)}: it must be text"
        )
    text = value
    if name in _CHOICES and text not in _CHOICES[name]:
        raise Misconfigured(f"{source} is {text!r}: it must be one of {', '.join(_CHOICES[name])}")
    if name in ("data_dir", "master_key_file", "ca_bundle"):
        return Path(text).expanduser() if text else default
    return text or default


def _boolean(source: str, value: Any) -> bool:
    found = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }.get(str(value).strip().lower())
    if found is None:
        raise Misconfigured(f"{source} is {value!r}: it must be true or false")
    return found


def _number(name: str, source: str, value: Any, kind: type[int] | type[float]) -> int | float:
    low, high = _RANGES[name]
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    cut = kind is int and isinstance(value, float) and number != value
    if number is None or cut or isinstance(value, bool) or not low <= number <= high:
        whole = "a whole number" if kind is int else "a number"
        raise Misconfigured(f"{source} is {value!r}: it must be {whole} from {low:g} to {high:g}")
    return number


def _check_together(settings: Settings) -> None:
    if settings.lease_seconds < settings.request_timeout_seconds + 5:
        raise Misconfigured(
            f"AEGIS_LEASE_SECONDS is {settings.lease_seconds:g}: it must be at least AEGIS_REQUEST_TIMEOUT_SECONDS "
            f"({settings.request_timeout_seconds:g}) + 5, or a slow answer could outlive its lease"
        )
    if settings.request_bytes_max < settings.event_bytes_max:
        raise Misconfigured(
            f"AEGIS_REQUEST_BYTES_MAX is {settings.request_bytes_max}: it must not be smaller than "
            f"AEGIS_EVENT_BYTES_MAX ({settings.event_bytes_max}), or the largest event could not be sent"
        )
    if settings.retry_max_seconds < settings.retry_base_seconds:
        raise Misconfigured("AEGIS_RETRY_MAX_SECONDS is smaller than AEGIS_RETRY_BASE_SECONDS")
    if settings.database_url is not None and not settings.database_url.startswith("sqlite:///"):
        raise Misconfigured("AEGIS_DATABASE_URL is not understood: it must begin with sqlite:///")
    if settings.operator_key is not None and (
        len(settings.operator_key) < 24 or not settings.operator_key.startswith("aegis_op_")
    ):
        raise Misconfigured("AEGIS_OPERATOR_KEY must begin with aegis_op_ and have at least 24 characters")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in SECRET_FIELDS:
        return "****"
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return os.fspath(value) if isinstance(value, Path) else str(value)
