"""One timer for all deadlines, on an event loop whose time is moved by hand."""

import heapq

import pytest

from aegis_stream.sender import watch as watch_module
from aegis_stream.sender.watch import IDLE, PERIOD_S, Watch


class FakeTimer:
    """A timer that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """An event loop's clock and timers, nothing else."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list = []
        self.count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay, callback, *args) -> FakeTimer:
        timer = FakeTimer()
        self.count += 1
        heapq.heappush(self.timers, (self.now + delay, self.count, timer, callback, args))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, timer, callback, args = heapq.heappop(self.timers)
            if not timer.cancelled:
                callback(*args)
        self.now = end

    @property
    def live(self) -> int:
        return sum(not timer.cancelled for _, _, timer, _, _ in self.timers)


class FakeWatched:
    """Leaves the watch when it expires, as connections do."""

    def __init__(self, watch: Watch, deadline: float) -> None:
        self.watch = watch
        self.deadline = deadline
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        self.watch.discard(self)


@pytest.fixture
def loop(monkeypatch) -> FakeLoop:
    """Give the watch a loop whose time we move."""
    fake = FakeLoop()
    monkeypatch.setattr(watch_module.asyncio, "get_running_loop", lambda: fake)
    return fake


def test_deadlines_are_noticed_within_a_period(loop):
    """A connection expires at most a period after its deadline, and not before."""
    watch = Watch(25.0)
    soon, later = FakeWatched(watch, loop.now + 1.0), FakeWatched(watch, loop.now + 9.0)
    watch.add(soon)
    watch.add(later)

    loop.advance(0.99)
    early = soon.expired
    loop.advance(PERIOD_S + 0.01)

    assert (early, soon.expired, later.expired) == (0, 1, 0)


def test_idle_connections_close_after_their_time(loop):
    """A connection without work expires when idle_s have passed, not before."""
    watch = Watch(25.0)
    idle = FakeWatched(watch, IDLE)
    watch.add(idle)

    loop.advance(24.9)
    early = idle.expired
    loop.advance(0.1 + 2 * PERIOD_S)

    assert (early, idle.expired) == (0, 1)


def test_no_connections_no_timer(loop):
    """There is one timer however many connections, and none without any."""
    watch = Watch(25.0)
    first, second = FakeWatched(watch, IDLE), FakeWatched(watch, IDLE)

    watch.add(first)
    watch.add(second)
    both = loop.live
    watch.discard(first)
    watch.discard(second)
    watch.discard(second)

    assert (both, loop.live) == (1, 0)


def test_the_last_expiry_stops_the_timer(loop):
    """If all connections expire in one check, no timer is left."""
    watch = Watch(25.0)
    watch.add(FakeWatched(watch, loop.now))

    loop.advance(1.0)

    assert loop.live == 0
