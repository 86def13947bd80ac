"""Runs `aegis serve` for tests: a real process with real workers on a free loopback port.

    with running_service(tmp_path, AEGIS_RETRY_BASE_SECONDS="0.05") as service:
        org = service.make_organization()
        httpx.get(service.url + "/healthz", trust_env=False)

Plain http and loopback destinations are allowed. The process is stopped when the block ends, also after an error.
"""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.files import file_faults

OPERATOR_KEY = "aegis_op_" + "t" * 43
START_S = 30.0
STOP_S = 20.0
CERTIFICATES = ssl.create_default_context()
"""What `httpx` is told to trust. Without it each call reads all certificates, for 25 ms, even where it is plain http."""


@dataclass(frozen=True)
class Organization:
    """An organization of a running service and its admin key."""

    org_id: str
    key: str


@dataclass(frozen=True)
class RunningService:
    """A running service: its URL, its environment, and its process."""

    url: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    def make_organization(self, org_id: str | None = None) -> Organization:
        """Create an organization with a unique id."""
        wanted = org_id or f"org_{uuid.uuid4().hex[:12]}"
        headers = {"Authorization": f"Bearer {self.environment['AEGIS_OPERATOR_KEY']}"}
        answer = httpx.post(
            self.url + "/api/orgs",
            json={"name": "Test", "id": wanted},
            headers=headers,
            trust_env=False,
            verify=CERTIFICATES,
            timeout=START_S,
        )
        assert answer.status_code == 201, answer.text
        return Organization(wanted, answer.json()["api_key"])


@contextmanager
def running_service(
    tmp_path: Path,
    *,
    port: int = 0,
    workers: int = 1,
    api_processes: int = 1,
    files_stay: bool = True,
    options: Sequence[str] = (),
    **environment: str,
) -> Iterator[RunningService]:
    """Start `aegis serve` with its data in `tmp_path`/data; further arguments are AEGIS_… variables.
    `options` are further options of the command.

    At the end of the block, a service that still runs on a file must hold its locks, and have open what its paths name.
    `files_stay=False` is for tests that take its files away.
    """
    variables = service_environment(tmp_path, **environment)
    log = tmp_path / "service.log"
    command = [sys.executable, "-m", "aegis_stream", "serve", "--port", str(port), "--workers", str(workers)]
    command += ["--api-processes", str(api_processes), *options]
    # A service that is started again appends to the log of the one before it, whose address it must not be taken for.
    seen = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield RunningService(_printed_url(process, log, seen), variables, process, log)
        if files_stay and "AEGIS_DATABASE_URL" not in variables and process.poll() is None:
            database = Path(variables["AEGIS_DATA_DIR"]) / "aegis.db"
            assert file_faults([process.pid, *children(process.pid)], database) == []
    finally:
        stop(process)


def service_environment(tmp_path: Path, **environment: str) -> dict[str, str]:
    """Return this process's environment, with these settings instead of its own AEGIS_… variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    return inherited | {
        "AEGIS_DATA_DIR": str(tmp_path / "data"),
        "AEGIS_ALLOW_HTTP": "true",
        "AEGIS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "AEGIS_OPERATOR_KEY": OPERATOR_KEY,
        # Audit events would be among the events that tests count; tests/e2e/test_audit.py turns them on.
        "AEGIS_AUDIT_ACTIONS": "false",
        "AEGIS_PROOF": "false",
        **environment,
    }


def wait_until(condition, *, seconds: float = START_S):
    """Return the first true value of `condition()`; fail if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.02)  # between two polls, not instead of one
    return found


def stop(process: subprocess.Popen) -> None:
    """Stop a process with SIGTERM, then with SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def children(pid: int) -> list[int]:
    """Return the running children of a process."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _printed_url(process: subprocess.Popen[bytes], log: Path, seen: int) -> str:
    def look() -> str | None:
        text = log.read_bytes()[seen:].decode(errors="replace")
        assert process.poll() is None, f"aegis serve ended with status {process.returncode}:\n{text}"
        found = re.search(r"^Aegis Audit Stream \S+ on (http://\S+)", text, re.MULTILINE)
        return found[1] if found else None

    return wait_until(look)
