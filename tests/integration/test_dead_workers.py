"""Workers that are gone without a word: who may remove them."""

import shutil

from aegis_stream.domain.ids import WorkerId
from aegis_stream.store.nodes import new_worker_id
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.stores import open_stores, remove_dead_workers
from support.api import FakeLog
from support.settings import make_settings
from support.simulation import SeededRandom

HOUR_US = 3_600_000_000


async def test_a_node_removes_only_its_own_dead_workers(tmp_path):
    """A start removes the workers of its node that have no process, and leaves those of other nodes to their leases."""
    log, clock, random = FakeLog(), SystemClock(), SeededRandom(1)
    stores = open_stores(make_settings(data_dir=tmp_path / "data"), log)
    dead = new_worker_id(stores.node, clock.now(), random)
    elsewhere = new_worker_id("0123456789", clock.now(), random)
    old = WorkerId("wrk_01hzzzzzzzzzzzzzzzzzzzzzzz")  # as version 0.1 named them
    for worker_id in (dead, elsewhere, old):
        await stores.ledger.enlist(worker_id, HOUR_US)

    await remove_dead_workers(stores, log)
    left = await stores.ledger.workers()
    stores.close()

    assert left == [elsewhere]
    assert {values["worker_id"] for _, event, values in log.lines if event == "store.worker_removed"} == {
        dead,
        old,
    }


async def test_a_restored_backup_waits_for_no_worker_of_its_original(tmp_path):
    """The workers that a backup brings along are dead, and of this node: a start removes them, and serves at once."""
    log, random = FakeLog(), SeededRandom(1)
    settings = make_settings(data_dir=tmp_path / "data")
    stores = open_stores(settings, log)
    await stores.ledger.enlist(new_worker_id(stores.node, SystemClock().now(), random), HOUR_US)
    stores.close()
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    for name in ("aegis.db", "master.key", "operator.sha256"):
        shutil.copy(tmp_path / "data" / name, restored / name)

    stores = open_stores(make_settings(data_dir=restored), log)
    await remove_dead_workers(stores, log)
    left = await stores.ledger.workers()
    stores.close()

    assert left == []
