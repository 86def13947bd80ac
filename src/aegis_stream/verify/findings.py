"""What the verifier found out about one log, and which exit status that is."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

from .chain import Kept
from .note import Key, Note

COMPLETE, DAMAGED, WRONG_USE, UNDECIDED = 0, 1, 2, 3
"""The exit status. The worst wins, DAMAGED before UNDECIDED."""

SHOWN_MAX = 10_000
"""Most events, ranges and checkpoints of a kind that are listed; all are counted."""


class Range(NamedTuple):
    """Neighbouring sequences, and between which two checkpoints they were recorded.

    Args:
        first, last: sequences.
        after_s, before_s: times of the checkpoints on both sides, in seconds since 1970; None where there is none.
    """

    first: int
    last: int
    after_s: int | None
    before_s: int | None


class Stray(NamedTuple):
    """An event of the export that the log does not have as it is.

    Args:
        sequence: of the event whose id it has; 0 if there is none.
        event_id: its event.id, "" if it has none.
        place: file and line.
        range: where the event with that sequence was recorded.
    """

    sequence: int
    event_id: str
    place: str
    range: Range | None = None


class LogFindings:
    """What was found out about one log.

    Args:
        origin: its name.
        keys: those that were used; pinned says whether the auditor gave the first of them.
    """

    def __init__(self, origin: str, *, pinned: bool) -> None:
        self.origin, self.pinned = origin, pinned
        self.keys: List[Key] = []
        self.base = self.begin = 1
        self.end = 0
        self.begin_s: int | None = None
        self.end_s: int | None = None
        self.newest_event_s: int | None = None
        self.from_sequence = 0
        self.counts: Dict[str, int] = dict.fromkeys(("exact", "content", "original", "uncovered", "id"), 0)
        self.twice = self.altered_count = self.missing_count = self.erased_count = 0
        self.strange_count = self.behind_count = self.before_count = self.test_count = 0
        self.altered: List[Stray] = []
        self.by_id: List[Stray] = []
        self.missing: List[Range] = []
        self.gaps: List[Range] = []
        self.erased: List[Tuple[int, int]] = []
        self.strange: List[Stray] = []
        self.wrong_notes: List[Note] = []
        self.differ: List[Kept] = []
        self.beyond: List[Kept] = []
        self.not_compared: List[Kept] = []
        self.agree_count = 0
        self.from_future_s: int | None = None
        self.too_old_s: int | None = None
        self.accept = "content"

    @property
    def present(self) -> int:
        """Number of the log's events that are in the export, each once."""
        return sum(self.counts.values())

    @property
    def weaker(self) -> int:
        """Number of events whose evidence is weaker than what is accepted."""
        if self.accept == "id":
            return 0
        weaker = self.counts["id"] + self.counts["uncovered"]
        return weaker + (self.counts["content"] + self.counts["original"] if self.accept == "exact" else 0)

    def damages(self) -> List[str]:
        """Return in words what is damaged; [] if nothing is."""
        starts_late = 0 < self.from_sequence < self.begin
        return [
            words
            for count, words in (
                (self.altered_count, f"{self.altered_count} altered"),
                (self.missing_count, f"{self.missing_count} missing"),
                (
                    len(self.gaps),
                    f"{len(self.gaps)} gap{'s' if len(self.gaps) > 1 else ''} in the checkpoints",
                ),
                (len(self.differ), "two histories"),
                (len(self.wrong_notes), f"{len(self.wrong_notes)} checkpoints with a wrong signature"),
                (len(self.beyond), "it ends before a checkpoint that was kept"),
                (starts_late, f"it can be checked from {self.begin} on only, not from {self.from_sequence}"),
                (self.too_old_s is not None, "the last checkpoint is too old"),
            )
            if count
        ]

    def doubts(self) -> List[str]:
        """Return in words what cannot be decided; [] if everything can."""
        return [
            words
            for count, words in (
                (not self.keys, "no key for it was found"),
                (self.end < self.begin, "no checkpoint was found that is signed by its key"),
                (not self.pinned, "the key was not given, but found in the export"),
                (self.strange_count, f"{self.strange_count} events are not in the log"),
                (self.behind_count, f"{self.behind_count} events are newer than the last checkpoint"),
                (self.weaker, f"{self.weaker} events have weaker evidence than {self.accept}"),
                (len(self.not_compared), f"{len(self.not_compared)} kept checkpoints cannot be compared"),
                (self.from_future_s is not None, "a checkpoint is dated in the future"),
            )
            if count
        ]

    @property
    def status(self) -> int:
        """The exit status that this log deserves."""
        return DAMAGED if self.damages() else UNDECIDED if self.doubts() else COMPLETE


class Findings:
    """What was found out about all logs of the exports."""

    def __init__(self) -> None:
        self.logs: List[LogFindings] = []
        self.foreign = 0
        self.lines = 0
        self.unreadable_count = 0
        self.unreadable: List[Tuple[str, str]] = []
        self.broken_checkpoints = 0
        self.not_compared: List[str] = []

    @property
    def status(self) -> int:
        """The exit status: the worst of all logs; UNDECIDED if there is none, or a line cannot be read."""
        statuses = {one.status for one in self.logs}
        if DAMAGED in statuses:
            return DAMAGED
        if not statuses or UNDECIDED in statuses or self.unreadable_count or self.not_compared:
            return UNDECIDED
        return COMPLETE
