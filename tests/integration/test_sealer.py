"""The sealer on a real store: it finds what is due, goes on after trouble, and stops when asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from aegis_stream.domain.ids import OrganizationId
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import StoreDamaged
from aegis_stream.sealer import sealer as module
from aegis_stream.sealer.yielding import Yielding
from aegis_stream.store import organizations, sealing_state, tree
from aegis_stream.store.retention import Retention
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import Stores, open_stores
from support.api import FakeLog
from support.clock import T0
from support.settings import make_settings
from support.sql import raw
from support.stores import append_to, events

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def settings(tmp_path):
    """Return settings by which everything is due at once."""
    return make_settings(
        data_dir=tmp_path, operator_key="aegis_op_" + "t" * 20, proof_seconds=1, proof_events=10
    )


@pytest.fixture
def stores(settings):
    """Open a store."""
    opened = open_stores(settings, FakeLog())
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def running(settings, stores, log: FakeLog, yielding: Yielding | None = None) -> AsyncIterator[None]:
    """Run a sealer until the end of the block."""
    stop = asyncio.Event()
    sealer = make_sealer(settings, stores, log)
    sealer.yielding = yielding or sealer.yielding
    task = asyncio.create_task(sealer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def add(stores: Stores, name: str, count: int) -> int:
    """Make an organization with so many events."""
    no = await stores.db.write(lambda unit: organizations.add(unit, OrganizationId(name), name, T0))
    if count:
        await append_to(stores.log, no, events(1, count), T0)
    return no


async def until_sealed(stores: Stores, no: int, size: int) -> tree.SealedTree:
    """Wait until so many events of an organization are sealed at least."""
    async with asyncio.timeout(60):
        while True:
            found = await stores.db.read(lambda unit: tree.newest_tree(unit, no))
            if found is not None and found.tree.size >= size:
                return found
            await asyncio.sleep(0.02)


async def test_everything_that_is_due_is_sealed(settings, stores):
    """Logs of several organizations, more than one seal holds, are sealed to the end; the name has this installation's number."""
    first, second = await add(stores, "org_a", 35), await add(stores, "org_b", 3)
    off = await add(stores, "org_off", 5)
    await stores.db.write(lambda unit: tree.set_mode(unit, off, ProofMode.OFF))
    log = FakeLog()

    async with running(settings, stores, log):
        one = await until_sealed(stores, first, 35)
        await until_sealed(stores, second, 3)
        await append_to(stores.log, second, events(100, 5), T0)
        await until_sealed(stores, second, 8)

    number = await stores.db.read(tree.instance)
    assert one.origin == f"aegis-{number:08x}/org_a"
    assert await stores.db.read(lambda unit: tree.newest_tree(unit, off)) is None
    assert [name for _, name, _ in log.lines] == ["sealer.started", "sealer.stopped"]


async def test_a_chosen_name_stays_for_the_life_of_a_log(settings, stores):
    """The operator's name is that of new logs; one that has begun keeps its own."""
    first = await add(stores, "org_a", 1)
    async with running(make_settings(settings, proof_origin="audit.example.com"), stores, FakeLog()):
        await until_sealed(stores, first, 1)
    second = await add(stores, "org_b", 1)
    await append_to(stores.log, first, events(100, 5), T0)

    async with running(make_settings(settings, proof_origin="other.example.com"), stores, FakeLog()):
        old, new = await until_sealed(stores, first, 6), await until_sealed(stores, second, 1)

    assert (old.origin, new.origin) == ("audit.example.com/org_a", "other.example.com/org_b")


async def test_a_refused_log_does_not_stop_the_others(settings, stores, monkeypatch):
    """A log whose rows were changed is told once, however often it is looked at; the others are sealed."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    first, log = await add(stores, "org_a", 5), FakeLog()
    async with running(settings, stores, FakeLog()):
        await until_sealed(stores, first, 5)
    await stores.db.write(lambda unit: raw(unit).run("UPDATE trees SET frontier = x'00'"))
    await append_to(stores.log, first, events(100, 5), T0)
    second = await add(stores, "org_b", 5)

    async with running(settings, stores, log):
        await until_sealed(stores, second, 5)
        await append_to(stores.log, second, events(100, 5), T0)
        await until_sealed(stores, second, 10)

    refused = [values for _, name, values in log.lines if name == "proof.refused"]
    assert [one["org_id"] for one in refused] == ["org_a"]
    [noted] = await stores.db.read(sealing_state.refusals)
    found = await stores.db.read(sealing_state.totals)
    assert (noted.org_id, noted.reason) == ("org_a", refused[0]["reason"])
    assert (found.refusals, found.seals >= 3) == (1, True)
    assert found.report.caught_up_at < found.report.looked_at


async def test_a_log_is_refused_until_it_is_mended(settings, stores, monkeypatch):
    """Once the log can be sealed again, nothing says that it is refused, and the sealer has caught up."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    no = await add(stores, "org_a", 5)
    async with running(settings, stores, FakeLog()):
        await until_sealed(stores, no, 5)
    right = (await stores.db.read(lambda unit: tree.newest_tree(unit, no))).tree.frontier
    change = "UPDATE trees SET frontier = ?"
    await stores.db.write(lambda unit: raw(unit).run(change, (b"wrong",)))
    await append_to(stores.log, no, events(100, 20), T0)

    async with running(settings, stores, FakeLog()):
        await until_noted(stores, lambda found, refused: refused and not is_caught_up(found.report))
        await stores.db.write(lambda unit: raw(unit).run(change, (right,)))
        await until_noted(stores, lambda found, refused: not refused and is_caught_up(found.report))
        await until_sealed(stores, no, 25)


def is_caught_up(report: sealing_state.SealingReport | None) -> bool:
    """Tell whether the newest look left nothing to do."""
    return report is not None and report.caught_up_at == report.looked_at


async def until_noted(stores: Stores, is_right) -> None:
    """Wait until the sealer has noted something of itself."""
    async with asyncio.timeout(60):
        while not is_right(
            await stores.db.read(sealing_state.totals), await stores.db.read(sealing_state.refusals)
        ):
            await asyncio.sleep(0.02)


async def test_a_sealer_goes_on_when_the_store_is_back(settings, stores, monkeypatch):
    """While checkpoints cannot be noted nothing is sealed, which is told once; afterwards it goes on."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    no, log = await add(stores, "org_a", 5), FakeLog()
    blocked = settings.store.data_dir / "checkpoints.log"

    async with running(settings, stores, log):
        await until_sealed(stores, no, 5)
        kept = blocked.read_bytes()
        blocked.unlink()
        blocked.mkdir()
        await append_to(stores.log, no, events(100, 20), T0)
        async with asyncio.timeout(60):
            while not any(name == "sealer.store_unavailable" for _, name, _ in log.lines):
                await asyncio.sleep(0.02)
        blocked.rmdir()
        blocked.write_bytes(kept)
        await until_sealed(stores, no, 25)

    assert [name for _, name, _ in log.lines].count("sealer.store_unavailable") == 1


class BrokenFor:
    """A database in which everything that names some organizations fails."""

    def __init__(self, db, broken: set[int]) -> None:
        self.db, self.broken = db, broken

    def __getattr__(self, name: str):
        return getattr(self.db, name)

    async def read(self, work):
        """Read, or fail."""

        def judged(unit):
            return work(_BrokenUnit(unit, self.broken))

        return await self.db.read(judged)


class _BrokenUnit:
    def __init__(self, unit, broken: set[int]) -> None:
        self.unit, self.broken = unit, broken

    def __getattr__(self, name: str):
        return getattr(self.unit, name)

    def row(self, name, values=()):
        if name == "newest_tree" and values[0] in self.broken:
            raise StoreDamaged(f"the tree of {values[0]} cannot be read, says a test")
        return self.unit.row(name, values)


async def test_logs_that_cannot_be_read_cost_the_others_nothing(settings, stores, monkeypatch):
    """However many logs at the beginning lie on damaged pages, those behind them are sealed, and each reason is told once."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    broken = {await add(stores, f"org_{number}", 3) for number in range(2 * module.FAILURES_MAX + 1)}
    sound, log = await add(stores, "org_sound", 3), FakeLog()
    sealer = make_sealer(settings, stores, log)
    sealer.deps = replace(sealer.deps, db=BrokenFor(stores.db, broken))
    stop = asyncio.Event()
    task = asyncio.create_task(sealer.run(stop))
    try:
        await until_sealed(stores, sound, 3)
        await append_to(stores.log, sound, events(100, 20), T0)
        await until_sealed(stores, sound, 23)
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)

    told = [values["reason"] for _, name, values in log.lines if name == "sealer.store_unavailable"]
    assert sorted(told) == sorted({f"the tree of {one} cannot be read, says a test" for one in broken})


async def test_retention_does_not_wait_for_a_sealer_that_is_switched_off(settings, stores):
    """With AEGIS_PROOF off old events go, sealed or not."""
    no = await add(stores, "org_a", 5)
    async with running(settings, stores, FakeLog()):
        await until_sealed(stores, no, 5)
    await append_to(stores.log, no, events(100, 5), T0)

    waiting = Retention(stores.db, seals=True)
    while await waiting.step(T0 + 10**15):
        pass
    kept = await stores.log.event_ids(no, 0, 1000)
    free = Retention(stores.db, seals=False)
    while await free.step(T0 + 10**15):
        pass

    assert len(kept) == 5
    assert await stores.log.event_ids(no, 0, 1000) == {}


class Resting(Yielding):
    """Never has a processor to spare, and rests for ever."""

    def rest_s(self) -> float:
        return 1000.0


async def test_it_rests_after_a_seal_that_had_to_wait_but_not_when_somebody_asked(settings, stores):
    """One seal, then the rest, which a stop ends at once; what somebody waits for is sealed to the end."""
    no = await add(stores, "org_a", 35)

    async with running(settings, stores, FakeLog(), Resting()):
        rested = await until_sealed(stores, no, 1)
    await stores.db.write(lambda unit: tree.ask_seal(unit, no, 35))
    async with running(settings, stores, FakeLog(), Resting()):
        asked = await until_sealed(stores, no, 35)

    assert rested.tree.size == 10
    assert asked.tree.size == 35
