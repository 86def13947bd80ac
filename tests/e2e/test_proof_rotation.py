"""The key that signs checkpoints is rotated under a running service, and an auditor who has the old one follows."""

import json
import subprocess
import sys

import httpx
import pytest

from support.service import RunningService, running_service, service_environment

pytestmark = pytest.mark.timeout(300)
SETTINGS = {"AEGIS_PROOF": "true", "AEGIS_PROOF_SECONDS": "1", "AEGIS_AUDIT_ACTIONS": "true"}


class Installation:
    """A service, its command line, and an organization.

    Args:
        service: running.
    """

    def __init__(self, tmp_path, service: RunningService) -> None:
        self.folder, self.service = tmp_path, service
        self.key = service.make_organization("org_a").key
        self.sent = 0

    def aegis(self, *arguments: str) -> dict:
        """Run a command on the data directory; return what it prints as JSON."""
        environment = service_environment(self.folder, **SETTINGS)
        command = [sys.executable, "-m", "aegis_stream", *arguments, "--json"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def record_and_seal(self, count: int) -> dict:
        """Record events, have all of them sealed, and return how the log stands."""
        for _ in range(count):
            self.sent += 1
            event = {"event": {"id": f"evt_{self.sent}"}, "organization": {"id": "org_a"}}
            answer = self.call("POST", "/api/orgs/org_a/events", json=event)
            assert answer.status_code == 202, answer.text
        self.aegis("proof", "seal", "--org", "org_a")
        return self.aegis("proof", "show", "--org", "org_a")

    def call(self, method: str, path: str, **how) -> httpx.Response:
        """Call the API with the key of the organization."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(
            method, f"{self.service.url}{path}", headers=headers, trust_env=False, timeout=30, **how
        )

    def verify(self, export, key: str) -> tuple[int, str]:
        """Let the auditor check an export by a key."""
        command = [sys.executable, "-m", "aegis_stream", "verify", "--key", key, str(export)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr


def exported(tmp_path):
    """Write the whole log to a file, as a receiver has it."""
    import apsw

    path = tmp_path / "export.ndjson"
    raw = apsw.Connection(str(tmp_path / "data" / "aegis.db"), apsw.SQLITE_OPEN_READONLY)
    bodies = [row[0] for row in raw.execute("SELECT body FROM events ORDER BY position")]
    raw.close()
    path.write_text("".join(f"{one}\n" for one in bodies), encoding="utf-8")
    return path


def test_an_auditor_follows_a_rotation(tmp_path):
    """Events, rotation, a new master key, events: the export verifies by the old key and by the new one, and a loss is named."""
    with running_service(tmp_path, **SETTINGS) as service:
        house = Installation(tmp_path, service)
        house.aegis("proof", "mode", "--org", "org_a", "stream")
        [old] = house.record_and_seal(5)["keys"]

        made = house.aegis("proof", "rotate-key", "--org", "org_a", "--overlap-days", "1")
        both = house.record_and_seal(5)
        house.aegis("vault", "rotate")
        house.aegis("vault", "rotate", "--drop-old")
        still = house.record_and_seal(5)
        last = house.aegis("proof", "rotate-key", "--org", "org_a", "--overlap-days", "0")
        house.record_and_seal(3)
        alone = house.record_and_seal(3)
        doctor = service_environment(tmp_path, **SETTINGS)
        found = subprocess.run(
            [sys.executable, "-m", "aegis_stream", "doctor", "--json"],
            env=doctor,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        metrics = httpx.get(f"{service.url}/metrics", trust_env=False, timeout=30).text
        policy = house.call("GET", "/api/orgs/org_a/proof/keys").text

    new = made["key"]
    assert (made["old_key"], both["keys"]) == (old, [new, old])
    for standing, signatures in ((both, 4), (still, 4), (alone, 2)):
        assert standing["checkpoint"].count("\u2014 ") == signatures
    assert alone["keys"] == [last["key"], new, old]
    assert policy == "".join(f"log {one}\n" for one in alone["keys"]) + "quorum none\n"

    export = exported(tmp_path)
    for key in (old, new, last["key"]):
        status, text = house.verify(export, key)
        assert status == 0, text
    lines = export.read_text(encoding="utf-8").splitlines(keepends=True)
    export.write_text("".join(lines[:-4] + lines[-3:]), encoding="utf-8")
    assert house.verify(export, old)[0] != 0

    checks = json.loads(found.stdout)["findings"]
    assert {one["state"] for one in checks if one["check"] == "proof"} == {"ok"}
    values = dict(one.rsplit(" ", 1) for one in metrics.splitlines() if not one.startswith("#"))
    assert int(values["aegis_proof_seals_total"]) >= 5
    assert values["aegis_proof_inconsistent_total"] == "0"
    assert 0 <= int(values["aegis_proof_lag_seconds"]) <= 60
