"""Descriptors or memory of a process are used up for a moment, also while a worker has to be started anew."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

from faults.frame import Fault, Run
from faults.served import Served, served
from faults.site import REPEATS_MAX
from support.processes import kill
from support.service import wait_until

MOMENT_S = 0.6
START_FAILED, STARTED = "supervisor.start_failed", "worker.started"


def _set(pid: int, kind: int, soft: int | None) -> None:
    """Set the soft limit of a process; None gives back what it had."""
    _, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (hard if soft is None else soft, hard))


def descriptors_of_the_api(one: Served) -> None:
    """The API can open nothing."""
    _moment(one.group.pid, resource.RLIMIT_NOFILE, _open_files(one.group.pid))


def few_descriptors_of_the_api(one: Served) -> None:
    """The API can open less than it has open."""
    _moment(one.group.pid, resource.RLIMIT_NOFILE, 8)


def descriptors_of_the_worker(one: Served) -> None:
    """The worker can open nothing, so it can connect to nobody."""
    worker = one.group.worker_pid()
    _moment(worker, resource.RLIMIT_NOFILE, 8)


def memory_of_the_api(one: Served) -> None:
    """The API gets no further memory from the system."""
    _moment(one.group.pid, resource.RLIMIT_AS, _memory(one.group.pid))


def memory_of_the_worker(one: Served) -> None:
    """The worker gets no further memory from the system."""
    worker = one.group.worker_pid()
    _moment(worker, resource.RLIMIT_AS, _memory(worker))


def descriptors_when_a_worker_is_to_be_started(one: Served) -> None:
    """A worker is killed while no descriptor is free to start another one with."""
    worker = one.group.worker_pid()
    failed, started = (len(one.group.log_lines(name)) for name in (START_FAILED, STARTED))
    _set(one.group.pid, resource.RLIMIT_NOFILE, 8)
    kill(worker)
    wait_until(lambda: len(one.group.log_lines(START_FAILED)) > failed)
    _set(one.group.pid, resource.RLIMIT_NOFILE, None)
    one.run.add(repeats_allowed=REPEATS_MAX)
    wait_until(lambda: len(one.group.log_lines(STARTED)) > started, seconds=60)


MOMENTS: tuple[Callable[[Served], None], ...] = (
    descriptors_of_the_api,
    few_descriptors_of_the_api,
    descriptors_of_the_worker,
    memory_of_the_api,
    memory_of_the_worker,
    descriptors_when_a_worker_is_to_be_started,
)


def exhaust(run: Run) -> None:
    """Play the moments in an order by chance, under load."""
    with served(run) as one:
        one.begin(pause_s=0.01, batch=(1, 10))
        order = run.random.sample(MOMENTS, len(MOMENTS))
        for number in range(run.rounds):
            moment = order[number % len(order)]
            before = one.processes()
            moment(one)
            one.recover()
            run.add(runs=1)
            if moment is not descriptors_when_a_worker_is_to_be_started:
                run.expect(one.processes() == before, f"{moment.__name__}: a process was started anew")
        one.end(repeats_max=run.counts.pop("repeats_allowed", 0))


def _moment(pid: int, kind: int, soft: int) -> None:
    _set(pid, kind, soft)
    time.sleep(MOMENT_S)  # the moment lasts
    _set(pid, kind, None)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


FAULTS = (
    Fault(
        "exhaustion",
        "while a process has no descriptor or no memory left, also when a worker must be started: the service goes on, nothing is lost, "
        "and no receiver is blamed",
        exhaust,
        rounds=len(MOMENTS),
        seconds=300,
    ),
)
