"""Copies a database into another one of any kind, row by row, and compares the two.

The target is marked until it is complete and equal: no service starts on an unfinished copy, and another run goes on where a
killed one stopped. Every write is a transaction of bounded size.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeVar

from aegis_stream.errors import Conflict, Misconfigured

from .copy_tables import CHANGING, COUNTERS, EVENTS, Table, carried_over
from .database import Row, Value

T = TypeVar("T")
Tell = Callable[[str, int, int], None]
"""Called with a table, how many of its rows are copied, and how many there are; 0 where that is not known."""

ROWS_MAX, BYTES_MAX = 1000, 4 << 20
"""Most rows of a page and of a transaction, and bytes of events after which it ends."""
SEQUENCES_PER_DELETE = 10_000
"""Width of the range of a log that one transaction removes."""
DAMAGED_SHOWN_MAX = 10
"""How many damaged events are named."""


class Statements(Protocol):
    """What a copy runs by name: a part of `Unit`."""

    def rows(self, name: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run the statement `name` and return its rows."""
        ...

    def row(self, name: str, values: Sequence[Value] = ()) -> Row | None:
        """Run the statement `name` and return its first row, or None."""
        ...

    def run(self, name: str, values: Sequence[Value] = ()) -> int:
        """Run the statement `name` and return how many rows it changed."""
        ...


class CopySource(Protocol):
    """The database that is copied, on a connection of its own; nothing is written to it."""

    def in_use(self) -> str:
        """Return how it was noticed that somebody else used the database when it was opened; "" when nobody did."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Let all reads inside the block see the database as it is now."""
        ...

    def read(self, work: Callable[[Statements], T]) -> T:
        """Run `work` on the connection. Raises: Unavailable when the database cannot be read."""
        ...

    def page(
        self, table: Table, prefix: Sequence[Value], after: Sequence[Value], rows_max: int, bytes_max: int
    ) -> list[Row]:
        """Read rows in the order of the table's key; the bodies of events are bytes.

        Args:
            prefix: values of the first columns of the key, which the rows have.
            after: values of the other columns, beyond which the page begins; empty for the beginning.
            bytes_max: bytes of events after which the page ends.
        Returns: at least one row if there is any.
        Raises: Unavailable when the database cannot be read.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class CopyTarget(CopySource, Protocol):
    """The database that is written, on a connection of its own; its schema is up to date."""

    def write(self, work: Callable[[Statements], T]) -> T:
        """Run `work` in a transaction; it is durable when this returns. Raises: Unavailable."""
        ...

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows in one transaction; they are durable when this returns. Raises: Unavailable."""
        ...

    def empty(self, table: Table) -> None:
        """Remove all rows of a table. Raises: Unavailable."""
        ...

    def finish(self, tables: Sequence[Table]) -> None:
        """Let the numbers that the database counts itself go on after the highest that was copied. Raises: Unavailable."""
        ...


class Compared(NamedTuple):
    """One table of the source, as the copy should hold it, against the copy.

    Args:
        source_rows: rows of the source, without damaged events.
        differing: ids of organizations whose rows differ in number or content; "" stands for rows of no organization.
    """

    table: str
    organizations: int
    source_rows: int
    target_rows: int
    differing: tuple[str, ...]


class Copied(NamedTuple):
    """What a copy came to.

    Args:
        damaged: how many events of the source do not match their checksum; they are not copied.
        damaged_shown: organization and sequence of the first of them.
        used_meanwhile: whether the source was written to during the copy.
    """

    tables: tuple[Compared, ...]
    damaged: int
    damaged_shown: tuple[tuple[str, int], ...]
    used_meanwhile: bool

    @property
    def is_equal(self) -> bool:
        """Whether every table of the copy is equal to the source."""
        return not any(one.differing or one.source_rows != one.target_rows for one in self.tables)


class _Damage:
    """Damaged events: how many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, int]] = []

    def note(self, rows: Sequence[Row]) -> None:
        self.count += len(rows)
        self.first += [(row[0], row[1]) for row in rows[: DAMAGED_SHOWN_MAX - len(self.first)]]


def copy(source: CopySource, target: CopyTarget, tell: Tell, *, keep_unfinished: bool = False) -> Copied:
    """Copy a database into an empty one, or finish an unfinished copy of it; compare the two.

    Args:
        keep_unfinished: leave the target marked, so that a later run brings it up to date with a newer state of the source.
    Returns: the comparison. The target is usable if it is equal, was not used meanwhile, and is not kept unfinished.
    Raises: Conflict when a service uses the source or the target, or the target holds something else. Misconfigured when
        there is nothing to copy. Unavailable when one of them fails; a later run goes on.
    """
    _refuse_use(source, target)
    before = source.read(_traces)
    with source.snapshot():
        resumed = _begin(source, target)
        _copy_events(source, target, tell, resumed=resumed)
        for table in CHANGING:
            _copy_table(source, target, table, tell)
        counters = source.read(_counters)
        target.write(lambda unit: [unit.run("set_counter", (name, counters[name])) for name in COUNTERS])
        target.finish(CHANGING)
        tables, damage = compare(source, target, tell)
        names = source.read(lambda unit: _ids(unit, [no for no, _ in damage.first]))
    copied = Copied(
        tables,
        damage.count,
        tuple((names[no], sequence) for no, sequence in damage.first),
        used_meanwhile=source.read(_traces) != before,
    )
    if copied.is_equal and not copied.used_meanwhile and not keep_unfinished:
        target.write(lambda unit: unit.run("unmark_unfinished"))
    return copied


def compare(source: CopySource, target: CopySource, tell: Tell) -> tuple[tuple[Compared, ...], _Damage]:
    """Read both databases, and compare every table, organization by organization."""
    damage = _Damage()
    found = []
    for table in (EVENTS, *CHANGING):
        theirs = _sums(_sound_rows(source, table, damage))
        ours = _sums(_rows(target, table))
        tell(f"compared {table.name}", sum(count for count, _ in theirs.values()), 0)
        differing = sorted(no for no in {*theirs, *ours} if theirs.get(no) != ours.get(no))
        names = source.read(functools.partial(_ids, numbers=differing))
        found.append(
            Compared(
                table.name,
                sum(no != 0 for no in theirs),
                sum(count for count, _ in theirs.values()),
                sum(count for count, _ in ours.values()),
                tuple(names[no] for no in differing),
            )
        )
    wanted, there = source.read(_counters), target.read(_counters)
    found.append(Compared("counters", 0, len(wanted), len(there), () if wanted == there else ("",)))
    return tuple(found), damage


def _refuse_use(source: CopySource, target: CopySource) -> None:
    if reason := source.in_use():
        raise Conflict(
            f"a service uses the source ({reason}): stop it, or copy from a backup of it",
            code="database-in-use",
        )
    if reason := target.in_use():
        raise Conflict(f"the target is in use ({reason}): stop what uses it", code="database-in-use")


def _begin(source: CopySource, target: CopyTarget) -> bool:
    """Mark the target. Returns: whether it holds an unfinished copy of this source already.

    Raises: Conflict when it holds something else. Misconfigured when there is nothing to copy.
    """
    first = source.read(lambda unit: unit.row("first_master_key"))
    if first is None:
        raise Misconfigured(
            "no service has run on the source yet: there is nothing to copy", code="nothing-to-copy"
        )
    mark = (
        int.from_bytes(blake2b(first[0], digest_size=8).digest(), "big") >> 1
    )  # 63 bits, as a column holds them
    found = target.read(lambda unit: unit.row("unfinished_copy"))
    if found is not None:
        if found[0] != mark:
            raise Conflict(
                "the target holds an unfinished copy of another database: name an empty database",
                code="copy-target-not-empty",
            )
        return True
    for table in (EVENTS, *CHANGING):
        if target.page(table, (), (), 1, 1):
            raise Conflict(
                f"the target has rows in the table {table.name}: name an empty database",
                code="copy-target-not-empty",
            )
    target.write(lambda unit: unit.run("mark_unfinished", (mark,)))
    return False


def _copy_events(source: CopySource, target: CopyTarget, tell: Tell, *, resumed: bool) -> None:
    """Copy the logs, each in order of its sequences; after an interruption, from where each stopped."""
    logs = [log for page in _logs(source) for log in page]
    total = sum(head - oldest + 1 + kept for _, _, oldest, head, kept in logs)
    done, waiting, size = 0, list[Row](), 0
    for no, _, oldest, _, _ in logs:
        reached = _trim(target, no, oldest) if resumed else 0
        for page in _pages_to_copy(source, no, oldest, reached):
            sound, _ = carried_over(EVENTS, page)
            waiting += sound
            size += sum(len(row[6]) for row in sound)
            if len(waiting) >= ROWS_MAX or size >= BYTES_MAX:
                target.insert(EVENTS, waiting)
                done += len(waiting)
                waiting, size = [], 0
                tell(EVENTS.name, done, total)
    if waiting:
        target.insert(EVENTS, waiting)
    tell(EVENTS.name, done + len(waiting), total)


def _logs(source: CopySource) -> Iterator[list[Row]]:
    after = 0
    while page := source.read(functools.partial(_rows_of, name="logs_to_copy", values=(after, ROWS_MAX))):
        yield page
        after = page[-1][0]


def _trim(target: CopyTarget, no: int, oldest: int) -> int:
    """Remove what lies before the beginning of the source's log: kept events are copied again, removed ones stay away.

    Returns: the newest sequence that is copied, at least the one before `oldest`.
    """
    row = target.read(lambda unit: unit.row("copied_range", (no,)))
    assert row is not None, "an aggregate always has a row"
    first, last = row
    if first is None:
        return 0
    while first < oldest:
        end = min(first + SEQUENCES_PER_DELETE, oldest) - 1
        target.write(functools.partial(_run, name="delete_copied_events", values=(no, first, end)))
        first = end + 1
    return max(int(last), oldest - 1)


def _pages_to_copy(source: CopySource, no: int, oldest: int, reached: int) -> Iterator[list[Row]]:
    """Read what an organization's log has before `oldest`, and then what it has beyond `reached`."""
    after, kept_part = 0, True
    while page := source.page(EVENTS, (no,), (after,), ROWS_MAX, BYTES_MAX):
        after = page[-1][1]
        if kept_part and after >= oldest and reached:
            page, kept_part = [row for row in page if row[1] < oldest or row[1] > reached], False
            after = max(after, reached)
        yield page


def _copy_table(source: CopySource, target: CopyTarget, table: Table, tell: Tell) -> None:
    target.empty(table)
    done = 0
    for page in _pages(source, table):
        rows, _ = carried_over(table, page)
        target.insert(table, rows)
        done += len(rows)
        tell(table.name, done, 0)


def _pages(end: CopySource, table: Table) -> Iterator[list[Row]]:
    after: tuple[Value, ...] = ()
    while page := end.page(table, (), after, ROWS_MAX, BYTES_MAX):
        yield page
        after = table.key_of(page[-1])


def _sound_rows(source: CopySource, table: Table, damage: _Damage) -> Iterator[tuple[Table, list[Row]]]:
    for page in _pages(source, table):
        rows, damaged = carried_over(table, page)
        damage.note(damaged)
        yield table, rows


def _rows(target: CopySource, table: Table) -> Iterator[tuple[Table, list[Row]]]:
    for page in _pages(target, table):
        yield table, page


def _sums(pages: Iterator[tuple[Table, list[Row]]]) -> dict[int, tuple[int, int]]:
    """Return, by organization, the number of rows, and the sum of their checksums; the key is part of each."""
    found: dict[int, tuple[int, int]] = {}
    for table, rows in pages:
        at = table.organization_at
        for row in rows:
            no = 0 if at is None else row[at]
            count, total = found.get(no, (0, 0))
            digest = blake2b(repr(row).encode(), digest_size=8).digest()
            found[no] = (count + 1, total + int.from_bytes(digest, "big"))
    return found


def _counters(unit: Statements) -> dict[str, int]:
    rows = {name: unit.row("counter", (name,)) for name in COUNTERS}
    return {name: 0 if row is None else int(row[0]) for name, row in rows.items()}


def _rows_of(unit: Statements, name: str, values: Sequence[Value]) -> list[Row]:
    return unit.rows(name, values)


def _run(unit: Statements, name: str, values: Sequence[Value]) -> int:
    return unit.run(name, values)


def _traces(unit: Statements) -> Row | None:
    return unit.row("traces_of_use")


def _ids(unit: Statements, numbers: Sequence[int]) -> dict[int, str]:
    """Return ids of organizations by number; "" for 0, the number itself where the source has no such organization."""
    rows = {no: unit.row("organization_id", (no,)) for no in numbers if no}
    return {0: ""} | {no: str(no) if row is None else row[0] for no, row in rows.items()}
