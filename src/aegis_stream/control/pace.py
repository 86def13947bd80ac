"""How fast a destination takes events, for a first estimate: pure."""

from aegis_stream.domain.destination import DestinationSpec, Health
from aegis_stream.formats import resolve
from aegis_stream.formats.format import narrowed

EVENTS_PER_SECOND_MAX = 10_000.0
"""What one worker sends at most, about: no estimate promises more."""


def events_per_second(spec: DestinationSpec, health: Health) -> float | None:
    """Return how many events a second a destination takes at its latest speed, in full requests; None before the first answer."""
    if health.p50_ms is None:
        return None
    format_ = resolve(spec.format, spec.url)
    beside = 1.0 if format_.in_order else max(1.0, health.window_size)
    requests = beside * 1000 / max(health.p50_ms, 1.0)
    return min(EVENTS_PER_SECOND_MAX, narrowed(spec.batch, format_).max_events * requests)


def seconds_for(events: int, per_second: float | None) -> float | None:
    """Return how long so many events take, rounded up to a second; None where nobody knows."""
    if per_second is None or per_second <= 0:
        return None
    return float(-(-events // per_second))
