"""A data directory as version 0.1 leaves it when it is killed: schema 5, with something in every table."""

import json
from pathlib import Path

import apsw

from aegis_stream.domain.ids import OrganizationNo, WorkerId
from aegis_stream.ports import Place
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.vault import KeyFile, MasterKey, Vault
from support.clock import T0
from support.simulation import SeededRandom

SCHEMA_OF_0_1 = 5
ORG, OTHER = OrganizationNo(1), OrganizationNo(2)
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


def make_old_data(folder: Path, version: int = SCHEMA_OF_0_1) -> int:
    """Make a data directory of version 0.1, upgraded to a version of the schema; return the page at which its log begins."""
    folder.mkdir(mode=0o700)
    keys = KeyFile(folder / "master.key")
    keys.write((MasterKey(b"k" * 32),))
    db = apsw.Connection(str(folder / "aegis.db"))
    db.pragma("journal_mode", "wal")
    for number, text in migrations()[:version]:
        with db:
            db.execute(text)
            db.pragma("user_version", number)
        if number == SCHEMA_OF_0_1:
            with db:
                write_rows(db, Vault(keys, SeededRandom(1)))
    log_page: int = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    db.close()
    return log_page
