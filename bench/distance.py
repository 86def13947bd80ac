"""The workload about a receiver that is far away, S12: 50 ms of round-trip time, one destination, default settings."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from .deployment import deployed, tuned
from .load import LoadPlan
from .plan import Options, Round, Workload
from .processes import running, scratch, wait_until
from .receiver import nginx
from .service import tail

ROUND_TRIP_S = 0.05
LOAD = LoadPlan(connections=2, backlog_max=10_000)


@contextlib.contextmanager
def relay(folder: Path, port: int, round_trip_s: float = ROUND_TRIP_S) -> Iterator[int]:
    """Run a relay to a port of this machine that is this far away, until the block ends; yield the relay's port."""
    log = folder / "relay.log"
    command = [sys.executable, "-m", "bench.relay", str(port), str(round_trip_s / 2)]
    with running(command, log=log) as process:
        wait_until("the relay", lambda: process.poll() is not None or log.read_text().strip(), 15)
        if process.poll() is not None:
            raise RuntimeError(f"the relay did not start: {tail(log)}")
        yield int(log.read_text())


def far_away(options: Options) -> Round:
    """S12: as S2, to a receiver behind a relay that delays both ways."""
    plan = tuned(LOAD, options)
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx") as receiver,
        relay(folder, receiver.port) as port,
    ):
        receiver.url = receiver.url.replace(f":{receiver.port}/", f":{port}/")
        with deployed(folder / "ours", receiver, options) as ours:
            ours.warm_up(plan, options.warm_up_s)
            measured = ours.load(plan, options.seconds)
            return Round.of(measured, ours.reconcile(options.checked_max))


FAR = (
    Workload(
        "S12",
        "as S2, to a receiver 50 ms away (a relay that delays both ways by 25 ms)",
        far_away,
        targets={"rate": 5_000},
    ),
)
