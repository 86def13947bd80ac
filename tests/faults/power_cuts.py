"""Power cuts: whatever part of the unsynced writes reached the disk, nothing that was acknowledged is lost."""

import contextlib
import json
import shutil
from pathlib import Path
from unittest import mock

from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import OrganizationId
from aegis_stream.errors import Unavailable
from aegis_stream.store import organizations
from aegis_stream.store.append import append_events
from aegis_stream.store.database import Lane
from aegis_stream.store.pages import read_page
from aegis_stream.store.sqlite import database
from aegis_stream.store.sqlite.database import SqliteDatabase
from faults.frame import Fault, Run
from faults.power import Disk, Recorder, RecordingVfs
from support.clock import T0, SteadyClock
from support.sql import raw

BATCHES = 60


class Recorded:
    """A database that records events while its file system is recorded.

    Attributes:
        acknowledged: (steps taken, events acknowledged by then), in order.
        bodies: of the events that are stored, in order.
    """

    def __init__(self, path: Path, recorder: Recorder) -> None:
        self.recorder, self.refused = recorder, 0
        self.acknowledged: list[tuple[int, int]] = []
        self.bodies: list[bytes] = []
        self._db = SqliteDatabase(path, SteadyClock(), threads=False)
        self._db.migrate()
        self.no = self._db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "A", T0))
        self.ready_after = len(recorder.steps)

    async def append(self, count: int, size: int) -> None:
        """Append events, and note whether they were acknowledged."""
        bodies = [
            json.dumps({"event": {"id": f"e{len(self.bodies) + at}-{self.refused}"}, "text": "x" * size})
            for at in range(count)
        ]
        values: list = []
        for body in bodies:
            values += (json.loads(body)["event"]["id"], "app", None, body, checksum(body.encode()))
        encoded = [body.encode() for body in bodies]
        try:
            await self._db.submit(lambda unit: append_events(unit, self.no, values, T0), Lane.APPEND)
        except Unavailable:
            self.refused += 1
            if self._head() > len(
                self.bodies
            ):  # stored, but a sync of the checkpoint behind the commit failed
                self.bodies += encoded
            return
        self.bodies += encoded
        self.acknowledged.append((len(self.recorder.steps), len(self.bodies)))

    def _head(self) -> int:
        (head,) = self._db.read_now(lambda unit: unit.row("head_of", (self.no,)))
        return head

    def acknowledged_by(self, steps: int) -> int:
        """Return how many events were acknowledged when so many steps were taken."""
        return max((events for taken, events in self.acknowledged if taken <= steps), default=0)

    def close(self) -> None:
        """Close the files."""
        self._db.close()


@contextlib.contextmanager
def recorded_file_system():
    """Record every file that SQLite opens inside the block."""
    recorder = Recorder()
    vfs = RecordingVfs(recorder)
    try:
        yield recorder
    finally:
        vfs.unregister()


def faults_of(folder: Path, expected: list[bytes]) -> list[str]:
    """Start on what is left, as the service does, and return what is wrong with it."""
    db = SqliteDatabase(folder / "aegis.db", SteadyClock(), threads=False)
    try:
        db.migrate()
        checked = db.read_now(lambda unit: raw(unit).rows("PRAGMA quick_check"))
        (no, head) = db.read_now(lambda unit: raw(unit).row("SELECT org_no, head FROM organizations"))
        found: list[bytes] = []
        while len(found) < head:
            span = (len(found) + 1, head)
            found += db.read_now(lambda unit, s=span: read_page(unit, no, s, 1 << 20, labels=False)).bodies
    finally:
        db.close()
    faults = [] if checked == [("ok",)] else [f"damaged: {checked}"]
    if head < len(expected):
        faults.append(f"{len(expected) - head} of {len(expected)} acknowledged events are lost")
    if found[: len(expected)] != expected:
        faults.append("an acknowledged event has other bytes")
    if not all(found):
        faults.append("an event is damaged")
    return faults


async def _cut(run: Run, *, syncs_fail: bool) -> None:
    """Record events, then rebuild the disk as it may be after any step, and start on it."""
    # Checkpoints are where the database file itself is written.
    with recorded_file_system() as recorder, mock.patch.object(database, "AUTOCHECKPOINT_PAGES", 40):
        recorded = Recorded(run.folder / "aegis.db", recorder)
        for _ in range(BATCHES):
            if syncs_fail and run.random.random() < 0.2:
                recorder.syncs_until_failure = run.random.randrange(3)
            await recorded.append(run.random.randrange(1, 30), run.random.choice((10, 500, 5000)))
        recorder.syncs_until_failure = None
        recorded.close()

    for number in range(run.rounds):
        steps = run.random.randrange(recorded.ready_after, len(recorder.steps) + 1)
        folder = run.folder / f"state-{number}"
        Disk(recorder.steps[:steps], run.random).write_to(folder)
        expected = recorded.bodies[: recorded.acknowledged_by(steps)]
        for fault in faults_of(folder, expected):
            run.expect(holds=False, otherwise=f"after {steps} steps: {fault}")
        shutil.rmtree(folder)
        run.add(runs=1, acked=len(expected))
    run.add(steps=len(recorder.steps), refused=recorded.refused)
    run.expect(len(recorded.bodies) > 100, "hardly an event was recorded")
    run.expect(bool(recorded.refused) == syncs_fail, f"{recorded.refused} batches were refused")


async def cut_power(run: Run) -> None:
    """Cut the power of a disk whose syncs succeed."""
    await _cut(run, syncs_fail=False)


async def cut_power_with_failing_syncs(run: Run) -> None:
    """Cut the power of a disk whose syncs fail now and then."""
    await _cut(run, syncs_fail=True)


FAULTS = (
    Fault(
        "power-cut",
        "at any step, with any part of what was not synced, the database starts and has every acknowledged event",
        cut_power,
        rounds=150,
    ),
    Fault(
        "power-cut-failing-syncs",
        "the same when syncs fail: what a failed sync was to write is not trusted, and nothing is acknowledged by it",
        cut_power_with_failing_syncs,
        rounds=150,
    ),
)
