"""wrk as the load generator for our ingest: starts it, stops it, reads what was acknowledged."""

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .control import ACKED, ANSWERS, BACKLOG_MAX, BAD, RECEIVED, SENT, STOP, Control, control_page
from .events import ORG_ID, Sent, event_body, id_offsets
from .processes import cpu_seconds, running, wait_until

SCRIPT = Path(__file__).with_name("load.lua")
LONGEST_S = 3600
NO_LIMIT = 1e15


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to send.

    Args:
        per_request: events in one request.
        connections: most requests in flight.
        backlog_max: it waits while this many acknowledged events have not arrived; NO_LIMIT for the speed of ingest.
        scattered: ids in random order instead of time-ordered ones.
    """

    per_request: int = 100
    connections: int = 4
    backlog_max: float = 20_000
    scattered: bool = False
    threads: int = 1


@dataclass(slots=True)
class Load:
    """A running load."""

    control: Control
    pid: int
    plan: LoadPlan
    run: str

    @property
    def acknowledged(self) -> int:
        """Events acknowledged so far."""
        return self.control.total(ACKED)

    @property
    def sent(self) -> Sent:
        """What was acknowledged, once the load has stopped."""
        assert self.plan.threads == 1, "each thread counts on its own"
        return Sent(self.run, self.plan.per_request, self.acknowledged, self.plan.scattered)

    def tell_received(self, events: int) -> None:
        """Set how many events have arrived at the receiver."""
        self.control.set(RECEIVED, events)

    def stop(self) -> None:
        """Start no more requests, and wait for the answers to those in flight.

        Raises: RuntimeError when an answer is not the expected 202.
        """
        self.control.set(STOP, 1)
        wait_until("the last answers", self._quiet, 60, 0.005)
        if bad := self.control.total(BAD):
            raise RuntimeError(f"{bad} ingest requests got an unexpected answer; see wrk.log")

    def _quiet(self) -> bool:
        sent, answered = self.control.total(SENT), self.control.total(ANSWERS) * self.plan.per_request
        if sent != answered:
            return False
        time.sleep(0.02)  # a request may have started just before the stop
        return self.control.total(SENT) == sent

    def cpu_seconds(self) -> float:
        """CPU time of the generator."""
        return cpu_seconds(self.pid)


def answer_times(folder: Path) -> dict[str, float]:
    """Return the time from a request to its answer, over the last load in this folder, milliseconds; the load has ended."""
    found = re.findall(r"answer (p\d+) (\d+) us", (folder / "wrk.log").read_text())[-2:]
    return {f"ack {name} ms": int(micros) / 1e3 for name, micros in found}


@contextlib.contextmanager
def wrk(
    folder: Path,
    port: int,
    key: str,
    plan: LoadPlan,
    run: str,
    *,
    request: Callable[[int, str, list[bytes]], bytes] | None = None,
    answer: tuple[int, str] | None = None,
) -> Iterator[Load]:
    """Start a load; it is stopped when the block ends.

    Args:
        run: three characters that make the ids of this run differ from all others in the same data directory.
        request: makes a request of events; None for our ingest's.
        answer: status and body of the expected answers; None for our ingest's.
    """
    status, body = answer or (202, f'{{"accepted":{plan.per_request},"duplicates":0,"rejected":[]}}')
    whole = (request or ingest_request)(
        port, key, [event_body(run, number) for number in range(plan.per_request)]
    )
    template, offsets = folder / "request.bin", folder / "offsets.txt"
    template.write_bytes(whole)
    offsets.write_text(" ".join(str(one) for one in id_offsets(whole)))
    with control_page(folder) as control:
        control.set(BACKLOG_MAX, plan.backlog_max)
        command = ["wrk", "-t", str(plan.threads), "-c", str(plan.connections), "-d", f"{LONGEST_S}s"]
        command += ["--timeout", "60s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--"]
        command += [str(control.path), str(template), str(offsets), str(plan.per_request), run]
        command += ["scattered" if plan.scattered else "ordered", str(status), body]
        log = folder / "wrk.log"
        with running(command, log=log, stop_signal=signal.SIGINT) as process:
            wait_until(
                "the first request", lambda: process.poll() is not None or control.total(SENT) > 0, 10, 0.001
            )
            if process.poll() is not None:
                raise RuntimeError("wrk did not start: " + log.read_text()[-500:])
            yield Load(control, process.pid, plan, run)


def ingest_request(port: int, key: str, events: list[bytes]) -> bytes:
    """Return one complete HTTP request."""
    body = events[0] if len(events) == 1 else b"[" + b",".join(events) + b"]"
    head = (
        f"POST /api/orgs/{ORG_ID}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
