"""How a destination is doing, as people see it: last success and error, latencies, failing or not.

Called for attempts, where it must cost next to nothing, and for each settlement, where it sums up.
"""

import math
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace

from aegis_stream.domain.attempt import Failure
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.telemetry import Log

QUANTILES_PAUSE_US = SECOND
"""Shortest time between two computations of p50 and p99."""
BATCH_BYTES_MIN = 1000
"""A batch that is found too large is not made smaller than this; the limit of `batch.max_bytes` is the same."""
WARNING_PAUSE_US = 3600 * SECOND
"""Time until the same warning is logged again."""
WARNINGS_MAX = 1024
"""Warnings that a worker remembers; beyond that the oldest is forgotten, and may be logged again early."""
BUCKETS = 384
"""Buckets of latencies, a twelfth of an octave each: up to 2^32 microseconds, an hour."""
SAMPLE_MAX = 256
"""At most this many latencies are sampled per settlement, evenly spaced."""


@dataclass(slots=True)
class Latencies:
    """Recent latencies in buckets of a twelfth of an octave, so that quantiles cost little and fade with time."""

    _counts: list[int] = field(default_factory=list)
    _total: int = 0

    def add(self, latency_us: int) -> None:
        """Count one latency, microseconds."""
        if not self._counts:
            self._counts = [0] * BUCKETS
        self._counts[min(BUCKETS - 1, int(12 * math.log2(max(1, latency_us))))] += 1
        self._total += 1
        if self._total >= 8192:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency that `share` of the recent attempts did not exceed, milliseconds; None before the first."""
        if not self._total:
            return None
        rank, seen = share * self._total, 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return round(2 ** ((bucket + 1) / 12) / 1000, 2)
        return None


def is_ailing(health: Health) -> bool:
    """Tell whether the newest attempt failed, so that the next success is a recovery."""
    return health.failures_in_row > 0 or (health.last_error_at or 0) > (health.last_success_at or 0)


@dataclass(slots=True)
class Warnings:
    """Which warnings were logged lately, for all destinations of a worker: forwarders come and go between two events."""

    _said_at: dict[tuple[str, str], Micros] = field(default_factory=dict)

    def is_due(self, destination_id: str, warning: str, now: Micros) -> bool:
        """Tell whether to log a warning now, and remember that it was logged."""
        key = (destination_id, warning)
        said_at = self._said_at.get(key)
        if said_at is not None and now - said_at < WARNING_PAUSE_US:
            return False
        self._said_at.pop(key, None)
        self._said_at[key] = now
        if len(self._said_at) > WARNINGS_MAX:
            del self._said_at[next(iter(self._said_at))]
        return True


@dataclass(slots=True)
class HealthTracker:
    """Keeps the health of one destination.

    Args:
        health: as of the last settlement, and errors since.
        ids: what the destination is called in the log.
        warnings: what was logged already, by this tracker and by others.
        succeeded_at_s: loop time of the newest success since the last settlement; None without one.
    """

    health: Health
    telemetry: Log
    ids: dict[str, str]
    warnings: Warnings = field(default_factory=Warnings)
    succeeded_at_s: float | None = None
    _failing: bool = field(init=False)
    _latencies: Latencies = field(default_factory=Latencies)
    _quantiles_at: Micros = Micros(0)

    def __post_init__(self) -> None:
        self._failing = self.health.failures_in_row > 0

    def failed(self, failure: Failure, sequence: int | None, now: Micros) -> None:
        """Note a failure, and the first event of the attempt; None where it was not an attempt that failed.

        A bug in a format is logged, the same one at most once an hour; a damaged event each time.
        """
        self.health = replace(
            self.health,
            last_error_at=now,
            last_error_status=failure.status_code,
            last_error_message=failure.message,
            last_error_sequence=sequence,
        )
        if failure.damaged:
            self.telemetry.error("store.event_damaged", **self.ids, sequence=sequence)
        if failure.bug and self.warnings.is_due(self.ids["destination_id"], failure.message, now):
            self.telemetry.error("destination.format_failed", **self.ids, reason=failure.message)

    def warned(self, warning: str, now: Micros) -> None:
        """Log what a person should know although events arrive; the same warning at most once an hour."""
        if self.warnings.is_due(self.ids["destination_id"], warning, now):
            self.telemetry.warning("destination.warning", **self.ids, reason=warning)

    def too_large(self, size: int, bytes_max: int, now: Micros) -> bool:
        """Note that a request with so many bytes of events was too large.

        Args:
            bytes_max: most bytes of events a request may have at present.
        Returns: whether it is less from now on.
        """
        less = max(BATCH_BYTES_MIN, size // 2)
        if less >= bytes_max:
            return False
        self.health = replace(self.health, batch_bytes_max=less)
        self.warned(
            f"a request with {size} bytes of events was too large: requests get {less} at most until the destination is changed",
            now,
        )
        return True

    def full(self, dead_letters: int, retrying: int, now: Micros, *, holds: bool) -> None:
        """Warn that so many events have failed that nothing new is sent, or that rejected events become no dead letters."""
        follows = (
            "new events wait in the log"
            if holds
            else "events that the destination rejects stay in the log only"
        )
        reason = f"{dead_letters} dead letters and {retrying} retries reach AEGIS_DEAD_LETTERS_MAX"
        self.warned(f"{reason}: redrive or purge dead letters; until then {follows}", now)

    def take_stock(
        self, latencies_us: Seq[int], failures_in_row: int, window: float, now: Micros, now_s: float
    ) -> Health:
        """Return the health to settle; log when the destination starts to fail or recovers.

        Args:
            latencies_us: of the attempts that succeeded since the last time.
        """
        for latency_us in latencies_us[:: max(1, len(latencies_us) // SAMPLE_MAX)]:
            self._latencies.add(latency_us)
        health = replace(self.health, failures_in_row=failures_in_row, window_size=round(window, 1))
        if self.succeeded_at_s is not None:
            since_us = max(0, int((now_s - self.succeeded_at_s) * SECOND))
            health = replace(health, last_success_at=Micros(now - since_us))
            self.succeeded_at_s = None
        if now - self._quantiles_at >= QUANTILES_PAUSE_US or health.p50_ms is None:
            self._quantiles_at = now
            p50, p99 = self._latencies.quantile_ms(0.5), self._latencies.quantile_ms(0.99)
            health = replace(health, p50_ms=p50, p99_ms=p99)
        self.health = health
        self._tell()
        return health

    def _tell(self) -> None:
        failing, health = self.health.failures_in_row > 0, self.health
        if failing == self._failing:
            return
        self._failing = failing
        if failing:
            code, reason = health.last_error_status, health.last_error_message
            self.telemetry.warning("destination.failing", **self.ids, status_code=code, reason=reason)
        else:
            self.telemetry.info("destination.recovered", **self.ids)
