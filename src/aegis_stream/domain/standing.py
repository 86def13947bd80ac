"""How a destination stands: the one word that people read first, and the figures beside it."""

import enum
from dataclasses import dataclass

from .ids import Micros


class State(enum.StrEnum):
    """The state of a destination, the worst first."""

    DAMAGED = "damaged"  # its secrets cannot be decrypted
    HALTED = "halted"  # a bug of ours stops it
    FULL = "full"  # it has as many dead letters as are kept
    FAILING = "failing"  # its newest attempts failed for a reason of its own
    REJECTING = "rejecting"  # it has taken no event yet, and rejected some for a reason of theirs: often the wrong format
    SLOW = "slow"  # it takes events, and others have waited for a while
    PAUSED = "paused"
    UNTRIED = "never tried"
    TAKING = "taking events"

    @property
    def badness(self) -> int:
        """Rank for tables that show the worst first; 0 is the worst."""
        return list(State).index(self)

    @property
    def is_wrong(self) -> bool:
        """Whether somebody must do something."""
        return self in (State.DAMAGED, State.HALTED, State.FULL, State.FAILING, State.REJECTING)


@dataclass(frozen=True, slots=True)
class Standing:
    """A destination as people look at it.

    Args:
        since: when it last took an event; None for never.
        status_code: of its newest failure; None where nothing answered, or nothing failed.
        cause: message of its newest failure, "" for none.
        waiting: events of the log that it has not had yet.
        waiting_since: when the oldest of these was recorded; None for none.
        p99_ms: 99th percentile of the latency of recent attempts, milliseconds.
    """

    dst_id: str
    name: str
    state: State
    since: Micros | None
    status_code: int | None
    cause: str
    waiting: int
    waiting_since: Micros | None
    retrying: int
    dead_letters: int
    delivered: int
    last_success_at: Micros | None
    last_error_at: Micros | None
    p99_ms: float | None
    created_at: Micros
    updated_at: Micros
