"""A data directory as version 0.1 wrote it, opened by this version: schema 5, with something in every table."""

import apsw
import pytest

from aegis_stream.domain.delivery import DestinationKey, ReplayRange, Settled
from aegis_stream.domain.event import NewEvent, checksum
from aegis_stream.domain.ids import DestinationNo, Micros, WorkerId
from aegis_stream.store import organizations
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.clock import T0
from support.directory import Directory
from support.old_data import ALICE, ORG, OTHER, make_old_data
from support.settings import make_settings
from support.stores import append_to, settlement

DST = DestinationKey(ORG, DestinationNo(1))


@pytest.fixture
def data(tmp_path):
    """Make a data directory as version 0.1 leaves it when it is killed; return it and the page at which its log begins."""
    return tmp_path / "data", make_old_data(tmp_path / "data")


async def test_everything_that_version_0_1_stored_is_there(data):
    """Cursors, counts, retries, dead letters, replays, attempts and credentials are found where they were."""
    folder, _ = data
    stores = open_stores(make_settings(data_dir=folder), FakeLog())
    directory = Directory.of(stores)
    one = await directory.destination_of(ORG, "dst_1")
    progress = await directory.progress(one)
    due, following = await stores.ledger.due(DST, Micros(T0 + 95), 10)
    outstanding = await stores.ledger.outstanding(DST)
    letters = await directory.dead_letters(one, 0, 10)
    replays = await directory.replays_of(one, "~", 10)
    attempts = await directory.attempts(one, state=None, sequence=None, before=2**60, limit=10)
    of_event = await directory.attempts(one, state=None, sequence=20, before=2**60, limit=10)
    counted = [
        stores.db.read_now(lambda unit, one=one: organizations.find(unit, one)) for one in ("org_a", "org_b")
    ]
    bodies = (await stores.log.page(ORG, 11, 50, bytes_max=10**6, labels=False)).bodies
    others = await stores.log.event_ids(OTHER, 1, 9)
    stores.close()

    assert [one.stored_bytes for one in counted] == [40 * len('{"n":11}'), 3 * len('{"n":1}')]
    assert (one.spec.url, one.spec.auth_header_value) == ("https://siem.example.com/1", "Bearer 1")
    assert (progress.cursor, progress.head, progress.delivered, progress.failed_attempts) == (45, 50, 40, 5)
    assert (progress.health.window_size, progress.health.p50_ms, progress.health.last_error_message) == (
        9.5,
        1.5,
        "x",
    )
    assert ([(one.sequence, one.attempts, one.body) for one in due], following) == (
        [(42, 1, b'{"n":42}')],
        T0 + 100,
    )
    assert (outstanding.retrying, outstanding.dead_letters) == (2, 2)
    assert outstanding.replays == [ReplayRange("rpl_1", 11, 20, 30)]
    assert [(one.sequence, one.event_id, one.status_code) for one in letters] == [
        (12, "e12", 401),
        (43, "e43", 401),
    ]
    assert [(one.replay_id, one.cursor) for one in replays] == [("rpl_2", 12), ("rpl_1", 20)]
    assert [(one.first, one.last, one.state) for one in attempts] == [
        (41, 41, "failed"),
        (11, 40, "delivered"),
    ]
    assert [(one.first, one.last) for one in of_event] == [(11, 40)]
    assert bodies == [f'{{"n":{n}}}'.encode() for n in range(11, 51)]
    assert others == {1: "e1", 2: "e2", 3: "e3"}


async def test_a_worker_goes_on_where_version_0_1_ended(data):
    """It takes the destinations over under a new epoch, settles, redrives and records; the old worker settles nothing."""
    folder, _ = data
    stores = open_stores(make_settings(data_dir=folder), FakeLog())
    worker = WorkerId("wrk_0123456789_01hzzzzzzzzzzzzzzzzzzzzzzz")
    await stores.ledger.enlist(worker, 60_000_000)
    claimed, _ = await stores.ledger.claim(worker)
    first = next(one for one in claimed if one.key == DST)
    appended = await append_to(
        stores.log, ORG, [NewEvent("e51", "app", None, "{}", checksum(b"{}"), None, 2)], Micros(T0 + 60)
    )
    repeated = await append_to(
        stores.log,
        ORG,
        [NewEvent("e50", "app", None, '{"n":50}', checksum(b'{"n":50}'), None, 8)],
        Micros(T0 + 60),
    )
    found = settlement(first.lease, ORG, 51, resolved=[42], delivered=6, replays=[("rpl_1", 30)])
    results = await stores.ledger.settle(worker, [found])
    stale = await stores.ledger.settle(ALICE, [settlement(first.lease._replace(epoch=7), ORG, 51)])
    redriven = await Directory.of(stores).redrive(
        await Directory.of(stores).destination_of(ORG, "dst_1"), None
    )
    stores.close()

    assert sorted((one.key, one.cursor, one.lease.epoch, one.replaying) for one in claimed) == [
        (DST, 45, 8, True), ((1, 3), 50, 8, True), ((2, 2), 3, 8, False),
    ]  # fmt: skip
    assert (appended.first, repeated.duplicates) == (51, {0: 50})
    assert (results, stale) == ([Settled(1, 2)], [None])
    assert redriven == 2


async def test_the_log_is_not_copied(data):
    """However large a log is, the upgrade does not touch its rows: its table begins at the same page as before."""
    folder, log_page = data
    stores = open_stores(make_settings(data_dir=folder), FakeLog())
    stores.close()
    db = apsw.Connection(str(folder / "aegis.db"))
    [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchall()
    [(check,)] = db.execute("PRAGMA integrity_check").fetchall()
    db.close()

    assert (page, check) == (log_page, "ok")
