"""Promises of the first estimate: how fast a destination takes events."""

import pytest

from aegis_stream.control.pace import EVENTS_PER_SECOND_MAX, events_per_second, seconds_for
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Health


def spec(format_, max_events=500):
    """Return a destination with a format and a batch policy."""
    batch = BatchPolicy(max_events=max_events)
    return DestinationSpec("https://siem.example.com/in", format=format_, batch=batch)


@pytest.mark.parametrize(
    ("one", "health", "speed"),
    [
        (spec("json"), Health(p50_ms=10.0, window_size=4.0), 400.0),
        (spec("json"), Health(p50_ms=10.0, window_size=0.0), 100.0),
        (spec("ndjson", 50), Health(p50_ms=100.0, window_size=2.0), 1000.0),
        (spec("ndjson"), Health(p50_ms=1.0, window_size=64.0), EVENTS_PER_SECOND_MAX),
        (spec("json"), Health(p50_ms=0.0, window_size=1.0), 1000.0),
        (spec("auto"), Health(p50_ms=10.0, window_size=4.0), 400.0),
        (spec("json"), Health(), None),
    ],
)
def test_full_requests_at_the_latest_speed(one, health, speed):
    """As many requests at once as the window allows, each full, each as slow as half of the latest; nothing before an answer."""
    assert events_per_second(one, health) == speed


def test_a_format_in_order_has_one_request_at_a_time():
    """The window does not count where requests follow each other."""
    health = Health(p50_ms=100.0, window_size=8.0)

    assert events_per_second(spec("loki", 100), health) == 1000.0
    assert events_per_second(spec("ndjson", 100), health) == 8000.0


@pytest.mark.parametrize(
    ("events", "speed", "seconds"),
    [(0, 10.0, 0.0), (1, 10.0, 1.0), (11, 10.0, 2.0), (5, None, None), (5, 0.0, None)],
)
def test_a_time_is_rounded_up(events, speed, seconds):
    """Nothing takes less than a second, and nobody knows a time without a speed."""
    assert seconds_for(events, speed) == seconds
