"""Promises of the rules on PostgreSQL servers: which one is refused, what is warned of, and that each says what to set."""

from dataclasses import replace

import pytest

from aegis_stream.domain.ids import SECOND
from aegis_stream.store.postgres.durability import judge
from aegis_stream.store.postgres.facts import Facts, Slot, Standby
from aegis_stream.store.suitability import Demands
from support.docs import rows

GOOD = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
    "data_checksums": "on",
    "jit": "off",
    "wal_level": "replica",
    "max_slot_wal_keep_size": "-1",
    "statement_timeout": "0",
    "default_transaction_read_only": "off",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
}
SOUND = Facts(150_004, settings=GOOD, defaults=GOOD, connections=10, clock_ahead_us=0)
DEAD = Slot("old", 5_000_000_000)
ASYNC, SYNC, QUORUM = (Standby(f"node{n}", state) for n, state in enumerate(("async", "sync", "quorum"), 1))
HIDDEN = Standby(None, None)
SYNC_WANTED, ATOMIC = Demands(require_sync=True), Demands(atomic_pages=True)


def server(demands: Demands | None = None, **changes: object) -> dict[str, tuple[str, str, str]]:
    """Judge a sound server with changes: fields of Facts, or settings of session and role. Returns the rows that are not ok."""
    fields = {name: value for name, value in changes.items() if hasattr(SOUND, name)}
    settings = {name: value for name, value in changes.items() if name in GOOD or name.startswith("idle_")}
    assert fields.keys() | settings.keys() == changes.keys()
    facts = replace(SOUND, settings=GOOD | settings, defaults=GOOD | settings)
    found = judge(replace(facts, **fields), demands or Demands())
    assert len({one.row for one in found}) >= 15, "every row is there"
    assert all(one.remedy for one in found if one.state != "ok"), "each says what to do"
    assert not any(one.remedy for one in found if one.state == "ok")
    assert "\n" not in repr(found)
    return {one.row: one[1:] for one in found if one.state != "ok"}


def test_a_sound_server_has_nothing_but_ok():
    """A current server with durable settings and room has no finding."""
    assert server() == {}


@pytest.mark.parametrize(
    "row, changes, words",
    [
        ("version", {"version": 130_021}, "PostgreSQL 14"),
        ("version", {"version": 90_624}, "PostgreSQL 14"),
        ("encoding", {"encoding": "SQL_ASCII"}, "UTF8"),
        ("encoding", {"encoding": "LATIN1"}, "UTF8"),
        ("writable", {"in_recovery": True}, "AEGIS_DATABASE_URL"),
        ("writable", {"default_transaction_read_only": "on"}, "default_transaction_read_only = off"),
        ("fsync", {"fsync": "off"}, "fsync = on"),
        ("full_page_writes", {"full_page_writes": "off"}, "AEGIS_ATOMIC_PAGES"),
        *(
            ("synchronous_commit", {"synchronous_commit": value}, "ALTER ROLE")
            for value in ("off", "local", "remote_write", "")
        ),
        ("standbys", {"demands": SYNC_WANTED}, "synchronous_standby_names"),
        ("standbys", {"demands": SYNC_WANTED, "standbys": (ASYNC,)}, "synchronous_standby_names"),
        ("standbys", {"demands": SYNC_WANTED, "standbys": (HIDDEN,)}, "synchronous_standby_names"),
    ],
)
def test_a_server_that_loses_events_is_refused(row, changes, words):
    """What makes an acknowledgement worth nothing is refused, with what to set; and nothing else is."""
    found = server(**changes)

    assert [name for name, one in found.items() if one[0] == "refuse"] == [row]
    assert words in found[row][2]


@pytest.mark.parametrize(
    "row, changes, words",
    [
        ("standbys", {"standbys": (ASYNC,)}, "node1 (async) may lag"),
        ("standbys", {"standbys": (HIDDEN,)}, "may lag"),
        ("standbys", {"standbys": (ASYNC,) * 12}, "and 2 more"),
        ("standbys", {"synchronous_standby_names": "node2"}, "no standby is connected"),
        ("standbys", {"synchronous_standby_names": "node2", "standbys": (ASYNC,)}, "node1 (async)"),
        ("standbys", {"demands": SYNC_WANTED, "managed": "Amazon RDS"}, "Amazon RDS"),
        ("slots", {"slots": (DEAD,)}, "old (5,000 MB)"),
        ("server clock", {"clock_ahead_us": 6 * SECOND}, "6.0 s ahead"),
        ("server clock", {"clock_ahead_us": -3600 * SECOND}, "3,600.0 s behind"),
        ("connections", {"connections": 92}, "92 of 97"),
        ("connections", {"connections": 200}, "200 of 97"),
        ("encryption", {"remote": True}, "unencrypted"),
    ],
)
def test_what_is_dangerous_is_warned_of(row, changes, words):
    """What can lose events after a failover, or stop the service, is a warning: it refuses nothing."""
    found = server(**changes)

    assert {name: one[0] for name, one in found.items()} == {row: "warn"}
    assert words in found[row][1]


@pytest.mark.parametrize(
    "row, changes, words",
    [
        ("standbys", {"synchronous_standby_names": "ANY 1 (a)", "standbys": (HIDDEN,)}, "may not see"),
        ("full_page_writes", {"demands": ATOMIC, "full_page_writes": "off"}, "AEGIS_ATOMIC_PAGES"),
        ("checksums", {"data_checksums": "off"}, "off"),
        ("pooler", {"pooled": True}, "not prepared"),
        ("jit", {"jit": "on"}, "compiles"),
        ("role", {"superuser": True}, "superuser"),
    ],
)
def test_what_is_worth_knowing_is_told(row, changes, words):
    """What the operator vouches for, what costs speed, and what this role may not see, is only told."""
    found = server(**changes)

    assert {name: one[0] for name, one in found.items()} == {row: "info"}
    assert words in found[row][1]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 140_000},
        {"version": 180_004, "idle_replication_slot_timeout": "0"},
        {"synchronous_commit": "remote_apply"},
        {"demands": ATOMIC},
        {"standbys": (ASYNC, SYNC), "synchronous_standby_names": "node2"},
        {"standbys": (QUORUM,), "synchronous_standby_names": "ANY 1 (a, b)", "demands": SYNC_WANTED},
        {"slots": (DEAD,), "max_slot_wal_keep_size": "1024"},
        {"clock_ahead_us": 4 * SECOND},
        {"clock_ahead_us": -5 * SECOND},
        {"remote": True, "encrypted": True},
        *(
            {
                "managed": name,
                "fsync": "off",
                "full_page_writes": "off",
                "data_checksums": "off",
                "demands": SYNC_WANTED,
            }
            for name in ("Amazon Aurora", "AlloyDB", "Neon")
        ),
        {"managed": "Cloud SQL"},
    ],
)
def test_what_is_sound_passes(changes):
    """Stronger settings, synchronous standbys, storage that replicates, and values within their limits have no finding."""
    assert server(**changes) == {}


def test_other_managed_services_vouch_for_nothing():
    """A service that replicates commits only in some configurations is judged by its settings."""
    assert server(managed="Amazon RDS", fsync="off")["fsync"][0] == "refuse"


def test_behind_a_pooler_the_default_of_the_role_counts():
    """Through a pooler a session may meet a server connection that was not set up, so the role's default must be durable too."""
    facts = replace(
        SOUND, pooled=True, defaults=GOOD | {"synchronous_commit": "local", "statement_timeout": "1000"}
    )

    found = {(one.row, one.state) for one in judge(facts) if one.state != "ok"}

    assert found == {("synchronous_commit", "refuse"), ("pooler", "info"), ("pooler", "warn")}


def test_without_a_pooler_the_default_of_the_role_does_not_matter():
    """Every session sets what it needs, whatever the role's default is, and reads it back."""
    defaults = GOOD | {"synchronous_commit": "off", "statement_timeout": "1000", "jit": "on"}

    assert [one for one in judge(replace(SOUND, defaults=defaults)) if one.state != "ok"] == []


def test_a_full_server_behind_a_pooler_is_no_warning():
    """Behind a pooler, clients wait for a connection and are not refused."""
    assert "connections" not in server(pooled=True, connections=97)


def test_the_clock_has_no_row_where_it_was_not_read():
    """A start does not compare clocks."""
    assert [one for one in judge(replace(SOUND, clock_ahead_us=None)) if one.row == "server clock"] == []


def test_every_row_is_on_its_page():
    """docs/reference/postgresql.md has a row for every row of the judgement, and for nothing else."""
    assert list(rows("docs/reference/postgresql.md")) == list(dict.fromkeys(one.row for one in judge(SOUND)))
