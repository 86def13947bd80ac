"""Real processes for tests that kill, stop and starve them: a restartable service, receivers, a client.

    with service_group(tmp_path, AEGIS_WINDOW_MAX="16") as group, recording_receiver(tmp_path) as receiver:
        group.start()
        kill(group.worker_pid())

Everything runs on loopback and is stopped when the block ends, also after an error.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import httpx

from support.service import (
    CERTIFICATES,
    Organization,
    RunningService,
    children,
    running_service,
    service_environment,
    stop,
    wait_until,
)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def runs(pid: int, command: str) -> bool:
    """Return whether a process runs this command of `aegis`."""
    with suppress(OSError):
        return command.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def kill(pid: int) -> None:
    """Kill a process with SIGKILL; do nothing if it has already ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass
class ServiceGroup:
    """`aegis serve` on one data directory and one port, which can be started repeatedly."""

    tmp_path: Path
    environment: dict[str, str]
    port: int
    stack: ExitStack
    running: RunningService | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.tmp_path / "data" / "aegis.db"

    @property
    def pid(self) -> int:
        return self.running.process.pid

    def start(self, workers: int = 1, api_processes: int = 1) -> None:
        """Start the service and wait until it answers."""
        self.running = self.stack.enter_context(
            running_service(
                self.tmp_path,
                port=self.port,
                workers=workers,
                api_processes=api_processes,
                **self.environment,
            )
        )
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        process = self.running.process
        assert process.poll() is None, f"ended with {process.returncode}:\n{self.log()}"
        with suppress(httpx.TransportError):
            return httpx.get(self.url + "/readyz", trust_env=False, verify=CERTIFICATES).status_code == 200
        return False

    def kill(self) -> None:
        """Kill the service process; its worker notices by the end of its input."""
        kill(self.pid)
        self.running.process.wait()

    def terminate(self, seconds: float = 30.0) -> int:
        """Send SIGTERM and return the exit status."""
        self.running.process.send_signal(signal.SIGTERM)
        return self.running.process.wait(seconds)

    def worker_pid(self) -> int:
        """Return the worker of the running service; wait for one that is being restarted."""
        return wait_until(lambda: [one for one in children(self.pid) if runs(one, "worker")])[0]

    def api_pids(self) -> list[int]:
        """Return the further API processes of the running service."""
        return [one for one in children(self.pid) if runs(one, "api")]

    def log(self) -> str:
        return (self.tmp_path / "service.log").read_text(errors="replace")

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log records with this name."""
        records = []
        for line in self.log().splitlines():
            with suppress(json.JSONDecodeError):
                record = json.loads(line)
                if isinstance(record, dict) and event in record.values():
                    records.append(record)
        return records

    @contextmanager
    def extra_worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run `aegis worker` beside the service."""
        variables = service_environment(self.tmp_path, **self.environment)
        command = [sys.executable, "-m", "aegis_stream", "worker"]
        with (self.tmp_path / "service.log").open("ab") as output:
            process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            stop(process)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the database beside the service."""
        connection = apsw.Connection(str(self.database))
        try:
            connection.set_busy_timeout(10_000)
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@contextmanager
def service_group(tmp_path: Path, **environment: str) -> Iterator[ServiceGroup]:
    """Return a service that is not started yet, with short retry delays."""
    variables = {"AEGIS_LOG_FORMAT": "json", "AEGIS_RETRY_BASE_SECONDS": "0.05", **environment}
    with ExitStack() as stack:
        yield ServiceGroup(tmp_path, variables, free_port(), stack)


# ── receivers ──


@dataclass
class RecordingReceiver:
    """`aegis receiver --record`: what it accepted can be read when it has stopped."""

    url: str
    file: Path
    process: subprocess.Popen[bytes]

    def counts(self) -> dict[str, int]:
        return httpx.get(self.url, trust_env=False, verify=CERTIFICATES).json()

    def bodies(self) -> list[bytes]:
        """Stop the receiver and return the body of every request it answered 202, in order."""
        stop(self.process)
        assert self.process.returncode == 0
        records = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [record["body"].encode() for record in records if record["status"] == 202]


@contextmanager
def recording_receiver(
    tmp_path: Path, *arguments: str, name: str = "receiver"
) -> Iterator[RecordingReceiver]:
    """Run the reference receiver on a free port."""
    file, output, port = tmp_path / f"{name}.ndjson", tmp_path / f"{name}.log", free_port()
    command = [sys.executable, "-m", "aegis_stream", "receiver", "--port", str(port), "--record", str(file)]
    with output.open("wb") as log:
        process = subprocess.Popen([*command, "--quiet", *arguments], stdout=log, stderr=log)
    try:
        wait_until(lambda: b"Listening" in output.read_bytes())
        yield RecordingReceiver(f"http://127.0.0.1:{port}/", file, process)
    finally:
        stop(process)


@dataclass
class HangingReceiver:
    """Takes connections and requests, and never answers."""

    port: int
    requests: int = 0
    kept: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def hanging_receiver() -> Iterator[HangingReceiver]:
    """Run a receiver that accepts requests and then is silent."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    hanging = HangingReceiver(listener.getsockname()[1])

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            hanging.kept.append(one)
            hanging.requests += 1

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield hanging
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for one in hanging.kept:
            one.close()


# ── a client ──


def make_events(org_id: str, first: int, count: int, **fields: Any) -> dict[str, bytes]:
    """Return complete events by id: exactly these bytes, including spaces, must be stored and delivered."""
    events = {}
    for number in range(first, first + count):
        event_id = f"evt_{number:06d}"
        event = {
            "@timestamp": "2026-05-15T10:33:21.456789+00:00",
            "event": {"id": event_id, "dataset": "app.login"},
            "organization": {"id": org_id},
            "message": f"Grüße № {number}",
            **fields,
        }
        events[event_id] = json.dumps(
            event, ensure_ascii=number % 2 == 0, indent=1 if number % 3 == 0 else None
        ).encode()
    return events


@dataclass
class Client:
    """A client that records events: it repeats a batch, with the same ids, until it is acknowledged."""

    url: str
    organization: Organization

    def send(self, events: Iterable[bytes]) -> httpx.Response:
        """Send a batch once."""
        return httpx.post(
            f"{self.url}/api/orgs/{self.organization.org_id}/events",
            content=b"[" + b",".join(events) + b"]",
            headers={"Authorization": f"Bearer {self.organization.key}", "Content-Type": "application/json"},
            trust_env=False,
            verify=CERTIFICATES,
            timeout=30,
        )

    def is_acknowledged(self, events: Iterable[bytes]) -> bool:
        """Send a batch once; return True for 202, False if the service is unavailable."""
        try:
            answer = self.send(events)
        except httpx.TransportError:
            return False
        if answer.status_code in (202, 503):
            return answer.status_code == 202
        raise AssertionError(answer.text)

    def record(self, events: Iterable[bytes]) -> None:
        """Send a batch until it is acknowledged."""
        batch = list(events)
        wait_until(lambda: self.is_acknowledged(batch), seconds=60)

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Make another call of the organization; return the answer."""
        answer = httpx.request(
            method,
            f"{self.url}/api/orgs/{self.organization.org_id}{path}",
            headers={"Authorization": f"Bearer {self.organization.key}"},
            trust_env=False,
            verify=CERTIFICATES,
            timeout=30,
            **arguments,
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def add_destination(self, url: str, **fields: Any) -> str:
        """Create a destination; return its id."""
        return self.request("POST", "/forwarding-destinations", json={"url": url, **fields})["id"]

    def stats(self, dst_id: str) -> dict[str, int]:
        """Return a destination's counts."""
        return self.request("GET", f"/forwarding-destinations/{dst_id}")["stats"]


def make_client(group: ServiceGroup) -> Client:
    """Create an organization in a running service."""
    return Client(group.url, group.running.make_organization())


def by_event_id(bodies: Iterable[bytes]) -> tuple[dict[str, set[bytes]], int]:
    """Return the different bodies of each event id, and the number of repeated deliveries."""
    found: dict[str, set[bytes]] = {}
    counts: Counter[str] = Counter()
    for body in bodies:
        event_id = json.loads(body)["event"]["id"]
        found.setdefault(event_id, set()).add(body)
        counts[event_id] += 1
    return found, sum(counts.values()) - len(counts)


def integrity_of(database: Path) -> list[tuple[Any, ...]]:
    """Let SQLite check the whole file."""
    connection = apsw.Connection(str(database))
    try:
        return connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        connection.close()
