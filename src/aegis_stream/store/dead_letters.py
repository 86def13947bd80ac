"""Dead letters as they are stored, listed, grouped, redriven and purged: functions of a unit of work."""

from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.dead_letters import (
    EVERY,
    DeadLetter,
    DeadLetterAction,
    DeadLetterFilter,
    DeadLetterGroup,
)
from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import DestinationNo, OrganizationNo

from .database import Unit
from .dead_letter_rows import GROUPS_MAX, Tally, redrive_these, remove_these
from .destinations import next_revision, touch
from .records import key_of

LOOKED_AT_MAX = 5000
"""Most dead letters that one read looks at for a filter; the rest of the list is read on from there."""
AT_A_TIME = 500
"""How many of them it reads at a time."""
KINDS = 2
"""Kinds of failures: about the event, about the destination. Each may have one group beyond GROUPS_MAX."""


class Matching(NamedTuple):
    """Dead letters that a filter selects, and where to read on; None when all were looked at."""

    found: list[DeadLetter]
    next_after: int | None


def list_of(unit: Unit, destination: Destination, after: int, limit: int) -> list[DeadLetter]:
    """Return dead letters of a destination with a sequence above `after`, in log order."""
    rows = unit.rows("dead_letters_of", (*key_of(destination), after, limit))
    return [DeadLetter(*row) for row in rows]


def matching(
    unit: Unit,
    key: DestinationKey,
    which: DeadLetterFilter,
    after: int,
    limit: int,
    looked_at_max: int = LOOKED_AT_MAX,
) -> Matching:
    """Return dead letters that a filter selects, with a sequence above `after`, in log order: at most `limit`.

    It looks at no more than `looked_at_max`, so it may find fewer although there are more.
    """
    found: list[DeadLetter] = []
    looked_at = 0
    while looked_at < looked_at_max:
        wanted = min(
            limit + 1 if which in {EVERY, DeadLetterFilter(error=which.group_id)} else AT_A_TIME,
            looked_at_max - looked_at,
        )
        if which.group_id:
            rows = unit.rows("dead_letters_of_group", (*key, which.group_id, after, wanted))
        else:
            rows = unit.rows("dead_letters_of", (*key, after, wanted))
        for row in rows:
            one = DeadLetter(*row)
            if which.matches(one.scope, one.message, one.dead_at):
                if len(found) == limit:
                    return Matching(found, after)
                found.append(one)
            after = one.sequence
        if len(rows) < wanted:
            return Matching(found, None)
        looked_at += wanted
    return Matching(found, after)


def groups_of(unit: Unit, key: DestinationKey) -> list[DeadLetterGroup]:
    """Return the groups of a destination's dead letters, the largest first."""
    return [DeadLetterGroup(*row) for row in unit.rows("dead_letter_groups_of", (*key, GROUPS_MAX + KINDS))]


def count_matching(unit: Unit, key: DestinationKey, which: DeadLetterFilter) -> int:
    """Return how many dead letters a filter selects, by the counts of their groups: at most that many, where it has a time."""
    if which._replace(before=None) == EVERY:
        row = unit.row("failures_of", key)
        return row[1] if row is not None else 0
    return sum(
        one.letters for one in groups_of(unit, key) if which.covers(one.group_id, one.scope, one.message)
    )


def find(unit: Unit, destination: Destination, sequence: int) -> DeadLetter | None:
    """Return the dead letter of one event, or None."""
    found = list_of(unit, destination, sequence - 1, 1)
    return found[0] if found and found[0].sequence == sequence else None


def redrive(unit: Unit, destination: Destination, event_ids: Seq[str] | None) -> int:
    """Make dead letters pending again: all, or those of these events; each gets all its attempts again.

    Returns: how many dead letters were redriven.
    """
    key = key_of(destination)
    unit.row("lock_cursor", key)
    if event_ids is None:
        counts = unit.row("count_redrivable", key)
        assert counts is not None, "a count has one row"
        moved, retrying_already = counts
        unit.run("insert_redriven", key)
        unit.run("delete_dead_letters_of", key)
        unit.run("delete_dead_letter_groups_of", key)
        made = moved - retrying_already
    else:
        sequences = _sequences(unit, destination, event_ids)
        moved, made = redrive_these(unit, key, sequences)
    unit.run("count_redriven", (moved, made, *key))
    touch(unit, destination)
    return int(moved)


def purge(unit: Unit, destination: Destination, event_id: str | None) -> int:
    """Delete dead letters for good: all, or that of one event. Returns how many."""
    key = key_of(destination)
    unit.row("lock_cursor", key)
    if event_id is None:
        purged = unit.run("delete_dead_letters_of", key)
        unit.run("delete_dead_letter_groups_of", key)
    else:
        purged = len(remove_these(unit, key, _sequences(unit, destination, [event_id])))
    unit.run("count_purged", (purged, *key))
    touch(unit, destination)
    return purged


def act_on(unit: Unit, key: DestinationKey, action: DeadLetterAction, sequences: Seq[int]) -> int:
    """Redrive or purge dead letters, and let the worker notice; the cursor row is locked. Returns how many."""
    if action == "redrive":
        moved, made = redrive_these(unit, key, sequences)
        unit.run("count_redriven", (moved, made, *key))
    else:
        moved = len(remove_these(unit, key, sequences))
        unit.run("count_purged", (moved, *key))
    if moved:
        unit.run("touch_destination", (next_revision(unit), key.destination_no))
    return moved


def forget_vanished_groups(unit: Unit, key: DestinationKey) -> None:
    """Remove groups that count dead letters which are gone: nodes of a version without groups remove some uncounted."""
    unit.run("delete_vanished_dead_letter_groups", key)


def group_some(unit: Unit, limit: int) -> int:
    """Give dead letters their group that have none: an older version has written them. Returns how many were found."""
    rows = unit.rows("ungrouped_dead_letters", (limit,))
    tallies: dict[DestinationKey, Tally] = {}
    for organization_no, destination_no, sequence, scope, status_code, message, dead_at in rows:
        key = DestinationKey(OrganizationNo(organization_no), DestinationNo(destination_no))
        if key not in tallies:
            unit.row("lock_cursor", key)
            tallies[key] = Tally(unit, key)
        group_id = tallies[key].add(scope, status_code, message, dead_at)
        if not unit.run("set_dead_letter_group", (group_id, *key, sequence)):
            tallies[key].remove(group_id)  # gone, since its cursor was not locked yet
    for tally in tallies.values():
        tally.store()
    return len(rows)


def _sequences(unit: Unit, destination: Destination, event_ids: Seq[str]) -> list[int]:
    rows = [unit.row("dead_letter_by_event", (*key_of(destination), event_id)) for event_id in event_ids]
    return [row[0] for row in rows if row is not None]
