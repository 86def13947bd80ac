"""The workloads whose figure is a latency or a comparison of destinations: S5 and S9."""

import contextlib
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import clocked_receiver, paced_load
from .load import wrk
from .measure import measure
from .processes import Cpu, free_port, memory_mib, running, scratch, wait_until
from .receiver import nginx
from .service import Service, aegis, tail
from .workloads import FANNED, Options, Round, Workload, tuned

S5_RATE = 2_000.0
S9_RATE = 100.0
"""Events a second for the latencies of S9: 2,000 POSTs a second to 20 destinations."""
HEALTHY, SICK = 17, ("hang", "slow", "refuse")
WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Clocked:
    """A receiver that notes arrivals."""

    port: int
    out: Path
    process: subprocess.Popen[bytes]

    def url(self, kind: str, destination: int) -> str:
        """Return where a destination of this kind sends to."""
        return f"http://127.0.0.1:{self.port}/{kind}/{destination}"

    def arrivals(self) -> dict[int, dict[int, list[int]]]:
        """End it; return when each event came: destination → event → nanoseconds."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        found: dict[int, dict[int, list[int]]] = {}
        for destination, number, at_ns in clocked_receiver.NOTE.iter_unpack(self.out.read_bytes()):
            found.setdefault(destination, {}).setdefault(number, []).append(at_ns)
        return found


@contextlib.contextmanager
def clocked(folder: Path, name: str) -> Iterator[Clocked]:
    """Run a receiver that notes arrivals until the block ends."""
    log, out = folder / f"{name}.log", folder / f"{name}.notes"
    with running([sys.executable, "-m", "bench.clocked_receiver", out], log=log) as process:
        wait_until("the receiver", lambda: process.poll() is not None or log.read_text().strip(), 15)
        yield Clocked(int(log.read_text()), out, process)


def send_paced(
    folder: Path, service: Service, run: str, rate: float, seconds: float
) -> dict[int, tuple[int, int]]:
    """Send events at a fixed rate; return when each was sent and acknowledged, nanoseconds."""
    out, log = folder / "acks.notes", folder / "acks.log"
    command = [sys.executable, "-m", "bench.paced_load", str(service.port), service.key, run, str(rate)]
    with running([*command, str(seconds), out], log=log) as process:
        process.wait(seconds + 60)
    if process.returncode != 0:
        raise RuntimeError(f"the paced load failed: {tail(log)}")
    return {
        number: (sent_ns, acked_ns)
        for number, sent_ns, acked_ns in paced_load.NOTE.iter_unpack(out.read_bytes())
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ack_to_arrival(options: Options) -> Round:
    """S5: at 2,000 events a second, how long from the ack until the event is at the receiver."""
    with (
        scratch("ours") as folder,
        aegis(folder / "data", workers=options.workers) as service,
        clocked(folder, "receiver") as receiver,
    ):
        destination = service.add_destination(receiver.url("ok", 0))
        send_paced(folder, service, "wrm", S5_RATE, WARM_UP_S)
        warm = int(S5_RATE * WARM_UP_S)
        _wait_delivered(service, destination, warm)
        before = Cpu.of(service.pids)
        acks = send_paced(folder, service, "run", S5_RATE, options.seconds)
        _wait_delivered(service, destination, warm + len(acks))
        used = Cpu.of(service.pids).since(before)
        arrivals = receiver.arrivals()[0]
        # The warm-up used the same numbers: the measured arrival is the second one.
        found = {number: times[-1] for number, times in arrivals.items()}
        total = sum(len(times) for times in arrivals.values())
        if total != warm + len(acks) or set(acks) - set(found):
            raise RuntimeError(f"reconciliation failed: {warm + len(acks)} acknowledged, {total} received")
        after_ack = [(found[number] - acked) / 1e6 for number, (_, acked) in acks.items()]
        whole = [(found[number] - sent) / 1e6 for number, (sent, _) in acks.items()]
        ack = [(acked - sent) / 1e6 for sent, acked in acks.values()]
        return Round(
            {
                "p50 ms": quantile(after_ack, 0.5),
                "p99 ms": quantile(after_ack, 0.99),
                "send to ack p50 ms": quantile(ack, 0.5),
                "send to ack p99 ms": quantile(ack, 0.99),
                "send to arrival p50 ms": quantile(whole, 0.5),
                "send to arrival p99 ms": quantile(whole, 0.99),
            },
            {name: 1e6 * seconds / len(acks) for name, seconds in used.items()},
            {
                name: {"first": memory_mib(pid), "last": memory_mib(pid), "peak": memory_mib(pid, "VmHWM")}
                for name, pid in service.pids.items()
            },
            {"events": len(acks), "max ms": max(after_ack), "min ms": min(after_ack)},
        )


def _wait_delivered(service: Service, destination: str, events: int) -> None:
    wait_until(
        f"stats.delivered = {events}", lambda: service.stats(destination)["delivered"] >= events, 30, 0.05
    )


def sick_neighbours(options: Options) -> Round:
    """S9: what 17 destinations lose to one that hangs, one that refuses and one that answers after 5 s."""
    alone, crowded = _throughput(options, sick=False), _throughput(options, sick=True)
    alone_p99, crowded_p99 = _p99(options, sick=False), _p99(options, sick=True)
    return Round(
        {
            "throughput lost %": 100 * (1 - crowded / alone),
            "p99 × alone": crowded_p99 / alone_p99,
        },
        notes={"POSTs/s alone": alone, "POSTs/s": crowded, "p99 alone ms": alone_p99, "p99 ms": crowded_p99},
    )


def _add_sick(service: Service, receiver: Clocked) -> None:
    for number, kind in enumerate(SICK, HEALTHY):
        closed = f"http://127.0.0.1:{free_port()}/refuse/{number}"
        service.add_destination(closed if kind == "refuse" else receiver.url(kind, number))


def _throughput(options: Options, *, sick: bool) -> float:
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx") as receiver,
        aegis(folder / "data", workers=options.workers) as service,
        clocked(folder, "sick") as others,
    ):
        for _ in range(HEALTHY):
            service.add_destination(receiver.url)
        if sick:
            _add_sick(service, others)
        rate = 0.0
        for name, seconds in (("wrm", min(WARM_UP_S, options.seconds)), ("run", options.seconds)):
            with wrk(folder, service.port, service.key, tuned(FANNED, options), name) as load:
                rate = measure(
                    load,
                    receiver.received,
                    seconds=seconds,
                    ours=service.pids,
                    others={"nginx": receiver.pid},
                    fan_out=HEALTHY,
                ).rate
        return rate


def _p99(options: Options, *, sick: bool) -> float:
    with (
        scratch("ours") as folder,
        aegis(folder / "data", workers=options.workers) as service,
        clocked(folder, "healthy") as receiver,
        clocked(folder, "sick") as others,
    ):
        ids = [service.add_destination(receiver.url("ok", number)) for number in range(HEALTHY)]
        if sick:
            _add_sick(service, others)
        warm = len(send_paced(folder, service, "wrm", S9_RATE, WARM_UP_S))
        acks = send_paced(folder, service, "run", S9_RATE, max(options.seconds, 5))
        for one in ids:
            _wait_delivered(service, one, warm + len(acks))
        arrivals = receiver.arrivals()
        each = []
        for destination in range(HEALTHY):
            found = arrivals.get(destination, {})
            total = sum(len(times) for times in found.values())
            if set(found) != set(acks) or total != warm + len(acks):
                raise RuntimeError(
                    f"reconciliation failed: destination {destination} received {total} of {warm + len(acks)}"
                )
            # The warm-up used the first numbers too: the measured arrival is the last one.
            delays = [(found[number][-1] - acked) / 1e6 for number, (_, acked) in acks.items()]
            each.append(quantile(delays, 0.99))
        return statistics.median(each)


LATENCIES = (
    Workload(
        "S5",
        "latency at 2,000 events/s, from the ack to the arrival",
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
