"""The workload about many senders, S13: 2,000 of them on 500 connections, each with one event outstanding."""

import array
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from .control import BACKLOG_MAX, SENT, control_page
from .deployment import deployed, tuned
from .latency import quantile
from .load import Load, LoadPlan
from .plan import Options, Round, Workload
from .processes import running, scratch, wait_until
from .receiver import nginx

SENDERS, CONNECTIONS = 2_000, 500
LOAD = LoadPlan(per_request=1, connections=CONNECTIONS, backlog_max=20_000)


@contextlib.contextmanager
def sender_pool(folder: Path, port: int, key: str, plan: LoadPlan, run: str) -> Iterator[Load]:
    """Start the senders; they are stopped when the block ends. The latencies are in a file named by `run` when they have ended."""
    log, out = folder / "senders.log", folder / f"{run}.latencies"
    with control_page(folder) as control:
        control.set(BACKLOG_MAX, plan.backlog_max)
        command = [sys.executable, "-m", "bench.sender_pool", str(port), key, run]
        with running([*command, str(SENDERS), str(plan.connections), control.path, out], log=log) as process:
            wait_until(
                "the first request", lambda: process.poll() is not None or control.total(SENT) > 0, 30, 0.001
            )
            if process.poll() is not None:
                raise RuntimeError("the senders did not start: " + log.read_text()[-500:])
            yield Load(control, process.pid, plan, run)


def many_senders(options: Options) -> Round:
    """S13: single events of many senders, from ingest to the receiver."""
    plan = tuned(LOAD, options)
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx") as receiver,
        deployed(folder / "ours", receiver, options) as ours,
    ):
        ours.generator = sender_pool
        ours.warm_up(plan, options.warm_up_s)
        found = Round.of(ours.load(plan, options.seconds), ours.reconcile(options.checked_max))
        micros = array.array("I", ours.latencies())
        found.figures |= {
            "ack p50 ms": quantile(micros, 0.5) / 1e3,
            "ack p99 ms": quantile(micros, 0.99) / 1e3,
        }
        return found


MANY_SENDERS = (
    Workload(
        "S13",
        f"{SENDERS:,} senders of single events on {CONNECTIONS} connections → 1 event a POST",
        many_senders,
    ),
)
