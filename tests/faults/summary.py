"""Prints the ledgers of a run as the table of docs/explanation/faults.md.

python tests/faults/summary.py build/faults
"""

import json
import sys
from pathlib import Path

COLUMNS = {
    "runs": "runs",
    "acked": "acknowledged",
    "delivered": "delivered",
    "dead_letters": "dead letters",
    "lost": "lost",
    "wrong": "wrong",
    "repeats": "repeats",
    "repeats_max": "allowed",
    "recovery_p50_s": "recovery p50 s",
    "recovery_max_s": "max s",
    "memory_mib_max": "MiB",
    "descriptors_max": "descriptors",
    "wal_mib_max": "log MiB",
    "seed": "seed",
}


def table(folder: Path) -> list[str]:
    """Return the lines of the table, one for each ledger; a count that does not apply to a fault is "–"."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    lines = [f"| fault | {' | '.join(COLUMNS.values())} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for one in records:
        judged = ("runs", "lost", "wrong", "seed")
        cells = [
            f"{one[name]:,}" if one[name] or name in judged else "–" for name in COLUMNS if name != "seed"
        ]
        lines.append(f"| `{one['fault']}` | {' | '.join(cells)} | {one['seed']} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]))))
