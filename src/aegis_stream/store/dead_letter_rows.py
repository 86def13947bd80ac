"""Dead letters as rows come and go, each counted in its group: parts of settlements, redrives and purges.

Whoever calls these holds the lock of the destination's cursor row, so nobody else counts at the same time.
"""

from collections import Counter
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.domain.dead_letters import OTHER_ERRORS, group_id_of
from aegis_stream.domain.delivery import DeadRow, DestinationKey
from aegis_stream.domain.ids import Micros

from .database import Unit

MESSAGE_CHARACTERS_MAX = 1000
"""Longest explanation of a failure that is stored."""
GROUPS_MAX = 500
"""Most groups of one destination; dead letters of further causes are one group for each kind of failure."""


class _More(NamedTuple):
    """Dead letters of a group that were added."""

    letters: int
    message: str
    first_at: Micros
    last_at: Micros


@dataclass(slots=True)
class Tally:
    """Counts dead letters of one destination in their groups; `store` must follow."""

    unit: Unit
    key: DestinationKey
    _kept_as: dict[str, str] = field(default_factory=dict)
    _added: dict[str, _More] = field(default_factory=dict)
    _removed: Counter[str] = field(default_factory=Counter)

    def add(self, scope: str, status_code: int | None, message: str, dead_at: Micros) -> str:
        """Count one more; returns the id of the group that it belongs to."""
        wanted = group_id_of(scope, status_code, message)
        known = self._kept_as.get(wanted)
        if known is None:
            known = self._kept_as[wanted] = self._group_for(wanted, scope, status_code, message, dead_at)
        if known != wanted:
            message = OTHER_ERRORS
        so_far = self._added.get(known) or _More(0, message, dead_at, dead_at)
        first_at, last_at = min(so_far.first_at, dead_at), max(so_far.last_at, dead_at)
        self._added[known] = _More(so_far.letters + 1, message, first_at, last_at)
        return known

    def remove(self, group_id: str) -> None:
        """Count one less; one without a group was never counted."""
        if group_id:
            self._removed[group_id] += 1

    def store(self) -> None:
        """Write what was counted."""
        for group_id, more in sorted(self._added.items()):
            self.unit.run("grow_dead_letter_group", (*more, *self.key, group_id))
        for group_id, letters in sorted(self._removed.items()):
            self.unit.run("shrink_dead_letter_group", (letters, *self.key, group_id))
        if self._removed:
            self.unit.run("delete_empty_dead_letter_groups", self.key)
        self._added.clear()
        self._removed.clear()

    def _group_for(
        self, group_id: str, scope: str, status_code: int | None, message: str, dead_at: Micros
    ) -> str:
        """Return the group that a cause is counted in, which is made if need be: its own, or that of further causes."""
        if self.unit.row("dead_letter_group", (*self.key, group_id)) is not None:
            return group_id
        row = self.unit.row("count_dead_letter_groups", self.key)
        if row is not None and row[0] >= GROUPS_MAX:
            status_code, message = None, OTHER_ERRORS
            group_id = group_id_of(scope, status_code, message)
            if self.unit.row("dead_letter_group", (*self.key, group_id)) is not None:
                return group_id
        values = (*self.key, group_id, scope, status_code, message, 0, dead_at, dead_at)
        self.unit.run("insert_dead_letter_group", values)
        return group_id


def bury(unit: Unit, key: DestinationKey, dead: Seq[DeadRow]) -> int:
    """Write dead letters; returns how many are new. An event that is missing in the log is named by its place."""
    tally, made = Tally(unit, key), 0
    for one in dead:
        failure = one.failure
        replaced = unit.row("delete_dead_letter", (*key, one.sequence))
        if replaced is not None:
            tally.remove(replaced[0])
        message = short(failure.message) or ""
        group_id = tally.add(str(failure.scope), failure.status_code, message, one.dead_at)
        found = unit.rows("event_ids", (key.organization_no, one.sequence, one.sequence))
        event_id = found[0][1] if found else f"missing-{one.sequence}"
        values = (*key, one.sequence, event_id, one.attempts)
        reason = (str(failure.scope), failure.status_code, message, one.dead_at, group_id)
        made += unit.run("insert_dead_letter", (*values, *reason)) - (replaced is not None)
    tally.store()
    return made


def redrive_some(
    unit: Unit, key: DestinationKey, *, scope: str, died_by: Micros, limit: int
) -> tuple[int, int]:
    """Make dead letters pending again: a retry with no attempt made, due at once.

    Args:
        scope: only those with this scope; "%" for all.
        died_by: only those that were dead by then, so that one redrive takes no event twice.
        limit: most to move.
    Returns: how many dead letters moved, and how many retries are new; the caller adds them to the counts.
    """
    found = unit.rows("dead_letters_for_redrive", (*key, died_by, unit.now(), scope, limit))
    sequences = [row[0] for row in found]
    return redrive_these(unit, key, sequences)


def redrive_these(unit: Unit, key: DestinationKey, sequences: Seq[int]) -> tuple[int, int]:
    """Make these dead letters pending again: due at once, whatever the clock says.

    Returns: how many dead letters there were, and how many retries are new (a replay may have left one of the same event).
    """
    moved = remove_these(unit, key, sequences)
    known = unit.each([("retry_of", (*key, sequence)) for sequence in moved])
    calls = []
    for sequence, retry in zip(moved, known, strict=True):
        name = "insert_retry" if retry is None else "update_retry"
        calls.append((name, (0, 0, None, None, *key, sequence)))
    unit.each(calls)
    return len(moved), sum(retry is None for retry in known)


def remove_these(unit: Unit, key: DestinationKey, sequences: Seq[int]) -> list[int]:
    """Remove dead letters; returns the sequences of those that there were, each once."""
    tally, moved = Tally(unit, key), []
    found = unit.each([("delete_dead_letter", (*key, sequence)) for sequence in sequences])
    for sequence, row in zip(sequences, found, strict=True):
        if row is not None:
            moved.append(sequence)
            tally.remove(row[0])
    tally.store()
    return moved


def short(message: str | None) -> str | None:
    """Return as much of an explanation as is stored."""
    return message[:MESSAGE_CHARACTERS_MAX] if message is not None else None
