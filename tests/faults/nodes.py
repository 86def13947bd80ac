"""Several nodes on one PostgreSQL: processes with data directories of their own, receivers, and clients that fail over.

    with deployment(run) as one:
        victim, dst_ids = one.victim()
        victim.kill()
        one.await_arrivals(dst_ids, time.monotonic(), TAKEOVER_S, "takeover")
        one.end()                           # waits until all is quiet, stops in good order, and lets the checker judge

A node is `aegis serve` with one API process and one worker. Its sessions bear its name, so that the database can note who wrote.
"""

import base64
import bisect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from aegis_stream.delivery.pages import PAGE_EVENTS_MAX
from faults import ended
from faults.checker import History, figures, violations
from faults.clients import Clients
from faults.frame import Run
from faults.receiver import CarelessReceiver, careless_receiver
from support.injected import Injected
from support.namespaces import Machine, Network, machines
from support.pgbouncer import running_pgbouncer
from support.postgres import PostgresServer
from support.processes import Client, free_port, kill
from support.service import (
    OPERATOR_KEY,
    Organization,
    RunningService,
    children,
    service_environment,
    wait_until,
)
from support.standbys import Cluster, running_cluster

NODES = 3
POOL = 8
"""Connections of PgBouncer to the database: fewer than the nodes have to PgBouncer."""
WINDOW, BATCH = 16, 10
LEASE_S = 6.0
SETTINGS = {
    "AEGIS_LOG_FORMAT": "json",
    "AEGIS_WINDOW_MAX": str(WINDOW),
    "AEGIS_REQUEST_TIMEOUT_SECONDS": "1",
    "AEGIS_LEASE_SECONDS": str(LEASE_S),
    "AEGIS_RETRY_BASE_SECONDS": "0.05",
    "AEGIS_RETRY_MAX_ATTEMPTS": "2",
    "AEGIS_MASTER_KEY": base64.b64encode(b"n" * 32).decode(),
}
REJECTED = 0.1
"""Share of the requests that receivers reject: some events become dead letters."""
READY_S = 90.0
"""How long a node may take to answer after its start, on a machine that has much else to do."""
QUIET_S = 60.0
STOP_S = 10.0
"""How long a node may take to end after SIGTERM."""
INGEST_S = 2.0
"""How soon each node acknowledges events after the database answers again."""
TAKEOVER_S = LEASE_S + 10
"""How soon another node delivers for one that is gone."""
HANDOVER_S = 2.0
"""The same for one that was asked to end."""
CROWDED = 2.0
"""Programs that want to run, for each core, up to which the limits hold."""
LONGER_S = 30.0
"""How much longer than a limit is waited, to tell slow from never."""
REPEATS_MAX = WINDOW + 32 + 5 * WINDOW
"""Requests that a lost worker may have repeated: a window in flight, what waited for a settlement, and what was answered
meanwhile; tests/faults/site.py."""
READ_AHEAD_MAX = 2 * PAGE_EVENTS_MAX
"""Events that a worker may have read when the database is gone for it: it sends them until its lease could be over."""


@dataclass
class Node:
    """One node.

    Args:
        name: of its sessions in the database.
        machine: that it runs on; None for this one.
    """

    name: str
    folder: Path
    url: str
    environment: dict[str, str]
    machine: Machine | None = None
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.injected = Injected(self.folder)
        self.environment = service_environment(
            self.folder, **(SETTINGS | self.injected.environment | self.environment)
        )

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; it need not answer yet."""
        host, port = self.url.removeprefix("http://").split(":")
        program = [
            sys.executable,
            "-m",
            "aegis_stream",
            "serve",
            "--workers",
            "1",
            "--host",
            host,
            "--port",
            port,
        ]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*(self.machine.command if self.machine else ()), *program],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url + "/readyz", trust_env=False, timeout=2).status_code == 200
        return False

    def await_ready(self) -> None:
        """Wait until it answers; one that has ended is started again, as a machine's init would."""

        def look() -> bool:
            if not self.is_running:
                self.start()
            return self.is_ready()

        wait_until(look, seconds=READY_S)

    def send(self, number: int) -> None:
        """Send a signal to all its processes."""
        if self.is_running:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kill all its processes at once."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> float:
        """Ask it to end; return how long it took, seconds, or infinity if it did not end well in time."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S + 5)
        except subprocess.TimeoutExpired:
            self.kill()
            return float("inf")
        return time.monotonic() - began_s if status == 0 else float("inf")

    def pids(self) -> list[int]:
        return [self.process.pid, *children(self.process.pid)] if self.is_running else []


@dataclass
class Deployment:
    """The nodes, their database and everything around them.

    Attributes:
        destinations: ids by the receiver's paths.
        repeats_max: most events that may have arrived again, by destination.
        undone: a primary was lost with commits that no standby had.
    """

    run: Run
    nodes: list[Node]
    servers: Cluster
    database: str
    receiver: CarelessReceiver
    destinations: dict[str, str] = field(default_factory=dict)
    repeats_max: dict[str, int] = field(default_factory=dict)
    organizations: list[Organization] = field(default_factory=list)
    undone: bool = False

    def begin(self) -> None:
        """Start everything, one node first: it makes what all share."""
        for node in self.nodes:
            node.start()
            node.await_ready()
        self.ask(ended.NOTE_VERSIONS)
        service = RunningService(
            self.nodes[0].url, {"AEGIS_OPERATOR_KEY": OPERATOR_KEY}, None, self.nodes[0].log
        )
        for number in range(2):
            organization = service.make_organization()
            client = Client(service.url, organization)
            self.organizations.append(organization)
            for kind, fields in (
                ("json", {"format": "json"}),
                ("batch", {"format": "ndjson", "batch": {"max_events": BATCH}}),
            ):
                path = f"/{kind}-{number}"
                self.destinations[path] = client.add_destination(self.receiver.url + path[1:], **fields)
        self.repeats_max = dict.fromkeys(self.destinations.values(), 0)
        self.clients = Clients([node.url for node in self.nodes], self.organizations, self.run.random)
        wait_until(lambda: len(self.served()) == len(self.destinations))
        self.await_answers(time.monotonic(), READY_S)

    def ask(self, text: str) -> ended.Rows:
        """Run statements as the superuser."""
        return self.server.sql(text, self.database)

    @property
    def server(self) -> PostgresServer:
        """The database's primary."""
        return self.servers.primary

    # ── who serves what ──

    def served(self) -> dict[str, str]:
        """Return the node that serves each destination, by its id."""
        return dict(self.ask(ended.SERVED))

    def victim(self) -> tuple[Node, list[str]]:
        """Choose a node that serves something, and return what it serves; any node if none does."""
        served = self.served()
        name = self.run.random.choice(sorted(set(served.values())) or [node.name for node in self.nodes])
        node = next(one for one in self.nodes if one.name == name)
        return node, [dst_id for dst_id, one in served.items() if one == name]

    def note_repeats(self, dst_ids: Sequence[str], *, ahead: int = 0) -> None:
        """Allow what the loss of a worker may repeat, once more, at these destinations.

        Args:
            ahead: events that it had read, and went on to send.
        """
        for path, dst_id in self.destinations.items():
            if dst_id in dst_ids:
                self.repeats_max[dst_id] += REPEATS_MAX * (BATCH if path.startswith("/batch") else 1) + ahead

    @contextmanager
    def takeovers_repeat(self, *, ahead: int = 0) -> Iterator[None]:
        """Allow repeats where a destination is taken from a worker inside: an outage may last longer than the rest of its lease.

        Args:
            ahead: as for `note_repeats`.
        """
        before = self.ask(ended.TAKEN)
        yield
        taken = [dst_id for dst_id, _ in set(self.ask(ended.TAKEN)) - set(before)]
        self.note_repeats(taken, ahead=ahead)
        self.run.add(takeovers=len(taken))

    # ── how soon all goes on ──

    def await_answers(self, since_s: float, limit_s: float, nodes: Sequence[Node] | None = None) -> None:
        """Wait until each node has acknowledged a request, and note how long that took since a time."""
        for node in self.nodes if nodes is None else nodes:
            number = self.nodes.index(node)
            answered_s = self._until(
                since_s + limit_s + LONGER_S, lambda number=number: self.clients.first_answer(number, since_s)
            )
            took_s = answered_s - since_s
            self.run.recovered(took_s)
            self.expect_in_time(f"{node.name} acknowledged nothing for", took_s, limit_s)

    def await_arrivals(self, dst_ids: Sequence[str], since_s: float, limit_s: float, what: str) -> None:
        """Wait until something has arrived at each of some destinations, and note how long that took since a time."""
        for path, dst_id in self.destinations.items():
            if dst_id in dst_ids:
                arrived_s = self._until(
                    since_s + limit_s + LONGER_S, lambda path=path: self._first_arrival(path, since_s)
                )
                took_s = arrived_s - since_s
                self.run.most(**{f"{what}_max_s": took_s})
                self.expect_in_time(f"{path}: {what} took", took_s, limit_s)

    def expect_in_time(self, what: str, took_s: float, limit_s: float) -> None:
        """Judge how long something took; on a machine with more to do than cores to do it, everything takes longer."""
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.run.most(load_max=load)
        allowed_s = limit_s * max(1.0, load / CROWDED)
        self.run.expect(took_s <= allowed_s, f"{what} {took_s:.1f} s; the limit is {allowed_s:.1f} s")

    def _first_arrival(self, path: str, since_s: float) -> float | None:
        arrived_s = self.receiver.accepted_s.get(path, [])
        place = bisect.bisect_right(arrived_s, since_s)
        return arrived_s[place] if place < len(arrived_s) else None

    def _until(self, deadline_s: float, look: Callable[[], float | None]) -> float:
        """Return what a look finds; infinity if it finds nothing in time."""
        while (found := look()) is None:
            if time.monotonic() > deadline_s:
                return float("inf")
            time.sleep(0.01)  # between two looks, not instead of one
        return found

    # ── the end ──

    def end(self) -> None:
        """Stop the load, wait until all is quiet, stop in good order, and judge."""
        self.clients.stop()
        for node in self.nodes:
            node.await_ready()
        self._await_quiet()
        self._measure()
        for node in self.nodes:
            took_s = node.terminate()
            self.run.most(longest_stop_s=min(took_s, 1e6))
            self.run.expect(took_s <= STOP_S, f"{node.name} did not end well within {STOP_S:g} s of SIGTERM")
        self._judge()

    def _await_quiet(self) -> None:
        deadline = time.monotonic() + QUIET_S
        while left := ended.unsettled(self.ask):
            if time.monotonic() > deadline:
                self.run.expect(holds=False, otherwise=f"not quiet after {QUIET_S:g} s: {left}")
                return
            time.sleep(0.1)  # between two looks, not instead of one

    def _measure(self) -> None:
        for pid in (pid for node in self.nodes for pid in node.pids()):
            with suppress(OSError, IndexError):
                peak = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]
                self.run.most(memory_mib_max=int(peak) / 1024)
                self.run.most(descriptors_max=len(list(Path(f"/proc/{pid}/fd").iterdir())))

    def _judge(self) -> None:
        clients, run = self.clients, self.run
        history = History(
            sent=clients.sent,
            calls=clients.calls,
            arrivals=list(ended.read_arrivals(self.receiver, self.destinations)),
            logs={one.org_id: ended.read_log(self.ask, one.org_id) for one in self.organizations},
            ledgers=ended.read_ledgers(self.ask, self.repeats_max),
            versions=ended.read_versions(self.ask),
            undone=self.undone,
        )
        for line in [*violations(history), *clients.faults[:5]]:
            run.expect(holds=False, otherwise=line)
        for name, count in figures(history).items():
            run.add(**{name: count})
        run.expect(run.counts["acked"] > 20, "hardly an event was recorded")
        for node in self.nodes:
            text = node.log.read_text(errors="replace")
            run.expect(
                "Traceback" not in text, f"{node.name}: a traceback: {text.partition('Traceback')[2][:1500]}"
            )


@contextmanager
def deployment(
    run: Run, *, standbys: int = 0, apart: bool = False, pooled: bool = False
) -> Iterator[Deployment]:
    """Make nodes on a database, and start them; everything ends with the block.

    Args:
        standbys: how many the database has; a commit waits for one of them.
        apart: each node is on a machine of its own, whose way to the database can be cut.
        pooled: PgBouncer is between the nodes and the database.
    """
    with ExitStack() as stack:
        network = stack.enter_context(machines(NODES)) if apart else None
        servers = stack.enter_context(running_cluster(standbys, quorum=standbys > 0))
        if network:
            _listen(servers.primary, network)
        host = network.front if network else "127.0.0.1"
        receiver = stack.enter_context(careless_receiver(Random(run.seed), host=host, fail=REJECTED))
        database = servers.primary.create_database()
        url = servers.url(database)
        if pooled:
            url = stack.enter_context(running_pgbouncer(servers.primary, pool_size=POOL)).url(database)
        nodes = [_node(run, number, url, network) for number in range(NODES)]
        stack.callback(_end, nodes)
        one = Deployment(run, nodes, servers, database, receiver)
        one.begin()
        stack.callback(one.clients.stop)
        yield one


def _node(run: Run, number: int, url: str, network: Network | None) -> Node:
    name = f"node-{number + 1}"
    host, environment = "127.0.0.1", {"AEGIS_DATABASE_URL": f"{url}?application_name={name}"}
    if network:
        host = network.machines[number].address
        environment["AEGIS_DATABASE_URL"] = environment["AEGIS_DATABASE_URL"].replace(
            "127.0.0.1", network.back
        )
        environment["AEGIS_ALLOWED_NETWORKS"] = f"127.0.0.0/8,{network.ranges[0]}"
    machine = network.machines[number] if network else None
    return Node(name, run.folder / name, f"http://{host}:{free_port()}", environment, machine)


def _listen(server: PostgresServer, network: Network) -> None:
    """Let a server answer in the back network too."""
    with (server.data / "pg_hba.conf").open("a") as file:
        file.write(f"host all all {network.ranges[1]} scram-sha-256\n")
    server.configure(listen_addresses=f"127.0.0.1,{network.back}")
    server.restart()


def _end(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.is_running:
            pids = node.pids()
            node.send(signal.SIGKILL)
            for pid in pids:
                kill(pid)
            node.process.wait()
