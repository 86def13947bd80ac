"""What every store promises, whatever database is under it: the event log, leases, settlements, retention.

Another database joins by one more member of BACKENDS; the tests speak to the ports and to what the API asks of the directory.
"""

import asyncio
import fcntl
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    AttemptRun,
    Claimed,
    DeadRow,
    DueRetry,
    Lease,
    ReplayRange,
    RetryRow,
    Settled,
    Settlement,
)
from aegis_stream.domain.destination import Destination, DestinationSpec, Filter, Health
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import DestinationId, Micros, OrganizationId, OrganizationNo, ReplayId, WorkerId
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.organization import ApiKey
from aegis_stream.domain.organization import Scope as KeyScope
from aegis_stream.errors import Conflict, NotFound, Unavailable
from aegis_stream.ports import Appended
from aegis_stream.store import keys, organizations
from aegis_stream.store.database import Database, Lane
from aegis_stream.store.ledger import OPEN_REPLAYS_MAX, StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.retention import CHUNK, ORGANIZATIONS_PER_SWEEP, Retention
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.clock import T0, SteadyClock
from support.directory import Directory
from support.simulation import SeededRandom
from support.sql import raw
from support.writers import RunsTwice, Watched

SECOND = 1_000_000
LEASE_US = 30 * SECOND
ALICE, BOB, CAROL = WorkerId("wrk_alice"), WorkerId("wrk_bob"), WorkerId("wrk_carol")
DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)
POISON = Failure(FailureScope.EVENT, "answered 400", 400)
_NUMBERS = itertools.count(1)


@dataclass
class Store:
    """Every port on one connection to the database, as one process has it."""

    db: SqliteDatabase
    log: StoredLog
    ledger: StoredLedger
    directory: Directory
    retention: Retention
    clock: SteadyClock

    def count(self, table: str) -> int:
        return self.db.read_now(lambda db: raw(db).row(f"SELECT count(*) FROM {table}"))[0]


@dataclass
class Stall:
    """A transaction that is held at the moment of its commit."""

    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class SqliteBackend:
    """A SQLite file in a folder of its own."""

    folder: Path
    clock: SteadyClock = field(default_factory=SteadyClock)
    opened: list[Store] = field(default_factory=list)

    def open(self, around: Callable[[Database], Any] = lambda db: db) -> Store:
        """Open the store once more, as another process would.

        Args:
            around: what is put around the database.
        """
        db = SqliteDatabase(self.folder / "aegis.db", self.clock)
        db.migrate()
        db = around(db)
        directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(len(self.opened))))
        store = Store(db, StoredLog(db), StoredLedger(db), directory, Retention(db), self.clock)
        self.opened.append(store)
        return store

    def raw(self) -> bytes:
        """Return every byte that the store has written anywhere."""
        return b"".join(file.read_bytes() for file in sorted(self.folder.iterdir()))

    def fail_next_commit(self, store: Store, after: int = 0) -> None:
        """Let a transaction of a store fail at the moment of its commit, and no other: the next one, or `after` so many."""
        fates = iter([False] * after)
        store.db._writer.connection.set_commit_hook(lambda: next(fates, True))

    @contextmanager
    def stall_before_commit(self, store: Store, *, fail: bool = False) -> Iterator[Stall]:
        """Hold the next transaction of a store at the moment of its commit until the block ends; then let it pass, or fail."""
        stall = Stall()
        fates = iter([True])

        def at_commit() -> bool:
            if next(fates, False):
                stall.reached.set()
                stall.go_on.wait(10)
                return fail
            return False

        store.db._writer.connection.set_commit_hook(at_commit)
        try:
            yield stall
        finally:
            stall.go_on.set()

    def close(self) -> None:
        for store in self.opened:
            store.db.close()


BACKENDS = {"sqlite": SqliteBackend}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request, tmp_path) -> Iterator[SqliteBackend]:
    """Make an empty place for a store."""
    folder = tmp_path / "store"
    folder.mkdir()
    made = BACKENDS[request.param](folder)
    yield made
    made.close()


@pytest.fixture
def store(backend) -> Store:
    """Open the store, as the first process does."""
    return backend.open()


@pytest.fixture
async def org(store) -> OrganizationNo:
    """Make an organization."""
    return await add_organization(store, "org_a")


# ── builders ──


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
    return NewEvent(event_id, dataset, decision, body or json.dumps({"event": {"id": event_id}}), None)


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
    number = found.pop("number", None) or next(_NUMBERS)
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


# ── the log: appending ──


async def test_sequences_have_no_holes(store, org):
    """Events get the sequences 1, 2, 3 … in the order in which they were appended."""
    first = await store.log.append(org, events(1, 3), T0)
    second = await store.log.append(org, events(4, 150), T0)

    assert first == Appended(1, 3, 3)
    assert second == Appended(4, 150, 153)
    assert await stored(store, org) == {number: f"e{number}" for number in range(1, 154)}


async def test_organizations_count_for_themselves(store, org):
    """Every organization has sequences of its own, and the same event id in two of them is two events."""
    other = await add_organization(store, "org_b")

    await store.log.append(org, events(1, 3), T0)
    appended = await store.log.append(other, events(2, 2), T0)

    assert appended == Appended(1, 2, 2)
    assert await stored(store, other) == {1: "e2", 2: "e3"}
    assert await store.log.heads() == {org: 3, other: 2}


async def test_a_second_submission_changes_nothing(store, org):
    """An event that is there already is a duplicate with its first sequence, and uses none up."""
    await store.log.append(org, events(1, 3), T0)

    again = await store.log.append(org, [*events(2, 2), event("e9"), *events(1, 1)], Micros(T0 + SECOND))

    assert again == Appended(4, 1, 4, {0: 2, 1: 3, 3: 1}, {})
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e3", 4: "e9"}
    assert (await store.log.entry(org, "e2")).received_at == T0


async def test_the_same_id_with_another_body_is_a_conflict(store, org):
    """A known id with another body is reported with the sequence it contradicts; the stored body stays."""
    await store.log.append(org, [event("e1", '{"n":1}')], T0)

    again = await store.log.append(org, [event("e2"), event("e1", '{"n":2}')], T0)

    assert (again.added, again.duplicates, again.conflicts) == (1, {}, {1: 1})
    assert (await store.log.entry(org, "e1")).body == '{"n":1}'


async def test_repeats_within_one_batch_are_found(store, org):
    """Within one batch the first event of an id counts; an equal one later is a duplicate, another one a conflict."""
    batch = [event("a", "{}"), event("b", "{}"), event("a", "{}"), event("b", '{"n":1}'), event("c", "{}")]

    appended = await store.log.append(org, batch, T0)

    assert appended == Appended(1, 3, 3, {2: 1}, {3: 2})
    assert await stored(store, org) == {1: "a", 2: "b", 3: "c"}


async def test_appends_of_one_moment_are_told_apart(store, org):
    """Callers who share a transaction each learn of their own events, also when they submit the same ones."""
    results = await asyncio.gather(
        store.log.append(org, events(1, 2), T0),
        store.log.append(org, events(2, 2), T0),
        store.log.append(org, events(1, 3), T0),
    )

    assert [one.added for one in results] == [2, 1, 0]
    assert results[2].duplicates == {0: 1, 1: 2, 2: 3}
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e3"}


async def test_an_append_that_fails_stores_nothing(backend, store, org):
    """When the commit fails the caller learns it, nothing is stored, and the next append has the sequence again."""
    await store.log.append(org, events(1, 2), T0)
    backend.fail_next_commit(store)

    with pytest.raises(Unavailable):
        await store.log.append(org, events(3, 2), T0)
    after = await store.log.append(org, events(5, 1), T0)

    assert after == Appended(3, 1, 3)
    assert await stored(store, org) == {1: "e1", 2: "e2", 3: "e5"}


async def test_an_append_that_joins_a_failing_commit_is_not_acknowledged(backend, store, org):
    """Callers whose events wait for a transaction that then fails are told so, all of them, and none of their events is stored."""
    held, joined = threading.Event(), threading.Event()
    busy = store.db.submit(lambda _: (held.set(), joined.wait(10)), Lane.CONTROL)
    try:
        assert await asyncio.to_thread(held.wait, 10)
        waiting = [asyncio.ensure_future(store.log.append(org, events(n, 1), T0)) for n in (1, 2)]
        await asyncio.sleep(0)
    finally:
        backend.fail_next_commit(store, after=1)
        joined.set()
    await busy
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one) for one in results] == [Unavailable, Unavailable]
    assert await stored(store, org) == {}


async def test_an_append_that_comes_during_a_commit_does_not_share_its_fate(backend, store, org):
    """Events that arrive while a transaction is being committed go into the next one, whatever becomes of the first."""
    with backend.stall_before_commit(store, fail=True) as stall:
        first = asyncio.ensure_future(store.log.append(org, events(1, 1), T0))
        assert await asyncio.to_thread(stall.reached.wait, 10)
        second = asyncio.ensure_future(store.log.append(org, events(2, 1), T0))
        await asyncio.sleep(0)
    results = await asyncio.gather(first, second, return_exceptions=True)

    assert isinstance(results[0], Unavailable)
    assert results[1] == Appended(1, 1, 1)
    assert await stored(store, org) == {1: "e2"}


async def test_a_store_that_takes_no_write_says_so_and_recovers(backend, store, org, monkeypatch):
    """While a stopped process holds the write lock, an append ends with an error instead of waiting for ever; it is not
    stored behind the caller's back, and the next append after the lock is free is.
    """
    monkeypatch.setattr("aegis_stream.store.sqlite.writer.WRITE_TIMEOUT_S", 0.2)
    gate = os.open(store.db.path.with_name(store.db.path.name + ".lock"), os.O_RDWR)
    fcntl.flock(gate, fcntl.LOCK_EX)

    with pytest.raises(Unavailable, match="took no write") as stuck:
        await store.log.append(org, events(1, 1), T0)
    os.close(gate)
    appended = await store.log.append(org, events(2, 1), T0)

    assert stuck.value.code == "store-stuck"
    assert (appended.first, appended.added) == (1, 1)
    assert await stored(store, org) == {1: "e2"}


async def test_one_write_that_fails_takes_no_other_along(store, org):
    """Of writes that share a transaction, one that raises takes only itself back."""

    def broken(_):
        raise Conflict("no")

    failed, appended = await asyncio.gather(
        store.db.submit(broken, Lane.APPEND), store.log.append(org, events(1, 1), T0), return_exceptions=True
    )

    assert isinstance(failed, Conflict)
    assert appended.added == 1
    assert await stored(store, org) == {1: "e1"}


# ── the log: many processes ──


async def test_a_stalled_appender_leaves_no_gap_and_is_not_overtaken(backend, store, org):
    """While one appender stalls before its commit, no reader sees events, no other appender gets past, and no gap is left."""
    other, reader = backend.open(), backend.open()
    held, holding, appended, release = (threading.Event() for _ in range(4))
    try:
        # The first write holds the writer, so that the append and the stall behind it share the next transaction.
        first = store.db.submit(lambda _: (held.set(), holding.wait(10)), Lane.APPEND)
        assert await asyncio.to_thread(held.wait, 10)
        stalled = asyncio.ensure_future(store.log.append(org, events(1, 3), T0))
        await asyncio.sleep(0)
        stall = store.db.submit(lambda _: (appended.set(), release.wait(10)), Lane.APPEND)
        holding.set()
        await first
        assert await asyncio.to_thread(appended.wait, 10)
        overtaking = asyncio.ensure_future(other.log.append(org, events(4, 3), T0))
        seen = [(await reader.log.heads(), await stored(reader, org)) for _ in range(20)]
        done_early = overtaking.done() or stalled.done()
    finally:
        holding.set()
        release.set()
    results = await asyncio.gather(stalled, overtaking)
    await stall

    assert seen == [({}, {})] * 20
    assert not done_early
    assert results == [Appended(1, 3, 3), Appended(4, 3, 6)]
    assert await stored(reader, org) == {number: f"e{number}" for number in range(1, 7)}


APPENDER = """
import asyncio, json, sys
from pathlib import Path
from aegis_stream.domain.event import NewEvent
from aegis_stream.store.log import StoredLog
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.wiring import SystemClock

async def main(path, org, name, rounds):
    db = SqliteDatabase(Path(path), SystemClock())
    log = StoredLog(db)
    async def one(number):
        batch = [NewEvent(f"{name}-{number}-{k}", "app", None, "{}", None) for k in range(1 + number % 4)]
        batch.append(NewEvent(f"shared-{number}", "app", None, "{}", None))
        done = await log.append(org, batch, 1)
        fresh = [event.event_id for index, event in enumerate(batch) if index not in done.duplicates]
        return [[done.first + offset, event_id] for offset, event_id in enumerate(fresh)]
    sys.stdin.readline()
    acked = []
    for start in range(0, rounds, 5):
        for some in await asyncio.gather(*[one(number) for number in range(start, start + 5)]):
            acked += some
    db.close()
    print(json.dumps(acked))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
"""


@pytest.mark.slow
async def test_four_processes_that_append_at_once_leave_no_holes(backend, store, org):
    """Whoever appends at the same time, sequences are 1 … n, each acknowledged event has the one it was told, once."""
    command = [sys.executable, "-c", APPENDER, str(store.db.path), str(org)]
    processes = [
        subprocess.Popen([*command, name, "100"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    try:
        for one in processes:
            one.stdin.write("go\n")
            one.stdin.flush()
        ends = asyncio.gather(*[asyncio.to_thread(one.communicate, None, 60) for one in processes])
        seen: dict[int, str] = {}
        while not ends.done():  # a reader that follows the head meanwhile
            head = (await store.log.heads()).get(org, 0)
            seen |= await store.log.event_ids(org, len(seen) + 1, head)
            assert list(seen) == list(range(1, head + 1)), "a reader met a gap, or overtook a commit"
        outputs = [json.loads(out) for out, _ in await ends]
    finally:
        for one in processes:
            one.kill()
            one.wait()

    final = await stored(store, org)
    acknowledged = {sequence: event_id for output in outputs for sequence, event_id in output}
    assert list(final) == list(range(1, len(final) + 1))
    assert final == acknowledged
    assert len(set(final.values())) == len(final) == 4 * 250 + 100
    assert seen.items() <= final.items()


# ── the log: reading ──


async def test_a_page_holds_neighbours(store, org):
    """A page begins where it was asked to, has no holes, and ends at the last event wanted."""
    await store.log.append(org, events(1, 10), T0)

    page = await store.log.page(org, 4, 7, bytes_max=1 << 20, labels=False)

    assert (page.first, page.labels) == (4, None)
    assert [json.loads(body)["event"]["id"] for body in page.bodies] == ["e4", "e5", "e6", "e7"]


async def test_a_page_keeps_to_its_bytes(store, org):
    """A page holds no more bytes than asked, but always at least one event, so that a reader gets on."""
    await store.log.append(org, [event(f"e{number}", '"' + "x" * 998 + '"') for number in range(20)], T0)

    sizes = [
        len((await store.log.page(org, 1, 20, bytes_max=limit, labels=False)).bodies)
        for limit in (1, 1000, 5500, 20_000)
    ]

    assert sizes[0] == sizes[1] == 1
    assert 1 < sizes[2] <= 5
    assert sizes[3] == 20


async def test_a_page_ends_before_a_hole(store, org):
    """Where a row was removed by hand, a page ends before the hole, and one that would begin in it is an error: bodies are
    counted off, so a page across a hole would deliver events under the wrong sequences.
    """
    await store.log.append(org, events(1, 10), T0)
    (gone,) = await store.db.read(lambda db: raw(db).row("SELECT position FROM events WHERE event_id = 'e5'"))
    await store.db.write(lambda db: raw(db).run("DELETE FROM events WHERE position = ?", (gone,)))

    page = await store.log.page(org, 1, 10, bytes_max=1 << 20, labels=True)

    assert [json.loads(body)["event"]["id"] for body in page.bodies] == ["e1", "e2", "e3", "e4"]
    assert len(page.labels or []) == 4
    with pytest.raises(Unavailable, match="event 5 is missing"):
        await store.log.page(org, 5, 10, bytes_max=1 << 20, labels=False)


async def test_a_page_beyond_the_head_is_empty(store, org):
    """There is nothing where nothing was appended yet, and nothing of a neighbouring organization."""
    other = await add_organization(store, "org_b")
    await store.log.append(other, events(1, 3), T0)

    page = await store.log.page(org, 1, 10, bytes_max=1000, labels=True)

    assert (page.bodies, page.labels) == ([], [])


async def test_labels_belong_to_their_bodies(store, org):
    """Dataset and decision come in the order of the bodies, and are left out unless asked for."""
    await store.log.append(
        org,
        [event("a", dataset="x"), event("b", dataset="y", decision="BLOCKED"), event("c", dataset="")],
        T0,
    )

    page = await store.log.page(org, 1, 3, bytes_max=1 << 20, labels=True)

    assert page.labels == [("x", None), ("y", "BLOCKED"), ("", None)]


async def test_bodies_are_kept_byte_for_byte(store, org):
    """Whatever JSON text goes in comes out to the byte: white space, escapes, every plane of Unicode, line separators."""
    texts = [
        ' \t\r\n{ "a" :\r\n\t1 }\n',
        '{"a":"\\u001e\\u0000\\n\\ud83d\\ude00"}',
        '{"ä€😀":"\u2028\u2029\x7f\x85\ufeff"}',
        '{"n":1.0e+2,"n":-0}',
        '{"a":"\U0010ffff"}',
    ]
    await store.log.append(org, [event(f"e{number}", text) for number, text in enumerate(texts)], T0)

    page = await store.log.page(org, 1, len(texts), bytes_max=1 << 20, labels=False)
    one_by_one = [(await store.log.entry(org, f"e{number}")).body for number in range(len(texts))]

    assert page.bodies == [text.encode() for text in texts]
    assert one_by_one == texts
    assert [one.body for one in await store.log.entries(org, 0, 10, 10)] == texts


async def test_entries_are_read_in_order(store, org):
    """A listing takes what lies after one sequence and up to another, in log order, as many as asked."""
    await store.log.append(org, events(1, 10), T0)

    assert [one.sequence for one in await store.log.entries(org, 3, 8, 100)] == [4, 5, 6, 7, 8]
    assert [one.sequence for one in await store.log.entries(org, 3, 8, 2)] == [4, 5]


async def test_a_time_maps_to_one_place_although_clocks_jump_back(store, org):
    """Receipt times never go back along the log, so the first event at or after a time is well defined."""
    for at in (10, 20, 5, 20, 30):
        await store.log.append(org, [event(f"at-{at}-{await store.log.heads()}")], Micros(at))

    places = [await store.log.sequence_at(org, Micros(at), 1, 5) for at in (0, 10, 11, 20, 21, 30, 31)]
    times = [one.received_at for one in await store.log.entries(org, 0, 5, 10)]

    assert times == [10, 20, 20, 20, 30]
    assert places == [1, 1, 2, 2, 5, 5, 6]


async def test_changed_tells_of_other_processes(backend, store, org):
    """The number to look at is another one after somebody else has committed, and the same while nobody has."""
    other = backend.open()
    before = store.log.changed()
    quiet = store.log.changed()

    await other.log.append(org, events(1, 1), T0)

    assert quiet == before
    assert store.log.changed() != before


# ── leases ──


async def test_a_new_destination_begins_after_the_head(store, org):
    """A destination gets what is recorded after it was made."""
    await store.log.append(org, events(1, 5), T0)

    destination = await add_destination(store, org)
    progress = await store.directory.progress(destination)

    assert (progress.start_sequence, progress.cursor, progress.head) == (5, 5, 5)


async def test_destinations_are_shared_fairly(store, org):
    """Each worker holds no more than its share once the others have come, and nobody is served twice or not at all."""
    for number in range(10):
        await add_destination(store, org, number)
    await store.ledger.enlist(ALICE, LEASE_US)
    alone, surplus_alone = await store.ledger.claim(ALICE)
    await store.ledger.enlist(BOB, LEASE_US)

    bob_early, _ = await store.ledger.claim(BOB)
    alice, surplus = await store.ledger.claim(ALICE)
    await store.ledger.release(ALICE, [one.lease for one in alice[:surplus]])
    bob, _ = await store.ledger.claim(BOB)
    alice, surplus_after = await store.ledger.claim(ALICE)

    assert (len(alone), surplus_alone) == (10, 0)
    assert (bob_early, surplus) == ([], 5)
    assert (len(alice), len(bob), surplus_after) == (5, 5, 0)
    assert len({one.lease.destination_no for one in [*alice, *bob]}) == 10


async def test_a_retired_workers_destinations_are_free_at_once(store, org):
    """Who ends in good order leaves its destinations to the next, under a new epoch, with all that is known of them."""
    await store.log.append(org, events(1, 3), T0)
    await add_destination(store, org)
    await store.log.append(org, events(4, 3), T0)
    lease = await serve(store)
    health = Health(2, 7.5, 1.5, 9.5, T0, T0, 500, "answered 500", 5)
    retry = RetryRow(5, 1, Micros(T0 + SECOND), DOWN)
    assert await settle(store, settlement(lease, org, 5, health=health, retries=[retry]))

    await store.ledger.retire(ALICE)
    await store.ledger.enlist(BOB, LEASE_US)
    [taken], _ = await store.ledger.claim(BOB)

    assert taken.lease == Lease(lease.destination_no, lease.epoch + 1)
    assert (taken.organization_no, taken.cursor, taken.head, taken.retrying, taken.dead_letters, taken.replaying) == (
        org, 5, 6, 1, 0, False,
    )  # fmt: skip
    assert taken.health == health


async def test_a_lease_cannot_be_renewed_after_its_time(store, org):
    """Who is too late has lost its leases for good, even when nobody else wanted them."""
    await add_destination(store, org)
    await serve(store)

    store.clock.at = T0 + LEASE_US - 1
    in_time = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += LEASE_US
    too_late = await store.ledger.renew(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)

    assert (in_time, too_late) == (True, False)
    assert claimed == []


async def test_a_worker_that_nobody_enlisted_gets_nothing(store, org):
    """Only a worker with a lease of its own can claim, and there is none that is not enlisted."""
    await add_destination(store, org)

    assert await store.ledger.claim(ALICE) == ([], 0)
    assert not await store.ledger.renew(ALICE, LEASE_US)
    assert await store.ledger.workers() == []


async def test_releasing_under_an_old_epoch_takes_nothing_from_the_new_owner(store, org):
    """A late release concerns the lease it names and no newer one."""
    await add_destination(store, org)
    old = await serve(store)
    await store.ledger.retire(ALICE)
    new = await serve(store, BOB)

    await store.ledger.release(ALICE, [old])
    await store.ledger.release(BOB, [old])

    assert await settle(store, settlement(new, org), BOB)


# ── the fence ──


async def fenced(store: Store, org: OrganizationNo, lease: Lease, worker: WorkerId, now: int) -> None:
    """Assert that a settlement which finds everything there is to find stores nothing at all."""
    destination = await store.directory.destination(lease.destination_no)
    before = await store.directory.progress(destination), store.count("attempts")
    late = settlement(
        lease,
        org,
        3,
        health=Health(9, 9.0),
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
        retries=[RetryRow(3, 1, T0, DOWN)],
        dead=[DeadRow(2, 3, T0, DOWN)],
        delivered=2,
        failed_attempts=1,
    )

    assert not await settle(store, late, worker, now)
    assert (await store.directory.progress(destination), store.count("attempts")) == before
    assert (store.count("retries"), store.count("dead_letters")) == (0, 0)


async def test_an_old_epoch_settles_nothing(store, org):
    """A worker that got its destination back in the meantime cannot settle what it did under the lease before."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    old = await serve(store)
    await store.ledger.release(ALICE, [old])
    [again], _ = await store.ledger.claim(ALICE)

    await fenced(store, org, old, ALICE, T0 + 1)

    assert again.lease.epoch == old.epoch + 1
    assert await settle(store, settlement(again.lease, org, 3))


async def test_an_expired_worker_settles_nothing(store, org):
    """Once a lease is over nothing passes, although nobody has taken the destination yet."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)

    await fenced(store, org, lease, ALICE, T0 + LEASE_US)


async def test_another_worker_settles_nothing(store, org):
    """A lease is its owner's: another living worker cannot settle under it."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    await store.ledger.enlist(BOB, LEASE_US)

    await fenced(store, org, lease, BOB, T0 + 1)


async def test_a_retired_worker_settles_nothing(store, org):
    """Who has signed off has nothing more to say."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    await store.ledger.retire(ALICE)

    await fenced(store, org, lease, ALICE, T0 + 1)


async def test_a_lost_lease_leaves_the_others_settled(store, org):
    """Settlements stand for themselves: the one that is fenced off is named, the rest is stored."""
    await add_destination(store, org, 1)
    await add_destination(store, org, 2)
    await store.log.append(org, events(1, 3), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, two), _ = await store.ledger.claim(ALICE)
    stale = Lease(one.lease.destination_no, one.lease.epoch - 1)

    results = await store.ledger.settle(ALICE, [settlement(stale, org, 3), settlement(two.lease, org, 3)])
    (one, two), _ = await store.ledger.claim(ALICE)

    assert results == [None, Settled(0, 0)]
    assert (one.cursor, two.cursor) == (0, 3)


# ── settling ──


async def test_the_cursor_never_goes_back(store, org):
    """A settlement with a lower watermark leaves the cursor where it is, and counts what it found all the same."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 9), T0)
    lease = await serve(store)

    await settle(store, settlement(lease, org, 7, delivered=7))
    await settle(store, settlement(lease, org, 4, delivered=1))
    progress = await store.directory.progress(destination)

    assert (progress.cursor, progress.delivered) == (7, 8)


async def test_a_settlement_is_all_or_nothing(backend, store, org):
    """When the commit fails, neither cursor nor rows nor counts have moved, and the same settlement can be made again."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    found = settlement(
        lease,
        org,
        3,
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
        retries=[RetryRow(3, 1, T0, DOWN)],
        delivered=2,
        failed_attempts=1,
    )
    backend.fail_next_commit(store)

    with pytest.raises(Unavailable):
        await settle(store, found)
    before = await store.directory.progress(destination), store.count("attempts"), store.count("retries")
    await settle(store, found)
    after = await store.directory.progress(destination), store.count("attempts"), store.count("retries")

    assert (before[0].cursor, before[0].delivered, before[0].retrying, *before[1:]) == (0, 0, 0, 0, 0)
    assert (after[0].cursor, after[0].delivered, after[0].retrying, *after[1:]) == (3, 2, 1, 1, 1)


async def test_a_retry_lives_from_failure_to_outcome(store, org):
    """A failed event is due when it was said, has its attempts counted up, and is gone when delivered or dead."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    no = lease.destination_no

    await settle(
        store,
        settlement(
            lease,
            org,
            3,
            retries=[RetryRow(n, 1, Micros(T0 + n * 10), DOWN) for n in (1, 2, 3)],
            failed_attempts=3,
        ),
    )
    first_look = await store.ledger.due(no, Micros(T0 + 20), 10)
    await settle(
        store,
        settlement(
            lease,
            org,
            3,
            retries=[RetryRow(1, 2, Micros(T0 + 50), DOWN)],
            resolved=[2],
            failed_attempts=1,
            delivered=1,
        ),
    )
    await settle(
        store, settlement(lease, org, 3, dead=[DeadRow(3, 3, Micros(T0 + 60), POISON)], failed_attempts=1)
    )
    second_look = await store.ledger.due(no, Micros(T0 + 30), 10)
    state = await store.directory.retry_of(destination, 1)
    progress = await store.directory.progress(destination)

    assert first_look == (
        [DueRetry(n, 1, json.dumps({"event": {"id": f"e{n}"}}).encode()) for n in (1, 2)],
        T0 + 30,
    )
    assert second_look == ([], T0 + 50)
    assert state == (2, T0 + 50, 500, "answered 500")
    assert (progress.retrying, progress.dead_letters, progress.delivered, progress.failed_attempts) == (
        1,
        1,
        1,
        5,
    )
    assert (store.count("retries"), store.count("dead_letters")) == (1, 1)


async def test_due_retries_come_oldest_first_and_no_more_than_asked(store, org):
    """What has waited longest comes first; what lies beyond the limit is still there the next time."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 5), T0)
    lease = await serve(store)
    rows = [RetryRow(n, 1, Micros(T0 + 100 - n), None) for n in range(1, 6)]
    await settle(store, settlement(lease, org, 5, retries=rows))

    due, following = await store.ledger.due(lease.destination_no, Micros(T0 + 200), 2)

    assert [one.sequence for one in due] == [5, 4]
    assert following is None


async def test_settling_the_same_outcome_twice_counts_rows_once(store, org):
    """Counts of retries and dead letters follow the rows, so a repeated outcome moves neither."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 2), T0)
    lease = await serve(store)
    again = settlement(
        lease, org, 2, retries=[RetryRow(1, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)], resolved=[]
    )

    await settle(store, again)
    await settle(store, again)
    await settle(store, settlement(lease, org, 2, resolved=[1, 1, 2]))
    progress = await store.directory.progress(destination)

    assert (progress.retrying, progress.dead_letters) == (0, 1)
    assert (store.count("retries"), store.count("dead_letters")) == (0, 1)


async def test_attempts_are_kept_as_runs(store, org):
    """Alike successes stand in one row; an event's attempts are found within runs, newest first, by state."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 9), T0)
    lease = await serve(store)
    runs = [
        AttemptRun(1, 6, 1, "delivered", 202, None, 50, T0),
        AttemptRun(7, 7, 1, "failed", 500, "answered 500", 60, Micros(T0 + 1)),
        AttemptRun(7, 7, 2, "delivered", 202, None, 70, Micros(T0 + 2)),
    ]
    await settle(store, settlement(lease, org, 9, runs=runs, delivered=7, failed_attempts=1))
    everything = {"state": None, "sequence": None, "before": 2**60, "limit": 10}

    newest_first = await store.directory.attempts(destination, **everything)
    of_seven = await store.directory.attempts(destination, **everything | {"sequence": 7})
    of_three = await store.directory.attempts(destination, **everything | {"sequence": 3})
    of_eight = await store.directory.attempts(destination, **everything | {"sequence": 8})
    failed = await store.directory.attempts(destination, **everything | {"state": "failed"})
    page = await store.directory.attempts(
        destination, **everything | {"before": newest_first[0].attempt_no - 1, "limit": 1}
    )

    assert [AttemptRun(*one[1:]) for one in newest_first] == runs[::-1]
    assert [(one.attempt, one.state) for one in of_seven] == [(2, "delivered"), (1, "failed")]
    assert [(one.first, one.last) for one in of_three] == [(1, 6)]
    assert of_eight == []
    assert [one.message for one in failed] == ["answered 500"]
    assert page == newest_first[1:2]


async def test_a_long_explanation_is_cut(store, org):
    """A receiver's talk does not fill the store: explanations are stored up to a length."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 1), T0)
    lease = await serve(store)
    endless = Failure(FailureScope.DESTINATION, "x" * 5000, 500)

    await settle(
        store,
        settlement(
            lease, org, 1, dead=[DeadRow(1, 3, T0, endless)], health=Health(last_error_message="y" * 5000)
        ),
    )
    [letter] = await store.directory.dead_letters(destination, 0, 10)
    progress = await store.directory.progress(destination)

    assert letter.message == "x" * 1000
    assert progress.health.last_error_message == "y" * 1000


# ── dead letters ──


async def test_dead_letters_are_listed_in_log_order(store, org):
    """A dead letter says which event, after how many attempts, why, and when; a listing goes on after a sequence."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 4), T0)
    lease = await serve(store)
    await bury(store, org, lease, 4, 2)
    await bury(store, org, lease, 3, failure=POISON)

    letters = await store.directory.dead_letters(destination, 0, 10)
    one = await store.directory.dead_letter_of(destination, 3)

    assert [tuple(letter) for letter in letters] == [
        (2, "e2", 3, "destination", 500, "answered 500", T0),
        (3, "e3", 3, "event", 400, "answered 400", T0),
        (4, "e4", 3, "destination", 500, "answered 500", T0),
    ]
    assert await store.directory.dead_letters(destination, 2, 1) == letters[1:2]
    assert tuple(one) == (3, T0, 400, "answered 400")
    assert await store.directory.dead_letter_of(destination, 1) is None


async def test_redrive_makes_dead_letters_pending_at_once(store, org):
    """Redriven events are due now with no attempt used, the counts move over, and the worker can learn of it."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3)
    before = (await store.directory.destination(lease.destination_no)).revision

    some = await store.directory.redrive(destination, ["e2", "e5", "nobody"], Micros(T0 + 5))
    due_some, _ = await store.ledger.due(lease.destination_no, Micros(T0 + 5), 10)
    rest = await store.directory.redrive(destination, None, Micros(T0 + 6))
    due_all, _ = await store.ledger.due(lease.destination_no, Micros(T0 + 6), 10)
    progress = await store.directory.progress(destination)
    changes = await store.directory.changed_since(before)

    assert (some, rest) == (1, 2)
    assert [(one.sequence, one.attempts) for one in due_some] == [(2, 0)]
    assert {(one.sequence, one.attempts) for one in due_all} == {(1, 0), (2, 0), (3, 0)}
    assert (progress.retrying, progress.dead_letters) == (3, 0)
    assert [no for no, _ in changes] == [lease.destination_no]


async def test_automatic_redrive_takes_what_is_about_the_destination(store, org):
    """A recovery makes dead letters pending that died of the destination by then: not the poisonous, not the younger."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1)
    await bury(store, org, lease, 2, failure=POISON)
    await settle(store, settlement(lease, org, 3, dead=[DeadRow(3, 3, Micros(T0 + 10), DOWN)]))

    await settle(store, settlement(lease, org, 3, redrive_died_by=Micros(T0 + 9)), now=T0 + 11)
    left = [one.sequence for one in await store.directory.dead_letters(destination, 0, 10)]
    progress = await store.directory.progress(destination)

    assert left == [2, 3]
    assert (progress.retrying, progress.dead_letters) == (1, 2)


async def test_one_settlement_redrives_a_bounded_number(store, org):
    """However many dead letters a recovery finds, one transaction moves only so many; a person's redrive moves all."""
    destination = await add_destination(store, org)
    count = 2 * AUTO_REDRIVE_MAX + 5
    await store.log.append(org, events(1, count), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, count + 1))

    await settle(store, settlement(lease, org, count, redrive_died_by=T0))
    automatic = await store.directory.progress(destination)
    by_hand = await store.directory.redrive(destination, None, T0)
    progress = await store.directory.progress(destination)

    assert (automatic.retrying, automatic.dead_letters) == (AUTO_REDRIVE_MAX, AUTO_REDRIVE_MAX + 5)
    assert by_hand == AUTO_REDRIVE_MAX + 5
    assert (progress.retrying, progress.dead_letters) == (count, 0)


async def test_redriving_an_event_that_a_replay_retries_keeps_one_row(store, org):
    """An event can be a dead letter and in retries at once, by a replay; redriven it is one retry with all its attempts."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 1), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1)
    await settle(store, settlement(lease, org, 1, retries=[RetryRow(1, 2, Micros(T0 + 99), DOWN)]))

    await store.directory.redrive(destination, None, Micros(T0 + 5))
    due, _ = await store.ledger.due(lease.destination_no, Micros(T0 + 5), 10)
    progress = await store.directory.progress(destination)

    assert [(one.sequence, one.attempts) for one in due] == [(1, 0)]
    assert progress.dead_letters == store.count("dead_letters") == 0
    assert progress.retrying == store.count("retries") == 1


async def test_purged_dead_letters_are_gone(store, org):
    """Dead letters can be thrown away one by one or all, and the count says so."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3)

    one = await store.directory.purge(destination, "e2")
    none = await store.directory.purge(destination, "e2")
    rest = await store.directory.purge(destination, None)

    assert (one, none, rest) == (1, 0, 2)
    assert (await store.directory.progress(destination)).dead_letters == store.count("dead_letters") == 0


# ── replays ──


async def test_a_replay_moves_on_and_ends(store, org):
    """A replay keeps its own cursor, which never goes back, and is over when it reaches its end."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 9), T0)
    lease = await serve(store)
    no, replay = lease.destination_no, ReplayId("rpl_1")
    await store.directory.add_replay(destination, replay, 3, 7, T0)

    at_start = (await store.ledger.outstanding(no)).replays
    await settle(store, settlement(lease, org, replays=[(replay, 5)]))
    await settle(store, settlement(lease, org, replays=[(replay, 4)]))
    half_way = (await store.ledger.outstanding(no)).replays
    covering = [await store.directory.replay_cursor(destination, sequence) for sequence in (2, 3, 7, 8)]
    await settle(store, settlement(lease, org, replays=[(replay, 7)]), now=T0 + 9)
    [row] = await store.directory.replays_of(destination, "~", 10)

    assert at_start == [ReplayRange(replay, 3, 2, 7)]
    assert half_way == [ReplayRange(replay, 3, 5, 7)]
    assert covering == [None, 5, 5, None]
    assert (await store.ledger.outstanding(no)).replays == []
    assert tuple(row) == (replay, 3, 7, 7, T0, T0 + 9)


async def test_replays_are_listed_newest_first(store, org):
    """A listing begins with the newest replay, running or over, and goes on before the last one that was shown."""
    destination = await add_destination(store, org)
    for number in range(1, 6):
        await store.directory.add_replay(destination, ReplayId(f"rpl_{number}"), 1, 1, Micros(T0 + number))

    first = await store.directory.replays_of(destination, "~", 3)
    rest = await store.directory.replays_of(destination, first[-1].replay_id, 3)

    assert [one.replay_id for one in [*first, *rest]] == [f"rpl_{number}" for number in (5, 4, 3, 2, 1)]


async def test_a_cancelled_replay_stays_where_it_is(store, org):
    """Cancelling ends a replay once; what is over or unknown cannot be cancelled."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 9), T0)
    await store.directory.add_replay(destination, ReplayId("rpl_1"), 1, 9, T0)

    await store.directory.cancel_replay(destination, "rpl_1", Micros(T0 + 1))

    assert (await store.ledger.outstanding(destination.no)).replays == []
    for replay_id in ("rpl_1", "rpl_2"):
        with pytest.raises(NotFound):
            await store.directory.cancel_replay(destination, replay_id, Micros(T0 + 2))


async def test_a_bounded_number_of_replays_run_beside_each_other(store, org):
    """The oldest replays run, the others wait for their turn."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 1), T0)
    for number in range(OPEN_REPLAYS_MAX + 2):
        await store.directory.add_replay(destination, ReplayId(f"rpl_{number:02}"), 1, 1, Micros(T0 + number))

    running = (await store.ledger.outstanding(destination.no)).replays

    assert [one.replay_id for one in running] == [f"rpl_{number:02}" for number in range(OPEN_REPLAYS_MAX)]


# ── the directory ──


async def test_changes_of_destinations_come_in_order(store, org):
    """A worker that knows a revision learns of everything changed after it, the deleted too, each with its newest revision."""
    one, two = await add_destination(store, org, 1), await add_destination(store, org, 2)
    [*_, (_, known)] = await store.directory.changed_since(0)

    await store.directory.change_destination(org, two.dst_id, lambda spec: replace(spec, enabled=False), T0)
    await store.directory.delete_destination(org, one.dst_id, T0)
    changes = await store.directory.changed_since(known)

    assert [no for no, _ in changes] == [two.no, one.no]
    assert [revision for _, revision in changes] == sorted({revision for _, revision in changes})
    assert await store.directory.destination(one.no) is None
    assert not (await store.directory.destination(two.no)).spec.enabled


async def test_a_destination_is_read_as_it_was_written(store, org):
    """Every field of a destination comes back, the secret ones too."""
    spec = DestinationSpec(
        url="https://sink.example.com/in/s3cr3t?x=ü",
        auth_header_name="X-Key",
        auth_header_value="välue",
        name="Größe",
        format="json",
        filter=Filter(("a", "b"), ("BLOCKED",)),
        ca_certificate="-----BEGIN…",
        compression="gzip",
        headers=(("X-B", "zweiter Wert: ü"), ("X-A", "first")),
        oauth2=OAuth2("https://login.example.com/token", "client", "s3cr3t ü", "a b"),
    )

    made = await store.directory.add_destination(org, DestinationId("dst_x"), spec, T0, 10)

    assert made.spec == spec
    assert (await store.directory.destination_of(org, "dst_x")) == made
    assert await store.directory.destinations_of(org, 0, 10) == [made]


async def test_a_change_of_configuration_ends_the_pause_after_failures(store, org):
    """Whoever corrects a destination sees the next attempt at once; pausing alone corrects nothing."""
    destination = await add_destination(store, org)
    lease = await serve(store)
    await settle(store, settlement(lease, org, health=Health(failures_in_row=7)))

    await store.directory.change_destination(
        org, destination.dst_id, lambda spec: replace(spec, enabled=False), T0
    )
    paused = (await store.directory.progress(destination)).health.failures_in_row
    await store.directory.change_destination(
        org, destination.dst_id, lambda spec: replace(spec, name="new"), T0
    )
    corrected = (await store.directory.progress(destination)).health.failures_in_row

    assert (paused, corrected) == (7, 0)


async def test_an_organizations_destinations_are_limited(store, org):
    """The limit stops the next one and says so."""
    await add_destination(store, org, 1)

    with pytest.raises(Conflict, match="1 destinations"):
        await store.directory.add_destination(
            org, DestinationId("dst_2"), DestinationSpec(url="https://a"), T0, 1
        )


async def test_keys_end_when_they_are_told_to(store, org):
    """A key is found by its digest until it is deleted; an earlier end is never put off."""
    key = ApiKey(
        "key_1", org, OrganizationId("org_a"), "k", KeyScope.READ, b"d" * 32, "abcd", T0, Micros(T0 + 5)
    )
    await store.db.write(lambda db: keys.add(db, key))

    await store.db.write(lambda db: keys.expire(db, key, Micros(T0 + 9)))
    put_off = await store.directory.key_by_digest(b"d" * 32)
    await store.db.write(lambda db: keys.expire(db, key, Micros(T0 + 2)))
    [listed] = await store.directory.keys_of(org, "", 10)
    await store.db.write(lambda db: keys.delete(db, key))

    assert (put_off.expires_at, listed.expires_at) == (T0 + 5, T0 + 2)
    assert await store.directory.key_by_digest(b"d" * 32) is None


async def test_secrets_are_nowhere_in_the_store_in_plain(backend, store, org):
    """Neither a credential nor a header nor a client nor a URL's tail can be read from any file of the store: made, changed, or deleted."""
    planted = ["Bearer c4n4ry-first", "Bearer c4n4ry-second", "s3cr3t-t41l-first", "s3cr3t-t41l-second"]
    planted += ["h34d3r-first", "h34d3r-second", "cl13nt-first", "cl13nt-second"]
    made = await add_destination(
        store,
        org,
        url=f"https://sink.example.com/in/{planted[2]}",
        auth_header_name="Authorization",
        auth_header_value=planted[0],
        headers=(("X-Key", planted[4]),),
        oauth2=OAuth2("https://login.example.com/token", "client", planted[6]),
    )
    await store.directory.change_destination(
        org,
        made.dst_id,
        lambda spec: replace(
            spec,
            url=f"https://sink.example.com/in/{planted[3]}",
            auth_header_value=planted[1],
            headers=(("X-Key", planted[5]),),
            oauth2=OAuth2("https://login.example.com/token", "client", planted[7]),
        ),
        T0,
    )
    before = backend.raw()
    await store.directory.delete_destination(org, made.dst_id, T0)
    files = before + backend.raw()

    assert b"Authorization" in files, "the files were looked at where they are written"
    assert [
        secret for secret in planted if secret.encode() in files or secret.encode("utf-16-le") in files
    ] == []


# ── retention ──


OLD, HORIZON, NEW = T0, Micros(T0 + 1), Micros(T0 + 2)


async def sweep(store: Store, horizon: Micros = HORIZON) -> list[int]:
    """Take all steps of retention there are; return how many rows each removed."""
    steps = []
    while removed := await store.retention.step(horizon):
        steps.append(removed)
        assert len(steps) < 1000
    return steps


async def test_old_events_go_in_chunks(store, org):
    """Events beyond their time go, no step removes more than a chunk, and newer ones stay."""
    await store.log.append(org, events(1, 2 * CHUNK + 500), OLD)
    await store.log.append(org, events(9001, 10), NEW)

    steps = await sweep(store)
    _, oldest = await store.directory.organization("org_a")

    assert sum(steps) == 2 * CHUNK + 500
    assert max(steps) <= CHUNK
    assert list(await stored(store, org)) == list(range(2 * CHUNK + 501, 2 * CHUNK + 511))
    assert oldest == 2 * CHUNK + 501


async def test_a_removed_log_goes_on_where_it_was(store, org):
    """When every event has gone, the next one still has the next sequence, and an id that has gone is new again."""
    await store.log.append(org, events(1, 5), OLD)
    await sweep(store)

    appended = await store.log.append(org, events(1, 1), NEW)

    assert appended == Appended(6, 1, 6)


async def test_what_a_cursor_still_needs_stays(store, org):
    """Not an event goes that the slowest destination has still to send; when it has, they go."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 1500), OLD)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1200))

    await sweep(store)
    held = await stored(store, org)
    await settle(store, settlement(lease, org, 1500))
    await sweep(store)

    assert list(held) == list(range(1201, 1501))
    assert await stored(store, org) == {}


async def test_what_a_replay_still_needs_stays(store, org):
    """A replay under way holds its range; once it is over, the range goes."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 100), OLD)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 100))
    await store.directory.add_replay(destination, ReplayId("rpl_1"), 41, 60, T0)

    await sweep(store)
    held = await stored(store, org)
    await settle(store, settlement(lease, org, 100, replays=[(ReplayId("rpl_1"), 60)]))
    await sweep(store)

    assert list(held) == list(range(41, 101))
    assert await stored(store, org) == {}


async def test_what_retries_and_dead_letters_stand_on_stays(store, org):
    """The event of a retry or dead letter outlives its neighbours, so that it can be sent; afterwards it goes as well."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 50), OLD)
    lease = await serve(store)
    await settle(
        store,
        settlement(lease, org, 50, retries=[RetryRow(10, 1, T0, DOWN)], dead=[DeadRow(20, 3, T0, DOWN)]),
    )

    await sweep(store)
    held = await stored(store, org)
    due, _ = await store.ledger.due(lease.destination_no, T0, 10)
    await settle(store, settlement(lease, org, 50, resolved=[10]))
    await store.directory.purge(destination, None)
    await store.log.append(org, events(51, 5), OLD)
    await settle(store, settlement(lease, org, 55))
    await sweep(store)

    assert held == {10: "e10", 20: "e20"}
    assert [one.sequence for one in due] == [10]
    assert await stored(store, org) == {}


async def test_organizations_whose_log_is_held_do_not_keep_others_from_being_swept(store, org):
    """However many logs wait for a slow destination, the old events of the others go all the same."""
    await add_destination(store, org)
    held = [org] + [
        await add_organization(store, f"org_{number}") for number in range(ORGANIZATIONS_PER_SWEEP)
    ]
    for one in held[1:]:
        await add_destination(store, one)
    free = await add_organization(store, "org_free")
    for one in (*held, free):
        await store.log.append(one, events(1, 1), OLD)

    await sweep(store)

    assert await stored(store, held[0]) == {1: "e1"}
    assert await stored(store, free) == {}


async def test_old_attempts_go(store, org):
    """The attempt log forgets what is beyond its time, in chunks, and keeps the rest."""
    destination = await add_destination(store, org)
    lease = await serve(store)
    runs = [AttemptRun(n, n, 1, "delivered", 202, None, 1, OLD) for n in range(CHUNK + 10)]
    await settle(store, settlement(lease, org, runs=[*runs, runs[0]._replace(at=NEW)]))

    steps = await sweep(store)
    left = await store.directory.attempts(destination, state=None, sequence=None, before=2**60, limit=10)

    assert steps == [CHUNK, 10]
    assert [one.at for one in left] == [NEW]


async def test_a_deleted_destination_leaves_nothing_behind(store, org):
    """Its worker can settle nothing any more, people do not find it, and bit by bit all of its rows go; others' stay."""
    gone, other = await add_destination(store, org, 1), await add_destination(store, org, 2)
    await store.log.append(org, events(1, 3), NEW)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, two), _ = await store.ledger.claim(ALICE)
    runs = [AttemptRun(n, n, 1, "delivered", 202, None, 1, NEW) for n in range(CHUNK + 10)]
    for claimed in (one, two):
        found = settlement(
            claimed.lease, org, 3, runs=runs[: CHUNK + 10 if claimed is one else 1],
            retries=[RetryRow(1, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)],
        )  # fmt: skip
        assert await settle(store, found)
    await store.directory.add_replay(gone, ReplayId("rpl_1"), 1, 3, T0)

    await store.directory.delete_destination(org, gone.dst_id, T0)
    passed = await settle(store, settlement(one.lease, org, 3))
    served, _ = await store.ledger.claim(ALICE)
    steps = await sweep(store)

    assert not passed
    assert [claimed.lease for claimed in served] == [two.lease]
    with pytest.raises(NotFound):
        await store.directory.destination_of(org, gone.dst_id)
    assert max(steps) <= CHUNK + 10
    tables = ("destinations", "cursors", "retries", "dead_letters", "attempts", "replays")
    assert [store.count(table) for table in tables] == [1, 1, 1, 1, 1, 0]
    assert (await store.directory.progress(other)).retrying == 1


# ── clocks that are wrong ──


MINUTE_US, DAY_US = 60 * SECOND, 86_400 * SECOND
YEAR_US = 365 * DAY_US


async def test_retention_s_clock_follows_the_wall_clock_only_as_fast_as_time_passes(store, org):
    """A wall clock a year ahead, or a year back, moves it by the time that passed and a tenth, and no further."""
    await store.ledger.enlist(ALICE, YEAR_US)
    start = await store.retention.advance(ALICE, T0, 0)

    right = await store.retention.advance(ALICE, Micros(T0 + MINUTE_US), MINUTE_US)
    ahead = await store.retention.advance(ALICE, Micros(T0 + YEAR_US), MINUTE_US)
    back = await store.retention.advance(ALICE, Micros(T0 - YEAR_US), MINUTE_US)

    assert (start, right) == (T0, T0 + MINUTE_US)
    assert ahead == right + MINUTE_US * 11 // 10
    assert back == right


async def test_one_worker_keeps_retention_s_clock(backend, store):
    """While that worker is registered another one moves nothing; afterwards it goes on where the clock stands."""
    other = backend.open()
    await store.ledger.enlist(ALICE, LEASE_US)
    await store.retention.advance(ALICE, T0, 0)

    kept = await other.retention.advance(BOB, Micros(T0 + DAY_US), DAY_US)
    await store.ledger.retire(ALICE)
    taken = await other.retention.advance(BOB, Micros(T0 + DAY_US), DAY_US)
    moved = await other.retention.advance(BOB, Micros(T0 + DAY_US), MINUTE_US)

    assert (kept, taken) == (None, T0), "what passed while another kept it is counted by that one alone"
    assert moved == T0 + MINUTE_US * 11 // 10


async def test_retention_s_clock_begins_no_later_than_the_newest_event(store, org):
    """A wall clock that is ahead at the first start finds events that were recorded before, and does not outrun them."""
    await store.log.append(org, events(1, 1), T0)

    assert await store.retention.advance(ALICE, Micros(T0 + YEAR_US), 0) == T0


async def clock_that_was_ahead(store: Store, org: OrganizationNo) -> None:
    """Record 1 to 5 at the right time, 6 to 10 with the clock a year ahead, 11 to 15 a minute after the first."""
    await store.retention.advance(ALICE, T0, 0)
    for first, at in ((1, T0), (6, T0 + YEAR_US), (11, T0 + MINUTE_US)):
        await store.log.append(org, events(first, 5), Micros(at))


async def test_events_get_the_right_time_when_the_clock_is_right_again(store, org):
    """After a clock that was a year ahead the next event has the time of the clock, not that of the event before."""
    await clock_that_was_ahead(store, org)
    await store.log.append(org, [event("e1"), event("e16")], Micros(T0 + 2 * MINUTE_US))

    times = [one.received_at - T0 for one in await store.log.entries(org, 0, 99, 99)]

    assert times == [0] * 5 + [YEAR_US] * 5 + [MINUTE_US] * 5 + [2 * MINUTE_US]


async def test_times_do_not_go_back_with_a_clock_that_is_wrong_now(store, org):
    """A clock a year back gives events the time of the one before: only retention's clock can confirm that it is right."""
    await store.retention.advance(ALICE, T0, 0)
    await store.log.append(org, events(1, 1), T0)
    await store.log.append(org, events(2, 1), Micros(T0 - YEAR_US))

    assert [one.received_at for one in await store.log.entries(org, 0, 9, 9)] == [T0, T0]


async def test_a_range_by_time_holds_all_events_of_that_time(store, org):
    """Where times go back, a range by time is the smallest range of the log that misses none."""
    await clock_that_was_ahead(store, org)

    async def by_time(since: int, until: int) -> tuple[int, int]:
        first = await store.log.sequence_at(org, Micros(T0 + since), 1, 15)
        return first, await store.log.last_until(org, Micros(T0 + until), 1, 15)

    assert await by_time(0, 0) == (1, 5)
    assert await by_time(0, MINUTE_US) == (1, 15)
    assert await by_time(1, MINUTE_US) == (6, 15)
    assert await by_time(1, MINUTE_US - 1) == (6, 5), "none"
    assert await by_time(2 * MINUTE_US, YEAR_US) == (6, 15)
    assert await by_time(YEAR_US + 1, 2 * YEAR_US) == (16, 15), "none"


async def test_events_of_a_clock_that_was_ahead_go_with_those_around_them(store, org):
    """An event is over its time when a later one is: a wrong time keeps neither itself nor what follows."""
    await clock_that_was_ahead(store, org)

    removed = [sum(await sweep(store, Micros(T0 + after))) for after in (1, MINUTE_US, MINUTE_US + 1)]
    _, oldest = await store.directory.organization("org_a")
    await store.log.append(org, events(16, 1), Micros(T0 + 2 * MINUTE_US))

    assert removed == [5, 0, 10]
    assert oldest == 16
    assert store.count("clock_steps") == 0
    assert list(await stored(store, org)) == [16]


# ── several writers ──


async def test_a_unit_of_work_that_runs_twice_is_stored_once(backend, store, org):
    """A database may run a unit of work again: it takes nothing from its caller, so that the second run finds the same."""
    other = await add_organization(store, "org_b")
    twice = backend.open(RunsTwice)
    destination = await add_destination(twice, org)

    appended = await asyncio.gather(
        twice.log.append(org, events(1, 3), T0),
        twice.log.append(other, events(1, 2), T0),
        twice.log.append(org, [event("e1"), event("e4")], T0),
    )
    lease = await serve(twice)
    found = settlement(
        lease, org, 4, delivered=2, retries=[RetryRow(3, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)]
    )
    [counts] = await twice.ledger.settle(ALICE, [found])
    redriven = await twice.directory.redrive(destination, None, T0)
    progress = await store.directory.progress(destination)

    assert [one.added for one in appended] == [3, 2, 1]
    assert list((await stored(store, org)).values()) == ["e1", "e2", "e3", "e4"]
    assert list((await stored(store, other)).values()) == ["e1", "e2"]
    assert (lease.epoch, counts, redriven) == (1, Settled(1, 1), 1)
    assert (progress.delivered, progress.retrying, progress.dead_letters) == (2, 2, 0)


async def test_a_settlement_that_is_repeated_counts_once(store, org):
    """Whoever does not know whether a settlement was stored repeats it, and is told the counts; nothing is counted twice."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    found = settlement(
        lease, org, 3, delivered=2, failed_attempts=1, retries=[RetryRow(3, 1, T0, DOWN)],
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
    )  # fmt: skip

    results = [await store.ledger.settle(ALICE, [found]) for _ in range(3)]
    later = await store.ledger.settle(ALICE, [settlement(lease, org, 3, resolved=[3], delivered=1)])
    stale = await store.ledger.settle(ALICE, [found])
    progress = await store.directory.progress(destination)

    assert results == [[Settled(1, 0)]] * 3
    assert (later, stale) == ([Settled(0, 0)], [Settled(0, 0)])
    assert (progress.delivered, progress.failed_attempts, progress.retrying) == (3, 1, 0)
    assert store.count("attempts") == 1


async def test_settlements_are_numbered_anew_under_each_lease(store, org):
    """A worker that takes a destination over begins with any number, whatever the one before had come to."""
    destination = await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1, delivered=1, number=1000))
    await store.ledger.retire(ALICE)
    taken = await serve(store, BOB)

    await settle(store, settlement(taken, org, 2, delivered=1, number=1), BOB)

    assert (await store.directory.progress(destination)).delivered == 2


async def test_a_settlement_s_leases_are_judged_under_the_locks_of_all_its_cursors(store, backend, org):
    """Cursor rows are locked in ascending order, whatever the order of the settlements, and before anything is written."""
    other = await add_organization(store, "org_b")
    for organization, number in ((other, 1), (org, 1), (org, 2)):
        await add_destination(store, organization, number)
    watched = backend.open(Watched)
    await watched.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await watched.ledger.claim(ALICE)
    watched.db.calls.clear()
    watched.db.lanes.clear()
    found = [settlement(one.lease, one.organization_no) for one in claimed]

    await watched.ledger.settle(ALICE, found)
    names = [name for name, _ in watched.db.calls]
    order = sorted(claimed, key=lambda one: (one.organization_no, one.lease.destination_no))

    assert [one.organization_no for one in claimed] != [one.organization_no for one in order]
    assert watched.db.lanes == [Lane.SETTLEMENT]
    assert names == ["lock_cursor"] * 3 + ["settle_cursor"] * 3
    assert [values for name, values in watched.db.calls if name == "lock_cursor"] == [
        one.lease.destination_no for one in order
    ]


async def test_a_takeover_waits_for_a_settlement_that_is_being_committed(backend, store, org):
    """A lease that was judged good stays good until the commit: whoever takes over afterwards finds what was settled."""
    await add_destination(store, org)
    await store.log.append(org, events(1, 3), T0)
    lease = await serve(store)
    other = backend.open()

    with backend.stall_before_commit(store) as stall:
        settling = asyncio.ensure_future(store.ledger.settle(ALICE, [settlement(lease, org, 3, delivered=3)]))
        assert await asyncio.to_thread(stall.reached.wait, 10)
        store.clock.at += LEASE_US  # Alice's time is over
        taking = asyncio.ensure_future(enlist_and_claim(other, BOB))
        await asyncio.wait([taking], timeout=0.05)
        early = taking.done()
    [counts] = await settling
    [taken] = await taking

    assert not early
    assert counts is not None
    assert (taken.cursor, taken.lease.epoch) == (3, lease.epoch + 1)
    assert not await settle(store, settlement(lease, org, 3), now=store.clock.at)


async def enlist_and_claim(store: Store, worker: WorkerId) -> list[Claimed]:
    """Register a worker and claim what is free."""
    await store.ledger.enlist(worker, LEASE_US)
    claimed, _ = await store.ledger.claim(worker)
    return claimed


async def test_two_workers_that_claim_at_once_share_what_is_there(backend, store, org):
    """Of two claims at the same moment none takes a destination from the other, and none is left out."""
    other = backend.open()
    for number in range(8):
        await add_destination(store, org, number)
    await store.ledger.enlist(ALICE, LEASE_US)
    await other.ledger.enlist(BOB, LEASE_US)

    (alice, _), (bob, _) = await asyncio.gather(store.ledger.claim(ALICE), other.ledger.claim(BOB))

    held = [one.lease.destination_no for one in (*alice, *bob)]
    assert (len(alice), len(bob), len(set(held))) == (4, 4, 8)
    assert {one.lease.epoch for one in (*alice, *bob)} == {1}


async def test_appends_lock_organizations_in_ascending_order(backend, store, org):
    """However the requests of one moment are ordered, the heads of their organizations are locked in one order."""
    organizations = [org, *[await add_organization(store, f"org_{number}") for number in range(3)]]
    watched = backend.open(Watched)

    await asyncio.gather(*[watched.log.append(one, events(1, 1), T0) for one in reversed(organizations)])

    assert watched.db.lanes == [Lane.APPEND]
    assert [value for name, value in watched.db.calls if name == "append"] == organizations


async def test_two_writers_that_append_to_the_same_organizations_never_lock_each_other_out(
    backend, store, org
):
    """Two processes that append to two organizations in opposite order, again and again, both end, and leave no hole."""
    other, second = backend.open(), await add_organization(store, "org_b")

    async def write(one: Store, name: str, organizations: list[OrganizationNo]) -> None:
        for turn in range(20):
            await asyncio.gather(*[one.log.append(no, [event(f"{name}-{turn}")], T0) for no in organizations])

    await asyncio.gather(write(store, "a", [org, second]), write(other, "b", [second, org]))

    for no in (org, second):
        assert list(await stored(store, no)) == list(range(1, 41))


async def test_administration_runs_in_the_control_lane(backend, store, org):
    """What is neither append nor settlement runs one at a time, on all nodes: destinations, keys, leases, retention."""
    watched = backend.open(Watched)
    destination = await add_destination(watched, org)
    await serve(watched)
    await watched.directory.redrive(destination, None, T0)
    await watched.directory.add_replay(destination, ReplayId("rpl_1"), 1, 1, T0)
    await watched.retention.advance(ALICE, T0, 0)
    await watched.retention.step(T0)
    await watched.ledger.retire(ALICE)

    assert set(watched.db.lanes) == {Lane.CONTROL}


async def test_leases_are_judged_by_the_store_s_clock(store, org):
    """A worker says how long its lease is, not until when: its own clock plays no part."""
    await add_destination(store, org)
    lease = await serve(store, now=T0)
    store.clock.at = T0 + LEASE_US - 1
    last_moment = await settle(store, settlement(lease, org), now=store.clock.at)
    renewed = await store.ledger.renew(ALICE, LEASE_US)
    store.clock.at += LEASE_US - 1
    prolonged = await settle(store, settlement(lease, org), now=store.clock.at)
    over = await settle(store, settlement(lease, org), now=store.clock.at + 1)

    assert (last_moment, renewed, prolonged, over) == (True, True, True, False)


# ── totals ──


async def test_totals_are_sums_of_counters(store, org):
    """What metrics tell is the sum over all destinations: delivered, failed, retrying, dead, backlog, failing."""
    await add_destination(store, org, 1)
    await add_destination(store, org, 2)
    await store.log.append(org, events(1, 10), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, _), _ = await store.ledger.claim(ALICE)
    found = settlement(
        one.lease, org, 4, delivered=2, failed_attempts=5, health=Health(failures_in_row=1),
        retries=[RetryRow(3, 1, T0, DOWN)], dead=[DeadRow(4, 3, T0, DOWN)],
    )  # fmt: skip
    await settle(store, found)

    assert await store.directory.totals() == (2, 2, 5, 1, 1, 6 + 10, 1, 0)
