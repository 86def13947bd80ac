"""What only the real world has: the clock, random numbers, standard error."""

import random
import secrets
import sys
import time

from aegis_stream.domain.ids import Micros
from aegis_stream.settings import TelemetrySettings
from aegis_stream.telemetry import Log

_SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """Return microseconds since 1970-01-01 UTC."""
        return Micros(time.time_ns() // 1000)

    def steady(self) -> Micros:
        """Return microseconds since the start of the machine, time asleep included where the system counts it."""
        return Micros(time.clock_gettime_ns(_SINCE_START) // 1000)


class SystemRandom:
    """The machine's chance."""

    def chance(self) -> float:
        """Return a number in [0, 1); good for jitter, not for secrets."""
        return random.random()  # noqa: S311

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can foresee."""
        return secrets.token_bytes(count)


def make_log(settings: TelemetrySettings) -> Log:
    """Return the log as configured."""
    form = settings.log_format
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    return Log(form, settings.log_level)
