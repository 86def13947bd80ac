"""The peer: syslog-ng (C, libcurl) with a reliable disk buffer, from lines over TCP to the same nginx.

It does less than our service: it does not validate, does not acknowledge to the sender, and does not sync its buffer to
disk. People use it to relay audit events over HTTP.
"""

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .control import ACKED, BACKLOG_MAX, RECEIVED, SENT, STOP, Control, control_page
from .processes import accepts, free_port, running, wait_until
from .receiver import Receiver

CONFIGURATION = """
@version: 3.35
options {{ stats-freq(0); use-dns(no); dns-cache(no); keep-hostname(yes); chain-hostnames(no); time-reopen(1); }};
source s_lines {{
  network(transport("tcp") ip("127.0.0.1") port({port}) flags(no-parse) log-fetch-limit(1000) log-iw-size(100000)
          max-connections(10) keep-timestamp(no));
}};
destination d_http {{
  http(url("{url}") method("POST") user-agent("syslog-ng") headers("Content-Type: {content_type}")
       body("${{MSG}}") {batch} workers({workers}) timeout(10) {tls}
       disk-buffer(reliable(yes) disk-buf-size(1073741824) mem-buf-size(163840000) dir("{folder}")));
}};
log {{ source(s_lines); destination(d_http); flags(flow-control); }};
"""


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """How the peer runs.

    Args:
        batch_lines: most events in one POST.
        workers: its sending threads.
    """

    batch_lines: int = 1
    workers: int = 4
    backlog_max: float = 20_000


@dataclass(slots=True)
class Lines:
    """A running load of lines."""

    control: Control
    pid: int

    @property
    def acknowledged(self) -> int:
        """Lines that the kernel has accepted so far."""
        return self.control.total(ACKED)

    def tell_received(self, events: int) -> None:
        """Set how many events have arrived at the receiver."""
        self.control.set(RECEIVED, events)

    def stop(self) -> None:
        """Stop sending."""
        self.control.set(STOP, 1)
        wait_until("the last lines", lambda: self.control.total(SENT) == -1, 60, 0.002)


@contextlib.contextmanager
def syslog_ng(folder: Path, receiver: Receiver, plan: PeerPlan) -> Iterator[tuple[int, int]]:
    """Run syslog-ng until the block ends; yield its pid and port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    batch = f"batch-lines({plan.batch_lines})"
    if plan.batch_lines > 1:
        batch += ' batch-timeout(200) delimiter("\\n") body-suffix("\\n")'
    configuration = CONFIGURATION.format(
        port=port,
        url=receiver.url,
        folder=folder,
        content_type="application/json" if plan.batch_lines == 1 else "application/x-ndjson",
        batch=batch,
        workers=plan.workers,
        tls=f'tls(ca-file("{receiver.ca_certificate}") peer-verify(yes))' if receiver.ca_certificate else "",
    )
    (folder / "syslog-ng.conf").write_text(configuration)
    program = shutil.which("syslog-ng") or "/usr/sbin/syslog-ng"
    command: list[str | Path] = [
        program,
        "-F",
        "--no-caps",
        "-f",
        folder / "syslog-ng.conf",
        "-R",
        folder / "persist",
    ]
    command += ["-c", folder / "control", "-p", folder / "pid"]
    log = folder / "syslog-ng.log"
    with running(command, log=log, stop_signal=signal.SIGKILL) as process:
        wait_until("syslog-ng", lambda: process.poll() is not None or accepts(port), 15)
        if process.poll() is not None:
            raise RuntimeError("syslog-ng did not start: " + log.read_text()[-800:])
        yield process.pid, port


@contextlib.contextmanager
def lines(folder: Path, port: int, plan: PeerPlan, run: str) -> Iterator[Lines]:
    """Start a load of lines; it is stopped when the block ends."""
    with control_page(folder) as control:
        control.set(BACKLOG_MAX, plan.backlog_max)
        command = [sys.executable, "-m", "bench.send_lines", str(port), str(control.path), run]
        log = folder / "lines.log"
        with running(command, log=log) as process:
            wait_until(
                "the first line", lambda: process.poll() is not None or control.total(SENT) > 0, 10, 0.001
            )
            if process.poll() is not None:
                raise RuntimeError("the sender did not start: " + log.read_text()[-500:])
            yield Lines(control, process.pid)
