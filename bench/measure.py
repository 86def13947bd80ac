"""One measured run: a load, a counting receiver, CPU and memory of the processes between them, and the reconciliation."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .processes import Cpu, Pids, machine_cpu_seconds, memory_mib

LOOK_S = 0.02
"""Time between two polls of the receiver's count, seconds."""
MEMORY_LOOK_S = 1.0


class Source(Protocol):
    """A load generator."""

    pid: Pids

    @property
    def acknowledged(self) -> int:
        """Events that were accepted so far."""
        ...

    def tell_received(self, events: int) -> None:
        """Set how many events have arrived at the receiver."""
        ...

    def stop(self) -> None:
        """Start no more, and wait for what is in flight."""
        ...


@dataclass(slots=True)
class Run:
    """The result of one run.

    Args:
        events: acknowledged events; each had to arrive `fan_out` times.
        received: arrivals.
        rate: arrivals per second, from the start of the load to the last arrival.
        ingest_rate: events acknowledged per second during the load.
        cpu_us: CPU microseconds (user + system) per arrival, by process.
        memory_mib: by process: first and last seen, and peak since its start.
        notes: further figures; other_cores is what other programs and kernel threads used meanwhile.
    """

    events: int
    received: int
    rate: float
    ingest_rate: float
    seconds: float
    backlog_peak: int
    cpu_us: dict[str, float]
    memory_mib: dict[str, dict[str, float]]
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """Resident memory of processes, sampled once per second."""

    pids: Mapping[str, Pids]
    seen: dict[str, list[float]] = field(default_factory=dict)
    _next_s: float = 0.0

    def look(self) -> None:
        """Take a sample if it is time."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + MEMORY_LOOK_S
            for name, pid in self.pids.items():
                self.seen.setdefault(name, []).append(memory_mib(pid))

    def summary(self) -> dict[str, dict[str, float]]:
        """Return first, last and peak; first and last are medians of three samples, so that one outlier does not matter."""
        return {
            name: {
                "first": statistics.median(values[:3]),
                "last": statistics.median(values[-3:]),
                "peak": memory_mib(self.pids[name], "VmHWM"),
            }
            for name, values in self.seen.items()
        }


def measure(
    source: Source,
    received: Callable[[], int],
    *,
    base: int,
    seconds: float,
    ours: Mapping[str, Pids],
    others: Mapping[str, Pids],
    fan_out: int = 1,
    stall_s: float = 30.0,
    strict: bool = True,
    counters: Mapping[str, Callable[[], float]] | None = None,
) -> Run:
    """Run a load for a while, then wait until everything has arrived.

    Args:
        source: a load that has just started.
        received: how many events have arrived at the receiver.
        base: what `received` said before the load started; the first events may arrive before this is called.
        ours, others: processes whose CPU time is counted; memory is of `ours`.
        fan_out: how often each event must arrive.
        stall_s: after this much silence, events that have not arrived count as lost.
        strict: False to record what is missing instead of failing, for the peer.
        counters: what else is counted; by how much each grows is a note.
    Raises: RuntimeError when an acknowledged event was lost or arrived twice.
    """
    began_s = time.monotonic()
    everyone: dict[str, Pids] = {**ours, **others, "load": source.pid}
    everyone["harness"] = os.getpid()
    counted = {name: count() for name, count in (counters or {}).items()}
    before, memory, machine = Cpu.of(everyone), Memory(ours), machine_cpu_seconds()
    acknowledged_before, backlog_peak = source.acknowledged, 0
    while time.monotonic() < began_s + seconds:
        arrived = (received() - base) // fan_out
        source.tell_received(arrived)
        backlog_peak = max(backlog_peak, source.acknowledged - arrived)
        memory.look()
        time.sleep(LOOK_S)
    source.stop()
    stopped_s, acknowledged = time.monotonic(), source.acknowledged
    wanted, arrived = acknowledged * fan_out, received() - base
    last_arrival_s = time.monotonic()
    while arrived < wanted:
        time.sleep(LOOK_S / 4)
        now_arrived = received() - base
        if now_arrived != arrived:
            arrived, last_arrival_s = now_arrived, time.monotonic()
        elif time.monotonic() - last_arrival_s > stall_s:
            break
        memory.look()
    ended_s = last_arrival_s
    time.sleep(0.3)  # wait for duplicates
    used, busy = Cpu.of(everyone).since(before), machine_cpu_seconds()
    lasted_s = time.monotonic() - began_s
    harness = used.pop("harness")
    elsewhere = (busy[0] - machine[0] - sum(used.values()) - harness) / lasted_s
    notes = {"other_cores": round(elsewhere, 2), "stolen_cores": round((busy[1] - machine[1]) / lasted_s, 2)}
    notes |= {name: (counters or {})[name]() - value for name, value in counted.items()}
    arrived = received() - base
    if arrived != wanted and strict:
        raise RuntimeError(
            f"reconciliation failed: {wanted:,} deliveries were expected for what was acknowledged, {arrived:,} arrived"
        )
    return Run(
        events=acknowledged,
        received=arrived,
        rate=arrived / (ended_s - began_s),
        ingest_rate=(acknowledged - acknowledged_before) / (stopped_s - began_s),
        seconds=ended_s - began_s,
        backlog_peak=backlog_peak,
        cpu_us={name: 1e6 * seconds_used / max(arrived, 1) for name, seconds_used in used.items()},
        memory_mib=memory.summary(),
        notes=notes | ({"missing": wanted - arrived} if arrived != wanted else {}),
    )
