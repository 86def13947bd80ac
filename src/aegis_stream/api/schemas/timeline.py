"""What a destination did over time: JSON shapes."""

import msgspec

from aegis_stream.domain.rollup import Rollup, percentile_ms
from aegis_stream.domain.times import to_text


class FailedBody(msgspec.Struct):
    """Failed attempts by the status answered: 4xx without 429; network: no answer; other: the rest, mostly a 2xx whose body says no."""

    redirected: int = msgspec.field(name="3xx")
    refused: int = msgspec.field(name="4xx")
    limited: int = msgspec.field(name="429")
    server: int = msgspec.field(name="5xx")
    network: int
    other: int


class TimelineStep(msgspec.Struct):
    """One step of time, from `at` on.

    `delivered` counts events, `failed` attempts of one event each. `p50_ms` and `p99_ms` are estimates of the latency of requests that
    succeeded, null without any. `waiting_max` is the most events that waited; null where nothing was attempted.
    `dead_letters` counts the events that became dead letters.
    """

    at: str
    delivered: int
    failed: FailedBody
    p50_ms: float | None
    p99_ms: float | None
    waiting_max: int | None
    dead_letters: int


class TimelineTotal(msgspec.Struct):
    """All steps added up."""

    delivered: int
    failed: FailedBody
    p50_ms: float | None
    p99_ms: float | None
    dead_letters: int


class TimelineBody(msgspec.Struct):
    """What a destination did, in steps without holes; `from` and `to` are where the first one begins and the last one ends."""

    from_: str = msgspec.field(name="from")
    to: str
    step_seconds: int
    total: TimelineTotal
    data: list[TimelineStep]


def step_body(one: Rollup) -> TimelineStep:
    """Return a step as it is shown."""
    return TimelineStep(
        to_text(one.at),
        one.delivered,
        FailedBody(*one.failed),
        *latencies_ms(one),
        one.waiting if one.delivered or one.failures else None,
        one.dead_letters,
    )


def total_body(one: Rollup) -> TimelineTotal:
    """Return the sum of all steps as it is shown."""
    return TimelineTotal(one.delivered, FailedBody(*one.failed), *latencies_ms(one), one.dead_letters)


def latencies_ms(one: Rollup) -> tuple[float | None, float | None]:
    """Return the latency that half of the requests did not exceed, and that 99 % did not, milliseconds; None without any."""
    return _rounded(percentile_ms(one.latencies, 0.5)), _rounded(percentile_ms(one.latencies, 0.99))


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if value is not None else None
