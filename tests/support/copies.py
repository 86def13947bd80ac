"""A database with something in every table, and what a copy of it must hold."""

import contextlib
from pathlib import Path
from zlib import crc32

import apsw

from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.old_data import make_old_data, place
from support.settings import make_settings


def make_source(folder: Path) -> Path:
    """Make a data directory whose database has something in every table; return the database."""
    make_old_data(folder)
    open_stores(make_settings(data_dir=folder), FakeLog()).close()
    path = folder / "aegis.db"
    with contextlib.closing(apsw.Connection(str(path))) as raw:
        raw.execute("INSERT INTO clock_steps VALUES (1, 20)")
        raw.execute("UPDATE meta SET value = 7 WHERE name = 'delivered_by_deleted'")
        raw.execute("INSERT INTO housekeeping VALUES ('retention', 'wrk_gone', 5)")
        raw.execute(
            "INSERT INTO dead_letter_groups VALUES (1, 1, 'grp_1', 'destination', 401, 'answered 401', 1, 2, 3)"
        )
        raw.execute(
            "INSERT INTO dead_letter_jobs VALUES (1, 1, 'job_1', 'redrive', '', 'grp_1', NULL, 9, 3, 5, 1, 2, NULL, 0, '{}')"
        )
        raw.execute(
            "INSERT INTO answers VALUES (1, 1, 5, 7, 9, '7,9', 503, 'answered 503', 'date: x', 'busy')"
        )
        raw.execute(f"INSERT INTO rollups VALUES (1, 1, 60, 60000000, {', '.join(map(str, range(26)))})")
        raw.execute("INSERT INTO trees VALUES (1, 0, 'log', 20, x'00ff', 'note', 5, 1)")
        raw.execute("INSERT INTO tree_tiles VALUES (1, 0, 0, 0, x'00ff', 5)")
        raw.execute("INSERT INTO proof_keys VALUES (1, 1, x'00ff', x'01ff', 5, NULL, 3)")
        raw.execute("INSERT INTO operator_key VALUES (1, x'00ff', 5)")
        raw.execute("INSERT INTO api_keys VALUES ('key_1', 1, 'k', 'admin', x'00ff', 'aegis…', 1, NULL)")
        raw.execute("INSERT INTO key_uses VALUES (1, 'key_1', 4, 1200, 7, 1300, '192.0.2.7')")
        raw.execute(
            "INSERT INTO console_links VALUES (1, 'lnk_1', 'org_a', 'read', x'00fe', 'key_1', 'https://app.example/', 1, 9, 2, 99)"
        )
        kept = '{"kept":"ü"}'
        raw.execute(
            "INSERT INTO events (position, org_no, event_id, received_at, dataset, decision, body, checksum)"
            " VALUES (?, 1, 'kept', 1, '', 'deny', ?, ?)",
            (place(1, 3), kept, crc32(kept.encode())),
        )
        raw.execute("UPDATE organizations SET kept = 1 WHERE org_no = 1")
    return path


def add_events(path: Path, count: int, size: int = 580) -> None:
    """Let the log of the second organization begin with so many events more."""
    with contextlib.closing(apsw.Connection(str(path))) as raw, raw:
        head = raw.execute("SELECT head FROM organizations WHERE org_no = 2").fetchone()[0]
        bodies = ((head + n, f'{{"n":{n},"text":"{"x" * (size - 20)}"}}') for n in range(1, count + 1))
        raw.executemany(
            "INSERT INTO events (position, org_no, event_id, received_at, dataset, decision, body, checksum)"
            " VALUES (?, 2, ?, 1, '', NULL, ?, ?)",
            ((place(2, no), f"more{no}", body, crc32(body.encode())) for no, body in bodies),
        )
        raw.execute("UPDATE organizations SET head = head + ? WHERE org_no = 2", (count,))
