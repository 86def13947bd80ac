"""The groups of settings: default, range, unit and reason beside each field.

A group's attribute in `Settings` is its table in the TOML file: `settings.delivery.window_max` is `window_max` below
`[delivery]`. Whoever needs one group receives that group. docs/reference/configuration.md is checked against this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.organization import Quotas
from aegis_stream.netguard import Network

from .database_url import DatabaseUrl
from .kinds import (
    Choice,
    Colour,
    Database,
    FilePath,
    LogName,
    Name,
    Networks,
    Number,
    Origins,
    Secret,
    Setting,
    Switch,
    Whole,
)

LEASE_SECONDS_POSTGRES = 15.0
"""Default of lease_seconds on PostgreSQL: the shortest that the default request_timeout_seconds allows. There a lease is what other
nodes wait for after a node is lost; the workers of one machine are replaced without waiting for it."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the data is kept."""

    data_dir: Annotated[Path, FilePath("AEGIS_DATA_DIR")] = Path("aegis-data")
    """Directory of the SQLite file and the generated keys. Relative, so that a first try leaves nothing elsewhere."""
    database_url: Annotated[DatabaseUrl | None, Database("AEGIS_DATABASE_URL")] = None
    """sqlite:///path or postgresql://user@host/name; None for the file aegis.db in data_dir. Its repr masks the password."""
    database_password_file: Annotated[Path | None, FilePath("AEGIS_DATABASE_PASSWORD_FILE")] = None
    """File with the password of database_url, for secrets that containers get as files; read at the start and for each connection."""
    database_listen_url: Annotated[
        DatabaseUrl | None, Database("AEGIS_DATABASE_LISTEN_URL", postgres_only=True)
    ] = None
    """The same PostgreSQL database without a pooler, for LISTEN and for changes of the schema; None if database_url has none."""
    require_sync: Annotated[bool, Switch("AEGIS_REQUIRE_SYNC")] = False
    """Start only if PostgreSQL waits for a standby at each commit, so that the loss of its machine loses no event."""
    atomic_pages: Annotated[bool, Switch("AEGIS_ATOMIC_PAGES")] = False
    """Start although full_page_writes is off, because the file system of PostgreSQL never tears a page, as ZFS."""


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """Keys of the service itself."""

    master_key: Annotated[str | None, Secret("AEGIS_MASTER_KEY")] = field(default=None, repr=False)
    """32 bytes in base64 that seal the stored credentials; None for master_key_file."""
    master_key_file: Annotated[Path | None, FilePath("AEGIS_MASTER_KEY_FILE")] = None
    """File with the master key; None for the generated master.key in data_dir."""
    operator_key: Annotated[
        str | None, Secret("AEGIS_OPERATOR_KEY", begins="aegis_op_", characters_min=24)
    ] = field(default=None, repr=False)
    """Key that creates organizations; None for one that is generated at the first start and shown once."""


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """Where requests to destinations may go."""

    allow_http: Annotated[bool, Switch("AEGIS_ALLOW_HTTP")] = False
    """Accept http:// destinations. Off: events and credentials would cross networks unencrypted."""
    allowed_networks: Annotated[tuple[Network, ...], Networks("AEGIS_ALLOWED_NETWORKS")] = ()
    """Networks that destinations may be in although they are not public. Empty, because tenants choose the URLs."""
    own_addresses: Annotated[tuple[Network, ...], Networks("AEGIS_OWN_ADDRESSES")] = ()
    """Public addresses that lead to this host although no interface has them, as behind NAT; forbidden like those that one has."""
    ca_bundle: Annotated[Path | None, FilePath("AEGIS_CA_BUNDLE")] = None
    """PEM file of the certificate authorities to trust; None for the system's."""
    destination_connections_max: Annotated[int, Whole("AEGIS_DESTINATION_CONNECTIONS_MAX", 2, 1_000_000)] = (
        2048
    )
    """Most connections of a worker to destinations. One organization may hold half of them, each of n one part in n + 1."""
    address_connections_max: Annotated[int, Whole("AEGIS_ADDRESS_CONNECTIONS_MAX", 2, 1_000_000)] = 2048
    """Most connections of a worker to one IP address. One organization may hold half of them, each of n one part in n + 1."""
    address_requests_per_second: Annotated[int, Whole("AEGIS_ADDRESS_REQUESTS_PER_SECOND", 0, 1_000_000)] = 0
    """Most requests of a worker to one IP address per second; 0 for no limit, because connections and windows limit them."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How workers deliver."""

    request_timeout_seconds: Annotated[float, Number("AEGIS_REQUEST_TIMEOUT_SECONDS", 0.1, 60)] = 10.0
    """Time for a whole attempt, from connecting to the end of the answer: part of the contract with destinations."""
    window_max: Annotated[int, Whole("AEGIS_WINDOW_MAX", 1, 1024)] = 512
    """Most requests in flight to one destination, of which one that is near gets 64: enough for 5,000 requests a second at 100 ms."""
    dead_letters_max: Annotated[int, Whole("AEGIS_DEAD_LETTERS_MAX", 1, 100_000_000)] = 100_000
    """Most dead letters of a destination, and most retries: so that rejected events never fill the disk, nor hold up the others."""
    auto_redrive: Annotated[bool, Switch("AEGIS_AUTO_REDRIVE")] = True
    """Redrive dead letters automatically when a destination recovers, so that an outage needs nobody at night."""
    lease_seconds: Annotated[float, Number("AEGIS_LEASE_SECONDS", 0.5, 3600)] = 30.0
    """How long a silent worker keeps its destinations; at least 5 seconds longer than request_timeout_seconds. 15 on PostgreSQL."""
    settle_interval_ms: Annotated[float, Number("AEGIS_SETTLE_INTERVAL_MS", 0, 1000)] = 25.0
    """Shortest time between two settlements of a worker: longer means fewer syncs, and more repeats after a crash. A few successes
    wait up to 200 ms for others."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Default retry policy of destinations; a destination's own policy takes precedence."""

    max_attempts: Annotated[int, Whole("AEGIS_RETRY_MAX_ATTEMPTS", 1, 20)] = 3
    """Attempts before an event becomes a dead letter."""
    base_seconds: Annotated[float, Number("AEGIS_RETRY_BASE_SECONDS", 0.001, 86_400)] = 60.0
    """Delay before the second attempt: long enough for a receiver to restart."""
    multiplier: Annotated[float, Number("AEGIS_RETRY_MULTIPLIER", 1, 10)] = 2.0
    """Factor by which the delay grows from attempt to attempt."""
    max_seconds: Annotated[float, Number("AEGIS_RETRY_MAX_SECONDS", 0.001, 604_800)] = 3600.0
    """Longest delay; not smaller than base_seconds."""
    jitter: Annotated[float, Number("AEGIS_RETRY_JITTER", 0, 1)] = 0.1
    """Share of the delay that is random, either way, so that destinations do not retry in step."""

    @property
    def policy(self) -> RetryPolicy:
        """The policy of destinations that have none of their own."""
        return RetryPolicy(
            self.max_attempts, self.base_seconds, self.multiplier, self.max_seconds, self.jitter
        )


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long data is kept."""

    days: Annotated[float, Number("AEGIS_RETENTION_DAYS", 0.01, 36_500)] = 30.0
    """Events older than this are deleted, unless a destination still needs them."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """What one ingest request and one event may cost, and what is refused."""

    queue_bytes_max: Annotated[int, Whole("AEGIS_INGEST_QUEUE_BYTES_MAX", 1_048_576, 8_589_934_592)] = (
        128 * 1024 * 1024
    )
    """Most event bytes that wait for their commit; beyond it ingest answers 503, so that memory stays bounded."""
    request_bytes_max: Annotated[int, Whole("AEGIS_REQUEST_BYTES_MAX", 1024, 1_073_741_824)] = (
        10 * 1024 * 1024
    )
    """Largest ingest body in bytes, before and after decompression: 10,000 ordinary events."""
    request_events_max: Annotated[int, Whole("AEGIS_REQUEST_EVENTS_MAX", 1, 1_000_000)] = 10_000
    """Most events in one request: one transaction, a tenth of a second of one core."""
    event_bytes_max: Annotated[int, Whole("AEGIS_EVENT_BYTES_MAX", 1024, 16_777_216)] = 256 * 1024
    """Largest event in bytes of JSON: what most destinations accept."""
    json_depth_max: Annotated[int, Whole("AEGIS_JSON_DEPTH_MAX", 4, 128)] = 32
    """Deepest nesting of an event, which itself counts as 1: parsers elsewhere are recursive."""
    number_digits_max: Annotated[int, Whole("AEGIS_NUMBER_DIGITS_MAX", 20, 4300)] = 400
    """Most characters of a number: the largest double has 309 digits, and parsing takes time that grows with their square."""
    decompression_ratio_max: Annotated[int, Whole("AEGIS_DECOMPRESSION_RATIO_MAX", 10, 100_000)] = 200
    """Most bytes that one compressed byte may become after the first MiB: repetitive events reach 100, bombs 1,000 and more."""
    privacy_check: Annotated[bool, Switch("AEGIS_PRIVACY_CHECK")] = True
    """Reject preflight events with a card number, a key or the like in a text: counts of findings, never values."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How often one key, one address or one organization may call. In bursts, a second's limit allows twice as many."""

    key_ingest_per_second: Annotated[int, Whole("AEGIS_KEY_INGEST_PER_SECOND", 1, 10_000_000)] = 50_000
    """Ingest requests of one key per second: several times what one machine can take, so it only stops runaway clients."""
    ingest_bytes_per_second: Annotated[int, Whole("AEGIS_INGEST_BYTES_PER_SECOND", 0, 1_000_000_000_000)] = 0
    """Bytes of events that one organization without a quota of its own may record per second; 0 for no limit, because honest
    senders may need the whole machine."""
    key_calls_per_second: Annotated[int, Whole("AEGIS_KEY_CALLS_PER_SECOND", 1, 1_000_000)] = 1_000
    """Other calls of one key per second."""
    failed_keys_per_minute: Annotated[int, Whole("AEGIS_FAILED_KEYS_PER_MINUTE", 1, 1_000_000)] = 300
    """Invalid keys tried from one address per minute: guessing is hopeless, but must not slow down others."""
    tests_per_minute: Annotated[int, Whole("AEGIS_TESTS_PER_MINUTE", 1, 10_000)] = 60
    """Test events of one organization per minute: enough for a person, too few to scan a network."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What clients of the API may send, and how many connections they may hold open."""

    call_bytes_max: Annotated[int, Whole("AEGIS_CALL_BYTES_MAX", 16_384, 16_777_216)] = 1_000_000
    """Largest body in bytes of any call except ingest: 10,000 event ids in one redrive."""
    bytes_under_way_max: Annotated[int, Whole("AEGIS_BYTES_UNDER_WAY_MAX", 1_048_576, 17_179_869_184)] = (
        64 * 1024 * 1024
    )
    """Most bytes of requests that are arriving or waiting and of answers that are not read yet, of all clients; the holder of most gives way."""
    trusted_proxies: Annotated[tuple[Network, ...], Networks("AEGIS_TRUSTED_PROXIES")] = ()
    """Proxies whose X-Forwarded-For gives the client's address. None, because anybody can send the header."""
    connections_max: Annotated[int, Whole("AEGIS_CONNECTIONS_MAX", 16, 1_000_000)] = 4096
    """Most open connections; beyond it the longest idle one is closed. Below the usual limit of open files."""
    header_bytes_max: Annotated[int, Whole("AEGIS_HEADER_BYTES_MAX", 4096, 1_048_576)] = 32 * 1024
    """Most bytes of request line and headers: proxies add a few KiB."""
    headers_max: Annotated[int, Whole("AEGIS_HEADERS_MAX", 16, 1000)] = 100
    """Most headers of a request."""
    header_timeout_seconds: Annotated[float, Number("AEGIS_HEADER_TIMEOUT_SECONDS", 0.1, 300)] = 10.0
    """Time for request line and headers to arrive, from connecting or their first byte: a slow line needs a tenth of it."""
    body_timeout_seconds: Annotated[float, Number("AEGIS_BODY_TIMEOUT_SECONDS", 0.1, 3600)] = 30.0
    """Time for a body to arrive, and for a client to read an answer: 10 MiB at 3 Mbit/s."""
    drain_seconds: Annotated[float, Number("AEGIS_DRAIN_SECONDS", 0, 300)] = 0.0
    """How long a service that is asked to stop still answers, while /readyz is 503: as long as a load balancer needs to notice. 0,
    because without one nobody would send elsewhere."""
    keep_alive_seconds: Annotated[float, Number("AEGIS_KEEP_ALIVE_SECONDS", 1, 3600)] = 75.0
    """How long an idle connection is kept: longer than the minute after which many clients send again."""


@dataclass(frozen=True, slots=True)
class OrganizationSettings:
    """What one organization may have, and what is recorded for it."""

    destinations_max: Annotated[int, Whole("AEGIS_DESTINATIONS_MAX", 1, 100_000)] = 1000
    """Most destinations of one organization."""
    keys_max: Annotated[int, Whole("AEGIS_KEYS_MAX", 2, 10_000)] = 1000
    """Most API keys of one organization; at the limit, expired keys are deleted to make room."""
    replays_max: Annotated[int, Whole("AEGIS_REPLAYS_MAX", 1, 16)] = 8
    """Most replays in progress to one destination: they share a quarter of its window."""
    stored_bytes_max: Annotated[int, Whole("AEGIS_STORED_BYTES_MAX", 0, 1_000_000_000_000_000)] = 0
    """Most bytes of events in the log of one organization that has no quota of its own; 0 for no limit, because the service
    does not know how many organizations share its disk."""
    audit_actions: Annotated[bool, Switch("AEGIS_AUDIT_ACTIONS")] = True
    """Record changes to destinations and keys in the organization's own log, so that they reach its destinations."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """How the console presents itself, above all inside another product."""

    brand_name: Annotated[str, Name("AEGIS_CONSOLE_BRAND_NAME", 60)] = ""
    """Name on top of every page and in its title; empty for Aegis Audit Stream."""
    brand_colour: Annotated[str, Colour("AEGIS_CONSOLE_BRAND_COLOUR")] = ""
    """Colour of the line on top of every page; empty for none. Of nothing else, so that texts stay readable in any colour."""
    frame_ancestors: Annotated[tuple[str, ...], Origins("AEGIS_CONSOLE_FRAME_ANCESTORS")] = ()
    """Sites that may show the console in a frame to people who came by a console link. None, because a site that frames a page can
    trick people into pressing its buttons."""


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """How logs are sealed: a Merkle tree over the events of each organization, and signed checkpoints of it."""

    enabled: Annotated[bool, Switch("AEGIS_PROOF")] = True
    """Run a sealer under `aegis serve`. Off, no log is sealed, whatever an organization's setting, and retention does not wait for it."""
    origin: Annotated[str | None, LogName("AEGIS_PROOF_ORIGIN")] = None
    """First part of the names of logs, before the organization's id; None for aegis- and a number of this installation. A log that has
    begun keeps its name."""
    seconds: Annotated[float, Number("AEGIS_PROOF_SECONDS", 1, 3600)] = 10.0
    """Pause between two seals of a log with few new events: what the database's owner could change unseen, and each costs a write."""
    events: Annotated[int, Whole("AEGIS_PROOF_EVENTS", 1, 65_536)] = 4096
    """So many new events are sealed without a pause; also the most of one seal, which bounds the sealer's memory."""
    heartbeat_seconds: Annotated[float, Number("AEGIS_PROOF_HEARTBEAT_SECONDS", 0, 604_800)] = 3600.0
    """How often a log in the mode stream without news is sealed again, so that silence is news to the receiver; 0 for never."""
    contents: Annotated[str, Choice("AEGIS_PROOF_CONTENTS", ("auto", "on", "off"))] = "auto"
    """Whether checkpoint events list content digests, which prove events that a SIEM has written anew: two thirds of the work of sealing.
    auto leaves them out while a log is far behind."""
    retention_days: Annotated[float, Number("AEGIS_PROOF_RETENTION_DAYS", 0, 36_500)] = 0.0
    """How long the leaf hashes of sealed logs are kept, 33 bytes an event; at least as long as their events. 0 for ever, so that events
    can be proven that only a receiver has any more."""
    key_overlap_days: Annotated[float, Number("AEGIS_PROOF_KEY_OVERLAP_DAYS", 0, 3650)] = 30.0
    """For so long after a rotation the old key signs as well, so that verifiers that have only that one go on; 0 until the event that
    tells of the new key is sealed."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What the operator sees."""

    log_format: Annotated[str, Choice("AEGIS_LOG_FORMAT", ("auto", "console", "json"))] = "auto"
    """console, json, or auto: console on a terminal, else json."""
    log_level: Annotated[str, Choice("AEGIS_LOG_LEVEL", ("debug", "info", "warning", "error"))] = "info"
    """Log events below this level are not written."""
    metrics_port: Annotated[int, Whole("AEGIS_METRICS_PORT", 0, 65_535)] = 0
    """Port for /metrics alone; 0 for the API's own port."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All groups."""

    store: StoreSettings = StoreSettings()
    secrets: SecretSettings = SecretSettings()
    egress: EgressSettings = EgressSettings()
    delivery: DeliverySettings = DeliverySettings()
    retry: RetrySettings = RetrySettings()
    retention: RetentionSettings = RetentionSettings()
    ingest: IngestSettings = IngestSettings()
    rates: RateSettings = RateSettings()
    api: ApiSettings = ApiSettings()
    organization: OrganizationSettings = OrganizationSettings()
    console: ConsoleSettings = ConsoleSettings()
    proof: ProofSettings = ProofSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @property
    def quotas(self) -> Quotas:
        """The quotas of organizations that have none of their own."""
        return Quotas(self.organization.stored_bytes_max, self.rates.ingest_bytes_per_second)

    def values(self) -> dict[str, Any]:
        """Return every value by the setting's name, `retention_days` for AEGIS_RETENTION_DAYS."""
        return {
            setting.name: getattr(getattr(self, group), name)
            for group, members in GROUPS.items()
            for name, setting in members.items()
        }

    def shown(self) -> dict[str, str]:
        """Return every value as text by the setting's name, with secrets masked."""
        return {name: SETTINGS[name].show(value) for name, value in self.values().items()}


def build(values: Mapping[str, Any]) -> Settings:
    """Return the tree with these values, by the settings' names, and the defaults for the others."""
    defaults = Settings()
    groups: dict[str, Any] = {}
    for group, members in GROUPS.items():
        given = {name: values[one.name] for name, one in members.items() if one.name in values}
        groups[group] = replace(getattr(defaults, group), **given)
    return Settings(**groups)


def _members(group: object) -> dict[str, Setting]:
    """Return the settings of a group by the names of their fields."""
    hints = get_type_hints(type(group), include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


GROUPS: dict[str, dict[str, Setting]] = {one.name: _members(one.default) for one in fields(Settings)}
"""The settings by group and field: `GROUPS["retention"]["days"]`."""
SETTINGS: dict[str, Setting] = {one.name: one for members in GROUPS.values() for one in members.values()}
"""The settings by name: `SETTINGS["retention_days"]`."""
