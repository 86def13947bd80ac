"""The workload beside the OpenTelemetry Collector, S15: our S1 and S3, and the same events as OTLP logs through the Collector.

The Collector is built for the tests against real servers (`sh tests/real/setup.sh collector`). It takes OTLP over HTTP, keeps a
persistent queue, and sends OTLP over HTTP, in JSON; the requests go out as they came in. It acknowledges when its queue has the
events, by default before they are synced to the disk; "synced" is the Collector with a sync for each request. It checks less than we
do: an event is a text to it.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .deployment import deployed, tuned
from .load import LoadPlan, wrk
from .measure import Run, measure
from .plan import Options, Round, Workload
from .processes import accepts, free_port, running, scratch, wait_until
from .receiver import nginx
from .reconcile import Reconciliation, together
from .service import tail
from .workloads import BATCH, INGEST_PROCESSES, LINE_BYTES, MANY, SINGLE

PROGRAM = Path(__file__).parent.parent / ".cache" / "real" / "collector" / "otelcol"
ANSWER = 200, '{"partialSuccess":{}}'
CONFIGURATION = """
extensions:
  file_storage: {{directory: {folder}/queue, create_directory: true, fsync: {sync}}}
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  otlp_http:
    endpoint: "{target}"
    encoding: json
    compression: none
    sending_queue: {{storage: file_storage, num_consumers: 32, queue_size: 100000, block_on_overflow: true}}
service:
  extensions: [file_storage]
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [otlp_http]}}
"""


def otlp_request(port: int, key: str, events: list[bytes]) -> bytes:
    """Return one complete request with a log record for each event, whose body is the event's text."""
    del key
    records = [
        {"timeUnixNano": "1778841201456789000", "body": {"stringValue": event.decode()}} for event in events
    ]
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    body = json.dumps(logs, separators=(",", ":")).encode()
    head = f"POST /v1/logs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def collector(folder: Path, target: str, *, synced: bool) -> Iterator[tuple[int, int]]:
    """Run the Collector until the block ends; yield its process id and its port."""
    port, configuration, log = free_port(), folder / "collector.yaml", folder / "collector.log"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port, target=target, sync=str(synced).lower())
    )
    with running([PROGRAM, "--config", configuration], log=log, env=dict(os.environ)) as process:
        wait_until("the Collector", lambda: process.poll() is not None or accepts(port), 30)
        if process.poll() is not None:
            raise RuntimeError(f"the Collector did not start: {tail(log)}")
        yield process.pid, port


def _ours(plan: LoadPlan, options: Options, *, batched: bool) -> Round:
    """Run S1, or S3."""
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx", line_bytes=LINE_BYTES if batched else 0) as receiver,
        deployed(
            folder / "ours",
            receiver,
            options,
            fields=BATCH if batched else {},
            api_processes=INGEST_PROCESSES if batched else 1,
        ) as ours,
    ):
        ours.warm_up(plan, options.warm_up_s)
        return Round.of(ours.load(plan, options.seconds), ours.reconcile(options.checked_max))


def _theirs(plan: LoadPlan, options: Options, *, synced: bool) -> Round:
    """Run the same load through the Collector. Raises: RuntimeError when the counts differ."""
    with (
        scratch("collector") as folder,
        nginx(folder / "nginx") as receiver,
        collector(folder, f"http://127.0.0.1:{receiver.port}", synced=synced) as (pid, port),
    ):

        def received() -> int:
            return receiver.requests() * plan.per_request

        def load(run: str, seconds: float) -> Run:
            base = received()
            with wrk(folder, port, "", plan, run, request=otlp_request, answer=ANSWER) as load:
                pids, others = {"collector": pid}, {"nginx": receiver.pid}
                return measure(load, received, base=base, seconds=seconds, ours=pids, others=others)

        load("wrm", options.warm_up_s)
        run = load("run", options.seconds)
        return Round.of(run, Reconciliation(run.events, run.received))


def beside_the_collector(options: Options) -> Round:
    """S15: S1 and S3, ours and the Collector's, one after the other."""
    if not PROGRAM.exists():
        raise RuntimeError("the Collector is not installed: run `sh tests/real/setup.sh collector`")
    single, many = tuned(SINGLE, options), tuned(replace(MANY, backlog_max=20_000), options)
    rounds = {
        "S1": _ours(single, options, batched=False),
        "S1 Collector": _theirs(single, options, synced=False),
        "S1 Collector synced": _theirs(single, options, synced=True),
        "S3": _ours(many, options, batched=True),
        "S3 Collector": _theirs(many, options, synced=False),
        "S3 Collector synced": _theirs(many, options, synced=True),
    }
    figures: dict[str, float] = {}
    for name, one in rounds.items():
        figures[f"{name} events/s"] = one.figures["rate"]
        own = [used for process, used in one.cpu_us.items() if process not in ("nginx", "load")]
        figures[f"{name} CPU µs"] = sum(own)
    for name in ("S1", "S3"):
        figures[f"{name} CPU × Collector"] = figures[f"{name} CPU µs"] / figures[f"{name} Collector CPU µs"]
    notes = {f"{name} other_cores": one.notes["other_cores"] for name, one in rounds.items()}
    return Round(figures, together([one.reconciliation for one in rounds.values()]), notes=notes)


BESIDE = (
    Workload(
        "S15", "S1 and S3, and the same events through the OpenTelemetry Collector", beside_the_collector
    ),
)
