"""Outcomes, in whatever order they come → what the store is told (step 8).

Watermark   all up to here is done; what is done above it waits for the gap to close
Findings    what became certain about one destination since the last settlement

`settler` collects the findings of all destinations and stores them together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import assert_never

from aegis_stream.domain.attempt import Dead, Delivered, Failure, Outcome, Retry
from aegis_stream.domain.delivery import (
    RUN_LENGTH_MAX,
    AttemptRun,
    DeadRow,
    KeptAnswer,
    RetryRow,
    Settlement,
)
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import rollup

FEW_EVENTS = 32
"""So many events that were delivered at the first attempt may wait for others: at most so many more are repeated after a crash."""


@dataclass(slots=True)
class Watermark:
    """The highest sequence up to which everything is done.

    Args:
        value: that sequence.
    """

    value: int
    _above: dict[int, int] = field(default_factory=dict)

    def complete(self, first: int, last: int) -> None:
        """Learn that the sequences first … last are done; stretches never overlap."""
        if first != self.value + 1:
            self._above[first] = last
            return
        self.value = last
        while self._above and (following := self._above.pop(self.value + 1, None)) is not None:
            self.value = following


@dataclass(slots=True)
class Findings:
    """What became certain about one destination since the last settlement."""

    delivered: list[tuple[int, int, int | None, int]] = field(default_factory=list)
    runs: list[AttemptRun] = field(default_factory=list)
    retries: dict[int, RetryRow] = field(default_factory=dict)
    dead: dict[int, DeadRow] = field(default_factory=dict)
    resolved: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed_count: int = 0
    answers: list[KeptAnswer] = field(default_factory=list)

    def note_delivered(self, first: int, last: int, status_code: int | None, latency_us: int) -> None:
        """Note first attempts of neighbouring events that succeeded."""
        self.delivered.append((first, last, status_code, latency_us))

    @property
    def are_few(self) -> bool:
        """True when there are nothing but a few first attempts that succeeded."""
        if self.runs or self.retries or self.dead or len(self.delivered) > FEW_EVENTS:
            return False
        return sum([last - first + 1 for first, last, _, _ in self.delivered]) <= FEW_EVENTS

    def latencies_us(self) -> list[int]:
        """Return the latency of every attempt that succeeded, microseconds."""
        return [piece[3] for piece in self.delivered] + [
            run.latency_us for run in self.runs if run.state == "delivered"
        ]

    def note(self, sequence: int, attempt: int, outcome: Outcome, latency_us: int, now: Micros) -> None:
        """Note what one attempt of one event came to, and what follows from it."""
        self.retries.pop(sequence, None)
        match outcome:
            case Delivered(status_code):
                self.runs.append(
                    AttemptRun(sequence, sequence, attempt, "delivered", status_code, None, latency_us, now)
                )
                self.resolved.append(sequence)
            case Retry(at, failure):
                self.retries[sequence] = RetryRow(sequence, attempt, at, failure)
                self._note_failed(sequence, attempt, failure, latency_us, now)
            case Dead(failure):
                self.dead[sequence] = DeadRow(sequence, attempt, now, failure)
                self._note_failed(sequence, attempt, failure, latency_us, now)
            case _:
                assert_never(outcome)

    def note_refused(
        self, sequence: int, attempt: int, failure: Failure, latency_us: int, now: Micros
    ) -> None:
        """Note an event that failed for good and becomes no dead letter: the attempt log tells of it, and the log of events has it."""
        self.retries.pop(sequence, None)
        self.refused.append(sequence)
        self._note_failed(sequence, attempt, failure, latency_us, now)

    def write(self, settlement: Settlement, now: Micros, waiting: int) -> None:
        """Put the findings into a settlement, alike successes of neighbours as one run.

        Args:
            waiting: events that are not delivered yet.
        """
        latencies_us = self.latencies_us()  # before runs are merged: a run has the mean of its attempts
        for first, last, status_code, latency_us in merge_runs(self.delivered):
            settlement.delivered += last - first + 1
            settlement.runs.append(
                AttemptRun(first, last, 1, "delivered", status_code, None, latency_us, now)
            )
        settlement.delivered += len(self.resolved)
        settlement.runs.extend(self.runs)
        settlement.retries.extend(self.retries.values())
        settlement.dead.extend(self.dead.values())
        settlement.resolved.extend(self.resolved)
        settlement.resolved.extend(self.refused)
        settlement.failed_attempts = self.failed_count
        settlement.answers = self.answers
        if settlement.delivered or self.failed_count:
            failed = [run.status_code for run in self.runs if run.state == "failed"]
            settlement.rollup = rollup(
                now, settlement.delivered, failed, latencies_us, waiting, len(self.dead)
            )

    def _note_failed(
        self, sequence: int, attempt: int, failure: Failure, latency_us: int, now: Micros
    ) -> None:
        self.failed_count += 1
        row = AttemptRun(
            sequence, sequence, attempt, "failed", failure.status_code, failure.message, latency_us, now
        )
        self.runs.append(row)


def merge_runs(pieces: list[tuple[int, int, int | None, int]]) -> Iterable[tuple[int, int, int | None, int]]:
    """Join stretches that touch and have the same status; none becomes longer than RUN_LENGTH_MAX unless it was.

    Args:
        pieces: (first, last, status, latency in microseconds).
    Returns: the same for what was joined, the latency being the mean over the attempts.
    """
    if not pieces:
        return
    pieces.sort(key=itemgetter(0))
    first, last, status_code, latency_sum_us = pieces[0]
    attempts = 1
    for next_first, next_last, next_status, latency_us in pieces[1:]:
        if next_first == last + 1 and next_status == status_code and next_last - first < RUN_LENGTH_MAX:
            last = next_last
            latency_sum_us += latency_us
            attempts += 1
            continue
        yield first, last, status_code, latency_sum_us // attempts
        first, last, status_code, latency_sum_us = next_first, next_last, next_status, latency_us
        attempts = 1
    yield first, last, status_code, latency_sum_us // attempts
