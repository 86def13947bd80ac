"""Destinations as they are stored: functions of a unit of work.

URL, auth header value, further headers and OAuth2 client are sealed on their way in and opened on their way out; nothing
below this module sees them.
"""

from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.destination import HALTED, Destination, DestinationSpec, Health, Progress
from aegis_stream.domain.ids import DestinationId, DestinationNo, Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.patch import DestinationPatch, apply_patch
from aegis_stream.errors import Conflict, NotFound, Unavailable
from aegis_stream.ports import Sealer

from .database import Row, Unit
from .dead_letter_rows import redrive_some
from .organizations import id_of
from .records import key_of, open_destination, seal_spec, spec_text
from .secrets import Record, sealing_key

LOOKED_AT = 50
"""Destinations that one step over all of them opens."""
CHANGES_MAX = 1000
"""Most destinations that one question about changes returns."""


class Changed(NamedTuple):
    """A change of a destination: its spec before, and the destination as it is now."""

    before: DestinationSpec
    after: Destination


class Lost(NamedTuple):
    """A destination whose secrets nobody can open, and how far it had come."""

    org_id: str
    dst_id: str
    cursor: int


def add(
    unit: Unit,
    sealer: Sealer,
    organization_no: OrganizationNo,
    dst_id: DestinationId,
    spec: DestinationSpec,
    now: Micros,
) -> Destination:
    """Store a new destination; it receives events recorded from now on."""
    values = (
        dst_id,
        organization_no,
        *_sealed(unit, sealer, spec, id_of(unit, organization_no), dst_id),
        spec_text(spec),
        not spec.enabled,
        next_revision(unit),
        now,
        now,
    )
    row = unit.row("insert_destination", values)
    assert row is not None, "an insert with RETURNING has one row"
    unit.run("insert_cursor", (row[0], organization_no))
    return find(unit, sealer, organization_no, dst_id)


def refuse_too_many(unit: Unit, organization_no: OrganizationNo, count_max: int) -> None:
    """Refuse another destination where there are `count_max` already. Raises: Conflict."""
    held = len(unit.rows("destinations_of", (organization_no, "", count_max)))
    if held >= count_max:
        raise Conflict(
            f"this organization has {held} destinations; the limit is {count_max}: delete one",
            code="too-many-destinations",
        )


def change(
    unit: Unit,
    sealer: Sealer,
    which: tuple[OrganizationNo, str],
    patch: DestinationPatch,
    now: Micros,
    *,
    probe: bool = False,
) -> Changed:
    """Change a destination; a patch is the only way, so that no stored credential follows to another host.

    Args:
        which: number of the organization, id of the destination.
        probe: attempt the oldest dead letter for a reason about the destination again at once: if it arrives, the
            destination is healthy again, and its worker redrives the others.
    Raises: NotFound, Unavailable when its secrets do not open and the patch has no new URL.
    """
    organization_no, dst_id = which
    found = find(unit, sealer, organization_no, dst_id, damaged_too=True)
    spec = apply_patch(found.spec, patch)
    if found.damaged and spec.url == found.spec.url:
        find(unit, sealer, organization_no, found.dst_id)  # raises what is wrong
    values = (
        *_sealed(unit, sealer, spec, found.org_id, found.dst_id),
        spec_text(spec),
        not spec.enabled,
        next_revision(unit),
        now,
        organization_no,
        found.no,
    )
    unit.run("update_destination", values)
    if replace(spec, enabled=found.spec.enabled) != found.spec:
        unit.run("clear_failures", key_of(found))
        if probe:
            moved, made = redrive_some(
                unit, key_of(found), scope=FailureScope.DESTINATION, died_by=now, limit=1
            )
            unit.run("count_redriven", (moved, made, *key_of(found)))
    return Changed(found.spec, find(unit, sealer, organization_no, found.dst_id))


def delete(unit: Unit, organization_no: OrganizationNo, dst_id: str, now: Micros) -> None:
    """Delete a destination: its credential at once, its rows step by step by retention. Raises: NotFound."""
    # Its secrets are not opened: a damaged destination must be possible to delete.
    row = unit.row("destination_no", (organization_no, dst_id))
    if row is None:
        raise _not_found(dst_id)
    _mark_deleted(unit, organization_no, row[0], now)


def delete_unreadable(
    unit: Unit, sealer: Sealer, after_no: int, now: Micros, record: Record | None = None
) -> tuple[int | None, list[Lost]]:
    """Delete those of the next destinations, of all organizations, whose secrets nobody can open.

    Returns: the last destination looked at, None when there was none left; and what was deleted.
    """
    rows = unit.rows("destinations_after", (after_no, LOOKED_AT))
    lost = []
    for row in sorted(
        rows, key=itemgetter(2)
    ):  # by organization, the order in which all lock the heads of logs
        if _open(row, sealer).damaged:
            cursor = unit.row("progress", (row[2], row[0]))
            _mark_deleted(unit, row[2], row[0], now)
            lost.append(Lost(row[3], row[1], cursor[1] if cursor is not None else 0))
            if record is not None:
                record(unit, row[2], row[3], AdminAction("destination_delete", "destination", row[1]))
    return (rows[-1][0] if rows else None), lost


def find(
    unit: Unit, sealer: Sealer, organization_no: OrganizationNo, dst_id: str, *, damaged_too: bool = False
) -> Destination:
    """Return one destination of an organization.

    Args:
        damaged_too: also one whose secrets do not open, without them.
    Raises: NotFound. Unavailable when its secrets do not open.
    """
    row = unit.row("destination_by_id", (organization_no, dst_id))
    if row is None:
        raise _not_found(dst_id)
    return _open(row, sealer) if damaged_too else open_destination(row, sealer)


def find_by_no(unit: Unit, sealer: Sealer, destination_no: DestinationNo) -> Destination | None:
    """Return a destination, or None when it is deleted. Raises: Unavailable when its secrets do not open."""
    row = unit.row("destination_by_no", (destination_no,))
    return open_destination(row, sealer) if row is not None else None


def list_of(
    unit: Unit, sealer: Sealer, organization_no: OrganizationNo, after: str, limit: int
) -> list[Destination]:
    """Return destinations of an organization after one with the id `after`, oldest first; damaged ones without secrets."""
    return [_open(row, sealer) for row in unit.rows("destinations_of", (organization_no, after, limit))]


def changed_since(unit: Unit, revision: int) -> list[tuple[DestinationNo, int]]:
    """Return destinations changed after a revision, with the revision of the change, in order; at most CHANGES_MAX."""
    rows = unit.rows("changed_since", (revision, CHANGES_MAX))
    return [(DestinationNo(no), changed) for no, changed in rows]


def progress(unit: Unit, destination: Destination) -> Progress:
    """Return how far a destination has come. Raises: NotFound."""
    row = unit.row("progress", key_of(destination))
    if row is None:
        raise _not_found(destination.dst_id)
    start, cursor, head, delivered, failed, retrying, dead_letters = row[:7]
    health = Health(*row[7:17])
    return Progress(start, cursor, head, delivered, failed, retrying, dead_letters, health, row[17])


def work_ahead(unit: Unit, destination: Destination) -> tuple[str | None, Micros | None]:
    """Return which worker serves a destination, and when its next retry is due; None for none."""
    row = unit.row("work_ahead", key_of(destination))
    return (row[0], row[1]) if row is not None else (None, None)


def totals(unit: Unit) -> tuple[int, ...]:
    """Return destinations, delivered, failed attempts, retrying, dead letters, backlog, failing, halted, damaged: sums over all.

    What deleted destinations had counted is included.
    """
    row = unit.row("totals", (f"{HALTED}%",))
    assert row is not None, "an aggregate always has a row"
    there, delivered, failed, *others = row
    counted: dict[str, int] = dict(unit.rows("counters"))
    delivered += counted["delivered_by_deleted"]
    failed += counted["failed_attempts_by_deleted"]
    return (there, delivered, failed, *others, counted["damaged_events"])


def touch(unit: Unit, destination: Destination) -> None:
    """Let the worker of a destination notice that something about it has changed."""
    unit.run("touch_destination", (next_revision(unit), destination.no))


def next_revision(unit: Unit) -> int:
    """Count one change of a destination; returns its revision."""
    row = unit.row("next_revision")
    assert row is not None, "the first migration writes this row"
    return int(row[0])


def _open(row: Row, sealer: Sealer) -> Destination:
    """Open a row; where its secrets do not open, return what is not sealed."""
    try:
        return open_destination(row, sealer)
    except Unavailable:
        return replace(open_destination(row, None), damaged=True)


def _sealed(
    unit: Unit, sealer: Sealer, spec: DestinationSpec, org_id: OrganizationId, dst_id: str
) -> tuple[bytes | None, ...]:
    """Seal the secrets under the master key that seals at this moment."""
    key = sealing_key(unit)
    return seal_spec(spec, sealer, org_id, dst_id, key.key_id if key is not None else None)


def _mark_deleted(unit: Unit, organization_no: int, destination_no: int, now: Micros) -> None:
    unit.run("mark_destination_deleted", (now, next_revision(unit), organization_no, destination_no))
    unit.run("void_lease", (organization_no, destination_no))


def _not_found(dst_id: str) -> NotFound:
    return NotFound(f"there is no destination {dst_id[:80]!r} in this organization")
