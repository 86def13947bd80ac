"""Dead letters by their cause: which ones belong together, and which ones a filter selects; pure."""

import hashlib
import re
from functools import lru_cache
from typing import Literal, NamedTuple

from .ids import SECOND, Micros

DeadLetterAction = Literal["redrive", "purge"]
"""What is done with many dead letters: sent again, or deleted."""
GROUP_PREFIX = "grp_"
PATTERN_CHARACTERS_MAX = 200
"""How much of an error's text decides about its group."""
ERROR_CHARACTERS_MAX = 1000
"""Longest text of a filter for errors."""
OTHER_ERRORS = "other errors: more different ones than are listed one by one"
"""Shown for the group of all causes beyond the number that is kept."""
_WORD = re.compile(r"[0-9A-Za-z_.:-]+")
_DIGIT = re.compile(r"[0-9]")


class DeadLetterFilter(NamedTuple):
    """Which dead letters of a destination are meant.

    Args:
        about: "event" or "destination"; "" for both.
        error: a group's id, or an error's text, which stands for its group; "" for any.
        before: only those that died before this time; None for any.
    """

    about: str = ""
    error: str = ""
    before: Micros | None = None

    @property
    def group_id(self) -> str:
        """The id of the one group that is meant; "" when `error` is a text, or empty."""
        return self.error if self.error.startswith(GROUP_PREFIX) else ""

    def matches(self, scope: str, message: str, dead_at: int) -> bool:
        """Tell whether a dead letter is meant; of a group's id the caller has seen to it already."""
        if (self.about and scope != self.about) or (self.before is not None and dead_at >= self.before):
            return False
        return not self.error or bool(self.group_id) or pattern_of(message) == pattern_of(self.error)

    def covers(self, group_id: str, scope: str, message: str) -> bool:
        """Tell whether dead letters of a group may be meant, whatever their time."""
        if self.about and scope != self.about:
            return False
        return not self.error or self.group_id == group_id or pattern_of(message) == pattern_of(self.error)


EVERY = DeadLetterFilter()
"""No filter: all dead letters of a destination."""


class DeadLetter(NamedTuple):
    """A dead letter as people see it."""

    sequence: int
    event_id: str
    attempts: int
    scope: str
    status_code: int | None
    message: str
    dead_at: Micros


class DeadLetterGroup(NamedTuple):
    """Dead letters with one cause.

    Args:
        message: that of the newest one.
        first_at: when the first of them died since there was none; last_at: when the newest one did.
    """

    group_id: str
    scope: str
    status_code: int | None
    message: str
    letters: int
    first_at: Micros
    last_at: Micros


class DeadLetterJob(NamedTuple):
    """A job, as it is stored.

    Args:
        total: how many dead letters it may concern.
        done: how many it has redriven or purged.
        cursor: the last sequence that it has looked at.
        started_by: who started it, and the destination's id and name.
    """

    job_id: str
    action: DeadLetterAction
    which: DeadLetterFilter
    total: int
    done: int
    cursor: int
    started_at: Micros
    moved_at: Micros
    finished_at: Micros | None
    cancelled: bool
    started_by: str

    @property
    def state(self) -> Literal["running", "done", "cancelled"]:
        """Whether it runs, or how it ended."""
        if self.finished_at is None:
            return "running"
        return "cancelled" if self.cancelled else "done"

    @property
    def eta_seconds(self) -> float | None:
        """How long it will take at its rate so far, seconds; None before its first part, and when it has ended."""
        spent = (self.moved_at - self.started_at) / SECOND
        if self.finished_at is not None or not self.done or spent <= 0:
            return None
        return max(0, self.total - self.done) * spent / self.done


@lru_cache(1024)
def pattern_of(message: str) -> str:
    """Return what an error's text has in common with others of the same cause: words with digits (ids, numbers, addresses) differ."""
    return _WORD.sub(_without_digits, message[:PATTERN_CHARACTERS_MAX])


@lru_cache(1024)
def group_id_of(scope: str, status_code: int | None, message: str) -> str:
    """Return the id of a failure's group: the same wherever and whenever it happens."""
    text = f"{scope}\n{status_code}\n{pattern_of(message)}"
    return GROUP_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:20]


def _without_digits(found: "re.Match[str]") -> str:
    return "#" if _DIGIT.search(found[0]) else found[0]
