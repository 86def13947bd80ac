"""Compares this checkout with another one, workload by workload: `python -m bench.pairs --other PATH --only S1 --rounds 4`.

Both are run by the harness of this checkout: the same load, receiver and reconciliation. A round is a pair of runs, and the two
sides take turns at being first, because a machine can drift by more than the difference. The other checkout needs the same
environment as this program runs in: that of `make setup`, or of `make compiled`.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .plan import Options, Round, Workload
from .run import WORKLOADS
from .turns import by_turns
from .versions import versions

Pairs = list[tuple[Round, Round]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pairs. Returns: 0 if every run reconciled, 1 if not, 2 on wrong use."""
    asked = _parse(arguments)
    program = program_of(asked.other.resolve())
    names = {name.strip().upper() for name in asked.only.split(",") if name.strip()}
    chosen = [one for one in WORKLOADS if one.name in names]
    if not program.exists() or len(chosen) != len(names) or not chosen:
        print(f"{program} must exist, and --only must name workloads: {asked.only}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ours = Options(seconds=asked.seconds, backlog_events=asked.backlog_events)
    found: dict[str, Pairs] = {}
    failed = False
    for workload in chosen:
        try:
            found[workload.name] = run_pairs(workload, ours, replace(ours, program=program), asked.rounds)
        except (RuntimeError, TimeoutError, OSError) as error:
            print(f"{workload.name} FAILED: {error}", file=sys.stderr, flush=True)
            failed = True
    print("\n" + table(found))
    print("\n" + "\n".join(f"{name}: {value}" for name, value in versions().items()))
    print(f"other: commit {_commit(asked.other)}")
    if asked.json:
        asked.json.write_text(json.dumps(_as_json(found), indent=1) + "\n")
    return 1 if failed else 0


def program_of(checkout: Path) -> Path:
    """Return the command of another checkout in the environment that this program runs in: `.venv`, or that of `make compiled`."""
    root = Path(__file__).resolve().parents[1]
    here = Path(sys.prefix).resolve()
    return checkout / (here.relative_to(root) if here.is_relative_to(root) else ".venv") / "bin" / "aegis"


def run_pairs(workload: Workload, ours: Options, other: Options, rounds: int) -> Pairs:
    """Return the rounds of the other checkout and of this one, in pairs. Raises: RuntimeError, TimeoutError, OSError."""

    def run(name: str, options: Options) -> Round:
        one = workload.ours(options)
        shown = ", ".join(f"{figure} {value:,.4g}" for figure, value in {**one.figures, **cpu(one)}.items())
        print(f"{workload.name} {name}: {shown}\n    {one.reconciliation.line()}", flush=True)
        return one

    return by_turns(lambda: run("other", other), lambda: run("this", ours), rounds)


def cpu(one: Round) -> dict[str, float]:
    """Return the CPU microseconds per event of the service's own processes, and their sum."""
    own = {name: used for name, used in one.cpu_us.items() if name == "api" or name.startswith("worker")}
    figures = {f"{name} µs": used for name, used in own.items()}
    return figures | {"all µs": sum(own.values())} if own else {}


def table(found: dict[str, Pairs]) -> str:
    """Return for each figure the medians of both sides, and the median of the pairs' ratios with its spread."""
    rows = [("workload", "figure", "other", "this", "this / other (lowest–highest)")]
    for name, pairs in found.items():
        sides = [[{**one.figures, **cpu(one)} for one in side] for side in zip(*pairs, strict=True)]
        for figure in sides[0][0]:
            values = [[one[figure] for one in side if figure in one] for side in sides]
            if len(values[0]) == len(values[1]) == len(pairs):
                rows.append(
                    (name, figure, *(f"{statistics.median(one):,.4g}" for one in values), _ratio(*values))
                )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _ratio(others: Sequence[float], these: Sequence[float]) -> str:
    ratios = [this / other for other, this in zip(others, these, strict=True) if other]
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"


def _as_json(found: dict[str, Pairs]) -> dict[str, list[dict[str, dict[str, float]]]]:
    return {
        name: [
            {side: {**one.figures, **cpu(one)} for side, one in zip(("other", "this"), pair, strict=True)}
            for pair in pairs
        ]
        for name, pairs in found.items()
    }


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() or "unknown"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pairs", description=__doc__)
    add = parser.add_argument
    add("--other", type=Path, required=True, help="another checkout, with the same environment")
    add("--only", required=True, help="workloads, separated by commas")
    add("--rounds", type=int, default=4, help="pairs of runs of each workload (default 4)")
    add("--seconds", type=float, default=10.0, help="length of the load of one run in seconds (default 10)")
    add("--backlog-events", type=int, default=1_000_000, help="as for bench.run (default 1,000,000)")
    add("--json", type=Path, help="file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
