"""The tables that a copy of a database holds: which columns, in which order, and what is changed on the way.

tests/unit/store/test_copying.py compares this list with the schemas, so that no table and no column is forgotten.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from .database import Row, Value

_REPLACEMENT = "\ufffd"


class Table(NamedTuple):
    """A table that is copied.

    Args:
        name: the same in every database.
        columns: those that are copied; what a database computes itself is not among them.
        key: columns by which rows are read in order, and after which a page begins: unique, and with an index in every database.
        numbered: column whose numbers the database counts up itself; "" for none.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    numbered: str = ""

    def key_of(self, row: Row) -> tuple[Value, ...]:
        """Return the key of a row."""
        return tuple(row[self.columns.index(column)] for column in self.key)

    @property
    def organization_at(self) -> int | None:
        """Which value of a row is its organization's number; None where rows belong to none."""
        return self.columns.index("org_no") if "org_no" in self.columns else None


def _table(name: str, key: str, columns: str, numbered: str = "") -> Table:
    return Table(name, tuple(columns.split()), tuple(key.split()), numbered)


EVENTS = _table(
    "events", "org_no sequence", "org_no sequence event_id received_at dataset decision body checksum"
)
"""The log. Its rows never change, so a copy that was interrupted goes on where it stopped."""
CURSORS = _table(
    "cursors",
    "org_no dst_no",
    "org_no dst_no start_sequence cursor lease_owner lease_epoch settlement_no delivered failed_attempts retrying dead_letters "
    "failures_in_row window_size p50_ms p99_ms last_success_at last_error_at last_error_status last_error_message "
    "last_error_sequence batch_bytes_max",
)
CHANGING = (
    _table("master_keys", "key_no", "key_no key_id sentinel created_at rewrapped_at", "key_no"),
    _table(
        "organizations",
        "org_no",
        "org_no org_id name head oldest last_received_at created_at step_sequence stored_bytes kept stored_bytes_max "
        "ingest_bytes_per_second proof",
        "org_no",
    ),
    _table("api_keys", "key_id", "key_id org_no name scope digest hint created_at expires_at"),
    _table(
        "key_uses", "org_no key_id place", "org_no key_id place began_at events last_used_at last_used_from"
    ),
    _table(
        "console_links",
        "org_no link_id",
        "org_no link_id org_id scope digest made_by return_url created_at expires_at used_at ends_at",
    ),
    _table(
        "destinations",
        "dst_no",
        "dst_no dst_id org_no url auth_value spec paused revision created_at updated_at deleted_at headers oauth2",
        "dst_no",
    ),
    _table("clock_steps", "org_no sequence", "org_no sequence"),
    CURSORS,
    _table("retries", "org_no dst_no sequence", "org_no dst_no sequence attempts due_at status_code message"),
    _table(
        "dead_letters",
        "org_no dst_no sequence",
        "org_no dst_no sequence event_id attempts scope status_code message dead_at group_id",
    ),
    _table(
        "dead_letter_groups",
        "org_no dst_no group_id",
        "org_no dst_no group_id scope status_code message letters first_at last_at",
    ),
    _table(
        "dead_letter_jobs",
        "org_no dst_no job_id",
        "org_no dst_no job_id action about error before_at total done cursor started_at moved_at finished_at cancelled started_by",
    ),
    _table(
        "replays",
        "org_no dst_no replay_id",
        "org_no dst_no replay_id first_sequence last_sequence cursor created_at finished_at",
    ),
    _table(
        "attempts",
        "org_no dst_no attempt_no",
        "attempt_no dst_no first_sequence last_sequence attempt state status_code message latency_us at org_no",
        "attempt_no",
    ),
    _table(
        "answers",
        "org_no dst_no at first_sequence",
        "org_no dst_no at first_sequence last_sequence sequences status_code message headers excerpt",
    ),
    _table(
        "rollups",
        "org_no dst_no step_s began_at",
        "org_no dst_no step_s began_at delivered failed_3xx failed_4xx failed_429 failed_5xx failed_network failed_other "
        "latency_0 latency_1 latency_2 latency_3 latency_4 latency_5 latency_6 latency_7 latency_8 latency_9 latency_10 "
        "latency_11 latency_12 latency_13 latency_14 latency_15 latency_16 waiting_max dead_letters",
    ),
    _table("trees", "org_no base", "org_no base origin size frontier note sealed_at own"),
    _table("tree_tiles", "org_no base level tile", "org_no base level tile hashes stored_at"),
    _table("proof_keys", "org_no epoch", "org_no epoch public seed created_at retired_at announced"),
    _table("housekeeping", "task", "task owner counted_at"),
    _table("operator_key", "only_row", "only_row digest recorded_at"),
)
"""Tables whose rows change: a copy that was interrupted copies them again from the start."""
NOT_COPIED = {
    "meta": "its counters are copied one by one: COUNTERS",
    "seal_requests": "the sealer of the source answers them",
    "seal_refusals": "the sealer of the copy looks at every log itself",
    "sealing": "the sealer of the copy tells of itself there",
    "processes": "those that run on the copy register there",
    "workers": "they serve the source; the workers of the copy enlist there",
}
"""Tables that a copy leaves out, and why."""
COUNTERS = (
    "revision",
    "delivered_by_deleted",
    "failed_attempts_by_deleted",
    "damaged_events",
    "proof_instance",
    "proof_seals",
    "proof_refusals",
)
"""Rows of `meta` that are copied."""
COUNTERS_NOT_COPIED = {
    "node": "a copy is another node",
    "write_trials": "counts writes that only find out whether the store takes writes",
    "unfinished_copy": "marks the target of a copy",
    "schema_version": "each database has its own schema",
    "schema_oldest_reader": "each database has its own schema",
}
"""Rows of `meta` that a copy leaves out, and why."""

_OWNER, _EPOCH = CURSORS.columns.index("lease_owner"), CURSORS.columns.index("lease_epoch")
_BODY, _CHECKSUM = EVENTS.columns.index("body"), EVENTS.columns.index("checksum")


def carried_over(table: Table, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return rows of the source as they are stored in the copy, and those that are damaged and left out.

    All leases end, and each gets a new epoch, so that whoever held one at the source can settle nothing at the copy. A NUL
    character, which PostgreSQL stores in no text, is replaced.
    """
    if table is EVENTS:
        return [row for row in rows if _is_sound(row)], [row for row in rows if not _is_sound(row)]
    if table is CURSORS:
        rows = [_without_lease(row) for row in rows]
    return [_without_nul(row) for row in rows], []


def _is_sound(row: Row) -> bool:
    body, checksum = row[_BODY], row[_CHECKSUM]
    if checksum is not None:
        return bool(crc32(body) == checksum)
    try:  # recorded by a version without checksums
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_lease(row: Row) -> Row:
    values = list(row)
    values[_OWNER], values[_EPOCH] = None, row[_EPOCH] + 1
    return tuple(values)


def _without_nul(row: Row) -> Row:
    if not any(isinstance(value, str) and "\0" in value for value in row):
        return row
    return tuple(value.replace("\0", _REPLACEMENT) if isinstance(value, str) else value for value in row)


def page_text(table: Table, columns: Sequence[str], *, prefix: int, after: bool) -> str:
    """Return the SQL of a page: rows in the order of the key, with question marks for its values.

    Args:
        columns: what to select, in the database's own words.
        prefix: how many columns of the key have a given value; a value for each comes first.
        after: whether the rest of the key must lie beyond given values, which follow. The last value is the number of rows.
    """
    given, rest = table.key[:prefix], table.key[prefix:]
    conditions = [f"{column} = ?" for column in given]
    if after:
        conditions.append(f"({', '.join(rest)}) > ({', '.join('?' * len(rest))})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(table.key)
    return f"SELECT {', '.join(columns)} FROM {table.name}{where} ORDER BY {order} LIMIT ?"  # noqa: S608 - names of this module
