"""The workloads whose figure is a rate: S1 to S4, S6, S10; ours and the peer's. (S5, S7 and S9 have files of their own.)"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .events import EVENT_BYTES, ORG_ID
from .load import NO_LIMIT, LoadPlan, wrk
from .measure import Run, measure
from .peer import PeerPlan, lines, syslog_ng
from .processes import scratch, wait_until
from .receiver import Receiver, nginx
from .service import Service, aegis

WARM_UP_S = 2.0
BATCH = {"format": "ndjson", "batch": {"max_events": 500, "max_bytes": 1_000_000, "max_wait_ms": 200}}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides.

    Args:
        seconds: how long the load of one measured run lasts.
        backlog_events: size of the backlog of S7 and of the full log of S11.
    """

    seconds: float = 20.0
    connections: int | None = None
    backlog_max: float | None = None
    scattered: bool = False
    backlog_events: int = 1_000_000
    workers: int = 1


@dataclass(slots=True)
class Round:
    """One side's figures in one round."""

    figures: dict[str, float]
    cpu_us: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(run: Run) -> "Round":
        """Take over a run."""
        figures = {"rate": run.rate, "ingest": run.ingest_rate}
        notes = {"events": run.events, "seconds": run.seconds, "backlog_peak": run.backlog_peak, **run.notes}
        return Round(figures, run.cpu_us, run.memory_mib, notes)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload by name.

    Args:
        targets: figure → what is asked of it; "≥" for rates, "≤" for everything else.
        ratio: what it asks of our rate against the peer's.
    """

    name: str
    title: str
    ours: Callable[[Options], Round]
    peer: Callable[[Options], Round] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How events go in and out.

    Args:
        destination: fields of the destination beside its URL.
    """

    load: LoadPlan
    destination: Mapping[str, object] = field(default_factory=dict)
    destinations: int = 1
    tls: bool = False


def deliver(shape: Shape) -> Callable[[Options], Round]:
    """Return a measurement of our service, from ingest to the receiver."""

    def run(options: Options) -> Round:
        with scratch("ours") as folder, deployed(folder, shape, options) as (service, receiver, ids):
            plan = tuned(shape.load, options)
            total = 0
            for name, seconds in (("wrm", min(WARM_UP_S, options.seconds)), ("run", options.seconds)):
                with wrk(folder, service.port, service.key, plan, name) as load:
                    measured = measure(
                        load,
                        receiver.received,
                        seconds=seconds,
                        ours=service.pids,
                        others={"nginx": receiver.pid},
                        fan_out=shape.destinations,
                    )
                    total += measured.events
            check_counters(service, ids, total)
            return Round.of(measured)

    return run


def ingest_alone(options: Options) -> Round:
    """Measure our ingest with no destination: what is acknowledged is in the log."""
    with scratch("ours") as folder, aegis(folder / "data", workers=options.workers) as service:
        plan = tuned(LoadPlan(connections=8, backlog_max=NO_LIMIT), options)
        total = 0
        for name, seconds in (("wrm", min(WARM_UP_S, options.seconds)), ("run", options.seconds)):
            with wrk(folder, service.port, service.key, plan, name) as load:
                measured = measure(
                    load, lambda: load.acknowledged, seconds=seconds, ours=service.pids, others={}
                )
                total += measured.events
        check_head(service, total)
        measured = replace(measured, rate=measured.ingest_rate, backlog_peak=0)
        return Round.of(measured)


def relay(plan: PeerPlan, *, tls: bool = False) -> Callable[[Options], Round]:
    """Return a measurement of the peer, from lines over TCP to the receiver."""

    def run(options: Options) -> Round:
        per_line = EVENT_BYTES + 1 if plan.batch_lines > 1 else 0
        with (
            scratch("peer") as folder,
            nginx(folder / "nginx", tls=tls, event_bytes=per_line) as receiver,
            syslog_ng(folder / "peer", receiver, plan) as (pid, port),
        ):
            for name, seconds in (("wrm", min(WARM_UP_S, options.seconds)), ("run", options.seconds)):
                with lines(folder, port, plan, name) as load:
                    measured = measure(
                        load,
                        receiver.received,
                        seconds=seconds,
                        ours={"syslog-ng": pid},
                        others={"nginx": receiver.pid},
                        stall_s=5.0,
                        strict=False,
                    )
            return Round.of(measured)

    return run


@contextlib.contextmanager
def deployed(folder: Path, shape: Shape, options: Options) -> Iterator[tuple[Service, Receiver, list[str]]]:
    """Run nginx and our service with its destinations until the block ends."""
    per_line = EVENT_BYTES + 1 if "batch" in shape.destination else 0
    with (
        nginx(folder / "nginx", tls=shape.tls, event_bytes=per_line) as receiver,
        aegis(folder / "data", workers=options.workers) as service,
    ):
        fields = dict(shape.destination)
        if receiver.ca_certificate is not None:
            fields["ca_certificate"] = receiver.ca_certificate.read_text()
        ids = [service.add_destination(receiver.url, **fields) for _ in range(shape.destinations)]
        yield service, receiver, ids


def tuned(plan: LoadPlan, options: Options) -> LoadPlan:
    """Return a plan with what the command line says otherwise."""
    return replace(
        plan,
        connections=options.connections or plan.connections,
        backlog_max=options.backlog_max or plan.backlog_max,
        scattered=options.scattered or plan.scattered,
    )


def check_counters(service: Service, ids: list[str], events: int) -> None:
    """Check that the service counts what was received.

    Raises: TimeoutError when its counters do not come to that, RuntimeError when attempts failed.
    """
    for destination_id in ids:
        wait_until(
            f"stats.delivered = {events} of {destination_id}",
            lambda one=destination_id: service.stats(one)["delivered"] == events,
            10,
        )
        stats = service.stats(destination_id)
        if stats["failed_attempts"] or stats["backlog"] or stats["retrying"]:
            raise RuntimeError(f"not everything was delivered at the first attempt: {stats}")


def check_head(service: Service, events: int) -> None:
    """Check that the log ends with event number `events`. Raises: RuntimeError."""
    path = f"/api/orgs/{ORG_ID}/events?after_sequence={events - 1}&limit=2"
    found = service.call("GET", path)["data"]
    if [one["sequence"] for one in found] != [events]:
        raise RuntimeError(f"{events} events were acknowledged, and the log ends with {found}")


SINGLE = LoadPlan(per_request=1, connections=64, backlog_max=5_000)
BATCHED = LoadPlan()
FANNED = LoadPlan(connections=2, backlog_max=2_000)
"""One event is many POSTs: fewer of them on their way."""
MANY = LoadPlan(connections=8, backlog_max=100_000)

RATES = (
    Workload("S1", "1 event a request → 1 event a POST", deliver(Shape(SINGLE)), None, {"rate": 12_000}),
    Workload(
        "S2",
        "100 events a request → 1 event a POST",
        deliver(Shape(BATCHED)),
        relay(PeerPlan()),
        {"rate": 45_000},
        1.6,
    ),
    Workload(
        "S3",
        "100 events a request → 500 events a POST",
        deliver(Shape(MANY, BATCH)),
        relay(PeerPlan(batch_lines=500, backlog_max=100_000)),
        {"rate": 160_000},
        1.4,
    ),
    Workload(
        "S4",
        "as S2, over TLS",
        deliver(Shape(BATCHED, tls=True)),
        relay(PeerPlan(), tls=True),
        {"rate": 28_000},
        1.3,
    ),
    Workload("S6", "as S2, to 10 destinations (POSTs/s)", deliver(Shape(FANNED, destinations=10))),
    Workload("S10", "ingest alone, 100 events a request", ingest_alone, None, {"rate": 110_000}),
)
