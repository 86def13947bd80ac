"""The benchmarks as a test of correctness: small loads, complete comparison, no times.

The receiver is `aegis receiver --record`, so that ids and checksums of bodies are compared as well as counts: nothing is
lost, duplicated or changed.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .collector import PROGRAM as COLLECTOR
from .collector import beside_the_collector
from .distance import far_away
from .load import Load, LoadPlan, wrk
from .on_postgres import on_postgres
from .plan import Options
from .postgres import find_binaries
from .processes import running, scratch, wait_until
from .reconcile import Contents
from .senders import many_senders
from .service import AEGIS, aegis, environment, tail
from .start import start_and_low_rate
from .workloads import BATCH, BATCHED, SINGLE, Shape, deliver, ingest_alone

SECONDS = 1.0
BACKLOG = 5_000
CASES: tuple[tuple[str, LoadPlan, Mapping[str, object]], ...] = (
    ("S1", replace(SINGLE, connections=8, backlog_max=500), {}),
    ("S2", replace(BATCHED, backlog_max=2_000), {}),
    ("S2 scattered", replace(BATCHED, backlog_max=2_000, scattered=True), {}),
    ("S3", replace(BATCHED, backlog_max=5_000), BATCH),
)


@dataclass(frozen=True, slots=True)
class Recorder:
    """A running `aegis receiver --record`."""

    url: str
    file: Path

    def bodies(self) -> list[bytes]:
        """Return every event received so far, from complete lines of the record."""
        found: list[bytes] = []
        for line in self.file.read_bytes().split(b"\n")[:-1]:
            request = json.loads(line)
            if request["status"] == 202:
                found += request["body"].encode().splitlines()
        return found

    def count(self) -> int:
        """Return how many events have arrived so far."""
        return len(self.bodies())


def smoke() -> int:
    """Run small loads. Returns: 0 if everything is equal, 1 if not, 3 if a program is missing."""
    if missing := missing_programs():
        print(f"bench smoke skipped: {', '.join(missing)} not found; `make bench-setup` installs them")
        return 3
    try:
        for name, plan, destination in CASES:
            print(f"{name}: {_compare(plan, destination)}", flush=True)
        counted = deliver(Shape(replace(BATCHED, backlog_max=5_000)))(Options(seconds=SECONDS))
        print(f"S2 into nginx: {counted.reconciliation.line()}", flush=True)
        few = Options(seconds=SECONDS, backlog_events=BACKLOG)
        print(f"S12: {far_away(replace(few, backlog_max=500)).reconciliation.line()}", flush=True)
        print(f"S13: {many_senders(few).reconciliation.line()}", flush=True)
        if COLLECTOR.exists():
            print(f"S15: {beside_the_collector(few).reconciliation.line()}", flush=True)
        print(f"S14: {start_and_low_rate(few, starts=1).reconciliation.line()}", flush=True)
        if find_binaries() is not None:
            on_server = on_postgres(ingest_alone, standby=True)(Options(seconds=SECONDS, api_processes=1))
            print(f"P2: {on_server.reconciliation.line()}", flush=True)
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


def _compare(plan: LoadPlan, destination: Mapping[str, object]) -> str:
    """Run a load into the recording receiver and compare contents. Raises: RuntimeError on any difference."""
    with (
        scratch("smoke") as folder,
        _recorder(folder) as recorder,
        aegis(folder / "data") as service,
    ):
        made = service.add_destination(recorder.url, **destination)
        with wrk(folder, service.port, service.key, plan, "smk") as load:
            _pace(load, recorder)
            sent = load.sent
        wait_until(
            f"{sent.count} events delivered", lambda: service.stats(made)["delivered"] >= sent.count, 60, 0.05
        )
        contents = Contents([sent])
        contents.take(recorder.bodies())
    contents.check(sent.count)
    return f"{sent.count} events acknowledged and received, every body equal, none twice"


def _pace(load: Load, recorder: Recorder) -> None:
    """Run the load for a moment, and tell it what has arrived."""
    for _ in range(int(SECONDS / 0.1)):
        with contextlib.suppress(TimeoutError):
            wait_until("a moment", lambda: False, 0.1, 0.05)
        load.tell_received(recorder.count())
    load.stop()


@contextlib.contextmanager
def _recorder(folder: Path) -> Iterator[Recorder]:
    log, file = folder / "receiver.log", folder / "record.ndjson"
    command: list[str | Path] = [AEGIS, "receiver", "--port", "0", "--record", file, "--quiet", "--json"]
    with running(command, log=log, env=environment(folder)) as process:
        wait_until("the receiver", lambda: process.poll() is not None or b"ready" in log.read_bytes(), 20)
        if process.poll() is not None:
            raise RuntimeError(f"aegis receiver did not start: {tail(log)}")
        yield Recorder(json.loads(log.read_text().splitlines()[0])["ready"]["url"], file)
