"""The one command: `python -m bench.run`; `--help` says what can be asked."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .growth import SIZES
from .latency import LATENCIES
from .processes import RESULTS, wait_for_quiet
from .report import Result, as_json, memory_lines, picture, table, versions
from .smoke import smoke
from .workloads import RATES, Options, Workload

WORKLOADS: tuple[Workload, ...] = tuple(
    sorted((*RATES, *LATENCIES, *SIZES), key=lambda one: int(one.name.removeprefix("S")))
)

BUSY_CORES = 0.1
"""More than this in use by strangers, and figures mean less."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when every run reconciled, 1 otherwise."""
    asked = _parse(arguments)
    if asked.smoke:
        return smoke()
    options = Options(
        seconds=asked.seconds,
        connections=asked.connections,
        backlog_max=asked.backlog,
        scattered=asked.scattered_ids,
        backlog_events=asked.events,
        workers=asked.workers,
    )
    names = [name.strip().upper() for name in asked.only.split(",") if name.strip()]
    chosen = [one for one in WORKLOADS if not names or one.name in names]
    if unknown := set(names) - {one.name for one in WORKLOADS}:
        print(f"no such workload: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    results, failed = [], False
    for workload in chosen:
        result = Result(workload)
        results.append(result)
        try:
            for number in range(1, asked.rounds + 1):
                _one_round(result, number, options, peer=not asked.no_peer, quiet_s=asked.wait_quiet)
        except (RuntimeError, TimeoutError, OSError) as error:
            print(f"{workload.name} FAILED: {error}", file=sys.stderr)
            failed = True
    facts = versions()
    print()
    print(table(results, facts))
    print("\n" + "\n".join(memory_lines(results)))
    _write(asked.json, results, facts, options)
    return 1 if failed else 0


def _one_round(result: Result, number: int, options: Options, *, peer: bool, quiet_s: float) -> None:
    workload = result.workload
    sides = [("ours", workload.ours, result.ours)]
    if workload.peer is not None and peer:
        sides.append(("syslog-ng", workload.peer, result.peer))
    for name, run, rounds in sides:
        if quiet_s and (busy := wait_for_quiet(quiet_s)) > BUSY_CORES:
            print(f"the machine is not quiet: strangers keep {busy:.1f} cores busy", file=sys.stderr)
        began_s = time.monotonic()
        one = run(options)
        rounds.append(one)
        figures = ", ".join(f"{figure} {value:,.4g}" for figure, value in one.figures.items())
        notes = ", ".join(f"{note} {value:,.6g}" for note, value in one.notes.items())
        print(
            f"{workload.name} round {number} {name}: {figures} ({notes}; {time.monotonic() - began_s:.0f} s)",
            flush=True,
        )


def _write(path: Path | None, results: list[Result], facts: dict[str, str], options: Options) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = path or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(as_json(results, facts, options) + "\n")
    path.with_suffix(".svg").write_text(picture(results))
    print(f"\nwritten: {path} and {path.with_suffix('.svg')}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--only", default="", help="workloads, divided by commas; all when left out")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each workload (default 3)")
    parser.add_argument("--seconds", type=float, default=20.0, help="load of one run in seconds (default 20)")
    parser.add_argument("--json", type=Path, help="where the figures go (default bench/results/<time>.json)")
    parser.add_argument(
        "--connections", type=int, help="connections of wrk (default: what suits the workload)"
    )
    parser.add_argument("--backlog", type=float, help="events on their way at which wrk waits")
    parser.add_argument("--scattered-ids", action="store_true", help="ids in no order instead of by time")
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="backlog of S7, log of S11 (default 1,000,000)"
    )
    parser.add_argument("--workers", type=int, default=1, help="worker processes of ours (default 1)")
    parser.add_argument("--smoke", action="store_true", help="a few seconds, exact contents, no figures")
    parser.add_argument(
        "--wait-quiet", type=float, default=0.0, help="wait so many seconds at most until nobody else is busy"
    )
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
