"""A store on one database, and builders of what it keeps, for tests of what every store promises."""

import asyncio
import itertools
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.delivery import (
    DeadRow,
    Lease,
    Settlement,
)
from aegis_stream.domain.destination import Destination, DestinationSpec, Health
from aegis_stream.domain.event import NewEvent, checksum
from aegis_stream.domain.ids import DestinationId, OrganizationId, OrganizationNo, WorkerId
from aegis_stream.pipeline.ingest import outcome_of
from aegis_stream.ports import Appended, AppendEnded, EventLog
from aegis_stream.store import organizations
from aegis_stream.store.database import Database
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.retention import Retention
from support.clock import T0, SteadyClock
from support.directory import Directory
from support.sql import raw

SECOND = 1_000_000
LEASE_US = 30 * SECOND
ALICE, BOB, CAROL = WorkerId("wrk_alice"), WorkerId("wrk_bob"), WorkerId("wrk_carol")
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)
POISON = Failure(FailureScope.EVENT, "answered 400", 400)
NUMBERS = itertools.count(1)


@dataclass
class Store:
    """Every port on one connection to the database, as one process has it."""

    db: Database
    log: StoredLog
    ledger: StoredLedger
    directory: Directory
    retention: Retention
    clock: SteadyClock

    def count(self, table: str) -> int:
        return self.db.read_now(lambda db: raw(db).row(f"SELECT count(*) FROM {table}"))[0]


async def add_organization(store: Store, org_id: str) -> OrganizationNo:
    """Make an organization; return its number."""
    return await store.db.write(lambda unit: organizations.add(unit, OrganizationId(org_id), "Test", T0))


async def add_destination(store: Store, org: OrganizationNo, number: int = 1, **spec) -> Destination:
    """Make a destination; keyword arguments are fields of its configuration."""
    made = DestinationSpec(**({"url": "https://sink.example.com/in"} | spec))
    return await store.directory.add_destination(org, DestinationId(f"dst_{org}_{number}"), made, T0, 1000)


def event(
    event_id: str, body: str | None = None, dataset: str = "app", decision: str | None = None
) -> NewEvent:
    """Build an event that is fit for the log."""
    text = body or json.dumps({"event": {"id": event_id}})
    encoded = text.encode()
    return NewEvent(event_id, dataset, decision, text, checksum(encoded), None, len(encoded))


def with_quota(log: Any, stored_bytes_max: int) -> Any:
    """Return the same log with another default quota of stored bytes."""
    inner = getattr(log, "log", None)
    if inner is not None:  # it is put around the log itself
        return replace(log, log=replace(inner, stored_bytes_max=stored_bytes_max))
    return replace(log, stored_bytes_max=stored_bytes_max)


def tell(work: Coroutine[Any, Any, Appended], ended: AppendEnded) -> None:
    """Tell how a coroutine ended, for logs that are fakes."""

    def done(task: asyncio.Task[Appended]) -> None:
        error = task.exception()
        ended(error if isinstance(error, Exception) else task.result())

    asyncio.get_running_loop().create_task(work).add_done_callback(done)


async def append_to(log: EventLog, organization_no: int, batch: Sequence[NewEvent], now: int) -> Appended:
    """Append events to a log and wait until they are durable. Raises: Unavailable."""
    return await outcome_of(lambda ended: log.append(organization_no, batch, now, ended))


def events(first: int, count: int) -> list[NewEvent]:
    """Build events e<first>, e<first + 1> …"""
    return [event(f"e{number}") for number in range(first, first + count)]


async def stored(store: Store, org: OrganizationNo) -> dict[int, str]:
    """Return the ids of the whole log by sequence."""
    return await store.log.event_ids(org, 0, 2**39)


async def serve(store: Store, worker: WorkerId = ALICE, now: int = T0) -> Lease:
    """Enlist a worker and claim the one destination there is."""
    store.clock.at = now
    await store.ledger.enlist(worker, LEASE_US)
    [claimed], _ = await store.ledger.claim(worker)
    return claimed.lease


def settlement(lease: Lease, org: OrganizationNo, cursor: int = 0, **found) -> Settlement:
    """Build a settlement with the next number; keyword arguments are what was found."""
    number = found.pop("number", None) or next(NUMBERS)
    return Settlement(lease, org, cursor, found.pop("health", Health()), number=number, **found)


async def settle(store: Store, one: Settlement, worker: WorkerId = ALICE, now: int = T0 + 1) -> bool:
    """Settle; True when it was stored."""
    store.clock.at = now
    [counts] = await store.ledger.settle(worker, [one])
    return counts is not None


async def bury(
    store: Store, org: OrganizationNo, lease: Lease, *sequences: int, failure: Failure = DOWN
) -> None:
    """Make dead letters, at T0."""
    dead = [DeadRow(sequence, 3, T0, failure) for sequence in sequences]
    assert await settle(store, settlement(lease, org, max(sequences), dead=dead))
