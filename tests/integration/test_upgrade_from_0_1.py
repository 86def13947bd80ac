"""A data directory as version 0.1 wrote it, opened by this version: schema 5, with something in every table."""

import json

import apsw
import pytest

from aegis_stream.domain.delivery import DestinationKey, ReplayRange, Settled
from aegis_stream.domain.event import NewEvent, checksum
from aegis_stream.domain.ids import DestinationNo, Micros, OrganizationNo, WorkerId
from aegis_stream.ports import Place
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.vault import KeyFile, MasterKey, Vault
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.clock import T0
from support.directory import Directory
from support.settings import make_settings
from support.simulation import SeededRandom
from support.stores import append_to, settlement

SCHEMA_OF_0_1 = 5
ORG, OTHER = OrganizationNo(1), OrganizationNo(2)
DST = DestinationKey(ORG, DestinationNo(1))
SPEC = {
    "name": "Elastic", "auth_header_name": "Authorization", "format": "json", "filter": {}, "batch": {}, "retry": {},
    "ca_certificate": None, "compression": "none",
}  # fmt: skip
ALICE = WorkerId("wrk_01hzzzzzzzzzzzzzzzzzzzzzzz")


def place(org_no: int, sequence: int) -> int:
    """Return the key of an event."""
    return org_no << 40 | sequence


def write_rows(db: apsw.Connection, vault: Vault) -> None:
    """Write what 0.1 leaves after some days: deliveries, retries, dead letters, replays, a clock that was ahead."""
    db.executemany(
        "INSERT INTO organizations VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(1, "org_a", "A", 50, 11, T0 + 50, T0), (2, "org_b", "B", 3, 1, T0 + 3, T0)],
    )
    db.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, 'app', NULL, ?)",
        [(place(1, n), 1, f"e{n}", T0 + n, f'{{"n":{n}}}') for n in range(11, 51)]
        + [(place(2, n), 2, f"e{n}", T0 + n, f'{{"n":{n}}}') for n in range(1, 4)],
    )
    for no, org in ((1, "org_a"), (2, "org_b"), (3, "org_a")):
        dst_id = f"dst_{no}"
        sealed = [
            vault.seal(text, Place(org, dst_id, name))
            for name, text in (
                ("url", f"https://siem.example.com/{no}"),
                ("auth_header_value", f"Bearer {no}"),
            )
        ]
        db.execute(
            "INSERT INTO destinations VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, NULL, NULL, NULL)",
            (no, dst_id, 2 if org == "org_b" else 1, *sealed, json.dumps(SPEC), no, T0, T0),
        )
    cursor = "INSERT INTO cursors (dst_no, org_no, start_sequence, cursor, lease_owner, lease_epoch, delivered, failed_attempts,"
    cursor += " retrying, dead_letters, window_size, p50_ms, last_error_message) VALUES (?, ?, 0, ?, ?, 7, ?, 5, ?, ?, 9.5, 1.5, 'x')"
    db.executemany(
        cursor, [(1, 1, 45, ALICE, 40, 2, 2), (2, 2, 3, ALICE, 3, 0, 0), (3, 1, 50, None, 50, 0, 0)]
    )
    db.executemany(
        "INSERT INTO attempts (dst_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at)"
        " VALUES (?, ?, ?, 1, ?, ?, NULL, 900, ?)",
        [
            (1, 11, 40, "delivered", 202, T0 + 41),
            (2, 1, 3, "delivered", 202, T0 + 4),
            (1, 41, 41, "failed", 500, T0 + 42),
        ],
    )
    db.executemany(
        "INSERT INTO retries VALUES (1, ?, 1, 1, ?, 500, 'answered 500')", [(41, T0 + 100), (42, T0 + 90)]
    )
    db.executemany(
        "INSERT INTO dead_letters VALUES (1, ?, 1, ?, 3, 'destination', 401, 'answered 401', ?)",
        [(43, "e43", T0 + 43), (12, "e12", T0 + 44)],
    )
    db.executemany(
        "INSERT INTO replays VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            ("rpl_1", 1, 11, 30, 20, T0, None),
            ("rpl_2", 1, 11, 12, 12, T0, T0 + 5),
            ("rpl_3", 3, 11, 50, 10, T0, None),
        ],
    )
    db.execute("INSERT INTO workers VALUES (?, ?, ?)", (ALICE, T0, T0 + 30_000_000))
    db.execute("UPDATE meta SET value = 3 WHERE name = 'revision'")


@pytest.fixture
def data(tmp_path):
    """Make a data directory as version 0.1 leaves it when it is killed; return it and the page at which its log begins."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    keys = KeyFile(folder / "master.key")
    keys.write((MasterKey(b"k" * 32),))
    db = apsw.Connection(str(folder / "aegis.db"))
    db.pragma("journal_mode", "wal")
    for version, text in migrations()[:SCHEMA_OF_0_1]:
        with db:
            db.execute(text)
            db.pragma("user_version", version)
    with db:
        write_rows(db, Vault(keys, SeededRandom(1)))
    log_page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    db.close()
    return folder, log_page


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
    bodies = (await stores.log.page(ORG, 11, 50, bytes_max=10**6, labels=False)).bodies
    others = await stores.log.event_ids(OTHER, 1, 9)
    stores.close()

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
        stores.log, ORG, [NewEvent("e51", "app", None, "{}", None, checksum(b"{}"))], Micros(T0 + 60)
    )
    repeated = await append_to(
        stores.log,
        ORG,
        [NewEvent("e50", "app", None, '{"n":50}', None, checksum(b'{"n":50}'))],
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
