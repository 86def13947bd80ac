"""The operator's view: JSON shapes."""

import msgspec


class OrganizationStandingBody(msgspec.Struct):
    """How an organization stands. Its paused destinations are counted in `destinations` and `paused`, and wait for nothing."""

    org_id: str
    name: str
    created_at: str
    head_sequence: int
    stored_bytes: int
    destinations: int
    paused: int
    failing: int
    waiting: int
    lag_seconds: int | None
    dead_letters: int
    events_per_minute: int
    last_event_at: str | None
    proof: str


class OrganizationList(msgspec.Struct):
    """Organizations, in the order of their ids or the worst first."""

    data: list[OrganizationStandingBody]
    next_cursor: str | None


class DiskBody(msgspec.Struct):
    """The disk of the data directory."""

    total_bytes: int
    free_bytes: int


class StoreBody(msgspec.Struct):
    """The store. `disk` is null where it is a PostgreSQL server."""

    kind: str
    stored_bytes: int
    disk: DiskBody | None


class OrganizationCounts(msgspec.Struct):
    """How many organizations there are, how many have a failing destination, how many are near their quota."""

    total: int
    failing: int
    near_quota: int


class DestinationCounts(msgspec.Struct):
    """Sums over the destinations of all organizations. `unserved`: those that no worker serves."""

    total: int
    failing: int
    unserved: int
    waiting: int
    retrying: int
    dead_letters: int


class ServiceBody(msgspec.Struct):
    """A running `aegis serve`."""

    id: str
    api_processes: int
    started_at: str


class WorkerBody(msgspec.Struct):
    """A worker. `lease_seconds`: for how long its leases hold unless it renews them; below 0 it serves nothing any more."""

    id: str
    started_at: str
    destinations: int
    lease_seconds: float


class RecentIngest(msgspec.Struct):
    """Ingest requests by status and events by result, counted in the last while."""

    seconds: float
    requests: dict[str, int]
    events: dict[str, int]


class IngestBody(msgspec.Struct):
    """Ingest requests by status and events by result, of the API processes of the `aegis serve` that answers, since it started."""

    requests: dict[str, int]
    events: dict[str, int]
    recent: RecentIngest


class StatusBody(msgspec.Struct):
    """How the service does."""

    version: str
    build: str
    store: StoreBody
    organizations: OrganizationCounts
    destinations: DestinationCounts
    services: list[ServiceBody]
    workers: list[WorkerBody]
    ingest: IngestBody
