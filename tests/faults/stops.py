"""Processes that are stopped for a while (SIGSTOP, as by a busy or suspended machine), and that end in good order under load."""

import signal
import time

from faults.frame import Fault, Run
from faults.site import SETTINGS, STOP_S, site

LEASE_S = float(SETTINGS["AEGIS_LEASE_SECONDS"])
PAST_LEASE = 6
"""Every so manieth stop of a worker is longer than its lease: another worker takes over."""


def stop_and_continue(run: Run) -> None:
    """Stop the API or one of two workers for up to 1.5 s, or a worker past its lease, and let it continue."""
    with site(run) as one:
        one.start("worker 2")
        for number in range(1, run.rounds + 1):
            time.sleep(run.random.uniform(0.0, 0.2))
            name = run.random.choice(("api", "worker", "worker 2"))
            stop_s = run.random.uniform(0.02, 1.5)
            if number % PAST_LEASE == 0:
                name, stop_s = run.random.choice(("worker", "worker 2")), LEASE_S + 1
            if one.processes[name].wait(0):  # it has lost its lease, and ended so that a new one starts
                one.start(name)
            one.processes[name].send(signal.SIGSTOP)
            time.sleep(stop_s)
            one.processes[name].send(signal.SIGCONT)
            one.note(name, "past_lease" if stop_s > LEASE_S else "stops", repeats=name != "api")
        one.end()


def end_under_load(run: Run) -> None:
    """Ask API and worker to end, one, the other or both, and start them again, as a deployment does."""
    with site(run) as one:
        for _ in range(run.rounds):
            time.sleep(run.random.uniform(0.05, 0.8))
            names = run.random.choice((("worker",), ("api",), ("worker", "api")))
            for name in names:
                one.processes[name].send(signal.SIGTERM)
            for name in names:
                began_s = time.monotonic()
                ended = one.processes[name].wait(STOP_S)
                run.expect(ended, f"{name} did not end within {STOP_S:g} s of SIGTERM")
                run.most(longest_stop_s=time.monotonic() - began_s)
                one.note(name, f"stops_of_{name}", repeats=False)
                one.start(name)
        one.end()


FAULTS = (
    Fault(
        "stop-and-continue",
        "a process that is stopped for a while, also past its lease, loses nothing and settles nothing that is not its own",
        stop_and_continue,
        rounds=12,
    ),
    Fault(
        "end-under-load",
        "after SIGTERM under load each process ends within ten seconds, nothing is lost, and nothing is sent twice",
        end_under_load,
        rounds=15,
    ),
)
