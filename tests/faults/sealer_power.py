"""Power cuts of a sealer: the database is never ahead of checkpoints.log, and seals go on as if nothing had happened.

A life of a sealed log is recorded: events, seals, sealers that end between a note and its commit, restarts. Then the disk is rebuilt
as it may be after any step of it, and a sealer goes on there. `power_cuts` does the same with everything else that the service stores.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import AegisError, Misconfigured
from aegis_stream.store import organizations, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.store.sqlite import database
from aegis_stream.wiring.process import SystemClock, SystemRandom
from aegis_stream.wiring.stores import Stores, open_stores
from faults.frame import Fault, Run
from faults.power import Disk, Recorder, recording, write_to
from faults.sealed_logs import Seen
from support.api import FakeLog
from support.clock import T0
from support.log import entries
from support.proof_log import leaf, root
from support.settings import make_settings
from support.stores import append_to, event

SEALS = 30
STATES_A_LIFE = 100
"""States of the disk that are rebuilt from one recording."""
ORIGIN, ORG = "audit.example.com", OrganizationId("org_a")
LOG = f"{ORIGIN}/{ORG}"
EVENTS_MAX = 10


class Died(BaseException):
    """The sealer has ended between a note and its commit."""


class _DyingDatabase:
    """A database whose user dies before it stores anything more."""

    def __init__(self, stores: Stores) -> None:
        self._db = stores.db

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)

    async def write(self, _: object) -> None:
        """Die."""
        raise Died


@dataclass
class SealedLife:
    """A data directory whose log is sealed while its file system is recorded.

    Attributes:
        known: (steps, size, root) of every checkpoint that was stored, when it was.
    """

    run: Run
    folder: Path
    recorder: Recorder
    mode: ProofMode
    known: list[tuple[int, int, bytes]] = field(default_factory=list)
    events: int = 0

    async def live(self) -> None:
        """Record and seal, and restart now and then."""
        self.start()
        self.no: OrganizationNo = await self.stores.db.write(
            lambda unit: organizations.add(unit, ORG, "A", T0)
        )
        await self.stores.db.write(lambda unit: tree.set_mode(unit, self.no, self.mode))
        for _ in range(SEALS):
            await self.append(self.run.random.randint(1, 12))
            fate = self.run.random.random()
            if fate < 0.2 and self.known:
                await self.die()
            await self.seal()
            if fate > 0.8:
                self.stores.close()
                self.start()
        self.stores.close()

    def start(self) -> None:
        """Open the data directory as a sealer does."""
        self.stores = open_stores(settings_of(self.folder), FakeLog(), threads=False)
        self.deps = deps_of(self.stores, self.folder)

    async def append(self, count: int) -> None:
        """Record events."""
        batch = [event(f"e{self.events + number}") for number in range(count)]
        self.events += count
        await append_to(self.stores.log, self.no, batch, T0)

    async def seal(self) -> None:
        """Seal what there is, and note what is visible from then on."""
        await seal_rest(self.stores, self.deps)
        last = self.stores.db.read_now(lambda unit: tree.newest_tree(unit, self.no))
        assert last is not None
        self.known.append((len(self.recorder.steps), last.tree.size, last.tree.root()))

    async def die(self) -> None:
        """Let a sealer end between its note and its commit, and another one take its place."""
        state = self.stores.db.read_now(lambda unit: tree.seal_state(unit, self.no))
        assert state is not None
        dying = deps_of(self.stores, self.folder, _DyingDatabase(self.stores))
        try:
            await seal(dying, state)
        except Died:
            self.deps = deps_of(self.stores, self.folder)


def settings_of(folder: Path) -> object:
    """Return settings with this data directory."""
    return make_settings(data_dir=folder)


def deps_of(stores: Stores, folder: Path, db: object = None) -> SealingDeps:
    """Return what a new sealer has."""
    return SealingDeps(
        db=db or stores.db,
        sealer=stores.secrets.sealer,
        clock=SystemClock(),
        random=SystemRandom(),
        checkpoints=CheckpointLog(folder),
        origin=ORIGIN,
        events_max=EVENTS_MAX,
        audit_actions=False,
    )


async def seal_rest(stores: Stores, deps: SealingDeps) -> None:
    """Seal until only checkpoint events of the last seal are left."""
    while True:
        [state] = stores.db.read_now(lambda unit: tree.seal_states(unit, 0))
        if state.size is not None and state.unsealed <= (state.own or 0):
            return
        await seal(deps, state)


async def faults_of(folder: Path, life: SealedLife, steps: int) -> list[str]:
    """Go on with what is left after so many steps, and return what is wrong with it."""
    try:
        stores = open_stores(settings_of(folder), FakeLog(), threads=False)
    except Misconfigured as error:
        return [f"it does not start: {error.message}"]
    try:
        return await _faults_of_open(stores, folder, life, steps)
    except (AegisError, Refused) as error:
        return [f"the log is not sealed: {error}"]
    finally:
        stores.close()


async def _faults_of_open(stores: Stores, folder: Path, life: SealedLife, steps: int) -> list[str]:
    states = stores.db.read_now(lambda unit: tree.seal_states(unit, 0))
    visible = [one for one in life.known if one[0] <= steps]
    if not states:
        return ["the organization is gone"] if visible else []
    faults, seen, no = [], Seen(), life.no
    for _, size, value in visible:
        seen.add(LOG, size, value)
    before = stores.db.read_now(lambda unit: tree.newest_tree(unit, no))
    noted = CheckpointLog(folder).last(LOG)
    size = 0 if before is None else before.tree.size
    if visible and size < visible[-1][1]:
        faults.append(f"the tree is back at {size}, and {visible[-1][1]} was visible")
    if size > (0 if noted is None else noted.size):
        faults.append(f"checkpoints.log is behind the database: {noted and noted.size} of {size}")
    if noted is not None:
        seen.add(LOG, noted.size, noted.root)
    deps = deps_of(stores, folder)
    await seal_rest(stores, deps)
    await append_to(stores.log, no, [event("after"), event("wards")], T0)
    await seal_rest(stores, deps)
    last = stores.db.read_now(lambda unit: tree.newest_tree(unit, no))
    assert last is not None
    seen.add(LOG, last.tree.size, last.tree.root())
    leaves = [leaf(one.body.encode()) for one in await entries(stores.log, no, 0, 10**6, 10**6)]
    wrong = [size for (_, size), value in seen.roots.items() if root(leaves[:size]) != value]
    if wrong or seen.problems:
        faults.append(f"the roots signed for {wrong} are not those of the events; {seen.problems}")
    return faults


async def cut_power(run: Run) -> None:
    """Record lives in both modes, rebuild the disk as it may be after any step, and go on there."""
    left, modes = run.rounds, [ProofMode.STREAM, ProofMode.SEALED]
    while left > 0:
        await _cut_one(run, min(left, STATES_A_LIFE), modes[0])
        left -= STATES_A_LIFE
        modes.reverse()


async def _cut_one(run: Run, states: int, mode: ProofMode) -> None:
    folder = run.folder / "data"
    folder.mkdir(mode=0o700)
    with recording(folder) as recorder, mock.patch.object(database, "AUTOCHECKPOINT_PAGES", 40):
        life = SealedLife(run, folder, recorder, mode)
        await life.live()
    steps = recorder.steps
    files = [at for at, one in enumerate(steps, 1) if one.kind in ("create", "rename", "sync names")]
    notes = [at for at, one in enumerate(steps, 1) if LOG.encode() in one.data and one.at == 0]
    around = [min(at + more, len(steps)) for at in (*files, *notes) for more in range(3)]
    stored = [min(at + more, len(steps)) for at, _, _ in life.known for more in range(2)]
    kinds = [range(1, len(steps) + 1), around, stored]
    moments = sorted(run.random.choice(run.random.choice(kinds)) for _ in range(states))
    disk, taken = Disk(run.random), 0
    for moment in moments:
        for step in steps[taken:moment]:
            disk.take(step)
        taken = moment
        state = run.folder / "state"
        write_to(state, disk.cut(run.random))
        for fault in await faults_of(state, life, moment):
            run.expect(holds=False, otherwise=f"{mode}, after {moment} steps: {fault}")
        shutil.rmtree(state)
        run.add(runs=1, acked=sum(1 for one in life.known if one[0] <= moment))
    run.add(steps=len(steps))
    run.expect(len(life.known) == SEALS, "hardly a checkpoint was recorded")
    shutil.rmtree(folder)


FAULTS = (
    Fault(
        "power-cut-sealer",
        "at any step of the seals, with any part of what was not synced, checkpoints.log is not behind the database, and the sealer goes "
        "on with one history",
        cut_power,
        rounds=100,
    ),
)
