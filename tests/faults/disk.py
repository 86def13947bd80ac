"""The disk of one process, while each single call to the file system fails in turn.

A short life of a database (start, append, settle, checkpoint) is repeated, and each time another call fails: the first, the second,
and so on to the last. Whatever fails, nothing is acknowledged that is not stored, and the next calls succeed without help.
"""

import contextlib
import errno
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from aegis_stream.domain.delivery import Lease
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import WorkerId
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.pages import read_page
from aegis_stream.store.retention import Retention
from aegis_stream.store.sqlite import checkpoint, database
from aegis_stream.store.sqlite.connect import PAGE_BYTES
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from faults.frame import Fault, Run
from support.clock import SteadyClock
from support.directory import Directory
from support.disk_faults import DiskFaults, faulty_disk
from support.simulation import SeededRandom
from support.sql import raw
from support.stores import (
    ALICE,
    LEASE_US,
    T0,
    Store,
    add_destination,
    add_organization,
    append_to,
    event,
    settle,
    settlement,
)

BATCHES, BATCH = 6, 5
AFTER_BATCHES = 3
"""Batches after the fault: the first of them may still fail, the others must not."""
WAYS = {
    "one call": {"times": 1},
    "three calls in a row": {"times": 3},
    "all from there on": {"times": 0},
    "one call, and a write stores a part": {"times": 1, "short": True},
}
CODES = {"store-full", "store-unwritable", "store-unreadable"}


def open_store(folder: Path, *, threads: bool = False) -> Store:
    """Open the store of a folder. Raises: Misconfigured, Unavailable."""
    clock = SteadyClock()
    db = SqliteDatabase(folder / "aegis.db", clock, threads=threads)
    try:
        db.migrate()
    except BaseException:
        db.close()
        raise
    directory = Directory(db, Vault(GivenKeys((MasterKey(b"k" * 32),)), SeededRandom(1)))
    return Store(db, StoredLog(db), StoredLedger(db), directory, Retention(db), clock)


@dataclass
class Life:
    """One life of a database: what was acknowledged, and what was wrong.

    Args:
        folder: with a database as `prepare` leaves it.
        threads: with the threads of a real process: the writer and the one that copies the log.
    """

    folder: Path
    threads: bool = False
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    restarts: int = 0
    worker: WorkerId = ALICE
    problems: list[str] = field(default_factory=list)

    async def run(self, disk: DiskFaults) -> None:
        """Live through the fault that `disk` has, and on after it."""
        store = self._start(disk)
        try:
            lease = await self._serve(store)
            for number in range(BATCHES):
                await self._append(store, number)
            disk.stop()
            await self._go_on(store, lease)
        finally:
            disk.stop()
            store.db.close()
        self._check()

    async def _go_on(self, store: Store, lease: Lease | None) -> None:
        """Expect everything to succeed after the fault: new batches, refused ones with the same ids, a settlement."""
        during = list(self.refused)
        for number in (*range(BATCHES, BATCHES + AFTER_BATCHES), *during):
            await self._append(store, number)
        if self.refused != during:
            self.problems.append("a batch was refused after the fault")
        if store.db.write_fault() is not None:
            self.problems.append("the store still says that it takes no writes")
        if lease is None:
            store.clock.at += LEASE_US + 1  # what was claimed under the name before is free again
            lease = await self._serve(store)
        head = self._head(store)
        if lease is None or not await settle(store, settlement(lease, 1, head), self.worker, store.clock.at):
            self.problems.append("nothing can be settled after the fault")

    def _start(self, disk: DiskFaults) -> Store:
        """Start; a start that fails is tried again, once the fault is over."""
        try:
            return open_store(self.folder, threads=self.threads)
        except (Misconfigured, Unavailable):
            self.restarts += 1
            disk.stop()
            return open_store(self.folder, threads=self.threads)

    async def _serve(self, store: Store) -> Lease | None:
        """Claim the destination under a new name, as a worker does; None when the store refuses."""
        self.worker = WorkerId(f"wrk_{store.clock.at}")
        try:
            await store.ledger.enlist(self.worker, LEASE_US)
            claimed, _ = await store.ledger.claim(self.worker)
        except Unavailable as error:
            self._judge(error)
            return None
        return claimed[0].lease if claimed else None

    async def _append(self, store: Store, number: int) -> None:
        batch = [_event(number, at) for at in range(BATCH)]
        try:
            await append_to(store.log, 1, batch, T0)
        except Unavailable as error:
            self._judge(error)
            self.refused.append(number)
            return
        self.acknowledged |= {one.event_id: one.body.encode() for one in batch}

    def _judge(self, error: Unavailable) -> None:
        if error.code not in CODES:
            self.problems.append(f"refused with the code {error.code}: {error.message}")

    @staticmethod
    def _head(store: Store) -> int:
        return store.db.read_now(lambda unit: unit.row("head_of", (1,)))[0]

    def _check(self) -> None:
        """Open the database anew and look whether everything acknowledged is there, unchanged and without gaps."""
        store = open_store(self.folder)
        try:
            if store.db.read_now(lambda unit: raw(unit).rows("PRAGMA integrity_check")) != [("ok",)]:
                self.problems.append("the database is damaged")
            head = self._head(store)
            ids = store.db.read_now(
                lambda unit: raw(unit).rows("SELECT sequence, event_id FROM events ORDER BY sequence")
            )
            bodies: list[bytes] = []
            while len(bodies) < head:
                span = (len(bodies) + 1, head)
                page = store.db.read_now(lambda unit, s=span: read_page(unit, 1, s, 1 << 20, labels=False))
                bodies += page.bodies
        finally:
            store.db.close()
        if [sequence for sequence, _ in ids] != list(range(1, head + 1)):
            self.problems.append("the log has gaps")
        stored = {event_id: body for (_, event_id), body in zip(ids, bodies, strict=True)}
        lost = [one for one in self.acknowledged if one not in stored]
        wrong = [one for one, body in self.acknowledged.items() if stored.get(one, body) != body]
        if lost or wrong:
            self.problems.append(f"{len(lost)} acknowledged events are lost, {len(wrong)} have other bytes")


def _event(batch: int, at: int) -> NewEvent:
    event_id = f"e{batch}-{at}"
    return event(event_id, json.dumps({"event": {"id": event_id}, "text": "x" * (40 << (batch + at))}))


async def prepare(folder: Path) -> None:
    """Make a database with an organization and a destination, and close it."""
    folder.mkdir()
    store = open_store(folder)
    no = await add_organization(store, "org_a")
    await add_destination(store, no)
    store.db.close()


async def live(prepared: Path, folder: Path, disk: DiskFaults, *, threads: bool = False) -> Life:
    """Live once on a copy of a prepared database."""
    shutil.copytree(prepared, folder)
    life = Life(folder, threads)
    await life.run(disk)
    shutil.rmtree(folder)
    return life


# ── the fault ──


@contextlib.contextmanager
def _frequent_checkpoints() -> Iterator[None]:
    """Copy the log after a few commits: only then the database file itself is written."""
    with (
        mock.patch.object(database, "AUTOCHECKPOINT_PAGES", 10),
        mock.patch.object(checkpoint, "WAL_BYTES_MAX", 10 * PAGE_BYTES),
    ):
        yield


async def play_call(run: Run) -> None:
    """Let another call to the disk fail in each round: of all calls of a life, in an order by chance, in each way."""
    disk = DiskFaults()
    memory = Path("/dev/shm")  # a sync takes milliseconds on a disk, and what it stores does not matter here
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else run.folder) as name,
        _frequent_checkpoints(),
        faulty_disk(disk),
    ):
        folder = Path(name)
        await prepare(folder / "prepared")
        disk.start()
        await live(folder / "prepared", folder / "counted", disk)
        every = list(itertools.product(range(disk.seen), WAYS, (errno.EIO, errno.ENOSPC), (False, True)))
        run.random.shuffle(every)
        for first, way, error, threads in itertools.islice(itertools.cycle(every), run.rounds):
            disk.start(error=error, first=first, **WAYS[way])
            life = await live(folder / "prepared", folder / "life", disk, threads=threads)
            at = f"call {first + 1} of {disk.seen}, {errno.errorcode[error]}, {way}, {threads=}"
            for problem in life.problems:
                run.expect(False, f"{at}: {problem}")
            run.add(
                runs=1,
                acked=len(life.acknowledged),
                hits=disk.hits,
                refused=len(life.refused),
                restarts=life.restarts,
            )
    run.expect(run.counts["hits"] >= run.rounds * 0.7, "too few calls failed")


FAULTS = (
    Fault(
        "disk-call",
        "whichever call to the disk fails, and however many after it: what was acknowledged is stored, the log has no gap, and "
        "afterwards everything is taken without help",
        play_call,
        rounds=300,
        seconds=300,
    ),
)
