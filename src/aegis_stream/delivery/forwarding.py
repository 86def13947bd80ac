"""What the forwarders of one worker share; the worker makes it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aegis_stream.domain.attempt import Failure
from aegis_stream.domain.delivery import Lease
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import Micros
from aegis_stream.pipeline.settler import Settler
from aegis_stream.ports import Clock, Ledger, Random
from aegis_stream.telemetry import Log

from .answers import AnswerKeeper
from .attempts import Outbound
from .health import Warnings
from .pages import SharedPages


class Serving(Protocol):
    """A forwarder, as its parts and the worker see it."""

    destination: Destination

    @property
    def lease(self) -> Lease:
        """The lease under which it serves."""
        ...

    def wake(self) -> None:
        """Look for work and room."""
        ...

    def bug(self, error: Exception) -> None:
        """Report an error that must not happen."""
        ...

    def halt(self, failure: Failure) -> None:
        """Stop, settle what is certain, and let people see why."""
        ...


@dataclass(slots=True)
class Term:
    """Until when the worker may start attempts: by its own monotonic clock, its leases hold at least so long.

    Attributes:
        until_s: seconds of the event loop.
    """

    until_s: float = math.inf


class Schedule:
    """The clock by which retries fall due: the wall clock of the worker's start, and from then on a clock that nobody sets.

    So a wall clock that is set while the worker runs moves no retry. Not the event loop's time: that is some milliseconds old when
    the loop is busy, and what is due in 120 seconds would be shown as less.
    """

    __slots__ = ("_ahead_us", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        steady = clock.steady()  # first, so that the schedule is never behind
        self._ahead_us = clock.now() - steady

    def now(self) -> Micros:
        """Return microseconds since 1970-01-01 UTC; never jumps."""
        return Micros(self._clock.steady() + self._ahead_us + 1)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What forwarders of one worker share.

    Args:
        clock: the wall clock, for what people see.
        schedule: the clock by which retries fall due.
        time: the event loop's, seconds.
        answers: keeps what failed attempts were answered; None to keep nothing.
        on_bug: told when serving a destination met an error that must not happen; the others must not feel it.
    """

    pages: SharedPages
    ledger: Ledger
    outbound: Outbound
    clock: Clock
    schedule: Schedule
    time: Callable[[], float]
    term: Term
    random: Random
    settler: Settler
    telemetry: Log
    on_bug: Callable[[Serving, Exception], None]
    window_max: int
    auto_redrive: bool
    dead_letters_max: int
    warnings: Warnings = field(default_factory=Warnings)
    answers: AnswerKeeper | None = None
