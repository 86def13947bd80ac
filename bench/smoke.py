"""The benchmarks as a test of correctness: small loads, everything compared, no time asserted.

The receiver is the product's own with `--record`, so that not only counts but ids and the checksums of bodies are compared:
nothing lost, nothing twice, not a byte changed.
"""

import contextlib
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .events import event_body
from .load import Load, LoadPlan, wrk
from .processes import running, scratch, wait_until
from .service import AEGIS, aegis, environment, tail
from .workloads import BATCH, BATCHED, SINGLE, Options, Shape, deliver

SECONDS = 1.0
CASES = (
    ("S1", replace(SINGLE, connections=8, backlog_max=500), {}),
    ("S2", replace(BATCHED, backlog_max=2_000), {}),
    ("S2 scattered", replace(BATCHED, backlog_max=2_000, scattered=True), {}),
    ("S3", replace(BATCHED, backlog_max=5_000), BATCH),
)
MULTIPLIER = 0x9E3779B97F4A7C15
"""Scatters ids; load.lua knows the same."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """A running `aegis receiver --record`."""

    url: str
    file: Path

    def bodies(self) -> list[bytes]:
        """Return every event received so far, in whole lines of the record."""
        found: list[bytes] = []
        for line in self.file.read_bytes().split(b"\n")[:-1]:
            request = json.loads(line)
            if request["status"] == 202:
                found += request["body"].encode().splitlines()
        return found

    def count(self) -> int:
        """Return how many events came so far."""
        return len(self.bodies())


def smoke() -> int:
    """Run everything small; 0 when all is equal, 1 when not, 3 when a program is missing."""
    if missing := missing_programs():
        print(f"bench smoke skipped: {', '.join(missing)} not found; `make bench-setup` installs them")
        return 3
    try:
        for name, plan, destination in CASES:
            print(f"{name}: {_compare(plan, destination)}", flush=True)
        counted = deliver(Shape(replace(BATCHED, backlog_max=5_000)))(Options(seconds=SECONDS))
        print(f"S2 into nginx: {counted.notes['events']:.0f} events acknowledged and received")
    except (RuntimeError, TimeoutError, OSError) as error:
        print(f"bench smoke FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def missing_programs() -> list[str]:
    """Return which of wrk and nginx are not installed."""
    places = {
        "wrk": shutil.which("wrk"),
        "nginx": shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"),
    }
    return [name for name, place in places.items() if place is None]


def _compare(plan: LoadPlan, destination: dict[str, object]) -> str:
    """Run a load into the recording receiver and compare contents. Raises: RuntimeError on any difference."""
    with (
        scratch("smoke") as folder,
        _recorder(folder) as recorder,
        aegis(folder / "data") as service,
    ):
        made = service.add_destination(recorder.url, **destination)
        with wrk(folder, service.port, service.key, plan, "smk") as load:
            _pace(load, recorder)
            acknowledged = load.acknowledged
        wait_until(
            f"{acknowledged} events delivered",
            lambda: service.stats(made)["delivered"] >= acknowledged,
            60,
            0.05,
        )
        wanted = Counter(_checksum(body) for body in sent(plan, "smk", acknowledged))
        got = Counter(_checksum(body) for body in recorder.bodies())
    if wanted != got:
        lost, extra = (wanted - got).total(), (got - wanted).total()
        raise RuntimeError(f"of {acknowledged} events {lost} are missing, and {extra} came twice or changed")
    return f"{acknowledged} events acknowledged and received, every body equal, none twice"


def _pace(load: Load, recorder: Recorder) -> None:
    """Let the load run for a moment, telling it what has arrived."""
    for _ in range(int(SECONDS / 0.1)):
        with contextlib.suppress(TimeoutError):
            wait_until("a moment", lambda: False, 0.1, 0.05)
        load.tell_received(recorder.count())
    load.stop()


def sent(plan: LoadPlan, run: str, acknowledged: int) -> Iterator[bytes]:
    """Make anew what load.lua sent: one thread, requests numbered from 1, all of them acknowledged."""
    for number in range(plan.per_request, plan.per_request + acknowledged):
        body = event_body(run, number)
        if plan.scattered:
            low = number * MULTIPLIER % 2**48
            digits = f"{low:012x}"[::-1].encode()
            body = body.replace(b"%012d" % number, digits)
        yield body


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


@contextlib.contextmanager
def _recorder(folder: Path) -> Iterator[Recorder]:
    log, file = folder / "receiver.log", folder / "record.ndjson"
    command = [AEGIS, "receiver", "--port", "0", "--record", file, "--quiet", "--json"]
    with running(command, log=log, env=environment(folder)) as process:
        wait_until("the receiver", lambda: process.poll() is not None or b"ready" in log.read_bytes(), 20)
        if process.poll() is not None:
            raise RuntimeError(f"aegis receiver did not start: {tail(log)}")
        yield Recorder(json.loads(log.read_text().splitlines()[0])["ready"]["url"], file)
