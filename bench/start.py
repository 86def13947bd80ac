"""The workload about a service with little to do, S14: how much CPU it needs to start, and at 100 single events a second."""

import contextlib
import fcntl
import os
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .deployment import drain, fill, memory_now, need_log
from .events import Sent
from .latency import clocked, compare, quantile, send_paced, wait_delivered
from .plan import Options, Round, Workload
from .processes import Cpu, scratch, tree_cpu_seconds, wait_until
from .receiver import Receiver, nginx
from .reconcile import Reconciliation, check_contents, check_counters, check_head, together
from .service import Service, aegis

LOW_RATE = 100.0
STARTS = 3
"""Starts with one event waiting, before the start with the backlog."""
FIRST_S = 60.0
"""Longest time from a start to the first arrival, seconds."""
STOP_S = 10.0
"""Longest time to find the workers between two writes, seconds."""


@dataclass(slots=True)
class Start:
    """One start of the service, from the creation of its process to the first arrival at the receiver.

    Args:
        receiver: where an event arrives that waited for the start.
        cpu_s: CPU time of all processes of the service until then.
    """

    receiver: Receiver
    wall_s: float = 0.0
    cpu_s: float = 0.0
    _began_s: float = field(default_factory=time.monotonic)

    def watch(self, pid: int) -> None:
        """Wait for the first arrival; called as soon as the process is created. Raises: TimeoutError."""
        before = self.receiver.received()
        wait_until("the first POST", lambda: self.receiver.received() > before, FIRST_S, 0.002)
        self.wall_s, self.cpu_s = time.monotonic() - self._began_s, tree_cpu_seconds(pid)


def start_and_low_rate(options: Options, *, starts: int = STARTS) -> Round:
    """S14: start after kill -9, with one event waiting and with a backlog; then 100 single events a second."""
    found, start_counts = _starts(options, starts)
    low = _low_rate(options)
    single, backlog = found[:-1], found[-1]
    return Round(
        {
            "start CPU s": statistics.median([one.cpu_s for one in single]),
            "start s": statistics.median([one.wall_s for one in single]),
            "start with backlog CPU s": backlog.cpu_s,
            "start with backlog s": backlog.wall_s,
            **low.figures,
        },
        together([start_counts, low.counts]),
        low.cpu_us,
        low.memory_mib,
        {"backlog": float(options.backlog_events)},
    )


def _starts(options: Options, starts: int) -> tuple[list[Start], Reconciliation]:
    """Start the service after kill -9: this many times with one undelivered event in the log, then once with a backlog."""
    need_log(options.backlog_events)
    with scratch("ours") as folder, nginx(folder / "nginx") as receiver:
        data, sent, found = folder / "data", list[Sent](), list[Start]()
        with aegis(data, program=options.program) as service:
            key, destination = service.key, service.add_destination(receiver.url)
            sent.append(_crash_with_one(folder, service, 0))
        for number in range(1, starts + 1):
            found.append(Start(receiver))
            with aegis(data, key=key, program=options.program, begun=found[-1].watch) as service:
                wait_delivered(service, [destination], number)
                if number < starts:
                    sent.append(_crash_with_one(folder, service, number))
                else:
                    sent.append(_crash_with_backlog(folder, service, options))
        found.append(Start(receiver))
        with aegis(data, key=key, program=options.program, begun=found[-1].watch) as service:
            return found, _reconcile(service, receiver, destination, sent, options)


def _crash_with_one(folder: Path, service: Service, number: int) -> Sent:
    """Record one event that the worker does not see, and kill everything."""
    _stop_workers(folder, service)
    sent = send_paced(folder, service, f"o{number:02d}", LOW_RATE, 1 / LOW_RATE).sent
    service.kill()
    return sent


def _crash_with_backlog(folder: Path, service: Service, options: Options) -> Sent:
    """Record a backlog that the worker does not see, and kill everything."""
    _stop_workers(folder, service)
    sent = fill(folder, service, options.backlog_events, options)
    service.kill()
    return sent


def _stop_workers(folder: Path, service: Service) -> None:
    """Stop the workers between two writes: one that is stopped within a write stops all writers of the file.

    Raises: TimeoutError.
    """
    deadline_s = time.monotonic() + STOP_S
    while time.monotonic() < deadline_s:
        for pid in service.worker_pids:
            os.kill(pid, signal.SIGSTOP)
        with (folder / "data" / "aegis.db.lock").open("rb") as gate, contextlib.suppress(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        for pid in service.worker_pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    raise TimeoutError(f"the workers were writing for {STOP_S} s whenever they were stopped")


def _reconcile(
    service: Service, receiver: Receiver, destination: str, sent: Sequence[Sent], options: Options
) -> Reconciliation:
    """Compare all events of all starts. Raises: RuntimeError, TimeoutError on any difference."""
    events = sum(one.count for one in sent)
    drain(receiver, events)
    check_counters(service, [destination], events)
    check_head(service, events)
    received, size = receiver.received(), receiver.body_bytes()
    if received != events or size != received * receiver.bytes_an_event:
        raise RuntimeError(
            f"reconciliation failed: {events:,} recorded, {received:,} received in {size:,} bytes"
        )
    compared = check_contents(service, sent, 1, options.checked_max)
    return Reconciliation(
        events, received, body_bytes=size, ids_compared=compared, checksums_compared=compared
    )


@dataclass(frozen=True, slots=True)
class _Low:
    """What a low rate cost."""

    figures: dict[str, float]
    counts: Reconciliation
    cpu_us: dict[str, float]
    memory_mib: dict[str, dict[str, float]]


def _low_rate(options: Options) -> _Low:
    """Send single events at a low rate; return the CPU of each process, and the time from the ack to the arrival."""
    with (
        scratch("ours") as folder,
        aegis(folder / "data", program=options.program) as service,
        clocked(folder, "receiver") as receiver,
    ):
        destination = service.add_destination(receiver.url("ok", 0))
        warm = send_paced(folder, service, "wrm", LOW_RATE, options.warm_up_s)
        wait_delivered(service, [destination], warm.sent.count)
        before = Cpu.of(service.pids)
        load = send_paced(folder, service, "run", LOW_RATE, options.seconds)
        used = Cpu.of(service.pids).since(before)
        wait_delivered(service, [destination], warm.sent.count + load.sent.count)
        memory = memory_now(service)
        arrivals = receiver.arrivals()[0]
    counts = compare(arrivals, warm, [load])
    arrived = {one.key: one.at_ns for one in arrivals}
    delays = [(arrived[key] - acked) / 1e6 for key, (_, acked) in load.times.items()]
    share = {name: 100 * seconds / options.seconds for name, seconds in used.items()}
    figures = {
        "low rate % of a core": sum(share.values()),
        **{f"low rate {name} %": value for name, value in share.items()},
        "low rate p50 ms": quantile(delays, 0.5),
        "low rate p99 ms": quantile(delays, 0.99),
    }
    cpu_us = {name: 1e6 * seconds / load.sent.count for name, seconds in used.items()}
    return _Low(figures, counts, cpu_us, memory)


STARTING = (
    Workload(
        "S14",
        "start after kill -9 to the first POST, and 100 single events a second",
        start_and_low_rate,
        targets={"start CPU s": 0.8, "start with backlog s": 1.0, "low rate % of a core": 8.0},
    ),
)
