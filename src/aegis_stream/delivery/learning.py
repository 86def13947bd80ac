"""What pacing, recovery and health learn from the attempts of one destination."""

from dataclasses import replace

from aegis_stream.domain.attempt import Failure
from aegis_stream.formats import Format, overdue

from .account import Account
from .weigh import Weighed
from .work import Work


class Learning:
    """Tells the parts of one destination what its answers say."""

    __slots__ = ("_account", "_agenda", "_attempts", "_clock", "_pacing", "recovery", "tracker")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._clock = account.shared.clock
        self._agenda, self._attempts, self._pacing = account.agenda, account.attempts, account.pacing
        self.recovery, self.tracker = account.recovery, account.tracker

    def succeeded(self, latency_us: int, now_s: float) -> None:
        """Learn from an answer that accepted what was sent: the hot path."""
        recovery = self.recovery
        recovered = recovery.ailing or recovery.is_owed or self._pacing.failures_in_row
        self._pacing.succeeded(latency_us, len(self._attempts.in_flight) + 1, now_s)
        self.tracker.succeeded_at_s = now_s
        if recovered:
            recovery.ailing = False
            self.redrive(now_s)

    def weighed(self, weighed: Weighed, work: Work, latency_us: int, now_s: float) -> bool:
        """Learn from an answer that was not plain success for all.

        Returns: whether requests must be smaller from now on.
        """
        lessons, now = weighed.lessons, self._clock.now()
        if lessons.failure is not None:
            self._pacing.failed(lessons.failure, self._account.waiting, now_s, work.began_s)
            self.recovery.ailing = True  # even if others succeed: what dies of it is sent again
        elif lessons.succeeded:
            self.succeeded(latency_us, now_s)
        if lessons.shown is not None:
            sequence, failure = lessons.shown
            self.tracker.failed(failure, sequence, now)
        if lessons.overload:
            self._pacing.slow_down(now_s)
        for warning in lessons.warnings:
            self.tracker.warned(warning, now)
        if not lessons.too_large:
            return False
        size = work.bytes_with(self._attempts.format.frame_bytes)
        return self.tracker.too_large(size, self._agenda.limits.bytes_max, now)

    @property
    def redrive_at_s(self) -> float | None:
        """When the redrive that is owed may begin; None when none is owed, or the destination fails: its next success tells."""
        return None if self._pacing.failures_in_row else self.recovery.due_at_s

    def redrive_if_owed(self, now_s: float) -> None:
        """Begin the redrive that an earlier recovery is owed, unless the destination fails again."""
        if self.recovery.is_owed and not self._pacing.failures_in_row:
            self.redrive(now_s)

    def redrive(self, now_s: float) -> None:
        """Let what died because of the destination become pending again, now or when the pause since the last time is over."""
        if self.recovery.begin(self._account.died, now=self._clock.now(), now_s=now_s):
            self._account.mark()

    def forget(self) -> None:
        """The destination was changed: what failed before, and how large its requests may be, says nothing any more."""
        self.recovery.ailing = self.recovery.ailing or self._pacing.failures_in_row > 0
        self._pacing.forget_failures()
        self.tracker.health = replace(self.tracker.health, batch_bytes_max=None)

    def halted(self, failure: Failure) -> None:
        """Let people see that a bug stops the delivery."""
        self._pacing.failures_in_row = max(1, self._pacing.failures_in_row)
        self.tracker.failed(failure, None, self._clock.now())
        self._account.mark()

    def say_full(self, *, holds: bool) -> None:
        """Warn that so many events have failed that further ones become no dead letters, or wait in the log."""
        self.tracker.full(self._account.dead_letters, self._account.retrying, self._clock.now(), holds=holds)

    def warn_of_age(self, format_: Format, oldest: bytes) -> None:
        """Warn when the destination drops an event because of its age, behind a 2xx: from the log, retried or replayed."""
        now = self._clock.now()
        if (warning := overdue(format_, oldest, now)) is not None:
            self.tracker.warned(warning, now)
