"""Kills: processes end by SIGKILL at any moment and at named points, under load, and start again at once."""

import time
from random import Random

from faults.forked import FILE_CALLS, POINTS, DieAt
from faults.frame import Fault, Run
from faults.oracles import (
    Delivered,
    await_quiet,
    judge_delivery,
    judge_log,
    measure,
    problems_of_doctor,
    read_stored,
)
from faults.receiver import careless_receiver
from faults.site import QUIET_S, REPEATS_MAX, SETTINGS, Site, note_recoveries, site
from support.load import Load
from support.processes import kill, make_client, service_group
from support.service import children, service_environment, wait_until

POINT_S = 0.7
"""How long a process may take to reach the point at which it kills itself; then it is killed anyway."""


def kill_at_random(run: Run) -> None:
    """Kill the worker, the API or both, 1 to 300 ms after the last start; now and then wait until something was done."""
    with site(run) as one:
        while run.counts["runs"] < run.rounds:
            time.sleep(run.random.uniform(0.001, 0.3))
            if run.random.random() < 0.2:
                one.await_progress()
            one.kill(*run.random.choice((("worker",), ("api",), ("worker", "api"))))
        one.end()


def kill_at(one: Site, name: str, die_at: DieAt) -> None:
    """Kill a process, start it with a point at which it kills itself, and start it again when it has."""
    one.processes[name].kill()
    one.note(name, f"kills_of_{name}", repeats=name != "api")
    one.start(name, die_at)
    if one.processes[name].wait(POINT_S):
        one.run.add(at_points=1)
    else:
        one.processes[name].kill()
    one.note(name, f"kills_of_{name}", repeats=name != "api")
    one.start(name)


def kill_at_points(run: Run) -> None:
    """Let processes kill themselves between two steps: around commits, settlements, leases and checkpoints, and in file-system calls."""
    places = [*POINTS, *FILE_CALLS]
    with site(run) as one:
        while run.counts["runs"] < run.rounds:
            place = run.random.choice(places)
            calls = 40 if place in FILE_CALLS else 3
            kill_at(one, run.random.choice(("worker", "api")), DieAt(place, run.random.randint(1, calls)))
            if run.random.random() < 0.2:
                one.await_progress()
        run.expect(run.counts.get("at_points", 0) > 0, "no process reached its point")
        one.end()


def kill_service(run: Run) -> None:
    """Kill processes of a real `aegis serve`: the main one, started again at once on its port, or a child that it restarts."""
    with (
        careless_receiver(Random(run.seed)) as receiver,
        service_group(run.folder, **SETTINGS) as group,
    ):
        group.start(api_processes=2)
        client = make_client(group)
        dst_id = client.add_destination(receiver.url + "json", format="json")
        load = Load(client, run.random, pause_s=0.05)
        killed_s: list[float] = []
        for _ in range(run.rounds):
            time.sleep(run.random.uniform(0.1, 1.0))
            victim = run.random.choice(("main", "main", "worker", "api"))
            if victim == "main":
                group.kill()
                killed_s.append(time.monotonic())
                group.start(api_processes=2)
            else:
                find = group.api_pids if victim == "api" else lambda: [group.worker_pid()]
                kill(run.random.choice(wait_until(find)))
            run.add(runs=1, **{f"kills_of_{victim}": 1})
        load.stop()
        note_recoveries(run, killed_s, load)
        await_quiet(run, client, [dst_id], QUIET_S)
        measure(run, [group.pid, *children(group.pid)], group.database)
        problems = problems_of_doctor(service_environment(run.folder, **group.environment))
        run.expect(not problems, f"doctor: {problems}")
        run.expect(group.terminate() == 0, "it did not end with status 0")
        stored = read_stored(run, group.database, client.organization.org_id)
        judge_log(run, load.sent, load.acked, stored.events)
        bound = run.rounds * REPEATS_MAX + stored.unanswered.get(dst_id, 0)
        judge_delivery(
            run,
            stored.events,
            Delivered("json", receiver.bodies("/json"), stored.dead.get(dst_id, {}), bound),
        )


FAULTS = (
    Fault(
        "kill-at-random",
        "after SIGKILL of API and worker at any moment every acknowledged event is stored and delivered unchanged, few of them twice",
        kill_at_random,
        rounds=80,
    ),
    Fault(
        "kill-at-points",
        "the same after SIGKILL between two steps, inside a transaction, a settlement or a checkpoint, and in the middle of a write",
        kill_at_points,
        rounds=60,
    ),
    Fault(
        "kill-service",
        "a real service whose main process, worker or further API process is killed is there again, on its port, and lost nothing",
        kill_service,
        rounds=4,
    ),
)
