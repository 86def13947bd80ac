"""How much to send at once, and when to hold back: a pure controller, one per destination.

It learns from answers and says how many attempts may start; it has no clock. Times are seconds of the event loop's monotonic
clock, passed in.

Two modes. Normally the window adapts: it grows while it is in use and answers come no later than usual, and shrinks when the
destination is overloaded, or slows down under a full window. A destination that is far away may have several hundred requests in
flight, as long as they do not queue there. In an outage (several failures in a row about the destination, or
one that a person must fix) a large backlog waits in the log and single probes ask whether the destination is back; a few
events each get their attempts on schedule, as the contract says.

A request that is never answered says little while others are answered: it is not part of an outage, and after a while it no
longer counts against the window, so the others do not wait for it.
"""

import math
from dataclasses import dataclass, field

from aegis_stream.domain.attempt import Failure, FailureScope

WINDOW_START = 16.0
"""Window of a new destination, requests."""
WINDOW_LATE_MIN = 16.0
"""Late and missing answers do not make the window smaller than this: at a low rate a few of them must not stop the others. Only
a destination that asks for less (429, 503) gets less."""
WINDOW_NEAR_MAX = 64.0
"""The window grows beyond this only for a destination that is far away: at 2 ms it is enough for 30,000 requests a second."""
FAR_MIN_US = 20_000.0
"""A destination is far away when its answers take this long while few requests are in flight."""
FAR_FEW = 16
"""While so few are in flight, an answer's latency shows the distance, not a queue of our own making."""
FAR_QUEUE = 4 / 3
"""With a full window, answers may take this many times as long as with few in flight; then requests queue at the destination,
and more of them in flight would wait there without arriving sooner."""
FAR_STEP = 0.25
"""Growth of the window with each answer from far away, until the first overload: a quarter more each round trip."""
OUTAGE_AFTER = 3
"""Failures in a row that make an outage: one may be chance, and each costs an event one of its attempts."""
FEW_MAX = 256
"""In an outage more waiting events than this are paced; fewer keep their schedule."""
FEW_FAILURES_MAX = 1024
"""After this many failures in a row even a few events are paced: a slow stream never has many waiting at once, and a destination
may lock an account that shows a wrong credential for hours."""
PROBE_FIRST_S = 1.0
"""Pause before the first probe of an outage; doubles with each that fails."""
PROBE_LONGEST_S = 30.0
"""Longest pause between probes: how late a recovery is noticed at worst."""
RETRY_SHARE = 4
"""Retries get at most one part in this many of the window, so that they never crowd out first attempts; replays likewise."""
SHRINK = 0.9
SLOW_DEVIATIONS = 2.5
SLOW_MIN_US = 5_000.0
"""An answer counts as late only when it is this much later than usual; less is noise."""
SMOOTHING = 1 / 32
"""Weight of the newest latency in mean and deviation."""
OVERDUE_MIN_S = 0.25
"""A request is overdue after this long at least, seconds; one of a destination that usually takes longer is overdue later."""
OVERDUE_UNKNOWN_S = 1.0
"""The same while the destination has not answered yet."""
OVERDUE_MEANS, OVERDUE_DEVIATIONS = 4.0, 8.0
"""A request is overdue after this many mean latencies, and so many deviations above the mean."""
SPARE_MAX = 16
"""Overdue requests that do not count against the window although nothing was answered after they began: they find out
whether the destination answers at all."""
ANSWERED_PER_TIMEOUT, ANSWERED_MAX = 10, 640
"""A timeout is not taken for overload if there were this many answers for each; at most so many answers are remembered."""
FIX_DOUBT_S = 10.0
"""A failure that a person must fix is an outage at once only if nothing was accepted for this long, seconds: a firewall that
blocks one event answers 403 as well."""


@dataclass(slots=True)
class Pacing:
    """Permissions for one destination.

    Args:
        window_max: most requests in flight.
        window: requests that may be in flight now, 1–window_max.
        failures_in_row: failures about the destination since its last success.

    Attributes:
        answered_at_s: when the destination last accepted something.
    """

    window_max: int
    window: float = WINDOW_START
    failures_in_row: int = 0
    answered_at_s: float = -math.inf
    _answered: int = 0
    _ceiling: float = field(default=0.0)
    _fix_needed: bool = False
    _mean_us: float = 0.0
    _alone_us: float = 0.0
    _overloaded: bool = False
    _deviation_us: float = 0.0
    _shrunk_at_s: float = -math.inf
    _hold_until_s: float = -math.inf
    _probe_pause_s: float = PROBE_FIRST_S

    def __post_init__(self) -> None:
        self.window = min(max(1.0, self.window or WINDOW_START), float(self.window_max))
        self._ceiling = self._ceiling or self.window

    @property
    def in_outage(self) -> bool:
        """True while a large backlog waits for a probe to succeed."""
        return self._fix_needed or self.failures_in_row >= OUTAGE_AFTER

    @property
    def share(self) -> int:
        """Requests in flight that retries (and replays) may have, at least 1."""
        return max(1, int(self.window) // RETRY_SHARE)

    @property
    def burst_below(self) -> float:
        """Requests in flight below which new ones need not wait for others to begin together with."""
        return self.window / 2

    @property
    def overdue_s(self) -> float:
        """Seconds after which a request is overdue: far later than usual answers come."""
        if self._mean_us == 0.0:
            return OVERDUE_UNKNOWN_S
        usual_us = max(OVERDUE_MEANS * self._mean_us, self._mean_us + OVERDUE_DEVIATIONS * self._deviation_us)
        return max(OVERDUE_MIN_S, usual_us / 1e6)

    def room(self, in_flight: int, waiting: int, now_s: float, overdue: int = 0) -> int:
        """Return how many more attempts may begin now.

        Args:
            in_flight: attempts under way, without those that are overdue.
            waiting: events not yet delivered: backlog and retries.
            overdue: attempts under way that no longer count against the window.
        """
        if self.failures_in_row or self._hold_until_s > now_s:
            if now_s < self._hold_until_s:
                return 0
            if self.is_pacing(waiting):
                return 1 if in_flight + overdue == 0 else 0
        return min(int(self.window), self.window_max - overdue) - in_flight

    def resumes_at_s(self, now_s: float) -> float | None:
        """Return when a hold ends, or None when there is none."""
        return self._hold_until_s if now_s < self._hold_until_s else None

    def succeeded(self, latency_us: int, in_flight: int, now_s: float) -> None:
        """Learn from an answer that took what was sent.

        Args:
            in_flight: attempts under way before it came, without those that are overdue.
        """
        self.answered_at_s = now_s
        self._answered += 1
        if self.failures_in_row:
            if self.in_outage:
                self.window = 1.0  # slowly more: from one, doubling per round trip, up to what it was before
            self.failures_in_row, self._fix_needed = 0, False
            self._probe_pause_s, self._hold_until_s = PROBE_FIRST_S, -math.inf
        error = latency_us - self._mean_us
        if self._mean_us == 0.0:
            self._mean_us, error = float(latency_us), 0.0
            self._alone_us = self._mean_us
        if in_flight <= FAR_FEW:
            self._alone_us += SMOOTHING * (latency_us - self._alone_us)
        late = error > max(SLOW_DEVIATIONS * self._deviation_us, SLOW_MIN_US)
        self._mean_us += SMOOTHING * error
        self._deviation_us += SMOOTHING * (abs(error) - self._deviation_us)
        if late:
            # Freed slots wait for others, so half a window is in full use.
            if in_flight + 1 >= self.window / 2 and not self._is_far:
                self._shrink(now_s, min(WINDOW_LATE_MIN, self.window))
        elif self.window < self._ceiling:
            self.window = min(self.window + 1.0, self._ceiling)
        elif in_flight + 1 >= int(self.window) and self.window < self.window_max:
            self._grow(error)

    def failed(self, failure: Failure, waiting: int, now_s: float, began_s: float = math.inf) -> None:
        """Learn from a failed attempt.

        Args:
            waiting: events not yet delivered, as for `room`.
            began_s: when the attempt began. If the destination has accepted something since, the failure is not part of an
                outage: either the destination has recovered, or it answers some requests and not others.
        """
        if failure.scope is FailureScope.EVENT:
            return
        if began_s >= self.answered_at_s:
            self.failures_in_row += 1
            doubtful = now_s - self.answered_at_s < FIX_DOUBT_S
            self._fix_needed = self._fix_needed or (failure.fix_needed and not doubtful)
        if failure.overload:
            self._shrink_for(failure, now_s)
        if failure.retry_after_s is not None:
            self._hold_until_s = max(self._hold_until_s, now_s + failure.retry_after_s)
        # What was in flight when the outage began fails at about one time: that counts as one failed probe.
        if self.is_pacing(waiting) and now_s >= self._hold_until_s:
            self._hold_until_s = now_s + self._probe_pause_s
            self._probe_pause_s = min(self._probe_pause_s * 2, PROBE_LONGEST_S)

    def slow_down(self, now_s: float) -> None:
        """Learn that the destination took what was sent and asked for less."""
        self._overloaded = True
        self._shrink(now_s, 1.0)

    def is_pacing(self, waiting: int) -> bool:
        """Tell whether an outage holds back what waits, but for a probe now and then."""
        return self.in_outage and (waiting > FEW_MAX or self.failures_in_row > FEW_FAILURES_MAX)

    def forget_failures(self) -> None:
        """The destination was configured anew: what failed before says nothing any more."""
        self.failures_in_row, self._fix_needed = 0, False
        self._hold_until_s, self._probe_pause_s = -math.inf, PROBE_FIRST_S

    @property
    def _is_far(self) -> bool:
        """Whether answers take their time because of the distance, and not because requests queue at the destination."""
        return self._alone_us >= FAR_MIN_US and self._mean_us <= FAR_QUEUE * self._alone_us

    def _grow(self, error: float) -> None:
        """Make room for more, after an answer under a full window that came `error` microseconds later than the mean."""
        if self._is_far:
            step = 1.0 / self.window if self._overloaded else FAR_STEP
        elif error <= 0 and self.window < WINDOW_NEAR_MAX:
            step = 1.0 / self.window
        else:
            return
        self.window = min(self.window + step, float(self.window_max))
        self._ceiling = self.window

    def _shrink_for(self, failure: Failure, now_s: float) -> None:
        """Send less after an overload: as little as needed when the destination says so, not for a few timeouts."""
        self._overloaded = True
        if failure.status_code is not None:
            self._shrink(now_s, 1.0)
            return
        answered = min(self._answered, ANSWERED_MAX) - ANSWERED_PER_TIMEOUT
        self._answered = max(0, answered)
        if answered < 0:
            self._shrink(now_s, min(WINDOW_LATE_MIN, self.window))

    def _shrink(self, now_s: float, least: float) -> None:
        # Once per round trip: the answers of one congested moment count as one.
        if now_s - self._shrunk_at_s >= self._mean_us / 1e6:
            self.window = max(least, self.window * SHRINK)
            self._ceiling = self.window
            self._shrunk_at_s = now_s
