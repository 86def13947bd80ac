"""A sealed log whose checkpoint events travel to a real server, and `aegis verify` on what that server gives back.

    with sealed_service(tmp_path) as log:
        log.forward(server.url)
        log.finish()
        export = run_page("OpenSearch", tmp_path, OPENSEARCH_URL=server.url)
        assert log.verify(export).status == 0

The commands that export are those of docs/how-to/verify.md, run as they stand there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.arrival import QUICK, audit_events, forward
from support.docs import read
from support.exports import Checked
from support.pages import blocks_of
from support.processes import Client
from support.service import RunningService, running_service, wait_until

PAGE = "docs/how-to/verify.md"
EXPORT = "siem.ndjson"
"""The file that the page's commands write."""
PROVING = QUICK | {
    "AEGIS_PROOF": "true",
    "AEGIS_PROOF_ORIGIN": "audit.example.com",
    "AEGIS_PROOF_SECONDS": "1",
    "AEGIS_PROOF_HEARTBEAT_SECONDS": "2",
}
SEALED_S = 120.0


@dataclass
class SealedLog:
    """The log of an organization in the mode `stream`, and the destination that it travels to.

    Args:
        bodies: of all events that a sender recorded, by id.
    """

    service: RunningService
    client: Client
    bodies: dict[str, bytes] = field(default_factory=dict)
    dst_id: str = ""

    def forward(self, url: str, **fields: Any) -> None:
        """Make a destination, and record events of many products, and some that are hard to transport."""
        self.bodies |= audit_events(self.client.organization.org_id)
        read = forward(self.client, self.bodies, url, **fields)
        assert read["stats"]["dead_letters"] == 0, read
        self.dst_id = read["id"]

    def finish(self) -> int:
        """Wait until everything is sealed and has arrived, and a heartbeat vouches for the content digests of the last seal.

        Returns: how many events that is; more checkpoint events may follow, each of which covers those before it.
        """

        def finished() -> int | None:
            newest, before = self.client.request("GET", "/events", params={"order": "desc", "limit": 2})[
                "data"
            ]
            head: int = newest["sequence"]
            is_arrived = self.client.stats(self.dst_id)["delivered"] >= head
            return head if is_arrived and _is_heartbeat(newest, before) else None

        return wait_until(finished, seconds=SEALED_S)

    def sequence_of(self, event_id: str) -> int:
        """Return the place of an event in the log."""
        found: int = self.client.request("GET", f"/events/{event_id}")["sequence"]
        return found

    def assert_complete(self, found: Checked, level: str, id: int = 0) -> None:  # noqa: A002 - a level's name
        """Assert that all events are there: so many of the senders' by id, the others at this level, checkpoint events exactly."""
        evidence = found.log["evidence"]
        others = found.log["last"] - len(self.bodies)
        expected = {level: len(self.bodies) - id, "id": id}
        expected["exact"] = expected.get("exact", 0) + others
        assert (found.status, found.log["first"]) == (0, 1), found.report
        assert evidence == dict.fromkeys(evidence, 0) | expected, (evidence, expected)

    def verify(self, export: Path, *options: str) -> Checked:
        """Run `aegis verify` with the key that `aegis proof show` prints."""
        key = json.loads(self.aegis("proof", "show", "--org", self.org_id, "--json"))["keys"][0]
        command = [*_AEGIS, "verify", str(export), "--key", key, "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in (0, 1, 3), done.stderr
        return Checked(done.returncode, json.loads(done.stdout))

    def aegis(self, *arguments: str) -> str:
        """Run a command on the service's data directory; returns what it prints."""
        command = [*_AEGIS, *arguments]
        done = subprocess.run(
            command, env=self.service.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def org_id(self) -> str:
        return self.client.organization.org_id


_AEGIS = (sys.executable, "-m", "aegis_stream")


def _is_heartbeat(newest: dict[str, Any], before: dict[str, Any]) -> bool:
    """Tell whether a checkpoint covers a checkpoint event as its last one: then nobody recorded anything in between."""
    ids = [one["event"]["event"]["id"] for one in (newest, before)]
    return all(one.startswith("ckpt_") for one in ids) and int(ids[0].split("_")[2]) >= before["sequence"]


@contextmanager
def sealed_service(tmp_path: Path, **environment: str) -> Iterator[SealedLog]:
    """Run a service that seals its logs, with an organization in the mode `stream`."""
    with running_service(tmp_path, **(PROVING | environment)) as service:
        log = SealedLog(service, Client(service.url, service.make_organization()))
        log.aegis("proof", "mode", "--org", log.org_id, "stream")
        yield log


def run_page(section: str, folder: Path, **variables: str) -> Path:
    """Run the commands of a section of the page in a folder, as a shell does; returns the export.

    What an export before has left there is kept: the commands append.
    """
    text = read(PAGE)
    assert f"\n### {section}\n" in text, f"{PAGE} has no section {section}"
    rest = text.partition(f"\n### {section}\n")[2]
    part = rest.partition("\n### ")[0].partition("\n## ")[0]
    (script,) = blocks_of(part, "sh")
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / EXPORT
