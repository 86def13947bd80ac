"""What sealing costs ingest and delivery at full load: `python -m bench.sealing --only S1,S3 --pairs 12`.

One service and one load run all the time. In turns the organization's log is sealed and is not (the mode `off`): A B, B A, A B, so that
drift of the machine and the growing log affect both equally. What was recorded while the log was not sealed is sealed in the next
turn, so the sealer has twice the work that it would have. At the end every delivery must have arrived once.
"""

import argparse
import time
from dataclasses import dataclass
from typing import NamedTuple

from .deployment import Deployment, drain
from .load import Load, wrk
from .plan import WARM_UP_S, Options
from .processes import children, cpu_seconds, runs
from .turns import by_turns, ratio, ratio_spread
from .workloads import SHAPES, Shape, shaped

PAIRS, SECONDS = 12, 5.0
SETTLE_S = 2.0
"""The sealer sees a change of the mode after a second at most."""
LOOK_S = 0.02
DUPLICATES_S = 0.3
"""How long duplicates are waited for at the end, seconds."""
SHARE_MIN = 0.98
"""Target: with sealing on, at least so much of the rate."""
MICRO = 1e6


class Turn(NamedTuple):
    """What was measured in one turn.

    Args:
        rate: deliveries in a second.
        cpu_us: CPU of API and workers for a delivery, microseconds.
        sealer: CPU of the sealer, in cores.
    """

    rate: float
    cpu_us: float
    sealer: float


@dataclass(frozen=True, slots=True)
class Bench:
    """A service under load.

    Args:
        seconds: length of one turn.
        base: deliveries before the load began.
    """

    ours: Deployment
    load: Load
    seconds: float
    base: int

    def turn(self, mode: str) -> Turn:
        """Set the mode of the organization's log, and measure for some seconds."""
        service = self.ours.service
        service.call("PATCH", f"/api/orgs/{service.org_id}", {"proof": mode})
        self.follow(SETTLE_S)
        pids = (*service.api_pids, *service.worker_pids)
        sealers = tuple(one for one in children(service.api_pids[0]) if runs(one, "sealer"))
        before, began_s = self.ours.receiver.received(), time.monotonic()
        cpu_s, sealer_s = cpu_seconds(pids), cpu_seconds(sealers)
        self.follow(self.seconds)
        took_s = time.monotonic() - began_s
        count = self.ours.receiver.received() - before
        if not count:
            raise RuntimeError("nothing was delivered in a turn")
        used_s = cpu_seconds(pids) - cpu_s
        return Turn(count / took_s, used_s / count * MICRO, (cpu_seconds(sealers) - sealer_s) / took_s)

    def follow(self, seconds: float) -> None:
        """Tell the load for some seconds what has arrived."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            fan_out = len(self.ours.destinations)
            self.load.tell_received((self.ours.receiver.received() - self.base) // fan_out)
            time.sleep(LOOK_S)


def main() -> None:
    """Measure in pairs, and print a table."""
    options = argparse.ArgumentParser(prog="python -m bench.sealing", description=__doc__)
    options.add_argument("--only", default=",".join(SHAPES), help="workloads, with commas")
    options.add_argument("--pairs", type=int, default=PAIRS)
    options.add_argument("--seconds", type=float, default=SECONDS, help="length of one turn")
    chosen = options.parse_args()
    print(
        "| | not sealed | sealed | share | lowest and highest pair | CPU an event | sealer, cores | target |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in chosen.only.split(","):
        print(row(name, measured(SHAPES[name], chosen.pairs, chosen.seconds)), flush=True)


def measured(shape: Shape, count: int, seconds: float) -> list[tuple[Turn, Turn]]:
    """Return the pairs of turns, not sealed and sealed. Raises: RuntimeError when an event was lost or came twice."""
    with shaped(shape, Options()) as ours:
        base = ours.receiver.received()
        with wrk(ours.folder, ours.service.port, ours.service.key, shape.load, "sea") as load:
            bench = Bench(ours, load, seconds, base)
            bench.turn("sealed")  # the sealer starts with the first event
            bench.follow(WARM_UP_S)
            pairs = by_turns(lambda: bench.turn("off"), lambda: bench.turn("sealed"), count)
            load.stop()
            wanted = load.acknowledged * shape.destinations
        drain(ours.receiver, base + wanted)
        time.sleep(DUPLICATES_S)
        if (found := ours.receiver.received() - base) != wanted:
            raise RuntimeError(
                f"reconciliation failed: {wanted:,} deliveries were expected, {found:,} arrived"
            )
    return pairs


def row(name: str, pairs: list[tuple[Turn, Turn]]) -> str:
    """Return a row of the table."""
    rates = [(one.rate, other.rate) for one, other in pairs]
    share, spread = ratio(rates), ratio_spread(rates)
    cpu = ratio([(one.cpu_us, other.cpu_us) for one, other in pairs]) - 1
    without, sealed = (sorted(pair[place] for pair in rates)[len(rates) // 2] for place in (0, 1))
    sealer = sum(other.sealer for _, other in pairs) / len(pairs)
    verdict = "kept" if share >= SHARE_MIN else "missed"
    return (
        f"| {name} | {without:,.0f}/s | {sealed:,.0f}/s | {share:.3f} | {spread['lowest pair']:.3f} to {spread['highest pair']:.3f} "
        f"| {cpu:+.1%} | {sealer:.3f} | {SHARE_MIN}: {verdict} |"
    )


if __name__ == "__main__":
    main()
