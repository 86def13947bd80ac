"""A real Grafana Loki in one process, its data in a folder of the test.

with running_loki(tmp_path) as loki:
    client.add_destination(loki.push_url)
    …
    entries = loki.entries()
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from support.processes import free_port
from support.real import answers, program, running

EVENTS_FROM_NS, EVENTS_TO_NS = 1_772_000_000 * 10**9, 1_773_000_000 * 10**9
"""The days in which all events of the tests lie, 2026-02-25 to 2026-03-08."""
LINES_MAX = 5000
"""Most lines that Loki returns at once, which is more than the tests send."""
# Its parts look for each other every ten seconds else, and it waits for a quarter of a minute to see that it stays up.
_AT_ONCE = {"lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}}
_CONFIGURATION = """
auth_enabled: false
analytics: {{reporting_enabled: false}}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {port}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc_port}
  log_level: info
common:
  instance_addr: 127.0.0.1
  path_prefix: {folder}
  replication_factor: 1
  ring: {{kvstore: {{store: inmemory}}}}
  storage: {{filesystem: {{chunks_directory: {folder}/chunks, rules_directory: {folder}/rules}}}}
schema_config:
  configs:
    - {{from: 2020-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}
# Lines of past months lie in the ingester's memory here; a Loki that takes lines as they happen would not look there for them.
querier: {{query_ingesters_within: 0}}
ingester: {ingester}
frontend: {{scheduler_dns_lookup_period: 100ms}}
frontend_worker: {{dns_lookup_duration: 100ms}}
limits_config: {limits}
"""


@dataclass(frozen=True)
class Loki:
    """A running Loki."""

    url: str

    @property
    def push_url(self) -> str:
        return self.url + "/loki/api/v1/push"

    def entries(self, start_ns: int = EVENTS_FROM_NS, end_ns: int = EVENTS_TO_NS) -> list[tuple[int, str]]:
        """Return (time in nanoseconds since 1970, line) of all that the service has sent, of a range of time."""
        asked = {"query": '{service_name="aegis-audit-stream"}', "limit": LINES_MAX, "direction": "forward"}
        answer = httpx.get(
            self.url + "/loki/api/v1/query_range",
            params=asked | {"start": start_ns, "end": end_ns},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        found = [
            (int(time_ns), line)
            for stream in answer.json()["data"]["result"]
            for time_ns, line, *_ in stream["values"]
        ]
        assert len(found) < LINES_MAX, "there may be more"
        return found


@contextmanager
def running_loki(
    tmp_path: Path, *, limits: dict[str, Any] | None = None, ingester: dict[str, Any] | None = None
) -> Iterator[Loki]:
    """Run Loki until the block ends.

    Args:
        limits, ingester: settings of `limits_config` and `ingester`, where they are not Loki's defaults.
    """
    folder, port = tmp_path / "loki", free_port()
    folder.mkdir()
    (folder / "loki.yaml").write_text(
        _CONFIGURATION.format(
            port=port,
            grpc_port=free_port(),
            folder=folder,
            limits=json.dumps(limits or {}),
            ingester=json.dumps(_AT_ONCE | (ingester or {})),
        )
    )
    loki = Loki(f"http://127.0.0.1:{port}")
    command = [program("loki"), f"-config.file={folder / 'loki.yaml'}"]
    with running(command, tmp_path / "loki.log", lambda: answers(loki.url + "/ready"), seconds=60):
        yield loki
