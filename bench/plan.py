"""What is asked for, and what comes of it: options, workloads, rounds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .measure import Run
from .reconcile import CHECKED_MAX, Reconciliation

WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides.

    Args:
        seconds: how long the load of one measured run lasts.
        backlog_events: size of the backlog of S7.
        log_events: size of the long log of S11.
        api_processes: of our service; None for what the workload has.
        checked_max: events of a run whose ids and bodies are compared, at most.
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

    @property
    def warm_up_s(self) -> float:
        """How long the load before a measured one lasts."""
        return min(WARM_UP_S, self.seconds)


@dataclass(slots=True)
class Round:
    """One side's figures in one round.

    Args:
        cpu_us: CPU microseconds an arrival, by process.
        memory_mib: by process: first and last seen while it was measured, and peak since its start.
        number: of the round, from 1; what has the same number ran side by side.
    """

    figures: dict[str, float]
    reconciliation: Reconciliation
    cpu_us: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    number: int = 0

    @staticmethod
    def of(run: Run, reconciliation: Reconciliation) -> "Round":
        """Take over a run whose figure is a rate."""
        figures = {"rate": run.rate, "ingest": run.ingest_rate}
        notes = {"seconds": run.seconds, "backlog_peak": run.backlog_peak, **run.notes}
        return Round(figures, reconciliation, run.cpu_us, run.memory_mib, notes)


def cpu_of(runs: Sequence[Run]) -> dict[str, float]:
    """Return the CPU microseconds an arrival of several runs of the same processes: their medians."""
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
    """Return what strangers used meanwhile, the median, as a note."""
    return {"other_cores": statistics.median([one.notes["other_cores"] for one in runs])}


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload by name.

    Args:
        targets: figure → what is asked of it; at least that for rates, at most that for everything else.
        ratio: what it asks of our rate against the peer's.
        base: the workload whose rate of the same round its own is compared with.
        base_share: what it asks of its rate against that one's.
    """

    name: str
    title: str
    ours: Callable[[Options], Round]
    peer: Callable[[Options], Round] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    base: str | None = None
    base_share: float | None = None
