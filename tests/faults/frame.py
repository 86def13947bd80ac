"""The frame of the fault suite: what a fault is, and the record of one run.

A fault is a row of `table.FAULTS`; its function plays it and notes in the run what it saw:

    def play(run: Run) -> None:
        for _ in range(run.rounds):
            ...                                   # all chance comes from run.random
            run.add(runs=1, acked=20, delivered=20)
        run.expect(lost == [], f"{len(lost)} acknowledged events are lost")

A seed repeats its run. Each run is one line of the test's output and, if AEGIS_FAULT_LEDGER names a directory, one JSON file.

AEGIS_FAULT_SEED    the seed of every fault; a random one for each if it is not set
AEGIS_FAULT_ROUNDS  how many times as many rounds as in CI
AEGIS_FAULT_LEDGER  directory for the JSON files
"""

import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

PROBLEMS_SHOWN = 20
"""Most problems of one run that its record lists."""


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Args:
        name: of the test, the JSON file, and the row of docs/explanation/faults.md.
        promise: what is true after it, one sentence.
        play: injects it `run.rounds` times; may be a coroutine function.
        rounds: how many rounds a run in CI has.
        seconds: longest that they may take there.
    """

    name: str
    promise: str
    play: "Callable[[Run], Awaitable[None] | None]"
    rounds: int
    seconds: int = 120


@dataclass
class Run:
    """One run of one fault.

    Args:
        folder: an empty directory for its files.
        rounds: how often the fault is injected.
    Attributes:
        random: the only source of chance.
        problems: what the oracles found wrong.
    """

    fault: str
    folder: Path
    rounds: int
    seed: int
    counts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        # Every record has these; a run that does not deliver leaves them at 0.
        self.add(runs=0, acked=0, delivered=0, dead_letters=0, lost=0, wrong=0, repeats=0, repeats_max=0)
        self.most(memory_mib_max=0, descriptors_max=0, wal_mib_max=0)

    def add(self, **counts: float) -> None:
        """Add to counts."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def most(self, **counts: float) -> None:
        """Keep the highest value of each count."""
        for name, count in counts.items():
            self.counts[name] = max(self.counts.get(name, 0), round(count, 1))

    def recovered(self, seconds: float) -> None:
        """Note how long the service needed to answer again after a fault."""
        self.recoveries_s.append(seconds)

    def expect(self, holds: bool, otherwise: str) -> bool:
        """Note a problem unless something holds; return whether it does."""
        if not holds:
            self.problems.append(otherwise)
        return holds

    def record(self) -> dict[str, Any]:
        """Return the run's ledger: its seed, what was done, what came of it."""
        recoveries = sorted(self.recoveries_s) or [0.0]
        return {
            "fault": self.fault,
            "seed": self.seed,
            "rounds": self.rounds,
            **self.counts,
            "recovery_p50_s": round(statistics.median(recoveries), 3),
            "recovery_max_s": round(recoveries[-1], 3),
            "seconds": round(time.monotonic() - self._began_s, 1),
            "problems": self.problems[:PROBLEMS_SHOWN],
        }


def factor() -> float:
    """Return how many times as many rounds as in CI this run has."""
    return float(os.environ.get("AEGIS_FAULT_ROUNDS") or 1)


def begin(fault: Fault, folder: Path) -> Run:
    """Begin a run with the seed that is asked for, or a new one."""
    seed = int(os.environ.get("AEGIS_FAULT_SEED") or SystemRandom().randrange(1 << 31))
    return Run(fault.name, folder, max(1, round(fault.rounds * factor())), seed)


def keep(record: dict[str, Any]) -> None:
    """Write a run's ledger as JSON, if a directory for it is named."""
    if folder := os.environ.get("AEGIS_FAULT_LEDGER"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (Path(folder) / f"{record['fault']}.json").write_text(text, encoding="utf-8")
