"""What ingest loses by pages that somebody leaves open: `python -m bench.live_ingest`. One event a request, as in S1, without workers.

One load runs all the time. In turns ten tabs of the overview are open and none is: A B, B A, A B, so that drift of the machine and
the growing log affect both equally. The figures are medians over the pairs; the spread is beside them, and says whether the machine
was quiet enough to tell 1 %.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from .console import add_history
from .live import DESTINATIONS, TABS, Tab
from .load import NO_LIMIT, Load, LoadPlan, wrk
from .processes import cpu_seconds, scratch, wait_until
from .service import Service, aegis
from .turns import by_turns, ratio, ratio_spread

PAIRS, SECONDS = 8, 10.0
WARM_UP_S = 3.0
LOSS_MAX = 0.01
"""Target: ten tabs take at most so much of the rate, and add at most so much CPU to an event."""
MICRO = 1e6


class Turn(NamedTuple):
    """What was measured in one turn.

    Args:
        rate: events acknowledged in a second.
        cpu_us: CPU of the service for an event, microseconds.
    """

    rate: float
    cpu_us: float


def main() -> None:
    """Measure in pairs, and print a table."""
    options = argparse.ArgumentParser(prog="python -m bench.live_ingest", description=__doc__)
    options.add_argument("--tabs", type=int, default=TABS)
    options.add_argument("--destinations", type=int, default=DESTINATIONS)
    options.add_argument("--pairs", type=int, default=PAIRS)
    options.add_argument("--seconds", type=float, default=SECONDS, help="length of one turn")
    chosen = options.parse_args()
    with scratch("live-ingest") as folder, aegis(folder / "data", workers=0) as service:
        for number in range(chosen.destinations):
            service.add_destination(f"http://127.0.0.1:18099/{number}", name=f"Destination {number}")
        add_history(folder / "data" / "aegis.db", time.time_ns() // 1000)
        service.settle()
        plan = LoadPlan(per_request=1, backlog_max=NO_LIMIT)
        with wrk(folder, service.port, service.key, plan, "liv") as load:
            time.sleep(WARM_UP_S)

            def without() -> Turn:
                return turn(service, load, chosen.seconds)

            def beside() -> Turn:
                with tabs(service, chosen.tabs):
                    return turn(service, load, chosen.seconds)

            pairs = by_turns(without, beside, chosen.pairs)
            load.stop()
    print(
        f"{chosen.tabs} tabs, {chosen.destinations} destinations, {chosen.pairs} pairs of {chosen.seconds:.0f} s"
    )
    print("| | without | with the tabs | change | lowest and highest pair | target |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(row("events a second", [(one.rate, other.rate) for one, other in pairs], better_high=True))
    print(row("CPU an event, µs", [(one.cpu_us, other.cpu_us) for one, other in pairs], better_high=False))


def turn(service: Service, load: Load, seconds: float) -> Turn:
    """Measure for some seconds what the service does of the load."""
    before, began_s, cpu_s = load.acknowledged, time.monotonic(), cpu_seconds(tuple(service.api_pids))
    time.sleep(seconds)
    events = load.acknowledged - before
    used_s = cpu_seconds(tuple(service.api_pids)) - cpu_s
    if not events:
        raise RuntimeError("no event was acknowledged in a turn: see wrk.log")
    return Turn(events / (time.monotonic() - began_s), used_s / events * MICRO)


@contextlib.contextmanager
def tabs(service: Service, count: int) -> Iterator[None]:
    """Keep tabs open until the block ends; each has been told how all stands when the block begins."""
    opened = [Tab(service) for _ in range(count)]
    try:
        wait_until("the first message of every tab", lambda: all(one.messages for one in opened), 30)
        yield
    finally:
        for one in opened:
            one.close()


def row(name: str, pairs: list[tuple[float, float]], *, better_high: bool) -> str:
    """Return a row of the table."""
    change = ratio(pairs) - 1
    lost = -change if better_high else change
    spread = [one - 1 for one in ratio_spread(pairs).values()]
    first, second = (sorted(one[place] for one in pairs)[len(pairs) // 2] for place in (0, 1))
    verdict = "kept" if lost <= LOSS_MAX else "missed"
    return (
        f"| {name} | {first:,.1f} | {second:,.1f} | {change:+.2%} | {spread[0]:+.2%} to {spread[1]:+.2%} "
        f"| {LOSS_MAX:.0%}: {verdict} |"
    )


if __name__ == "__main__":
    main()
