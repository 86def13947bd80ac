"""Promises of a power cut: whatever part of the unsynced writes reached the disk, nothing that was acknowledged is lost."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import OrganizationId
from aegis_stream.errors import Unavailable
from aegis_stream.store import organizations
from aegis_stream.store.append import append_events
from aegis_stream.store.database import Lane
from aegis_stream.store.pages import read_page
from aegis_stream.store.sqlite import database
from aegis_stream.store.sqlite.database import SqliteDatabase
from faults.power import Disk, Recorder, RecordingVfs
from support.clock import T0, SteadyClock
from support.fault_runs import FaultRun, runs
from support.sql import raw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 * runs())]

BATCHES = 60
STATES = 150
"""States of the disk that a short run checks."""


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


@pytest.mark.parametrize("syncs_fail", [False, True], ids=["syncs succeed", "a sync fails now and then"])
async def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path, monkeypatch, syncs_fail):
    """At any step, with any part of what was not synced on the disk, the database starts, and has every acknowledged event."""
    run = FaultRun("power-cut-failing-syncs" if syncs_fail else "power-cut")
    monkeypatch.setattr(
        database, "AUTOCHECKPOINT_PAGES", 40
    )  # checkpoints are where the database file itself is written
    with recorded_file_system() as recorder:
        recorded = Recorded(tmp_path / "aegis.db", recorder)
        for _ in range(BATCHES):
            if syncs_fail and run.random.random() < 0.2:
                recorder.syncs_until_failure = run.random.randrange(3)
            await recorded.append(run.random.randrange(1, 30), run.random.choice((10, 500, 5000)))
        recorder.syncs_until_failure = None
        recorded.close()

    for number in range(STATES * runs()):
        steps = run.random.randrange(recorded.ready_after, len(recorder.steps) + 1)
        folder = tmp_path / f"state-{number}"
        Disk(recorder.steps[:steps], run.random).write_to(folder)
        expected = recorded.bodies[: recorded.acknowledged_by(steps)]
        assert faults_of(folder, expected) == [], f"after {steps} steps"
        shutil.rmtree(folder)
        run.add(runs=1, acknowledged=len(expected), lost=0, wrong=0)
    run.add(steps=len(recorder.steps), refused=recorded.refused)
    run.end()

    assert len(recorded.bodies) > 100
    assert bool(recorded.refused) == syncs_fail
