"""Follows a log from checkpoint to checkpoint, and says which leaves its signed roots prove.

A seal's parts are those that lead from the last proven size to the root of a signed note. A forged part leads nowhere, so it is
passed over; the search is bounded. Where parts are missing there is a gap, and the chain goes on from the next checkpoint that
brings its own frontier.

A signature proves every leaf before it, so only the last one before each gap is checked: in plain Python each takes 5 ms. If one of
those is wrong, all are checked.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from .note import Note
from .parts import PartAt, Parts
from .tree import HASH_BYTES, Tree, tree_of

TRIES_MAX = 4096
"""Parts that are tried in vain over a whole log."""


class Run(NamedTuple):
    """Neighbouring leaves that are proven.

    Args:
        row: number of the first of them among all proven leaves.
        sequence: its sequence.
        length: how many there are.
    """

    row: int
    sequence: int
    length: int


class Kept(NamedTuple):
    """A checkpoint that the log must agree with, if it is signed by a key of the log.

    Args:
        note: not yet checked.
        source: where it comes from, for the report; "" for one of the export itself.
    """

    note: Note
    source: str


class Chain:
    """What the checkpoints of a log prove.

    Args:
        base: sequence of the log's first leaf.
        notes: the checkpoints of the export by size, not yet checked.
        kept: the checkpoints that must agree; those of the export itself among them.
        is_right: tells whether a note is signed by a key of the log.
    """

    def __init__(
        self,
        parts: Parts,
        base: int,
        notes: Dict[int, List[Note]],
        kept: List[Kept],
        is_right: Callable[[Note], bool],
    ) -> None:
        self._parts, self._base, self._notes, self._is_right = parts, base, notes, is_right
        self._kept = sorted(kept, key=lambda one: one.note.size)
        self._restarts = sorted(
            (one.last - base + 1, number, one)
            for number, one in enumerate(one for others in parts.by_first.values() for one in others)
            if one.frontier and one.last - base + 1 in notes
        )
        self._strict = False
        self._reset()
        if not self._follow():
            self._strict = True
            self._reset()
            self._follow()

    def _reset(self) -> None:
        self._next_kept = 0
        self._tries_left = TRIES_MAX + 2 * self._parts.count
        self.path: List[PartAt] = []
        self.seals: List[Note] = []
        self.gaps: List[Tuple[int, int]] = []
        self.agree: List[Kept] = []
        self.differ: List[Kept] = []
        self.not_compared: List[Kept] = []
        self.beyond: List[Kept] = []
        self.begin = self._base
        self.end = self._base - 1

    def runs(self) -> List[Run]:
        """Return where the proven leaves stand, in order."""
        runs: List[Run] = []
        row = 0
        for part in self.path:
            if runs and runs[-1].sequence + runs[-1].length == part.first:
                runs[-1] = runs[-1]._replace(length=runs[-1].length + part.events)
            else:
                runs.append(Run(row, part.first, part.events))
            row += part.events
        return runs

    def _follow(self) -> bool:
        """Go from seal to seal; False if a signature at the end of a stretch is wrong."""
        tree = Tree()
        begun = self._base in self._parts.by_first
        while True:
            found = self._seal_after(tree)
            if found is not None:
                begun = True
                self._commit(tree, found)
                continue
            if self.seals and not self._strict and not self._is_right(self.seals[-1]):
                return False
            restart = self._next_restart(tree.size)
            if restart is None:
                break
            if begun:
                self.gaps.append((self._base + tree.size, self._base + restart.size - 1))
            else:
                self.begin = self._base + restart.size
            begun = True
            self._pass_over(tree.size, restart)
            tree = restart
            self._note_end(tree)
        for kept in self._kept[self._next_kept :]:
            (self.beyond if self._is_right(kept.note) else self.not_compared).append(kept)
        return True

    def _next_restart(self, size: int) -> Tree | None:
        """Return the smallest tree beyond a size whose frontier a checkpoint brings, and gives its root."""
        for at in range(bisect_left(self._restarts, (size + 1,)), len(self._restarts)):
            restart_size, _, part = self._restarts[at]
            tree = tree_of(restart_size, self._parts.frontier(part))
            if tree is not None and self._signed(tree) is not None:
                return tree
        return None

    def _signed(self, tree: Tree) -> Note | None:
        """Return the note that has this root; before the end of a stretch its signature need not be checked."""
        notes = self._notes.get(tree.size)
        if not notes:
            return None
        root = tree.root()
        for note in notes:
            if note.root == root and (not self._strict or self._is_right(note)):
                return note
        return None

    def _seal_after(self, tree: Tree) -> List[PartAt] | None:
        """Return the parts that lead from here to the next signed root, or None if none do."""
        waiting: List[Tuple[Tree, Any]] = [(tree, None)]
        while waiting:
            reached, way = waiting.pop()
            others = self._parts.by_first.get(self._base + reached.size, [])
            longer_ones: List[Tuple[Tree, Any]] = []
            for part in sorted(others, key=_says_little):
                if not self._tries_left:
                    return None
                self._tries_left -= 1
                longer = reached.copy()
                longer.grow(self._parts.leaves(part))
                if self._signed(longer) is not None:
                    return _in_order((part, way))
                longer_ones.append((longer, (part, way)))
            waiting += longer_ones[::-1]  # the first one is followed first
        return None

    def _commit(self, tree: Tree, path: List[PartAt]) -> None:
        """Grow the tree for good, and compare it with every kept checkpoint on the way, wherever its size lies."""
        for part in path:
            leaves = self._parts.leaves(part)
            while self._next_kept < len(self._kept):
                kept = self._kept[self._next_kept]
                ahead = kept.note.size - tree.size
                if ahead > len(leaves) // HASH_BYTES:
                    break
                if ahead >= 0:
                    tree.grow(leaves[: ahead * HASH_BYTES])
                    leaves = leaves[ahead * HASH_BYTES :]
                    self._compare(kept, tree.root())
                self._next_kept += 1
            tree.grow(leaves)
        self._tries_left += len(path)
        self.path += path
        self._note_end(tree)

    def _compare(self, kept: Kept, root: bytes) -> None:
        if kept.note.root == root:
            self.agree.append(kept)
        elif self._is_right(kept.note):
            self.differ.append(kept)
        else:
            self.not_compared.append(kept)

    def _pass_over(self, size: int, to: Tree) -> None:
        """Leave out the kept checkpoints within a gap; one at its end can be compared."""
        while self._next_kept < len(self._kept) and self._kept[self._next_kept].note.size <= to.size:
            kept = self._kept[self._next_kept]
            if kept.note.size == to.size:
                self._compare(kept, to.root())
            elif kept.note.size > size:
                self.not_compared.append(kept)
            self._next_kept += 1

    def _note_end(self, tree: Tree) -> None:
        self.end = self._base + tree.size - 1
        note = self._signed(tree)
        assert note is not None
        self.seals.append(note)


def _says_little(part: PartAt) -> Tuple[bool, bool]:
    """Return what comes last: hashes that were told again, beside the checkpoint event that says more."""
    return not part.contents, not part.frontier


def _in_order(way: Any) -> List[PartAt]:
    path: List[PartAt] = []
    while way is not None:
        part, way = way
        path.append(part)
    return path[::-1]
