"""The workloads whose figure is a rate: S1 to S4, S6, S10, ours and the peer's. latency.py and growth.py have the others."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from .deployment import Deployment, deployed, serving, tuned
from .events import EVENT_BYTES, Sent
from .load import NO_LIMIT, LoadPlan, answer_times, wrk
from .measure import Run, measure
from .peer import PeerPlan, lines, syslog_ng
from .plan import Options, Round, Workload
from .processes import scratch
from .receiver import nginx
from .reconcile import Reconciliation, check_contents, check_head

BATCH = {"format": "ndjson", "batch": {"max_events": 500, "max_bytes": 1_000_000, "max_wait_ms": 200}}
LINE_BYTES = EVENT_BYTES + 1
INGEST_PROCESSES = min(2, len(os.sched_getaffinity(0)))
"""API processes of S3 and S10, whose ingest needs more than one core."""
_PROCESSES = ", 2 API processes" if INGEST_PROCESSES > 1 else ""


@dataclass(frozen=True, slots=True)
class Shape:
    """How events go in and out.

    Args:
        destination: fields of the destination besides its URL.
    """

    load: LoadPlan
    destination: Mapping[str, object] = field(default_factory=dict)
    destinations: int = 1
    tls: bool = False
    api_processes: int = 1


def deliver(shape: Shape) -> Callable[[Options], Round]:
    """Return a measurement of our service, from ingest to the receiver."""

    def run(options: Options) -> Round:
        plan = tuned(shape.load, options)
        with shaped(shape, options) as ours:
            ours.warm_up(plan, options.warm_up_s)
            measured = ours.load(plan, options.seconds)
            return Round.of(measured, ours.reconcile(options.checked_max))

    return run


@contextlib.contextmanager
def shaped(shape: Shape, options: Options) -> Iterator[Deployment]:
    """Run our service with the destinations of a shape until the block ends."""
    per_line = LINE_BYTES if "batch" in shape.destination else 0
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx", tls=shape.tls, line_bytes=per_line) as receiver,
        deployed(
            folder / "ours",
            receiver,
            options,
            destinations=shape.destinations,
            fields=shape.destination,
            api_processes=shape.api_processes,
        ) as ours,
    ):
        yield ours


def ingest_alone(options: Options) -> Round:
    """Measure our ingest without a destination: what is acknowledged is in the log."""
    plan = tuned(LoadPlan(connections=16, backlog_max=NO_LIMIT), options)
    with (
        scratch("ours") as folder,
        serving(folder / "data", options, api_processes=INGEST_PROCESSES) as service,
    ):
        service.settle()

        def load(name: str, seconds: float) -> tuple[Run, Sent]:
            with wrk(folder, service.port, service.key, plan, name) as load:
                run = measure(
                    load,
                    lambda: load.acknowledged,
                    base=0,
                    seconds=seconds,
                    ours=service.pids,
                    others=service.others,
                    counters=service.counters,
                )
                sent = load.sent
            run.notes.update(answer_times(folder))
            return run, sent

        warm, _ = load("wrm", options.warm_up_s)
        run, sent = load("run", options.seconds)
        # There is no receiver: the log must end with what was acknowledged, and a replay must deliver it unchanged.
        check_head(service, warm.events + run.events)
        compared = check_contents(service, [sent], warm.events + 1, options.checked_max)
        run = replace(run, rate=run.ingest_rate, backlog_peak=0)
        counts = Reconciliation(run.events, run.received, ids_compared=compared, checksums_compared=compared)
        return Round.of(run, counts)


def relay(plan: PeerPlan, *, tls: bool = False) -> Callable[[Options], Round]:
    """Return a measurement of the peer, from lines over TCP to the receiver."""
    per_line = LINE_BYTES if plan.batch_lines > 1 else 0

    def run(options: Options) -> Round:
        with (
            scratch("peer") as folder,
            nginx(folder / "nginx", tls=tls, line_bytes=per_line) as receiver,
            syslog_ng(folder / "peer", receiver, plan) as (pid, port),
        ):

            def load(name: str, seconds: float) -> Run:
                base = receiver.received()
                with lines(folder, port, plan, name) as load:
                    return measure(
                        load,
                        receiver.received,
                        base=base,
                        seconds=seconds,
                        ours={"syslog-ng": pid},
                        others={"nginx": receiver.pid},
                        stall_s=5.0,
                        strict=False,
                    )

            load("wrm", options.warm_up_s)
            bytes_before = receiver.body_bytes()
            measured = load("run", options.seconds)
            # The peer does not acknowledge, and its ids repeat: only counts can be compared.
            counts = Reconciliation(
                measured.events,
                measured.received,
                duplicates=max(0, measured.received - measured.events),
                body_bytes=receiver.body_bytes() - bytes_before,
            )
            return Round.of(measured, counts)

    return run


SINGLE = LoadPlan(per_request=1, connections=64, backlog_max=5_000)
BATCHED = LoadPlan(connections=8)
FANNED = LoadPlan(connections=2, backlog_max=2_000)
"""Each event causes many POSTs, so fewer events are in flight."""
MANY = LoadPlan(connections=16, backlog_max=100_000)

SHAPES = {
    "S1": Shape(SINGLE),
    "S2": Shape(BATCHED),
    "S3": Shape(MANY, BATCH, api_processes=INGEST_PROCESSES),
    "S4": Shape(BATCHED, tls=True),
    "S6": Shape(FANNED, destinations=10),
}
"""Workloads that deliver what they take in."""

RATES = (
    Workload("S1", "1 event a request → 1 event a POST", deliver(SHAPES["S1"]), None, {"rate": 12_000}),
    Workload(
        "S2",
        "100 events a request → 1 event a POST",
        deliver(SHAPES["S2"]),
        relay(PeerPlan()),
        {"rate": 45_000},
        1.6,
    ),
    Workload(
        "S3",
        f"100 events a request → 500 events a POST{_PROCESSES}",
        deliver(SHAPES["S3"]),
        relay(PeerPlan(batch_lines=500, backlog_max=100_000)),
        {"rate": 160_000},
        1.4,
    ),
    Workload(
        "S4",
        "as S2, over TLS",
        deliver(SHAPES["S4"]),
        relay(PeerPlan(), tls=True),
        {"rate": 28_000},
        1.3,
    ),
    Workload(
        "S6",
        "as S2, to 10 destinations (POSTs a second)",
        deliver(SHAPES["S6"]),
        base="S2",
        base_share=0.8,
    ),
    Workload("S10", f"ingest alone, 100 events a request{_PROCESSES}", ingest_alone, None, {"rate": 110_000}),
)
