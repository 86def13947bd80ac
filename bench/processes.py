"""Starts real processes, watches them through /proc, and always stops them: only those started here, never by name."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
KERNEL_THREADS_PARENT = 2
RESULTS = Path(__file__).parent / "results"
BUSY_CORES = 0.1
"""If other programs use more cores than this, figures are unreliable."""
STOP_S = 20.0
"""Longest time for a process to end after SIGTERM, seconds."""


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Create a directory on the disk of the repository; it is deleted when the block ends."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"data-{name}-", dir=RESULTS))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def need_disk(size_bytes: int, what: str) -> None:
    """Check the free space on the disk of `scratch`. Raises: RuntimeError with the space that is missing."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(RESULTS).free
    if free < size_bytes:
        raise RuntimeError(
            f"{what} needs about {size_bytes / 1e9:.1f} GB of disk below bench/results, and {free / 1e9:.1f} GB are free: "
            "free space, or use fewer events"
        )


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    stop_signal: int = signal.SIGTERM,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in its own session, with its output in `log`; it is stopped when the block ends.

    Args:
        options: further arguments of `subprocess.Popen`, such as the user that it runs as.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(one) for one in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            **options,
        )
    try:
        yield process
    finally:
        end(process, stop_signal)


def end(process: subprocess.Popen[bytes], stop_signal: int = signal.SIGTERM) -> None:
    """Stop a process and the rest of its session."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a TCP port that is free on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(one) for one in (thread / "children").read_text().split()]
    return found


@dataclass(frozen=True, slots=True)
class Tree:
    """A process, its descendants, and those of them that have ended: their CPU is one figure."""

    pid: int


Pids = int | tuple[int, ...] | Tree
"""One process, or several whose figures are added up."""


def runs(pid: int, command: str) -> bool:
    """Return whether a process runs this command of `aegis`."""
    with contextlib.suppress(OSError):
        return command.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def cpu_seconds(pid: Pids) -> float:
    """Return user + system time of all threads of a process; 0 if it has ended."""
    if isinstance(pid, tuple):
        return sum(map(cpu_seconds, pid))
    if isinstance(pid, Tree):
        return tree_cpu_seconds(pid.pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def tree_cpu_seconds(pid: int) -> float:
    """Return user + system time of a process, its descendants, and the children for which they have waited."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(int(one) for one in fields[11:15]) / TICKS_A_SECOND
    return own + sum(map(tree_cpu_seconds, children(pid)))


def memory_mib(pid: Pids, field: str = "VmRSS") -> float:
    """Return VmRSS (now) or VmHWM (peak) in MiB; 0 if the process has ended."""
    if isinstance(pid, tuple):
        return sum(memory_mib(one, field) for one in pid)
    if isinstance(pid, Tree):
        return memory_mib(pid.pid, field) + sum(memory_mib(Tree(one), field) for one in children(pid.pid))
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


def machine_cpu_seconds() -> tuple[float, float]:
    """Return the CPU time that all programs of the machine have used since it started, and the stolen time, seconds.

    Kernel threads are excluded: they work for the running programs, above all for ours. Interrupts do too, but they are in
    the time of the processes that they interrupt.
    """
    fields = [int(one) for one in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    user, nice, system, _, _, irq, soft_irq, steal = fields[:8]
    kernel = sum(cpu_seconds(pid) for pid in children(KERNEL_THREADS_PARENT))
    return (user + nice + system + irq + soft_irq) / TICKS_A_SECOND - kernel, steal / TICKS_A_SECOND


def wait_for_quiet(longest_s: float, cores_max: float = BUSY_CORES, stretch_s: float = 1.0) -> float:
    """Wait until the machine has been idle for a while, at most `longest_s`; return how many cores were busy in the last period."""
    deadline = time.monotonic() + longest_s
    while True:
        before, began_s = machine_cpu_seconds()[0], time.monotonic()
        time.sleep(stretch_s)
        busy = (machine_cpu_seconds()[0] - before) / (time.monotonic() - began_s)
        if busy <= cores_max or time.monotonic() > deadline:
            return busy


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of named processes at one moment."""

    seconds: Mapping[str, float]

    @staticmethod
    def of(pids: Mapping[str, Pids]) -> "Cpu":
        """Read them now."""
        return Cpu({name: cpu_seconds(pid) for name, pid in pids.items()})

    def since(self, earlier: "Cpu") -> dict[str, float]:
        """Return the CPU time since `earlier`."""
        return {name: used - earlier.seconds.get(name, 0.0) for name, used in self.seconds.items()}


def wait_until(what: str, ready: object, timeout_s: float, pause_s: float = 0.02) -> None:
    """Wait until `ready()` is true.

    Raises: TimeoutError that names `what`.
    """
    assert callable(ready)
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)


def accepts(port: int) -> bool:
    """Return whether somebody listens on a port of the loopback address."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False
