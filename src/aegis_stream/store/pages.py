"""Reads neighbouring events of a log, and verifies each against its checksum before anybody gets it.

An event whose row is missing or damaged is handed out without bytes (`b""`): it becomes a dead letter, and the others go on.
"""

from collections.abc import Iterator

from aegis_stream.domain.delivery import Page
from aegis_stream.domain.event import checksum
from aegis_stream.errors import StoreDamaged

from .database import Row, Unit

ROWS_AT_ONCE = 16
"""Rows read at once where events are read one by one: 4 MiB of the largest events."""
ROWS_MAX = 512
"""Most events of a page that is read one by one."""
_LOST: tuple[bytes, str, str | None] = (b"", "", None)


def read_page(
    unit: Unit, organization_no: int, span: tuple[int, int], bytes_max: int, *, labels: bool
) -> Page:
    """Read neighbouring events of a span of sequences, as many as `bytes_max` allows but at least one.

    Returns: a page that begins at the span's first sequence; bodies of missing and damaged events are empty. Without any event
        when the log ends before.
    Raises: Unavailable.
    """
    try:
        page = _read_whole(unit, organization_no, span, bytes_max, labels=labels)
    except StoreDamaged:
        page = None
    return page or _read_each(unit, organization_no, span, bytes_max, labels=labels)


def intact(body: bytes | None, recorded: int | None) -> bytes:
    """Return the bytes of an event as they were recorded, or none at all when they are missing or have changed.

    Args:
        recorded: the checksum; None where there is none.
    """
    if body is None or (recorded is not None and checksum(body) != recorded):
        return b""
    return body


def _read_whole(
    unit: Unit, organization_no: int, span: tuple[int, int], bytes_max: int, *, labels: bool
) -> Page | None:
    """Read a page as one value, and verify all its events at once by the sum of their checksums.

    Returns: None when one of them is missing or damaged.
    """
    first, last = span
    bodies, recorded, verifiable = unit.bodies(organization_no, first, last, bytes_max)
    while not bodies and first != last:  # large events, or none: half as many, as often as it takes
        last = first + (last - first) // 2
        bodies, recorded, verifiable = unit.bodies(organization_no, first, last, bytes_max)
    if len(bodies) != last - first + 1 or verifiable not in (0, len(bodies)):
        return None
    if verifiable and sum(map(checksum, bodies)) != recorded:
        return None
    if not labels:
        return Page(first, bodies, None)
    rows = unit.rows("page_labels", (organization_no, first, last))
    if len(rows) != len(bodies):  # retention came between the two reads, where they share no snapshot
        return None
    return Page(first, bodies, [(one[0], one[1]) for one in rows])


def _read_each(
    unit: Unit, organization_no: int, span: tuple[int, int], bytes_max: int, *, labels: bool
) -> Page:
    """Read a page event by event: some are missing or damaged, or were recorded without a checksum."""
    first, last = span
    head = unit.row("head_of", (organization_no,))
    last = min(last, first + ROWS_MAX - 1, head[0] if head is not None else 0)
    page = Page(first, [], [] if labels else None)
    size = 0
    for body, dataset, decision in _each(unit, organization_no, first, last):
        size += len(body)
        if size > bytes_max and page.bodies:
            break
        page.bodies.append(body)
        if page.labels is not None:
            page.labels.append((dataset, decision))
    return page


def _each(unit: Unit, organization_no: int, first: int, last: int) -> Iterator[tuple[bytes, str, str | None]]:
    """Yield bytes, dataset and decision of every sequence of a span."""
    for start in range(first, last + 1, ROWS_AT_ONCE):
        end = min(last, start + ROWS_AT_ONCE - 1)
        rows = {row[0]: row for row in _rows(unit, organization_no, start, end)}
        for sequence in range(start, end + 1):
            row = rows.get(sequence)
            yield (intact(row[1], row[2]), row[3], row[4]) if row is not None else _LOST


def _rows(unit: Unit, organization_no: int, first: int, last: int) -> list[Row]:
    """Return the rows of a span that can be read at all."""
    try:
        return unit.rows("page_rows", (organization_no, first, last))
    except StoreDamaged:
        if first == last:
            return []
        middle = (first + last) // 2
        left = _rows(unit, organization_no, first, middle)
        return left + _rows(unit, organization_no, middle + 1, last)
