"""Promises about copies of a database: everything is in them, nothing twice, whenever a copy is interrupted."""

import contextlib
import itertools
import subprocess
import sys

import apsw
import pytest

from aegis_stream.errors import Conflict, Misconfigured, Unavailable
from aegis_stream.store import copying
from aegis_stream.store.copy_tables import (
    CHANGING,
    COUNTERS,
    COUNTERS_NOT_COPIED,
    EVENTS,
    NOT_COPIED,
    page_text,
)
from aegis_stream.store.copying import compare, copy
from aegis_stream.store.sqlite.copying import SqliteCopy, prepare_target
from aegis_stream.store.sqlite.schema import migrations
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.copies import make_source
from support.old_data import place
from support.settings import make_settings


def quiet(_: str, __: int, ___: int) -> None:
    """Take no notice of progress."""


@pytest.fixture
def source(tmp_path):
    """Make the database of a service that has something in every table."""
    return make_source(tmp_path / "data")


@pytest.fixture
def target(tmp_path):
    """Return where the copy goes."""
    return tmp_path / "copy.db"


def run(source, target, **options):
    """Copy one file to another."""
    prepare_target(target)
    with (
        contextlib.closing(SqliteCopy(source, writing=False)) as one,
        contextlib.closing(SqliteCopy(target, writing=True)) as other,
    ):
        return copy(one, other, quiet, **options)


def change(path, text, values=()):
    """Run SQL on a file."""
    with contextlib.closing(apsw.Connection(str(path))) as raw:
        return raw.execute(text, values).fetchall()


def is_marked(path):
    """Tell whether a file is an unfinished copy."""
    return change(path, "SELECT count(*) FROM meta WHERE name = 'unfinished_copy'") == [(1,)]


def contents(path):
    """Return all rows of a file, but those that a copy leaves out, with leases as a copy has them."""
    with contextlib.closing(apsw.Connection(str(path))) as raw:
        found = {
            table.name: raw.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
            ).fetchall()
            for table in (EVENTS, *CHANGING)
        }
        found["meta"] = raw.execute("SELECT * FROM meta WHERE name IN (SELECT value FROM json_each(?)) ORDER BY name", (
            '["' + '","'.join(COUNTERS) + '"]',
        )).fetchall()  # fmt: skip
    return found


def without_leases(found):
    """Return contents as a copy of them has it."""
    rows = [(*row[:4], None, row[5] + 1, *row[6:]) for row in found["cursors"]]
    return found | {"cursors": rows}


def schema_of(path):
    """Return the columns of every table, and the names in `meta` that the migrations insert."""
    prepare_target(path)
    tables = change(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    columns = {
        name: {
            row[1]
            for row in change(path, f"PRAGMA table_xinfo({name})")
            if not (name == "events" and row[1] == "position")
        }
        for (name,) in tables
    }
    return columns, {name for (name,) in change(path, "SELECT name FROM meta")}


def test_every_table_and_column_is_copied_or_left_out_for_a_reason(tmp_path):
    """Whoever adds a table, a column or a counter decides whether copies have it."""
    columns, counters = schema_of(tmp_path / "new.db")

    assert {table.name: set(table.columns) for table in (EVENTS, *CHANGING)} == {
        name: found for name, found in columns.items() if name not in NOT_COPIED
    }
    assert set(NOT_COPIED) <= set(columns)
    assert counters <= {*COUNTERS, *COUNTERS_NOT_COPIED}


def test_every_page_is_read_by_an_index(tmp_path):
    """No page of a table sorts the table, or reads it from the start."""
    prepare_target(tmp_path / "new.db")

    for table in CHANGING:
        text = page_text(table, table.columns, prefix=0, after=True)
        values = (*("0" for _ in table.key), 1)
        (plan,) = [row[3] for row in change(tmp_path / "new.db", f"EXPLAIN QUERY PLAN {text}", values)]
        assert plan.startswith(f"SEARCH {table.name} USING "), plan


def test_a_copy_has_everything(source, target):
    """Rows, columns and counters are equal; leases end; nothing of the source changes."""
    before = contents(source)

    copied = run(source, target)

    assert copied.is_equal
    assert (copied.damaged, copied.used_meanwhile) == (0, False)
    assert contents(target) == without_leases(before)
    assert contents(source) == before
    assert all(before.values()), "the source has something in every table"
    assert {one.table: one.source_rows for one in copied.tables} == {
        name: len(rows) for name, rows in before.items() if name != "meta"
    } | {"counters": len(COUNTERS)}
    assert change(target, "SELECT count(*) FROM workers") == [(0,)]


async def test_a_service_opens_the_copy_with_the_master_key(source, target, tmp_path):
    """The copy is a database like any other: credentials open, and the node is a new one."""
    run(source, target)
    (tmp_path / "moved").mkdir()
    target.rename(tmp_path / "moved" / "aegis.db")
    (tmp_path / "data" / "master.key").rename(tmp_path / "moved" / "master.key")

    stores = open_stores(make_settings(data_dir=tmp_path / "moved"), FakeLog())
    opened = [await stores.directory.destination(number) for number in (1, 2, 3)]
    stores.close()

    assert [one.spec.auth_header_value for one in opened] == ["Bearer 1", "Bearer 2", "Bearer 3"]


@pytest.fixture
def small_pages(monkeypatch):
    """Let pages and transactions have few rows."""
    monkeypatch.setattr(copying, "ROWS_MAX", 3)


class Killed(Exception):
    """The copy was killed."""


class Fragile(SqliteCopy):
    """A target that ends after so many writes, before or after the write is stored."""

    left = 0
    after = False

    def _count(self, work):
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Killed
        result = work()
        if self.left < 0:
            raise Killed
        return result

    def write(self, work):
        return self._count(lambda: SqliteCopy.write(self, work))

    def insert(self, table, rows):
        return self._count(lambda: SqliteCopy.insert(self, table, rows))

    def empty(self, table):
        return self._count(lambda: SqliteCopy.empty(self, table))


def run_until(source, target, writes, *, after):
    """Copy, and kill the copy at one of its writes; tell whether it was."""
    prepare_target(target)
    fragile = Fragile(target, writing=True)
    fragile.left, fragile.after = writes, after
    with contextlib.closing(SqliteCopy(source, writing=False)) as one, contextlib.closing(fragile) as other:
        try:
            copy(one, other, quiet)
        except Killed:
            return True
    return False


@pytest.mark.usefixtures("small_pages")
def test_a_copy_that_is_killed_at_any_write_goes_on(source, tmp_path):
    """Wherever it is killed, and however often, the next run leaves every row once."""
    expected = without_leases(contents(source))
    for writes in itertools.count():
        target = tmp_path / f"{writes}.db"
        if not run_until(source, target, writes, after=writes % 2 == 1):
            break
        if is_marked(target) or not writes:  # else it was finished at that very moment
            run_until(source, target, 7, after=True)
            assert run(source, target).is_equal, writes

        assert contents(target) == expected, writes

    assert writes > 30


@pytest.mark.usefixtures("small_pages")
def test_a_copy_catches_up_with_a_newer_state(source, target):
    """A first pass from a backup, and a second from the source: new events, removed ones, other cursors and retries."""
    run(source, target, keep_unfinished=True)
    change(source, "DELETE FROM events WHERE org_no = 1 AND sequence BETWEEN 11 AND 30 AND sequence <> 12")
    change(source, "DELETE FROM events WHERE org_no = 1 AND sequence = 3")
    change(source, "UPDATE organizations SET oldest = 31, kept = 1, head = 52 WHERE org_no = 1")
    for sequence in (51, 52):
        change(
            source,
            "INSERT INTO events (position, org_no, event_id, received_at, dataset, decision, body, checksum)"
            " VALUES (?, 1, ?, 1, '', NULL, '{}', NULL)",
            (place(1, sequence), f"new{sequence}"),
        )
    change(
        source,
        "DELETE FROM retries; UPDATE cursors SET cursor = 51; DELETE FROM attempts WHERE attempt_no = 1",
    )

    copied = run(source, target)

    assert copied.is_equal
    assert contents(target) == without_leases(contents(source))


def test_no_service_starts_on_an_unfinished_copy(source, target, tmp_path):
    """Half of the events, or none of the destinations, would be taken for all."""
    run_until(source, target, 3, after=False)
    (tmp_path / "half").mkdir()
    target.rename(tmp_path / "half" / "aegis.db")

    with pytest.raises(Misconfigured, match=r"unfinished copy.*aegis database copy") as refused:
        open_stores(make_settings(data_dir=tmp_path / "half"), FakeLog())

    assert refused.value.code == "unfinished-copy"


def test_a_copy_that_is_kept_unfinished_stays_so(source, target):
    """After the first pass the target is marked, after the last it is not."""
    run(source, target, keep_unfinished=True)
    assert is_marked(target)

    run(source, target)
    assert not is_marked(target)


def test_a_target_with_rows_is_refused(source, target):
    """Nothing is mixed with what is there, not even a finished copy of the same source."""
    run(source, target)
    before = contents(target)

    with pytest.raises(Conflict, match="the target has rows in the table events: name an empty database"):
        run(source, target)

    assert contents(target) == before


def test_an_unfinished_copy_of_another_source_is_refused(source, target):
    """A run goes on only with the source that it began with."""
    run_until(source, target, 3, after=True)
    change(source, "UPDATE master_keys SET sentinel = x'00'")

    with pytest.raises(Conflict, match="unfinished copy of another database"):
        run(source, target)


def test_a_source_in_use_is_refused(source, target):
    """What a running service records meanwhile would be missing in the copy."""
    stores = open_stores(make_settings(data_dir=source.parent), FakeLog())
    try:
        text = "import sys; from pathlib import Path; from aegis_stream.store.sqlite.backup import is_in_use;"
        assert in_another_process(f"{text} sys.exit(is_in_use(Path({str(source)!r})))") == 1
    finally:
        stores.close()
    with contextlib.closing(SqliteCopy(source, writing=False)) as one:
        one._used = True
        prepare_target(target)
        with (
            contextlib.closing(SqliteCopy(target, writing=True)) as other,
            pytest.raises(Conflict, match="a service uses the source"),
        ):
            copy(one, other, quiet)


def test_a_source_that_is_written_to_meanwhile_is_noticed(source, target):
    """A service that starts during the copy: the copy lacks what it records, and stays unfinished."""
    prepare_target(target)

    def record(table: str, _: int, __: int) -> None:
        if table == "attempts":
            change(source, "UPDATE organizations SET head = head + 1")

    with (
        contextlib.closing(SqliteCopy(source, writing=False)) as one,
        contextlib.closing(SqliteCopy(target, writing=True)) as other,
    ):
        copied = copy(one, other, record)

    assert copied.is_equal
    assert copied.used_meanwhile
    assert is_marked(target)


@pytest.mark.parametrize(
    ("text", "table", "organization"),
    [
        ("UPDATE events SET body = '{\"n\":99}' WHERE org_no = 2 AND sequence = 2", "events", "org_b"),
        ("DELETE FROM events WHERE org_no = 1 AND sequence = 50", "events", "org_a"),
        ("UPDATE cursors SET cursor = cursor - 1 WHERE dst_no = 2", "cursors", "org_b"),
        ("UPDATE destinations SET url = x'00' WHERE dst_no = 1", "destinations", "org_a"),
        ("UPDATE attempts SET latency_us = latency_us + 1 WHERE attempt_no = 2", "attempts", "org_b"),
        ("UPDATE master_keys SET created_at = 1", "master_keys", ""),
        ("UPDATE meta SET value = 1 WHERE name = 'damaged_events'", "counters", ""),
        ("INSERT INTO retries VALUES (2, 2, 1, 1, 1, NULL, NULL)", "retries", "org_b"),
    ],
)
def test_the_comparison_finds_a_row_that_differs(source, target, text, table, organization):
    """A row that is changed, missing or too much is found, with its table and organization, and nothing else."""
    run(source, target)
    change(target, text)

    with (
        contextlib.closing(SqliteCopy(source, writing=False)) as one,
        contextlib.closing(SqliteCopy(target, writing=False)) as other,
    ):
        tables, _ = compare(one, other, quiet)

    assert {one.table: one.differing for one in tables if one.differing} == {table: (organization,)}


def test_damaged_events_are_left_out_and_named(source, target):
    """A copy of a body that does not match its checksum would be a damaged event with a history; it is reported instead."""
    change(source, "UPDATE events SET body = '{\"kept\":\"u\"}' WHERE event_id = 'kept'")
    change(source, "UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE org_no = 2 AND sequence = 1")

    copied = run(source, target)

    assert copied.is_equal
    assert (copied.damaged, copied.damaged_shown) == (2, (("org_a", 3), ("org_b", 1)))
    assert change(target, "SELECT count(*) FROM events WHERE sequence = 3 AND org_no = 1") == [(0,)]


def test_nothing_is_copied_from_a_database_of_another_version(source, target):
    """The tables of an older version are not those that are copied; the error says what to do."""
    change(source, f"PRAGMA user_version = {migrations()[-1][0] - 1}")

    with pytest.raises(Misconfigured, match="start and stop the service of this version on it once"):
        run(source, target)


def test_a_database_that_was_never_used_is_no_source(tmp_path, target):
    """It is more likely the wrong one."""
    prepare_target(tmp_path / "empty.db")

    with pytest.raises(Misconfigured, match="there is nothing to copy"):
        run(tmp_path / "empty.db", target)


@pytest.mark.usefixtures("small_pages")
def test_a_disk_that_is_full_ends_the_copy_and_not_what_is_copied(source, target):
    """The error says so, and the next run goes on."""
    change(
        source,
        "UPDATE events SET body = hex(zeroblob(50000)), checksum = NULL WHERE org_no = 2 AND sequence = 3",
    )
    prepare_target(target)
    with (
        contextlib.closing(SqliteCopy(source, writing=False)) as one,
        contextlib.closing(SqliteCopy(target, writing=True)) as other,
    ):
        pages = other._raw.pragma("page_count")
        other._raw.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Unavailable, match="the disk is full"):
            copy(one, other, quiet)

    assert run(source, target).is_equal


def test_large_events_share_no_transaction(source, target, monkeypatch):
    """A page ends after so many bytes, and every event is copied."""
    monkeypatch.setattr(copying, "BYTES_MAX", 10)
    sizes = []

    class Watched(SqliteCopy):
        def insert(self, table, rows):
            sizes.append(len(rows))
            SqliteCopy.insert(self, table, rows)

    prepare_target(target)
    with (
        contextlib.closing(SqliteCopy(source, writing=False)) as one,
        contextlib.closing(Watched(target, writing=True)) as other,
    ):
        copied = copy(one, other, quiet)

    assert copied.is_equal
    assert max(sizes[:-20]) <= 2


def in_another_process(text):
    """Run Python in another process, and return its exit status."""
    return subprocess.run([sys.executable, "-c", text], check=False).returncode
