"""A clock that a test sets."""

from dataclasses import dataclass

from aegis_stream.domain.ids import Micros

T0 = Micros(1_780_000_000_000_000)


@dataclass
class SteadyClock:
    """Returns the same time until it is set."""

    at: int = T0

    def now(self) -> Micros:
        """Return the time that was set, microseconds."""
        return Micros(self.at)
