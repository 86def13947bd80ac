"""The service of the demonstration: `aegis serve` as a child process that ends with the demonstration."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aegis_stream.errors import AegisError
from aegis_stream.settings import Settings

from .client import Client
from .screen import Screen

START_S = 30.0
"""Longest time for the service to start, seconds."""
STOP_S = 15.0
"""Longest time for the service to stop before it is killed, seconds."""
POLL_S = 0.1
LOG_LINES_SHOWN = 12
SEALED = {"AEGIS_PROOF": "true", "AEGIS_PROOF_SECONDS": "1"}
"""Settings of a service whose logs are sealed a second after an event, so that nobody has to wait."""


class StartFailed(AegisError):
    """The demonstration could not start; the message says what failed and why."""

    code = "start-failed"


class LocalService:
    """`aegis serve` as a child process."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.process: subprocess.Popen[bytes]
        self._command = command
        self._environment = environment
        self._log = log

    def start(self, port: int) -> None:
        """Start it on this port; 0 is any free one."""
        self._log.write_bytes(b"")
        self._log.chmod(0o600)
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                [*self._command, "--port", str(port)],
                env=self._environment,
                stdin=subprocess.PIPE,  # it stops when this is closed: see supervised.py
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop it in order
            )

    def wait_for_url(self, wanted_port: int) -> str:
        """Wait until it answers, and return its URL. Raises: StartFailed."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            text = self._log.read_text(errors="replace")
            if self.process.poll() is not None:
                last = "\n".join(f"  {line}" for line in text.splitlines()[-LOG_LINES_SHOWN:])
                raise StartFailed(f"the service did not start:\n{last}")
            found = re.search(r"^Aegis Audit Stream \S+ on (http://\S+)", text, re.MULTILINE)
            if found and _is_healthy(found[1]):
                return found[1]
            time.sleep(POLL_S)
        raise StartFailed(
            f"the service did not answer on port {wanted_port} within {START_S:g} s: see {self._log}"
        )

    def is_running(self) -> bool:
        """Tell whether it was started and has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it and its workers as the loss of their machine would: without a word."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it and its workers; kill it after STOP_S."""
        if not hasattr(self, "process"):
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


@contextmanager
def local_service(config: Path | None, variables: Mapping[str, str], log: Path) -> Iterator[LocalService]:
    """Yield a service for the block to start; it is stopped at the end of the block.

    Args:
        variables: settings that are not those of the environment and of `config`.
        log: file for its output; an old one is overwritten.
    """
    command = [sys.executable, "-m", "aegis_stream.cli.supervised", "serve"]
    command += ["--config", str(config)] if config else []
    service = LocalService(command, os.environ | dict(variables), log)
    try:
        yield service
    finally:
        service.stop()


def choose_port(screen: Screen, port: int) -> int:
    """Return the port, or 0, for any free one, after a line that says so, if it is in use."""
    if _is_free(port):
        return port
    screen.say(f"   port {port} is in use: the service takes a free one")
    return 0


def serve_command(settings: Settings, port: int, config: Path | None) -> tuple[str, ...]:
    """Return the command that starts such a service, on two lines."""
    named = f" --config {shlex.quote(str(config))}" if config else ""
    return (
        f"   $ AEGIS_DATA_DIR={shlex.quote(str(settings.store.data_dir))} AEGIS_ALLOWED_NETWORKS={networks_of(settings)} \\",
        f"     {' '.join(f'{name}={value}' for name, value in SEALED.items())} \\",
        f"     aegis serve --port {port}{named}",
    )


def networks_of(settings: Settings) -> str:
    """Return AEGIS_ALLOWED_NETWORKS with loopback, where the receiver is."""
    return ",".join([*map(str, settings.egress.allowed_networks), "127.0.0.0/8"])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_healthy(url: str) -> bool:
    try:
        with Client(url, "nobody") as client:
            client.call("GET", "/healthz")
    except AegisError:
        return False
    return True
