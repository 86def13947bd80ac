"""Upgrades that are interrupted: killed or without power at any call to the file system, and then started again."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import apsw

from aegis_stream.errors import Misconfigured
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.wiring.stores import open_stores
from faults.frame import Fault, Run
from faults.power import Disk, Step, recording, write_to
from support.api import FakeLog
from support.old_data import SCHEMA_OF_0_1, make_old_data
from support.settings import make_settings

STATES_AN_UPGRADE = 60
TABLES = (
    "organizations",
    "events",
    "destinations",
    "cursors",
    "attempts",
    "retries",
    "dead_letters",
    "replays",
)


def upgrade(folder: Path) -> None:
    """Open a data directory as the service does. Raises: Misconfigured."""
    open_stores(make_settings(data_dir=folder), FakeLog(), threads=False).close()


def content(folder: Path) -> dict[str, list[Any]]:
    """Return every row of a database and the version of its schema; "damage" is what SQLite finds wrong."""
    db = apsw.Connection(str(folder / "aegis.db"))
    try:
        found = {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}
        found["version"] = db.execute("PRAGMA user_version").fetchall()
        found["damage"] = [row for row in db.execute("PRAGMA integrity_check") if row != ("ok",)]
        return found
    finally:
        db.close()


def interrupt_upgrades(run: Run) -> None:
    """Upgrade from each earlier schema, and interrupt it after chosen calls to the file system: by a kill or a power cut."""
    newest = migrations()[-1][0]
    versions = itertools.cycle(range(newest - 1, SCHEMA_OF_0_1 - 1, -1))
    while run.counts["runs"] < run.rounds:
        _interrupt(run, next(versions), min(STATES_AN_UPGRADE, run.rounds - run.counts["runs"]))


def _interrupt(run: Run, version: int, states: int) -> None:
    folder = run.folder / "data"
    make_old_data(folder, version)
    with recording(folder) as recorder:
        upgrade(folder)
    wanted = content(folder)
    begin = recorder.steps.index(Step("sync names")) + 1
    disk, taken = Disk(run.random), 0
    for moment in sorted(run.random.choices(range(begin, len(recorder.steps) + 1), k=states)):
        for step in recorder.steps[taken:moment]:
            disk.take(step)
        taken = moment
        is_killed = run.random.random() < 0.5
        state = run.folder / "state"
        write_to(state, disk.kill() if is_killed else disk.cut(run.random))
        how = f"version {version}, {'killed' if is_killed else 'power cut'} after {moment} of {len(recorder.steps)} steps"
        try:
            upgrade(state)
        except Misconfigured as error:
            run.expect(holds=False, otherwise=f"{how}: it does not start: {error.message}")
        else:
            found = content(state)
            different = [name for name in wanted if found[name] != wanted[name]]
            run.expect(not different, f"{how}: other rows in {different}")
        shutil.rmtree(state)
        run.add(runs=1)
    run.add(steps=len(recorder.steps) - begin)
    shutil.rmtree(folder)


FAULTS = (
    Fault(
        "upgrade-interrupted",
        "an upgrade that is killed, or loses its power, at any call is finished by the next start, and no row is missing or twice",
        interrupt_upgrades,
        rounds=240,
    ),
)
