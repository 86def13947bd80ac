"""Options, workloads and rounds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .measure import Run
from .postgres import Database
from .reconcile import CHECKED_MAX, Reconciliation
from .service import AEGIS

WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line.

    Args:
        seconds: length of the load of one measured run.
        backlog_events: size of the backlog of S7.
        log_events: size of the long log of S11.
        api_processes: of our service; None for the workload's own number.
        checked_max: most events of a run whose ids and bodies are compared.
        program: the command `aegis` of the checkout that is measured.
        database: where the service keeps its data; None for its own file of SQLite.
    """

    seconds: float = 20.0
    connections: int | None = None
    backlog_max: float | None = None
    scattered: bool = False
    backlog_events: int = 1_000_000
    log_events: int = 1_000_000
    checked_max: int = CHECKED_MAX
    workers: int = 1
    api_processes: int | None = None
    program: Path = AEGIS
    database: Database | None = None

    @property
    def warm_up_s(self) -> float:
        """Length of the warm-up load."""
        return min(WARM_UP_S, self.seconds)


@dataclass(slots=True)
class Round:
    """One side's figures in one round.

    Args:
        cpu_us: CPU microseconds per arrival, by process.
        memory_mib: by process, the first and last sample of the measurement, and the peak since its start.
        number: number of the round, from 1; rounds of both sides with the same number ran one after the other.
    """

    figures: dict[str, float]
    reconciliation: Reconciliation
    cpu_us: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    number: int = 0

    @staticmethod
    def of(run: Run, reconciliation: Reconciliation) -> "Round":
        """Return the round of a run whose figure is a rate."""
        figures = {"rate": run.rate, "ingest": run.ingest_rate}
        notes = {"seconds": run.seconds, "backlog_peak": run.backlog_peak, **run.notes}
        return Round(figures, reconciliation, run.cpu_us, run.memory_mib, notes)


def cpu_of(runs: Sequence[Run]) -> dict[str, float]:
    """Return the medians of the CPU microseconds per arrival over several runs of the same processes."""
    return {name: statistics.median([one.cpu_us[name] for one in runs]) for name in runs[0].cpu_us}


def memory_of(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Return the memory over several runs of the same processes."""
    return {
        name: {
            "first": seen["first"],
            "last": runs[-1].memory_mib[name]["last"],
            "peak": runs[-1].memory_mib[name]["peak"],
        }
        for name, seen in runs[0].memory_mib.items()
    }


def company_of(runs: Sequence[Run]) -> dict[str, float]:
    """Return the median of what other programs used meanwhile, as a note."""
    return {"other_cores": statistics.median([one.notes["other_cores"] for one in runs])}


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    Args:
        targets: target by figure: a minimum for rates, a maximum for everything else.
        ratio: target of our rate divided by the peer's.
        base: another workload; its rate of the same round is the reference.
        base_share: target of the rate divided by that of `base`.
    """

    name: str
    title: str
    ours: Callable[[Options], Round]
    peer: Callable[[Options], Round] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    base: str | None = None
    base_share: float | None = None
