"""The proven leaves of a log, and what is found of them in an export.

Three kinds of evidence, the strongest first: the bytes (`exact`), the content (`content`), and that an event with this id is
there (`id`). Content digests are evidence only where the checkpoint event that lists them is a proven leaf itself: the newest one
is not yet, and whoever alters an event could alter its list too.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any, List, NamedTuple, Set, Tuple

from .chain import Chain, Run
from .columns import Column, Index, Marks
from .content import DIGEST_BYTES, Unreadable, digest, loads
from .manifest import ID_BYTES, is_checkpoint, part_of
from .manifest import spelled as checkpoint_spelled
from .parts import PartAt, Parts
from .shapes import ORIGINAL, Candidate, Candidates
from .spell import SPELLINGS, spelled, without_additions
from .tree import HASH_BYTES, leaf_of

EXACT = "exact"
CONTENT = "content"
IN_ORIGINAL = "original"
UNCOVERED = "uncovered"
"""Content that is listed by a checkpoint which no other one covers yet."""
ID = "id"

_NO_DIGEST = bytes(DIGEST_BYTES)
FRUITLESS_MAX = 200
"""So many versions of events are spelled anew in vain before that is only done where a content digest is missing."""


class Match(NamedTuple):
    """Where an event of an export stands in the log.

    Args:
        row: of the proven leaf.
        level: EXACT, CONTENT, IN_ORIGINAL or UNCOVERED.
    """

    row: int
    level: str


class Proven:
    """The leaves of a log that its checkpoints prove.

    Args:
        parts: the checkpoint events that were put aside.
        chain: where they lead.
    """

    def __init__(self, parts: Parts, chain: Chain) -> None:
        self.chain = chain
        self.leaves, self.ids, self.contents = Column(HASH_BYTES), Column(ID_BYTES), Column(DIGEST_BYTES)
        for part in chain.path:
            self.leaves.append(parts.leaves(part))
        self.index = Index(self.leaves)
        self.marks = Marks(len(self.leaves))
        self._part_rows = array("Q")
        self._covered = bytearray()
        self._has_contents = bytearray()
        self.newest: Set[bytes] = set()
        row = 0
        for part in chain.path:
            chosen = self._variant(parts, part)
            self.ids.append(parts.ids(chosen))
            self.contents.append(parts.contents(chosen))
            self._part_rows.append(row)
            covered = self._is_leaf(chosen)
            self._covered.append(covered)
            self._has_contents.append(chosen.contents)
            for one in [] if covered else self._same(parts, part):
                self.newest |= _own_leaves(one)
            row += part.events
        self._lists_any, self._lists_all = any(self._has_contents), all(self._has_contents)
        self._runs: List[Run] = chain.runs()
        self._run_rows = [one.row for one in self._runs]
        self._contents_index: Index | None = None
        self._spelling, self._fruitless = 0, 0

    def sequence_of(self, row: int) -> int:
        """Return the sequence of a proven leaf."""
        run = self._runs[bisect_right(self._run_rows, row) - 1]
        return run.sequence + row - run.row

    def row_of(self, sequence: int) -> int:
        """Return the row of a sequence, or -1 if it is not proven."""
        for run in self._runs:
            if run.sequence <= sequence < run.sequence + run.length:
                return run.row + sequence - run.sequence
        return -1

    def is_told_again(self, event: object) -> bool:
        """Tell whether an event has hashes alone, which repeat proven ones, or are those of events after the last checkpoint."""
        part = part_of(event) if is_checkpoint(event) else None
        if part is None or part.note or part.contents:
            return False
        return part.first > self.chain.end or self._repeats(part.first, part.leaves)

    def _repeats(self, first: int, leaves: bytes) -> bool:
        end, repeated = first + len(leaves) // HASH_BYTES, False
        for run in self._runs:
            start, stop = max(first, run.sequence), min(end, run.sequence + run.length)
            if start >= stop:
                continue
            there = self.leaves.rows(run.row + start - run.sequence, stop - start)
            if there != leaves[(start - first) * HASH_BYTES : (stop - first) * HASH_BYTES]:
                return False
            repeated = True
        return repeated

    def mark(self, key: bytes) -> bool:
        """Tick off an event by its leaf, which is in the log; False if it was there before, delivered twice."""
        row = self.index.find(key)
        return self.marks.set(row) or any(self.marks.set(one) for one in self.index.find_all(key))

    def tick(self, match: Match) -> bool:
        """Tick off an event that was matched; False if all of its equals are ticked off."""
        if self.marks.set(match.row):
            return True
        if match.level in (EXACT, IN_ORIGINAL):
            return self.mark(self.leaves[match.row])
        rows = self._by_content().find_all(self.contents[match.row])
        return any(self.marks.set(row) for row in rows)

    def match(self, candidates: Candidates) -> Match | None:
        """Return where an event of the export stands in the log; None if it does not, as far as can be proven."""
        for candidate in candidates:
            if candidate.text:
                row = self.index.find(leaf_of(candidate.text.encode()))
                if row >= 0 and candidate.kind != ORIGINAL:
                    return Match(row, EXACT)
        found: Match | None = None
        for candidate in candidates:
            if candidate.kind != ORIGINAL:
                found = self._by_value(
                    candidate.value if candidate.value is not None else _value(candidate.text)
                )
            else:
                row = self.index.find(leaf_of(candidate.text.encode()))
                found = Match(row, IN_ORIGINAL) if row >= 0 else None
            if found is not None:
                return found
        return None

    def _by_value(self, value: Any) -> Match | None:
        if not isinstance(value, dict):
            return None
        if is_checkpoint(value):
            row = self.index.find(leaf_of(checkpoint_spelled(value)))
            if row >= 0:
                return Match(row, EXACT)
        found = self._of_content(value)
        if self._fruitless > FRUITLESS_MAX:
            if found is not None and found.level == CONTENT:
                return found
            if (
                found is None and self._lists_all
            ):  # a recorded event that is only spelled otherwise has a listed digest
                return self._of_less(value)
        row = self._of_spelling(value)
        if row >= 0:
            return Match(row, EXACT)
        return found or self._of_less(value)

    def _of_spelling(self, value: Any) -> int:
        for turn in range(len(SPELLINGS)):
            number = (self._spelling + turn) % len(SPELLINGS)
            row = self.index.find(leaf_of(spelled(value, SPELLINGS[number])))
            if row >= 0:
                self._spelling, self._fruitless = number, 0
                return row
        self._fruitless += 1
        return -1

    def _of_less(self, value: Any) -> Match | None:
        for version in without_additions(value):
            found = self._of_content(version)
            if found is not None:
                return found
        return None

    def _of_content(self, value: Any) -> Match | None:
        if not self._lists_any:
            return None
        try:
            key = digest(value)
        except Unreadable:
            return None
        rows = [row for row in self._by_content().find_all(key) if self.lists_content(row)]
        if not rows:
            return None
        best = max(rows, key=lambda row: (not self.marks[row], self.is_covered(row)))
        return Match(best, CONTENT if self.is_covered(best) else UNCOVERED)

    def is_covered(self, row: int) -> bool:
        """Tell whether the checkpoint event that lists this event is a proven leaf itself."""
        return bool(self._covered[self._part_number(row)])

    def lists_content(self, row: int) -> bool:
        """Tell whether a checkpoint lists the content digest of this event; zeros stand for one that cannot be read."""
        return bool(self._has_contents[self._part_number(row)]) and self.contents[row] != _NO_DIGEST

    def _part_number(self, row: int) -> int:
        return bisect_right(self._part_rows, row) - 1

    def _by_content(self) -> Index:
        if self._contents_index is None:
            self._contents_index = Index(self.contents)
        return self._contents_index

    def _is_leaf(self, part: PartAt) -> bool:
        return any(self.index.find(one) >= 0 for one in _own_leaves(part))

    def _variant(self, parts: Parts, part: PartAt) -> PartAt:
        """Return the checkpoint event with these leaves that is a proven leaf itself, if there is one."""
        return next((one for one in self._same(parts, part) if self._is_leaf(one)), part)

    def _same(self, parts: Parts, part: PartAt) -> List[PartAt]:
        """Return the checkpoint events with these leaves."""
        return [
            one
            for one in parts.by_first[part.first]
            if one.last == part.last and one.leaves_digest == part.leaves_digest
        ]

    def close(self) -> None:
        """Remove its files."""
        for column in (self.leaves, self.ids, self.contents):
            column.close()


def _own_leaves(part: PartAt) -> Set[bytes]:
    joined = part.own_leaves
    return {joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)}


def _value(text: str) -> Any:
    try:
        return loads(text)
    except Unreadable:
        return None


def read_values(candidates: Candidates) -> List[Tuple[Candidate, Any]]:
    """Return each candidate that can be read, with its value."""
    values = [(one, one.value if one.value is not None else _value(one.text)) for one in candidates]
    return [(one, value) for one, value in values if isinstance(value, dict)]
