"""A real OpenTelemetry Collector with the configuration of examples/collectors, and a destination behind it that answers as told.

    collector = make_collector(tmp_path)
    with collector.running():
        client.add_destination(collector.url, **collector.fields)
    collector.records()

What it keeps is asked of the file that it writes, once it has ended; what it sends on, of the destination behind it.
"""

import gzip
import json
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.otlp import Record, records_of
from support.processes import free_port
from support.real import localhost_certificate, program, running

EXAMPLE = Path(__file__).parents[2] / "examples" / "collectors" / "opentelemetry-collector.yaml"
TRACES = Path(__file__).parent / "collector" / "traces.yaml"
ONWARD = Path(__file__).parent / "collector" / "onward.yaml"


@dataclass(frozen=True)
class Collector:
    """A collector that can be started as often as a test likes, always on the same ports and files.

    Args:
        program: the collector itself.
        grpc_port: where it takes OTLP over gRPC, with the configuration TRACES.
        token: what its bearertokenauth wants.
        certificate: PEM file with its key and its certificate for `localhost`.
        ca_certificate: PEM of the authority that signed it.
    """

    program: Path
    folder: Path
    port: int
    grpc_port: int
    token: str
    certificate: Path
    ca_certificate: str

    @property
    def url(self) -> str:
        return self.at("/v1/logs")

    @property
    def fields(self) -> dict[str, Any]:
        """What a destination needs beside the URL."""
        return {
            "auth_header_name": "Authorization",
            "auth_header_value": f"Bearer {self.token}",
            "ca_certificate": self.ca_certificate,
        }

    @property
    def file(self) -> Path:
        return self.folder / "audit-events.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "collector.log"

    def at(self, path: str) -> str:
        """Return the URL of another path."""
        return f"https://localhost:{self.port}{path}"

    @contextmanager
    def running(self, *beside: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the block ends.

        Args:
            beside: configurations that are merged into the example, each over those before it.
            environment: what these want, or what replaces a default of the example.
        """
        files = [argument for one in (EXAMPLE, *beside) for argument in ("--config", one)]
        variables = {
            "COLLECTOR_TOKEN": self.token,
            "COLLECTOR_ENDPOINT": f"127.0.0.1:{self.port}",
            "COLLECTOR_GRPC_ENDPOINT": f"127.0.0.1:{self.grpc_port}",
            "COLLECTOR_CERTIFICATE": str(self.certificate),
            "COLLECTOR_KEY": str(self.certificate),
            "COLLECTOR_FILE": str(self.file),
            "COLLECTOR_METRICS": "none",
            **environment,
        }
        with running([self.program, *files], self.log, ready=self._listens, env=variables) as process:
            yield process

    def records(self) -> list[Record]:
        """Return the records of the file; complete when the collector has ended."""
        lines = self.file.read_bytes().split(b"\n") if self.file.exists() else []
        return [record for line in lines if line for record in records_of(line)]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_collector(tmp_path: Path) -> Collector:
    """Prepare a collector with a token and a certificate of its own; where it is not built, the test is skipped."""
    found = program("collector", "otelcol")
    folder = tmp_path / "collector"
    folder.mkdir()
    certificate, authority = localhost_certificate(tmp_path)
    return Collector(
        found, folder, free_port(), free_port(), secrets.token_urlsafe(32), certificate, authority
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a collector as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait()


@dataclass
class Behind:
    """The destination behind a collector: an OTLP receiver that answers as it is told, and keeps what it took.

    Args:
        status: of its answers from now on.
        answer: body of its answers with a 200.
    """

    server: ThreadingHTTPServer
    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    taken: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def records(self) -> list[Record]:
        """Return the records of all requests that it answered 200."""
        return [record for body in list(self.taken) for record in records_of(body)]

    def answer_to(self, body: bytes) -> tuple[int, bytes]:
        """Take or refuse a request."""
        status = self.status
        self.statuses.append(status)
        if status == 200:
            self.taken.append(body)
        return status, json.dumps(self.answer if status == 200 else {}).encode()


@contextmanager
def destination_behind() -> Iterator[Behind]:
    """Run a destination that collectors send to."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            status, answer = behind.answer_to(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing: a test asks what it wants to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    behind = Behind(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield behind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
