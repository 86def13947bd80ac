"""Where processes are killed and stopped: an API process and workers, made by fork, a receiver with two destinations, and a load.

with site(run) as one:
    one.kill("worker")
    one.end()                             # waits until all is quiet, stops in good order, judges
"""

import bisect
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.forked import ROLES, DieAt, Forker, Process
from faults.frame import Run
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
    "AEGIS_REQUEST_TIMEOUT_SECONDS": "2",
    "AEGIS_LEASE_SECONDS": "7",
    "AEGIS_RETRY_BASE_SECONDS": "0.05",
    "AEGIS_RETRY_MAX_ATTEMPTS": "20",
}
UNSETTLED = 32
"""Events that wait up to 200 ms for a settlement, beside those that wait 25 ms: docs/explanation/delivery.md."""
REPEATS_MAX = WINDOW + UNSETTLED + 5 * WINDOW
"""A window in flight, and what was answered and not settled: within the settle interval and a commit, 100 ms together, a slot of
the window finishes five requests of 20 ms."""
QUIET_S = 60.0
EVENTS_A_SECOND_MIN = 100
"""How fast a backlog must be delivered, beside QUIET_S."""
PROGRESS_S = 5.0
"""Longest wait for an acknowledgement between two interruptions."""
STOP_S = 10.0
"""How long a process may take to end after SIGTERM."""


@dataclass
class Site:
    """A running service that is interrupted.

    Attributes:
        processes: by their names, "api", "worker" and those of further workers.
        interruptions: (monotonic time, name) of each kill or stop.
        repeated: how many of them may have repeated a window of events.
    """

    run: Run
    forker: Forker
    receiver: CarelessReceiver
    port: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict)
    interruptions: list[tuple[float, str]] = field(default_factory=list)
    repeated: int = 0

    def __post_init__(self) -> None:
        self.environment = service_environment(self.run.folder, **SETTINGS)
        self.log = self.run.folder / "service.log"
        self.log.touch()  # a process opens it a moment after it was started
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

    def start(self, name: str, die_at: DieAt | None = None) -> None:
        """Start a process; all but "api" are workers."""
        command = [*ROLES["api"], "--port", str(self.port)] if name == "api" else ROLES["worker"]
        self.processes[name] = self.forker.start(command, self.environment, self.log, die_at)

    def kill(self, *names: str) -> None:
        """Kill processes and start them again at once."""
        for name in names:
            self.processes[name].kill()
            self.note(name, f"kills_of_{name}", repeats=name != "api")
        for name in names:
            self.start(name)

    def await_progress(self) -> None:
        """Wait until the API has acknowledged something since its last start, a few seconds at most."""
        last_s = max((at for at, name in self.interruptions if name == "api"), default=0.0)
        deadline = time.monotonic() + PROGRESS_S
        while time.monotonic() < deadline and not (self.load.acks_s and self.load.acks_s[-1] > last_s):
            time.sleep(0.01)  # between two looks, not instead of one

    def note(self, name: str, count: str, *, repeats: bool) -> None:
        """Note an interruption, and whether a window of events may be sent again after it."""
        self.interruptions.append((time.monotonic(), name))
        self.repeated += repeats
        self.run.add(runs=1, **{count: 1})

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
        ended = [one.wait(STOP_S) for one in self.processes.values()]
        self.run.expect(all(ended), f"a process did not end within {STOP_S:g} s of SIGTERM")
        interrupted_s = [at for at, name in self.interruptions if name == "api"]
        note_recoveries(self.run, interrupted_s, self.load)
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
        for name, dst_id in self.destinations.items():
            bound = self.repeated * REPEATS_MAX * (BATCH if name == "/batch" else 1)
            bound += stored.unanswered.get(dst_id, 0)
            found = Delivered(name, self.receiver.bodies(name), stored.dead.get(dst_id, {}), bound)
            judge_delivery(self.run, stored.events, found)
        self.run.expect(len(self.load.acked) > 20, "hardly an event was recorded")


def note_recoveries(run: Run, interrupted_s: list[float], load: Load) -> None:
    """Note how long after each interruption of the API the next event was acknowledged, unless another one came before."""
    for number, at in enumerate(interrupted_s):
        following = bisect.bisect(load.acks_s, at)
        if following < len(load.acks_s):
            acked_s = load.acks_s[following]
            if number + 1 == len(interrupted_s) or acked_s < interrupted_s[number + 1]:
                run.recovered(acked_s - at)


@contextmanager
def site(run: Run) -> Iterator[Site]:
    """Start a site; its processes end with the block."""
    with Forker() as forker, careless_receiver(Random(run.seed)) as receiver:
        yield Site(run, forker, receiver)
