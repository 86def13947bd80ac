"""Runs the benchmarks: `python -m bench.run`; `--help` lists the options."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .collector import BESIDE, PROGRAM
from .distance import FAR
from .fairness import FAIRNESS
from .growth import SIZES
from .latency import LATENCIES
from .on_postgres import ON_POSTGRES
from .picture import picture
from .plan import Options, Workload
from .postgres import find_binaries
from .processes import BUSY_CORES, RESULTS, wait_for_quiet
from .reconcile import CHECKED_MAX
from .report import as_json, table
from .result import Result
from .senders import MANY_SENDERS
from .smoke import smoke
from .start import STARTING
from .versions import versions
from .workloads import RATES

WORKLOADS: tuple[Workload, ...] = tuple(
    sorted(
        (*RATES, *LATENCIES, *SIZES, *STARTING, *FAIRNESS, *FAR, *MANY_SENDERS, *BESIDE, *ON_POSTGRES),
        key=lambda one: (one.name[0] != "S", int(one.name[1:])),
    )
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads. Returns: 0 if every run reconciled, 1 if not, 2 on wrong use."""
    asked = _parse(arguments)
    if asked.smoke:
        return smoke()
    options = Options(
        seconds=asked.seconds,
        connections=asked.connections,
        backlog_max=asked.backlog,
        scattered=asked.scattered_ids,
        backlog_events=asked.backlog_events,
        log_events=asked.log_events,
        checked_max=asked.checked_events,
        workers=asked.workers,
        api_processes=asked.api_processes,
    )
    names = {name.strip().upper() for name in asked.only.split(",") if name.strip()}
    if unknown := names - {one.name for one in WORKLOADS}:
        print(f"unknown workload: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    results = chosen(names)
    if not names and not PROGRAM.exists():
        print("S15 is left out: `sh tests/real/setup.sh collector` installs the Collector")
        results = [one for one in results if one.workload.name != "S15"]
    if not names and find_binaries() is None:
        print("P1 to P7 are left out: `sh tests/real/setup.sh postgres` installs PostgreSQL")
        results = [one for one in results if one.workload not in ON_POSTGRES]
    # SIGTERM stops everything that was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stopped = False
    try:
        for number in range(1, asked.rounds + 1):
            for result in results:
                peer = not asked.no_peer and (not names or result.workload.name in names)
                _one_round(result, number, options, peer=peer, quiet_s=asked.wait_quiet)
    except KeyboardInterrupt:
        print("\ninterrupted; so far:", file=sys.stderr)
        stopped = True
    facts = versions()
    print("\n" + table(results, facts))
    _write(asked.json, results, facts, options)
    return 1 if stopped or any(result.failed for result in results) else 0


def chosen(names: set[str]) -> list[Result]:
    """Return empty results of the workloads with these names, or of all, and of the workloads that they are compared with."""
    wanted = names or {one.name for one in WORKLOADS}
    bases = {one.base for one in WORKLOADS if one.name in wanted and one.base} - wanted
    for base in sorted(bases):
        print(f"{base} runs too, without the peer: others are compared with it")
    results = {one.name: Result(one) for one in WORKLOADS if one.name in wanted | bases}
    for result in results.values():
        result.base = results.get(result.workload.base or "")
    return list(results.values())


def _one_round(result: Result, number: int, options: Options, *, peer: bool, quiet_s: float) -> None:
    """Run one round of a workload, both sides; after a failure it has no more rounds."""
    workload = result.workload
    sides = [("ours", workload.ours, result.ours)]
    if workload.peer is not None and peer:
        sides.append(("syslog-ng", workload.peer, result.peer))
    if number % 2 == 0:
        sides.reverse()  # the second side may find another load on the machine, so the sides take turns
    for name, run, rounds in sides:
        if result.failed:
            return
        if quiet_s and (busy := wait_for_quiet(quiet_s)) > BUSY_CORES:
            print(f"the machine is busy: other programs use {busy:.1f} cores", file=sys.stderr)
        began_s = time.monotonic()
        try:
            one = run(options)
        except (RuntimeError, TimeoutError, OSError) as error:
            result.failed = f"round {number}, {name}: {error}"
            print(f"{workload.name} FAILED: {result.failed}", file=sys.stderr, flush=True)
            return
        one.number = number
        rounds.append(one)
        figures = ", ".join(f"{figure} {value:,.4g}" for figure, value in one.figures.items())
        notes = ", ".join(f"{note} {value:,.6g}" for note, value in one.notes.items())
        print(
            f"{workload.name} round {number} {name}: {figures} ({notes}; {time.monotonic() - began_s:.0f} s)"
        )
        print(f"    {one.reconciliation.line()}", flush=True)


def _write(path: Path | None, results: list[Result], facts: dict[str, str], options: Options) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = path or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(as_json(results, facts, options) + "\n")
    path.with_suffix(".svg").write_text(picture(results))
    print(f"\nwritten: {path} and {path.with_suffix('.svg')}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    add = parser.add_argument
    add("--only", default="", help="workloads, separated by commas (default: all)")
    add("--rounds", type=_at_least_1, default=3, help="rounds of each workload (default 3)")
    add("--seconds", type=float, default=20.0, help="length of the load of one run in seconds (default 20)")
    add("--json", type=Path, help="file for the figures (default bench/results/<time>.json)")
    add("--connections", type=int, help="connections of wrk (default: depends on the workload)")
    add("--backlog", type=float, help="events in flight at which wrk waits")
    add("--scattered-ids", action="store_true", help="use ids in random order instead of time-ordered ones")
    add(
        "--backlog-events",
        type=_at_least_1,
        default=1_000_000,
        help="events in the backlog of S7 and S14 (default 1,000,000)",
    )
    add(
        "--log-events",
        type=_at_least_1,
        default=1_000_000,
        help="events in the long log of S11 (default 1,000,000)",
    )
    add(
        "--checked-events",
        type=_at_least_1,
        default=CHECKED_MAX,
        help=f"most events of each run whose ids and bodies are compared (default {CHECKED_MAX:,})",
    )
    add("--workers", type=_at_least_1, default=1, help="worker processes of our service (default 1)")
    add(
        "--api-processes",
        type=_at_least_1,
        help="API processes of our service (default: depends on the workload)",
    )
    add("--smoke", action="store_true", help="compare contents for a few seconds, without figures")
    add(
        "--wait-quiet", type=float, default=0.0, help="wait up to this many seconds until the machine is idle"
    )
    add("--no-peer", action="store_true", help="run only our service")
    return parser.parse_args(arguments)


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
