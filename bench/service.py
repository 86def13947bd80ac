"""Our service as a user runs it: `aegis serve` with its children, configured through the command line and REST."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .events import ORG_ID
from .postgres import Database
from .processes import Cpu, Pids, children, end, running, runs, wait_until

AEGIS = Path(sys.executable).with_name("aegis")
"""The command of this checkout."""


def environment(data: Path) -> dict[str, str]:
    """Return the environment of the service: defaults, and permission for destinations on the loopback address.

    Administrative actions are not recorded, so that the log and all counts hold only events of the load.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    return kept | {
        "AEGIS_DATA_DIR": str(data),
        "AEGIS_ALLOW_HTTP": "true",
        "AEGIS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "AEGIS_AUDIT_ACTIONS": "false",
        **{name: value for name, value in os.environ.items() if name in PASSED_ON},
    }


PASSED_ON = ("AEGIS_WINDOW_MAX", "AEGIS_SETTLE_INTERVAL_MS")
"""Settings that the environment of the harness may change."""


START_S = 60.0
"""Longest time for all processes of the service to start, seconds."""


LOADING_S = 2.0
"""The API loads the web framework this long after its start, seconds."""
QUIET_S, IDLE_CORES = 0.5, 0.1
"""A service is idle that uses less than this share of a core for so many seconds."""


@dataclass(slots=True)
class Service:
    """A running service.

    Args:
        key: admin key of the organization of the benchmark.
        api_pids: the service's own process first.
        database: where its data is; None for its own file of SQLite.
    """

    port: int
    key: str
    api_pids: list[int]
    worker_pids: list[int]
    data: Path
    org_id: str = ORG_ID
    database: Database | None = None
    killed: bool = False

    @property
    def pids(self) -> dict[str, Pids]:
        """The processes that count as ours; those of the API are one figure."""
        names = ["worker", *(f"worker {number}" for number in range(2, len(self.worker_pids) + 1))]
        return {"api": tuple(self.api_pids), **dict(zip(names, self.worker_pids, strict=False))}

    @property
    def others(self) -> dict[str, Pids]:
        """Processes that work for it, whose CPU is counted beside its own."""
        return {} if self.database is None else dict(self.database.processes)

    @property
    def counters(self) -> dict[str, Callable[[], float]]:
        """What is counted while it is measured."""
        return {} if self.database is None else self.database.counters

    def settle(self) -> None:
        """Wait until its processes have loaded what they load behind their start, which would count as the cost of events."""
        time.sleep(LOADING_S)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            before = Cpu.of(self.pids)
            time.sleep(QUIET_S)
            if sum(Cpu.of(self.pids).since(before).values()) < QUIET_S * IDLE_CORES:
                return

    def kill(self) -> None:
        """End all its processes at once, as a crash of the machine would."""
        self.killed = True
        os.killpg(self.api_pids[0], signal.SIGKILL)
        wait_until(
            "the end of the workers", lambda: not any(runs(one, "worker") for one in self.worker_pids), 20
        )

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> Any:
        """Call the REST API.

        Raises: RuntimeError on an answer that is not 2xx.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status // 100 != 2:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None

    def add_destination(self, url: str, **fields: object) -> str:
        """Create a destination; return its id."""
        path = f"/api/orgs/{self.org_id}/forwarding-destinations"
        made: str = self.call("POST", path, {"url": url, **fields})["id"]
        return made

    def destination(self, destination_id: str) -> dict[str, Any]:
        """Read a destination."""
        found: dict[str, Any] = self.call(
            "GET", f"/api/orgs/{self.org_id}/forwarding-destinations/{destination_id}"
        )
        return found

    def stats(self, destination_id: str) -> dict[str, Any]:
        """Read a destination's counters."""
        counts: dict[str, Any] = self.destination(destination_id)["stats"]
        return counts


@contextlib.contextmanager
def aegis(
    data: Path,
    *,
    key: str | None = None,
    workers: int = 1,
    api_processes: int = 1,
    extra: Mapping[str, str] | None = None,
    program: Path = AEGIS,
    begun: Callable[[int], None] | None = None,
    database: Database | None = None,
) -> Iterator[Service]:
    """Run the service until the block ends.

    Args:
        data: its data directory; created with one organization unless `key` is given.
        key: the admin key, if the directory was used before.
        extra: further settings.
        program: the command `aegis` to run.
        begun: called with the process id as soon as the process is created, before anything is waited for.
        database: where its data is; None for a file in `data`.
    """
    data.mkdir(parents=True, exist_ok=True)
    env, log = environment(data) | dict(extra or {}), data.with_name(data.name + ".log")
    if database is not None:
        env |= database.settings
    key = key or _make_organization(program, env)
    seen = log.stat().st_size if log.exists() else 0
    command: list[str | Path] = [program, "serve", "--port", "0", "--workers", str(workers)]
    command += ["--api-processes", str(api_processes)]
    with running(command, log=log, env=env) as process:
        if begun is not None:
            begun(process.pid)
        port = _port_of(process, log, seen)
        wait_until(
            "the API processes",
            lambda: log.read_bytes()[seen:].count(b"api.started") == api_processes - 1,
            START_S,
        )
        wait_until("the worker processes", lambda: len(_running(process.pid, "worker")) == workers, START_S)
        api_pids = [process.pid, *_running(process.pid, "api")]
        worker_pids = _running(process.pid, "worker")
        service = Service(port, key, api_pids, worker_pids, data, database=database)
        yield service
        if service.killed:
            return
        if process.poll() is not None:
            raise RuntimeError(f"the service ended unexpectedly, status {process.returncode}: {tail(log)}")
        end(process)
        if process.returncode != 0:
            raise RuntimeError(f"the service ended with status {process.returncode}: {tail(log)}")


def _running(pid: int, command: str) -> list[int]:
    """Return the child processes that run this command."""
    return [one for one in children(pid) if runs(one, command)]


def _make_organization(program: Path, env: dict[str, str]) -> str:
    command: list[str | Path] = [program, "org", "create", "Bench", "--id", ORG_ID, "--json"]
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"aegis org create failed: {made.stderr}")
    key: str = json.loads(made.stdout)["api_key"]
    return key


def _port_of(process: subprocess.Popen[bytes], log: Path, seen: int) -> int:
    """Wait for the line that names the URL."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        text = log.read_bytes()[seen:].decode(errors="replace")
        if " on http://127.0.0.1:" in text and "service.started" in text:
            return int(text.partition(" on http://127.0.0.1:")[2].split(" ", 1)[0])
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise RuntimeError(f"the service did not start: {tail(log)}")


def tail(log: Path, characters: int = 2000) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-characters:]
