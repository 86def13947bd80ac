"""Power cuts: whatever part of the unsynced writes and names reached the disk, nothing that was acknowledged is lost.

A life of a data directory is recorded: first start, an organization, a destination with a credential, events, settlements, rotations
of the master key, restarts, the noted number of events. Then the disk is rebuilt as it may be after any step of it, and opened as
the service opens it.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import DestinationId, OrganizationId, OrganizationNo, WorkerId
from aegis_stream.errors import AegisError, Misconfigured, Unavailable
from aegis_stream.store import organizations
from aegis_stream.store.append import append_events
from aegis_stream.store.database import Lane
from aegis_stream.store.pages import read_page
from aegis_stream.store.recorded_head import RecordedHead, total
from aegis_stream.store.sqlite import database
from aegis_stream.vault.rotation import Rotation
from aegis_stream.wiring.master_key import key_source
from aegis_stream.wiring.process import SystemClock, SystemRandom
from aegis_stream.wiring.stores import Stores, open_stores
from faults.frame import Fault, Run
from faults.power import Disk, Recorder, recording, write_to
from support.api import FakeLog
from support.clock import T0
from support.directory import Directory
from support.settings import make_settings
from support.sql import raw
from support.stores import LEASE_US, settlement

BATCHES = 40
STATES_A_LIFE = 250
"""States of the disk that are rebuilt from one recording."""
ORG = OrganizationId("org_a")
URL = "https://siem.example.com/in/%d"


@dataclass(frozen=True)
class Known:
    """What was acknowledged when so many steps were taken; the next start must know it."""

    steps: int
    events: int = 0
    destinations: tuple[int, ...] = ()
    operator_digest: bytes = b""


@dataclass
class Life:
    """A data directory that is used while its file system is recorded.

    Attributes:
        known: what was acknowledged, in order.
        bodies: of the events that are stored, in order.
        refused: what was not acknowledged because a sync failed.
    """

    run: Run
    folder: Path
    recorder: Recorder
    known: list[Known] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refused: int = 0
    made: int = 0

    async def live(self, *, syncs_fail: bool) -> None:
        """Start, and do what a service does until it ends."""
        self.start()
        self.no: OrganizationNo = await self.stores.db.write(
            lambda unit: organizations.add(unit, ORG, "A", T0)
        )
        for _ in range(BATCHES):
            chance = self.run.random
            if syncs_fail and chance.random() < 0.2:
                self.recorder.syncs_until_failure = chance.randrange(3)
            await self.append(chance.randrange(1, 20), chance.choice((10, 300, 3000)))
            if chance.random() < 0.5:
                await self.act()
        self.recorder.syncs_until_failure = None
        self.stores.close()

    async def act(self) -> None:
        """Do something else than append; a sync that fails refuses it."""
        acts = (self.add_destination, self.settle, self.note_head, self.rotate, self.restart)
        try:
            await self.run.random.choice(acts)()
        except Unavailable:
            self.refused += 1

    def start(self) -> None:
        """Open the data directory as the service does."""
        self.stores = open_stores(settings_of(self.folder), FakeLog(), threads=False)
        self.learn(operator_digest=self.stores.operator_digest)

    def learn(self, **more: Any) -> None:
        """Note what is acknowledged from now on."""
        last = self.known[-1] if self.known else Known(0)
        values = {
            "events": last.events,
            "destinations": last.destinations,
            "operator_digest": last.operator_digest,
        }
        self.known.append(Known(len(self.recorder.steps), **values | more))

    async def append(self, count: int, size: int) -> None:
        """Append events, and note whether they were acknowledged."""
        bodies = [
            json.dumps({"event": {"id": f"e{len(self.bodies) + at}-{self.refused}"}, "text": "x" * size})
            for at in range(count)
        ]
        values: list[Any] = []
        for body in bodies:
            values += (json.loads(body)["event"]["id"], "app", None, body, checksum(body.encode()))
        encoded = [body.encode() for body in bodies]
        whole = sum(map(len, encoded))
        db = self.stores.db
        try:
            await db.submit(lambda unit: append_events(unit, self.no, values, whole, T0), Lane.APPEND)
        except Unavailable:
            self.refused += 1
            if db.read_now(total) > len(self.bodies):  # stored, but a sync of the checkpoint behind it failed
                self.bodies += encoded
            return
        self.bodies += encoded
        self.learn(events=len(self.bodies))

    async def add_destination(self) -> None:
        """Store a destination with a sealed credential."""
        self.made += 1
        credential = {"auth_header_name": "Authorization", "auth_header_value": f"Bearer {self.made}"}
        spec = DestinationSpec(url=URL % self.made, **credential)
        name = DestinationId(f"dst_{self.made}")
        await Directory.of(self.stores).add_destination(self.no, name, spec, T0, 1000)
        self.learn(destinations=(*self.known[-1].destinations, self.made))

    async def settle(self) -> None:
        """Let a worker settle everything at each destination."""
        ledger, head = self.stores.ledger, len(self.bodies)
        worker = WorkerId(f"wrk_0123456789_{len(self.recorder.steps):026d}")
        await ledger.enlist(worker, LEASE_US)
        claimed, _ = await ledger.claim(worker)
        await ledger.settle(worker, [settlement(one.lease, one.key.organization_no, head) for one in claimed])
        await ledger.retire(worker)

    async def note_head(self) -> None:
        """Note outside the database how many events it has."""
        RecordedHead(self.folder).write(self.stores.db.read_now(total))

    async def rotate(self) -> None:
        """Rotate the master key, and sometimes drop the old ones."""
        rotation = Rotation(
            key_source(settings_of(self.folder)),
            self.folder,
            self.stores.secrets,
            self.stores.db,
            SystemClock(),
            SystemRandom(),
        )
        await rotation.rotate(lambda *_: None)
        if self.run.random.random() < 0.5:
            await rotation.drop_old()

    async def restart(self) -> None:
        """End in good order, and start again: the last connection removes the write-ahead log."""
        self.recorder.syncs_until_failure = None
        self.stores.close()
        self.start()

    def known_at(self, steps: int) -> Known:
        """Return what was acknowledged when so many steps were taken."""
        return next((one for one in reversed(self.known) if one.steps <= steps), Known(0))

    def moments(self, count: int) -> list[int]:
        """Return numbers of steps at which to cut: anywhere, in the first start, after acknowledgements, while names change."""
        chance, steps = self.run.random, self.recorder.steps
        acknowledged = [one.steps for one in self.known]
        names = [at for at, one in enumerate(steps, 1) if one.kind in ("create", "rename", "unlink")]
        kinds = [range(1, len(steps) + 1), range(1, self.known[0].steps), acknowledged, names]
        return sorted(chance.choice(chance.choices(kinds, (5, 1, 3, 1))[0]) for _ in range(count))


def settings_of(folder: Path) -> Any:
    """Return settings with this data directory."""
    return make_settings(data_dir=folder)


async def faults_of(folder: Path, life: Life, known: Known) -> list[str]:
    """Start on what is left, as the service does, and return what is wrong with it."""
    try:
        stores = open_stores(settings_of(folder), FakeLog(), threads=False)
    except Misconfigured as error:
        return [f"it does not start: {error.message}"]
    try:
        return await _faults_of_open(stores, life, known)
    except AegisError as error:
        return [f"it cannot be read: {error}"]
    finally:
        stores.close()


async def _faults_of_open(stores: Stores, life: Life, known: Known) -> list[str]:
    checked = stores.db.read_now(lambda unit: raw(unit).rows("PRAGMA quick_check"))
    faults = [] if checked == [("ok",)] else [f"damaged: {checked}"]
    if known.operator_digest and stores.operator_digest != known.operator_digest:
        faults.append("the operator key that was shown does not count any more")
    found = list(_bodies(stores, life.no))
    expected = life.bodies[: known.events]
    if len(found) < len(expected):
        faults.append(f"{len(expected) - len(found)} of {len(expected)} acknowledged events are lost")
    if found[: len(expected)] != expected[: len(found)]:
        faults.append("an acknowledged event has other bytes")
    if not all(found):
        faults.append("an event is damaged")
    kept = await Directory.of(stores).destinations_of(life.no, "", 1000)
    opened = {one.dst_id: (one.spec.url, one.spec.auth_header_value) for one in kept}
    lost = [at for at in known.destinations if opened.get(f"dst_{at}") != (URL % at, f"Bearer {at}")]
    if lost:
        faults.append(f"destinations or their credentials are lost: {lost}")
    return faults


def _bodies(stores: Stores, no: OrganizationNo) -> Iterator[bytes]:
    row = stores.db.read_now(
        lambda unit: raw(unit).row("SELECT head FROM organizations WHERE org_no = ?", (no,))
    )
    head, after = (row[0] if row else 0), 0
    while after < head:
        span = (after + 1, head)
        page = stores.db.read_now(lambda unit, s=span: read_page(unit, no, s, 1 << 20, labels=False)).bodies
        yield from page
        after += len(page)


async def _cut(run: Run, *, syncs_fail: bool) -> None:
    """Record lives, rebuild the disk as it may be after any step of them, and start on it."""
    left = run.rounds
    while left > 0:
        await _cut_one(run, min(left, STATES_A_LIFE), syncs_fail=syncs_fail)
        left -= STATES_A_LIFE


async def _cut_one(run: Run, states: int, *, syncs_fail: bool) -> None:
    folder = run.folder / "data"
    folder.mkdir(mode=0o700)
    # Checkpoints are where the database file itself is written.
    with recording(folder) as recorder, mock.patch.object(database, "AUTOCHECKPOINT_PAGES", 40):
        life = Life(run, folder, recorder)
        await life.live(syncs_fail=syncs_fail)
    disk, taken = Disk(run.random), 0
    for moment in life.moments(states):
        for step in recorder.steps[taken:moment]:
            disk.take(step)
        taken = moment
        state, known = run.folder / "state", life.known_at(moment)
        write_to(state, disk.cut(run.random))
        for fault in await faults_of(state, life, known):
            run.expect(holds=False, otherwise=f"after {moment} steps: {fault}")
        shutil.rmtree(state)
        run.add(runs=1, acked=known.events)
    run.add(steps=len(recorder.steps), refused=life.refused)
    run.expect(len(life.bodies) > 100, "hardly an event was recorded")
    shutil.rmtree(folder)


async def cut_power(run: Run) -> None:
    """Cut the power of a disk whose syncs succeed."""
    await _cut(run, syncs_fail=False)
    run.expect(run.counts["refused"] == 0, "a batch was refused")


async def cut_power_with_failing_syncs(run: Run) -> None:
    """Cut the power of a disk whose syncs fail now and then."""
    await _cut(run, syncs_fail=True)
    run.expect(run.counts["refused"] > 0, "no batch was refused")


FAULTS = (
    Fault(
        "power-cut",
        "at any step, with any part of what was not synced, the service starts and has every acknowledged event and credential",
        cut_power,
        rounds=200,
    ),
    Fault(
        "power-cut-failing-syncs",
        "the same when syncs fail: what a failed sync was to write is not trusted, and nothing is acknowledged by it",
        cut_power_with_failing_syncs,
        rounds=200,
    ),
)
