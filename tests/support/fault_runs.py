"""Seeds and ledgers of the fault suite: a run prints its seed, a seed repeats its run, and each run leaves one JSON file.

AEGIS_FAULT_SEED   the seed; random if it is not set
AEGIS_FAULT_RUNS   how many times as many states and kills as in a short run
AEGIS_FAULT_LEDGER directory for the ledgers; none are written if it is not set
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any


def runs() -> int:
    """Return how much longer than a short run this one is."""
    return int(os.environ.get("AEGIS_FAULT_RUNS", "1"))


@dataclass
class FaultRun:
    """One run of one fault.

    Args:
        fault: its name, also that of its ledger.
    """

    fault: str
    seed: int = field(
        default_factory=lambda: int(os.environ.get("AEGIS_FAULT_SEED") or SystemRandom().randrange(1 << 31))
    )
    counts: dict[str, Any] = field(default_factory=dict)
    _began_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Begin with this seed, and print it: pytest shows it when the test fails."""
        print(f"repeat {self.fault} with AEGIS_FAULT_SEED={self.seed}")
        self.random = Random(self.seed)

    def add(self, **counts: int) -> None:
        """Add to the counts."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def end(self) -> None:
        """Write the ledger, if one is wanted."""
        folder = os.environ.get("AEGIS_FAULT_LEDGER")
        if folder:
            seconds = round(time.monotonic() - self._began_s, 1)
            record = {"fault": self.fault, "seed": self.seed, "seconds": seconds, **self.counts}
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{self.fault}.json").write_text(
                json.dumps(record, indent=1) + "\n", encoding="utf-8"
            )
