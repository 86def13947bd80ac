"""A real nginx in front of a receiver: TLS by a private authority, and whatever directives a test gives it.

    with recording_receiver(tmp_path) as receiver:
        front = make_front(tmp_path, receiver.url, location="return 429;")
        with front.running():
            client.add_destination(front.url, ca_certificate=front.ca_certificate)
    assert front.statuses() == [429]

Its access log tells of every request, also of those that never reached the receiver behind it.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import free_port
from support.real import localhost_certificate, program, running

ALLOWED = "127.0.0.0/8,::1/128"
"""AEGIS_ALLOWED_NETWORKS of a service that sends to `localhost`, which has two addresses on some machines."""
_ESTABLISHED = "01"
"""The state in the kernel's table of TCP sockets."""
_CONFIGURATION = """
daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
  log_format requests escape=json
    '{{"status":$status,"port":$server_port,"connection":$connection,"nth":$connection_requests,"bytes":"$content_length"}}';
  access_log {folder}/access.log requests;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  ssl_certificate {certificate};
  ssl_certificate_key {certificate};
  {http}
  server {{
    listen 127.0.0.1:{port} ssl;
    location / {{ {location} proxy_pass {receiver}; }}
    location /well {{ proxy_pass {receiver}; }}
    location /missing {{ return 404; }}
  }}
  server {{
    listen 127.0.0.1:{other_port} ssl;
    location / {{ proxy_pass {receiver}; }}
  }}
}}
"""


@dataclass(frozen=True)
class Front:
    """An nginx that can be started as often as a test likes, always on the same ports.

    Args:
        port: where the test's directives hold, below every path but /well (passed on) and /missing (404).
        other_port: of a second server that passes all on.
        ca_certificate: PEM of the authority that signed for `localhost`.
    """

    folder: Path
    port: int
    other_port: int
    ca_certificate: str

    @property
    def url(self) -> str:
        """A URL at which nothing but the test's directives decides; `auto` chooses json."""
        return f"https://localhost:{self.port}/ingest"

    def at(self, path: str) -> str:
        """Return the URL of another path."""
        return f"https://localhost:{self.port}{path}"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the block ends."""
        command = [program("nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", "stderr"]
        with running(command, self.folder / "nginx.log", ready=self._listens) as process:
            yield process

    def requests(self) -> list[dict[str, Any]]:
        """Return what the access log says so far, in the order in which requests ended."""
        text = (self.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def statuses(self) -> list[int]:
        """Return the status of every request so far."""
        return [one["status"] for one in self.requests()]

    def has_unread(self) -> bool:
        """Tell whether something was sent to it that it has not read yet, as with requests to an nginx that was halted."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(
            local.endswith(f":{self.port:04X}") and state == _ESTABLISHED and not queues.endswith(":00000000")
            for _, local, _, state, queues, *_ in rows
        )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_front(tmp_path: Path, receiver: str, *, location: str = "", http: str = "") -> Front:
    """Write the configuration of an nginx in front of a receiver.

    Args:
        location, http: directives for what leads to the receiver, and for all servers; `{other_port}` in them is filled in.
    """
    folder = tmp_path / "nginx"
    folder.mkdir()
    certificate, authority = localhost_certificate(tmp_path)
    front = Front(folder, free_port(), free_port(), authority)
    (folder / "access.log").touch()
    (folder / "nginx.conf").write_text(
        _CONFIGURATION.format(
            folder=folder,
            certificate=certificate,
            receiver=receiver,
            port=front.port,
            other_port=front.other_port,
            location=location.replace("{other_port}", str(front.other_port)),
            http=http,
        )
    )
    return front


def halt(process: subprocess.Popen[bytes]) -> None:
    """Stop nginx with all its workers where they are; the kernel goes on taking what is sent to it."""
    os.killpg(process.pid, signal.SIGSTOP)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill nginx with all its workers at once, as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
