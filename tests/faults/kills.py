"""Kills: processes end by SIGKILL at any moment and at named points, under load, and start again at once."""

import bisect
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.forked import FILE_CALLS, POINTS, ROLES, DieAt, Forker, Process
from faults.frame import Fault, Run
from faults.oracles import Delivered, await_quiet, judge_delivery, judge_log, measure, read_stored
from faults.receiver import CarelessReceiver, careless_receiver
from support.files import file_faults
from support.load import Load
from support.processes import Client, free_port
from support.service import OPERATOR_KEY, RunningService, service_environment, wait_until

WINDOW, BATCH = 16, 10
SETTINGS = {
    "AEGIS_LOG_FORMAT": "json",
    "AEGIS_WINDOW_MAX": str(WINDOW),
    "AEGIS_REQUEST_TIMEOUT_SECONDS": "1",
    "AEGIS_LEASE_SECONDS": "7",
    "AEGIS_RETRY_BASE_SECONDS": "0.05",
    "AEGIS_RETRY_MAX_ATTEMPTS": "20",
}
UNSETTLED = 32
"""Events that wait up to 200 ms for a settlement, beside those that wait 25 ms: docs/explanation/delivery.md."""
REPEATS_PER_KILL_MAX = WINDOW + UNSETTLED + 5 * WINDOW
"""A window in flight, and what was answered and not settled: within the settle interval and a commit, 100 ms together, a slot of
the window finishes five requests of 20 ms."""
QUIET_S = 60.0
EVENTS_A_SECOND_MIN = 100
"""How fast a backlog must be delivered, beside QUIET_S."""
POINT_S = 0.7
"""How long a process may take to reach the point at which it kills itself; then it is killed anyway."""


@dataclass
class Site:
    """An API process, a worker, a receiver with two destinations, and a load.

    Attributes:
        kills: (monotonic time, role) of each kill.
    """

    run: Run
    forker: Forker
    receiver: CarelessReceiver
    port: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = service_environment(self.run.folder, **SETTINGS)
        self.log = self.run.folder / "service.log"
        self.start("api")
        self.start("worker")
        url = f"http://127.0.0.1:{self.port}"
        wait_until(lambda: '"service.started"' in self.log.read_text(errors="replace"))
        process = None  # of another parent
        service = RunningService(url, {"AEGIS_OPERATOR_KEY": OPERATOR_KEY}, process, self.log)
        self.client = Client(url, service.make_organization())
        self.destinations = {
            "/json": self.client.add_destination(self.receiver.url + "json", format="json"),
            "/batch": self.client.add_destination(
                self.receiver.url + "batch", format="ndjson", batch={"max_events": BATCH}
            ),
        }
        self.load = Load(self.client, self.run.random, pause_s=0.05, batch=(1, 15))

    @property
    def database(self) -> Path:
        return self.run.folder / "data" / "aegis.db"

    def start(self, role: str, die_at: DieAt | None = None) -> None:
        """Start a process of a role."""
        command = [*ROLES[role], "--port", str(self.port)] if role == "api" else ROLES[role]
        self.processes[role] = self.forker.start(command, self.environment, self.log, die_at)

    def kill(self, *roles: str) -> None:
        """Kill processes and start them again at once."""
        for role in roles:
            self.processes[role].kill()
            self.note_kill(role)
        for role in roles:
            self.start(role)

    def note_kill(self, role: str) -> None:
        """Note that a process was killed."""
        self.kills.append((time.monotonic(), role))
        self.run.add(runs=1, **{f"kills_of_{role}": 1})

    def kill_at(self, role: str, die_at: DieAt) -> None:
        """Kill a process, start it with a point at which it kills itself, and start it again when it has."""
        self.processes[role].kill()
        self.note_kill(role)
        self.start(role, die_at)
        if self.processes[role].wait(POINT_S):
            self.run.add(at_points=1)
        else:
            self.processes[role].kill()
        self.note_kill(role)
        self.start(role)

    def pids(self) -> list[int]:
        return [one.pid for one in self.processes.values()]

    def end(self) -> None:
        """Stop the load, wait until all is quiet, stop in good order, and judge."""
        self.load.stop()
        wait_until(self._answers)
        quiet_s = QUIET_S + len(self.load.sent) / EVENTS_A_SECOND_MIN
        await_quiet(self.run, self.client, self.destinations.values(), quiet_s)
        faults = file_faults(self.pids(), self.database)
        self.run.expect(not faults, f"files: {faults}")
        measure(self.run, self.pids(), self.database)
        for one in self.processes.values():
            one.send(signal.SIGTERM)
        ended = [one.wait(15) for one in self.processes.values()]
        self.run.expect(all(ended), "a process did not end within 15 s of SIGTERM")
        self._note_recoveries()
        self._judge()

    def _answers(self) -> bool:
        events = self.load.make(self.client.organization.org_id, 0, 1)
        if not self.client.is_acknowledged(events.values()):
            return False
        self.load.sent.update(events)
        self.load.acked.update(events)
        return True

    def _judge(self) -> None:
        stored = read_stored(self.run, self.database, self.client.organization.org_id)
        judge_log(self.run, self.load.sent, self.load.acked, stored.events)
        worker_kills = sum(role == "worker" for _, role in self.kills)
        for name in self.destinations:
            bound = worker_kills * REPEATS_PER_KILL_MAX * (BATCH if name == "/batch" else 1)
            dead = stored.dead.get(self.destinations[name], {})
            judge_delivery(self.run, stored.events, Delivered(name, self.receiver.bodies(name), dead, bound))
        self.run.expect(len(self.load.acked) > len(self.kills), "hardly an event was recorded")

    def _note_recoveries(self) -> None:
        """Note how long after each kill of the API the next event was acknowledged, unless another kill came before."""
        times = [at for at, role in self.kills if role == "api"]
        for number, at in enumerate(times):
            following = bisect.bisect(self.load.acks_s, at)
            last = number + 1 == len(times)
            if following < len(self.load.acks_s) and (
                last or self.load.acks_s[following] < times[number + 1]
            ):
                self.run.recovered(self.load.acks_s[following] - at)


@contextmanager
def site(run: Run) -> Iterator[Site]:
    """Start a site; its processes end with the block."""
    with Forker() as forker, careless_receiver(Random(run.seed)) as receiver:
        yield Site(run, forker, receiver)


def kill_at_random(run: Run) -> None:
    """Kill the worker, the API or both, 1 to 300 ms after the last start; now and then let them live for longer."""
    with site(run) as one:
        while run.counts["runs"] < run.rounds:
            time.sleep(
                run.random.uniform(0.5, 1.0) if run.random.random() < 0.05 else run.random.uniform(0.001, 0.3)
            )
            one.kill(*run.random.choice((("worker",), ("api",), ("worker", "api"))))
        one.end()


def kill_at_points(run: Run) -> None:
    """Let processes kill themselves between two steps: around commits, settlements, leases and checkpoints, and in file-system calls."""
    places = [*POINTS, *FILE_CALLS]
    with site(run) as one:
        while run.counts["runs"] < run.rounds:
            place = run.random.choice(places)
            calls = 40 if place in FILE_CALLS else 3
            one.kill_at(run.random.choice(("worker", "api")), DieAt(place, run.random.randint(1, calls)))
            time.sleep(run.random.uniform(0.0, 0.1))
        run.expect(run.counts.get("at_points", 0) > 0, "no process reached its point")
        one.end()


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
)
