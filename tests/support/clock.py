"""A clock that a test sets."""

from dataclasses import dataclass

from aegis_stream.domain.ids import Micros

T0 = Micros(1_780_000_000_000_000)


@dataclass
class SteadyClock:
    """Returns the same time until it is set.

    Args:
        at: the time, microseconds.
        ahead_us: how far the wall clock is ahead of the clock that nobody sets.
    """

    at: int = T0
    ahead_us: int = 0

    def now(self) -> Micros:
        """Return the wall clock, microseconds."""
        return Micros(self.at + self.ahead_us)

    def steady(self) -> Micros:
        """Return the clock that nobody sets, microseconds."""
        return Micros(self.at)
