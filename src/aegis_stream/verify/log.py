"""One log while it is judged: which leaves are proven, which of them are in the export, and what is left over on both sides."""

from __future__ import annotations

from array import array
from typing import Dict, Iterable, List, Optional, Tuple
from zlib import crc32

from .chain import Chain, Kept
from .columns import Column, Index
from .content import Unreadable
from .demands import KEPT, Demands
from .fields import TEST_DATASET, field, seconds_of, text_of
from .findings import SHOWN_MAX, LogFindings, Range, Stray
from .gather import Gathered, KeyEvent, base_of, organization_of
from .manifest import is_checkpoint, spelled
from .note import Key, Note, key_of, open_note
from .parts import Parts
from .proven import CONTENT, EXACT, ID, Proven, read_values
from .rebuild import is_changed
from .shapes import BUILT, Candidates
from .tree import HASH_BYTES, leaf_of

ROTATIONS_MAX = 16
FUTURE_S_MAX = 300
"""A checkpoint may be so far ahead of the clock of the machine that checks it."""
PAIRED_AT_ONCE = 2_000_000
"""So many missing events are looked up by id at a time; it takes 200 MB."""

_STRANGE, _BEHIND, _BEFORE, _NEWEST, _PAIRED, _TEST = range(6)
"""What an event that is not in the log may be: unknown, newer than the last checkpoint, older than the range, the newest checkpoint
itself or proven hashes told again, the altered version of a missing one, or a test event, which is in no log."""


class Log:
    """One log while it is judged."""

    def __init__(self, origin: str, gathered: Gathered, demands: Demands) -> None:
        self.organization = organization_of(origin)
        self._gathered, self._demands = gathered, demands
        self._base = base_of(origin)
        self._parts = gathered.parts.get(self.organization) or gathered.parts.get("") or Parts()
        self._notes: List[Note] = gathered.notes.get(origin, [])
        self._opened: Dict[Note, bool] = {}
        self._times: Dict[Note, Optional[int]] = {}
        self.found = LogFindings(origin, pinned=bool(demands.keys))
        self.found.keys = self._first_keys(origin)
        self.proven = self._prove()
        self._before = self._leaves_before()
        self._stray_ids, self._stray_flags, self._stray_changed = array("I"), bytearray(), bytearray()
        self._strays: List[Stray] = []
        self._take_over()

    def _first_keys(self, origin: str) -> List[Key]:
        pinned = [one for one in self._demands.keys if one.name == origin]
        announced = [key_of(origin, one) for event in self._key_events() for one in event.after]
        return list(dict.fromkeys(pinned if self._demands.keys else announced))

    def _key_events(self) -> List[KeyEvent]:
        return [one for one in self._gathered.key_events if one.organization == self.organization]

    def _prove(self) -> Proven:
        """Follow the chain by the keys that are known; then by those that the log itself proves to follow them."""
        kept = [one for one in self._demands.kept if one.note.origin == self.found.origin]
        by_size: Dict[int, List[Note]] = {}
        # A kept checkpoint proves what leads to it, too: an export may have none of its own.
        for note in [*self._notes, *(one.note for one in kept if one.source == KEPT)]:
            by_size.setdefault(note.size, []).append(note)
        kept += [Kept(note, "") for note in self._notes]
        self._parts.cut(sorted(size + self._base - 1 for size in by_size))
        for _ in range(ROTATIONS_MAX):
            self._opened.clear()
            proven = Proven(self._parts, Chain(self._parts, self._base, by_size, kept, self._is_right))
            new = self._announced(proven)
            if not new:
                return proven
            self.found.keys += new
            proven.close()
        raise Unreadable(f"announces more than {ROTATIONS_MAX} keys")

    def _announced(self, proven: Proven) -> List[Key]:
        trusted = {one.public_key for one in self.found.keys}
        new: List[Key] = []
        for event in self._key_events():
            after = [key_of(self.found.origin, one) for one in event.after if one not in trusted]
            if not after or not trusted.intersection(event.before):
                continue
            match = proven.match(event.candidates)
            if match is not None and match.level in (EXACT, CONTENT):
                new += [one for one in after if one not in new]
        return new

    def _is_right(self, note: Note) -> bool:
        known = self._opened.get(note)
        if known is None:
            known = self._opened[note] = bool(open_note(note, self.found.keys).keys)
        return known

    def _leaves_before(self) -> Index | None:
        """Return the leaves that checkpoints list for the time before the range; nothing proves them."""
        if self.proven.chain.begin == self._base:
            return None
        column = Column(HASH_BYTES)
        for others in self._parts.by_first.values():
            for part in others:
                if part.last < self.proven.chain.begin:
                    column.append(self._parts.leaves(part))
        return Index(column)

    def _take_over(self) -> None:
        chain, found = self.proven.chain, self.found
        found.base, found.begin, found.end = self._base, chain.begin, chain.end
        found.from_sequence, found.accept = self._demands.from_sequence, self._demands.accept
        found.begin_s = self._time_of(chain.seals[0]) if chain.seals else None
        found.end_s = self._time_of(chain.seals[-1]) if chain.seals else None
        found.gaps = [self._range(first, last) for first, last in chain.gaps]
        found.differ = chain.differ
        found.beyond = [one._replace(source=one.source or "the export") for one in chain.beyond]
        found.not_compared = [one for one in chain.not_compared if one.source == KEPT]
        found.agree_count = sum(bool(one.source) for one in chain.agree)
        self.compared = {one.source for one in (*chain.agree, *chain.differ, *chain.beyond)}
        self._look_at_notes()
        self._look_at_clock()

    def _look_at_notes(self) -> None:
        """Find notes that claim to be by a key of the log and are not: of those that the chain did not need."""
        used = set(self.proven.chain.seals)
        unused = [note for note in self._notes if note not in used][:SHOWN_MAX]
        self.found.wrong_notes = [note for note in unused if open_note(note, self.found.keys).wrong]

    def _look_at_clock(self) -> None:
        end_s, now_s = self.found.end_s, self._demands.now_s
        if end_s is not None and end_s > now_s + FUTURE_S_MAX:
            self.found.from_future_s = end_s
        if self._demands.max_age_s and (end_s is None or now_s - end_s > self._demands.max_age_s):
            self.found.too_old_s = now_s - (end_s or 0)

    def _time_of(self, note: Note) -> int | None:
        if note not in self._times:
            self._times[note] = open_note(note, self.found.keys).time_s
        return self._times[note]

    def _range(self, first: int, last: int) -> Range:
        """Return sequences with the times of the checkpoints around them."""
        seals, base = self.proven.chain.seals, self._base
        low, high = 0, len(seals)
        while low < high:
            middle = (low + high) // 2
            if seals[middle].size + base - 1 < first:
                low = middle + 1
            else:
                high = middle
        before = next((one for one in seals[low:] if one.size + base - 1 >= last), None)
        after_s = self._time_of(seals[low - 1]) if low else None
        return Range(first, last, after_s, None if before is None else self._time_of(before))

    # --- What the second reading tells ---

    def count_exact(self, leaf: bytes) -> None:
        """Count an event whose leaf is in the log."""
        self.count(EXACT, self.proven.mark(leaf))

    def count(self, level: str, is_new: bool) -> None:  # noqa: FBT001 - called for every event
        """Count an event that is in the log."""
        if is_new:
            self.found.counts[level] += 1
        else:
            self.found.twice += 1

    def add_stray(self, event: object, candidates: Candidates, place: str) -> None:
        """Take an event that is not in the log as it is; it is judged at the end, when the missing ones are known."""
        event_id = text_of(event, "event", "id")
        flag = self._flag_of(event, candidates)
        self._stray_ids.append(crc32(event_id.encode("utf-8", "replace")))
        self._stray_flags.append(flag)
        self._stray_changed.append(
            any(is_changed(value) for _, value in read_values(candidates)) or _is_built(candidates)
        )
        if len(self._strays) < SHOWN_MAX * 2:
            self._strays.append(Stray(0, event_id, place))

    def is_newest(self, event: object, candidates: Candidates) -> bool:
        """Tell whether an event is the newest checkpoint event, which no other one covers yet, or tells proven hashes again."""
        leaves = {leaf_of(one.text.encode()) for one in candidates if one.text}
        spelled_anew = {leaf_of(spelled(event))} if is_checkpoint(event) else set()
        return bool((leaves | spelled_anew) & self.proven.newest) or self.proven.is_told_again(event)

    def _flag_of(self, event: object, candidates: Candidates) -> int:
        if self.is_newest(event, candidates):
            return _NEWEST
        leaves = {leaf_of(one.text.encode()) for one in candidates if one.text}
        if text_of(event, "event", "dataset") == TEST_DATASET:
            return _TEST
        if self._before is not None:
            at_s = seconds_of(event)
            listed = any(self._before.find(one) >= 0 for one in leaves)
            if listed or (at_s is not None and at_s < (self.found.begin_s or 0)):
                return _BEFORE
        at_s = seconds_of(event)
        if at_s is None or self.found.end_s is None or at_s < self.found.end_s:
            return _STRANGE
        self.found.newest_event_s = max(at_s, self.found.newest_event_s or 0)
        return _BEHIND

    # --- The end ---

    def conclude(self) -> LogFindings:
        """Pair what is missing with what is not in the log, and return what was found."""
        found = self.found
        if found.end >= found.begin:
            self._pair()
            self._explain_erased()
            self._list_missing()
        flags = self._stray_flags
        found.behind_count, found.before_count = flags.count(_BEHIND), flags.count(_BEFORE)
        found.test_count, found.strange_count = flags.count(_TEST), flags.count(_STRANGE)
        found.strange = [one for one, flag in zip(self._strays, flags) if flag == _STRANGE][:SHOWN_MAX]
        return found

    def _pair(self) -> None:
        """Find for each missing event the one with its id that is not in the log: it was altered."""
        waiting: List[int] = []
        for row in self.proven.marks.unset():
            waiting.append(row)
            if len(waiting) == PAIRED_AT_ONCE:
                self._pair_some(waiting)
                waiting = []
        self._pair_some(waiting)

    def _pair_some(self, rows: List[int]) -> None:
        by_id: Dict[int, List[int]] = {}
        for row in rows:
            by_id.setdefault(int.from_bytes(self.proven.ids[row], "big"), []).append(row)
        by_id.pop(0, None)  # no id is listed
        for number, short_id in enumerate(self._stray_ids):
            paired = by_id.get(short_id) if self._stray_flags[number] != _PAIRED else None
            if not paired:
                continue
            row = paired.pop(0)
            self._stray_flags[number] = _PAIRED
            self.proven.marks.set(row)
            changed = self._stray_changed[number] or not self.proven.lists_content(row)
            if self._demands.accept == ID or changed:
                self.found.counts[ID] += 1
                self._list(self.found.by_id, row, number)
            else:
                self.found.altered_count += 1
                self._list(self.found.altered, row, number)

    def _list(self, where: List[Stray], row: int, number: int) -> None:
        if number < len(self._strays) and len(where) < SHOWN_MAX:
            sequence = self.proven.sequence_of(row)
            stray = self._strays[number]
            where.append(stray._replace(sequence=sequence, range=self._range(sequence, sequence)))

    def _explain_erased(self) -> None:
        """Take out the missing events that an event of the log says were erased, with the right leaf."""
        for candidates in self._gathered.erasures:
            match = self.proven.match(candidates)
            if match is None or match.level not in (EXACT, CONTENT):
                continue
            for sequence, leaf in _erased_by(candidates):
                row = self.proven.row_of(sequence)
                if row >= 0 and self.proven.leaves[row].hex() == leaf and self.proven.marks.set(row):
                    self.found.erased_count += 1
                    if len(self.found.erased) < SHOWN_MAX:
                        self.found.erased.append((sequence, self.proven.sequence_of(match.row)))

    def _list_missing(self) -> None:
        first = last = -1
        for row in self.proven.marks.unset():
            self.found.missing_count += 1
            sequence = self.proven.sequence_of(row)
            if sequence == last + 1 and first >= 0:
                last = sequence
                continue
            self._add_missing(first, last)
            first = last = sequence
        self._add_missing(first, last)

    def _add_missing(self, first: int, last: int) -> None:
        if first >= 0 and len(self.found.missing) < SHOWN_MAX:
            self.found.missing.append(self._range(first, last))


def _is_built(candidates: Candidates) -> bool:
    """Tell whether nothing of an event's text came back."""
    return all(one.kind == BUILT for one in candidates)


def _erased_by(candidates: Candidates) -> Iterable[Tuple[int, str]]:
    """Yield sequence and leaf (hexadecimal) of the event that an event_erase names."""
    for _, value in read_values(candidates):
        sequence = field(value, "aegis", "audit", "before", "sequence")
        leaf = field(value, "aegis", "audit", "before", "leaf")
        if type(sequence) is int and isinstance(leaf, str):
            yield sequence, leaf.lower()
            return
