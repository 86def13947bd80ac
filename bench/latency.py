"""The workloads whose figure is a latency or a comparison of destinations: S5 and S9."""

import contextlib
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import clocked_receiver, paced_load
from .deployment import deployed, serving, side_by_side, tuned
from .events import Sent
from .measure import Run
from .plan import WARM_UP_S, Options, Round, Workload, company_of, cpu_of, memory_of
from .processes import Cpu, free_port, memory_mib, running, scratch, wait_until
from .receiver import nginx
from .reconcile import Contents, Reconciliation, check_counters, together
from .service import Service, tail
from .turns import by_turns, ratio, ratio_spread, turn_s
from .workloads import FANNED

S5_RATE = 2_000.0
S9_RATE = 100.0
"""Events per second for the latencies of S9: 1,700 POSTs per second to the healthy destinations."""
HEALTHY, SICK = 17, ("hang", "slow", "refuse")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event at one destination.

    Args:
        key: the 16 characters of its id after `pflt_`.
        digest: SHA-256 of the body.
    """

    key: bytes
    at_ns: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Clocked:
    """A receiver that records arrivals."""

    port: int
    out: Path
    process: subprocess.Popen[bytes]

    def url(self, kind: str, destination: int) -> str:
        """Return the URL of a destination of this kind."""
        return f"http://127.0.0.1:{self.port}/{kind}/{destination}"

    def arrivals(self) -> dict[int, list[Arrival]]:
        """Stop it; return what each destination received."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        found: dict[int, list[Arrival]] = {}
        for destination, *note in clocked_receiver.NOTE.iter_unpack(self.out.read_bytes()):
            found.setdefault(destination, []).append(Arrival(*note))
        return found


@contextlib.contextmanager
def clocked(folder: Path, name: str) -> Iterator[Clocked]:
    """Run a receiver that records arrivals until the block ends."""
    log, out = folder / f"{name}.log", folder / f"{name}.notes"
    with running([sys.executable, "-m", "bench.clocked_receiver", out], log=log) as process:
        wait_until("the receiver", lambda: process.poll() is not None or log.read_text().strip(), 15)
        yield Clocked(int(log.read_text()), out, process)


@dataclass(frozen=True, slots=True)
class Paced:
    """A finished paced load.

    Args:
        times: by the key of the event's id, when it was sent and acknowledged, nanoseconds.
    """

    sent: Sent
    times: Mapping[bytes, tuple[int, int]]


def send_paced(folder: Path, service: Service, run: str, rate: float, seconds: float) -> Paced:
    """Send events at a fixed rate, until all are acknowledged. Raises: RuntimeError when one is not acknowledged."""
    out, log = folder / "acks.notes", folder / "acks.log"
    command = [sys.executable, "-m", "bench.paced_load", str(service.port), service.key, run, str(rate)]
    with running([*command, str(seconds), out], log=log) as process:
        process.wait(seconds + 60)
    if process.returncode != 0:
        raise RuntimeError(f"the paced load failed: {tail(log)}")
    notes = list(paced_load.NOTE.iter_unpack(out.read_bytes()))
    sent = Sent(run, 0, len(notes))
    return Paced(sent, {sent.key(number): (sent_ns, acked_ns) for number, sent_ns, acked_ns in notes})


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ack_to_arrival(options: Options) -> Round:
    """S5: at 2,000 events per second, the time from the ack to the arrival at the receiver."""
    with (
        scratch("ours") as folder,
        serving(folder / "data", options) as service,
        clocked(folder, "receiver") as receiver,
    ):
        destination = service.add_destination(receiver.url("ok", 0))
        service.settle()
        warm = send_paced(folder, service, "wrm", S5_RATE, options.warm_up_s)
        wait_delivered(service, [destination], warm.sent.count)
        everyone = {**service.pids, **service.others}
        before = Cpu.of(everyone)
        load = send_paced(folder, service, "run", S5_RATE, options.seconds)
        wait_delivered(service, [destination], warm.sent.count + load.sent.count)
        used = Cpu.of(everyone).since(before)
        arrivals = receiver.arrivals()[0]
        counts = compare(arrivals, warm, [load])
        found = {one.key: one.at_ns for one in arrivals}
        after_ack = [(found[key] - acked) / 1e6 for key, (_, acked) in load.times.items()]
        whole = [(found[key] - sent) / 1e6 for key, (sent, _) in load.times.items()]
        ack = [(acked - sent) / 1e6 for sent, acked in load.times.values()]
        return Round(
            {
                "p50 ms": quantile(after_ack, 0.5),
                "p99 ms": quantile(after_ack, 0.99),
                "send to ack p50 ms": quantile(ack, 0.5),
                "send to ack p99 ms": quantile(ack, 0.99),
                "send to arrival p50 ms": quantile(whole, 0.5),
                "send to arrival p99 ms": quantile(whole, 0.99),
            },
            counts,
            {name: 1e6 * seconds / load.sent.count for name, seconds in used.items()},
            {
                name: {"first": memory_mib(pid), "last": memory_mib(pid), "peak": memory_mib(pid, "VmHWM")}
                for name, pid in service.pids.items()
            },
            {"max ms": max(after_ack), "min ms": min(after_ack)},
        )


def wait_delivered(service: Service, destinations: Sequence[str], events: int) -> None:
    """Wait until each destination has received this many events. Raises: TimeoutError, RuntimeError when attempts failed."""
    for one in destinations:
        wait_until(
            f"stats.delivered = {events}",
            lambda one=one: service.stats(one)["delivered"] >= events,
            30,
            0.05,
        )
    check_counters(service, destinations, events)


def compare(arrivals: Sequence[Arrival], warm: Paced, loads: Sequence[Paced]) -> Reconciliation:
    """Compare what one destination received with what was acknowledged. Raises: RuntimeError on any difference."""
    contents = Contents([warm.sent, *(one.sent for one in loads)])
    for one in arrivals:
        contents.take_one(one.key, one.digest)
    events = sum(one.sent.count for one in loads)
    contents.check(warm.sent.count + events)
    return Reconciliation(
        events, contents.received - warm.sent.count, ids_compared=events, checksums_compared=events
    )


def sick_neighbours(options: Options) -> Round:
    """S9: how much 17 destinations suffer from one that hangs, one that rejects and one that answers after 5 s.

    Two services take turns, one with the 17 and one with all 20, so that both run on the same machine.
    """
    rates, full, counts = _throughputs(options)
    latencies, paced_counts = _latencies(options)
    return Round(
        {"throughput lost %": 100 * (1 - ratio(rates)), "p99 × alone": ratio(latencies)},
        together([counts, paced_counts]),
        cpu_of(full),
        memory_of(full),
        {
            "POSTs/s alone": statistics.median([alone for alone, _ in rates]),
            "POSTs/s": statistics.median([beside for _, beside in rates]),
            "p99 alone ms": statistics.median([alone for alone, _ in latencies]),
            "p99 ms": statistics.median([beside for _, beside in latencies]),
            **{f"throughput, {name}": value for name, value in ratio_spread(rates).items()},
            **{f"p99, {name}": value for name, value in ratio_spread(latencies).items()},
            **company_of(full),
        },
    )


def _add_sick(service: Service, receiver: Clocked) -> None:
    for number, kind in enumerate(SICK, HEALTHY):
        closed = f"http://127.0.0.1:{free_port()}/refuse/{number}"
        service.add_destination(closed if kind == "refuse" else receiver.url(kind, number))


def _throughputs(options: Options) -> tuple[list[tuple[float, float]], list[Run], Reconciliation]:
    """Return pairs of rates, without and with the sick destinations; the runs with them; and the sum of both reconciliations."""
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx") as receiver,
        clocked(folder, "sick") as others,
        deployed(folder / "alone", receiver, options, destinations=HEALTHY) as alone,
        deployed(folder / "full", receiver, options, destinations=HEALTHY) as full,
    ):
        _add_sick(full.service, others)
        pairs, counts = side_by_side(alone, full, tuned(FANNED, options), options)
        return [(one.rate, other.rate) for one, other in pairs], [run for _, run in pairs], counts


@dataclass(slots=True)
class _PacedSide:
    """A service with its healthy destinations at a receiver that records arrivals, numbered from `first`."""

    folder: Path
    service: Service
    destinations: list[str]
    first: int
    warm: Paced
    loads: list[Paced]

    def turn(self, seconds: float) -> Paced:
        """Send for a while, and wait until every destination has received everything."""
        load = send_paced(self.folder, self.service, f"r{len(self.loads):02d}", S9_RATE, seconds)
        self.loads.append(load)
        events = self.warm.sent.count + sum(one.sent.count for one in self.loads)
        wait_delivered(self.service, self.destinations, events)
        return load

    def p99_ms(self, load: Paced, times: Mapping[int, Mapping[bytes, int]]) -> float:
        """Return the 99th percentile from ack to arrival, over all destinations."""
        mine = [times[self.first + number] for number in range(len(self.destinations))]
        return quantile(
            [(at[key] - acked) / 1e6 for at in mine for key, (_, acked) in load.times.items()], 0.99
        )


def _latencies(options: Options) -> tuple[list[tuple[float, float]], Reconciliation]:
    """Return pairs of p99 in milliseconds, without and with the sick destinations."""
    seconds = turn_s(options.seconds)
    with (
        scratch("ours") as folder,
        clocked(folder, "healthy") as receiver,
        clocked(folder, "sick") as others,
        _paced_side(folder / "alone", receiver, 0, options) as alone,
        _paced_side(folder / "full", receiver, HEALTHY, options, sick=others) as full,
    ):
        pairs = by_turns(lambda: alone.turn(seconds), lambda: full.turn(seconds))
        arrivals = receiver.arrivals()
        counts = []
        for side in (alone, full):
            each = [
                compare(arrivals.get(side.first + number, []), side.warm, side.loads)
                for number in range(HEALTHY)
            ]
            counts.append(_of_destinations(each))
        times = {number: {one.key: one.at_ns for one in found} for number, found in arrivals.items()}
        found = [(alone.p99_ms(one, times), full.p99_ms(other, times)) for one, other in pairs]
        return found, together(counts)


def _of_destinations(each: Sequence[Reconciliation]) -> Reconciliation:
    """Return the result of one service, from those of its destinations."""
    return Reconciliation(
        each[0].acknowledged,
        sum(one.received for one in each),
        len(each),
        ids_compared=sum(one.ids_compared for one in each),
        checksums_compared=sum(one.checksums_compared for one in each),
    )


@contextlib.contextmanager
def _paced_side(
    folder: Path, receiver: Clocked, first: int, options: Options, *, sick: Clocked | None = None
) -> Iterator[_PacedSide]:
    folder.mkdir()
    with serving(folder / "data", options) as service:
        ids = [service.add_destination(receiver.url("ok", first + number)) for number in range(HEALTHY)]
        if sick is not None:
            _add_sick(service, sick)
        warm = send_paced(folder, service, "wrm", S9_RATE, WARM_UP_S)
        wait_delivered(service, ids, warm.sent.count)
        yield _PacedSide(folder, service, ids, first, warm, [])


LATENCIES = (
    Workload(
        "S5",
        "latency at 2,000 events a second, from the ack to the arrival",
        ack_to_arrival,
        targets={"p50 ms": 3.0, "p99 ms": 15.0},
    ),
    Workload(
        "S9",
        "17 of 20 destinations: one hangs, one refuses, one answers after 5 s",
        sick_neighbours,
        targets={"throughput lost %": 5.0, "p99 × alone": 2.0},
    ),
)
