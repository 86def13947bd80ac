"""The commands of the pages about proofs, run as an auditor and an operator run them: a real service, a SIEM and a witness."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from aegis_stream.control import verifier_file
from support.docs import read
from support.processes import free_port
from support.service import running_service, wait_until
from support.walkthrough import Receiver, Shell, blocks, comparable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not all(shutil.which(one) for one in ("bash", "curl", "jq")), reason="needs bash, curl and jq"
    ),
]
PAGES = ("docs/how-to/prove-completeness.md", "docs/explanation/proof.md")
EVENTS = 60
NO_HEADERS: Mapping[str, str] = {}


class Installation:
    """A service with an organization, whose log goes to a SIEM; a second receiver waits for its destination.

    Args:
        folder: of the auditor: exports come here.
    """

    def __init__(self, service, folder: Path, siem: Receiver, witness: Receiver) -> None:
        self.service, self.folder = service, folder
        self.organization = service.make_organization("org_abc")
        self._records = {"siem": siem.record, "witness": witness.record}

    def call(self, method: str, path: str, headers=NO_HEADERS, **parts):
        """Call the API of the organization; return the answer."""
        answer = self._request(method, path, headers, **parts)
        assert answer.is_success, answer.text
        return answer.json()

    def _request(self, method: str, path: str, headers=NO_HEADERS, **parts) -> httpx.Response:
        return httpx.request(
            method,
            f"{self.service.url}/api/orgs/org_abc/{path}",
            headers={"Authorization": f"Bearer {self.organization.key}", **headers},
            trust_env=False,
            timeout=30,
            **parts,
        )

    def is_sealed(self) -> bool:
        """Tell whether there is a checkpoint."""
        return self._request("GET", "proof/checkpoint").is_success

    def record_events(self) -> None:
        """Record the events of the period."""
        lines = [json.dumps({"event": {"id": f"evt_{number}"}, "n": number}) for number in range(EVENTS)]
        self.call(
            "POST", "events", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
        )

    def export(self) -> None:
        """Wait until both receivers have everything, and write what they have to files, as a SIEM exports it."""
        wait_until(self._is_delivered, seconds=60)
        for name, record in self._records.items():
            requests = map(json.loads, record.read_text(encoding="utf-8").splitlines())
            bodies = [one["body"] + "\n" for one in requests if one["status"] == 202]
            (self.folder / f"{name}.ndjson").write_text("".join(bodies), encoding="utf-8")

    def _is_delivered(self) -> bool:
        stats = [one["stats"] for one in self.call("GET", "forwarding-destinations")["data"]]
        return all(one["backlog"] == one["retrying"] == 0 for one in stats)


@pytest.fixture
def place(tmp_path):
    """Start everything; yield the installation and the auditor's shell."""
    settings = {"AEGIS_PROOF": "true", "AEGIS_PROOF_SECONDS": "1", "AEGIS_AUDIT_ACTIONS": "true"}
    urls, receivers = {}, {}
    with running_service(tmp_path, **settings) as service, ExitStack() as stack:
        for name in ("siem", "witness"):
            (tmp_path / name).mkdir()
            port = free_port()
            urls[name] = f"http://127.0.0.1:{port}/"
            receivers[name] = Receiver(tmp_path / name, port, ("--bearer", "s3cret"), service.environment)
            stack.callback(receivers[name].stop)
        installation = Installation(service, tmp_path, **receivers)
        bearer = {"auth_header_name": "Authorization", "auth_header_value": "Bearer s3cret"}
        installation.call("POST", "forwarding-destinations", json={"url": urls["siem"], **bearer})
        wait_until(installation.is_sealed)  # the service has run for a while, in the default mode
        (tmp_path / verifier_file.NAME).write_bytes(verifier_file.verifier())
        shell = Shell(
            tmp_path,
            service.environment
            | {
                "PATH": f"{Path(sys.executable).parent}:{service.environment['PATH']}",
                "AEGIS_URL": service.url,
                "AEGIS_ORG": "org_abc",
                "AEGIS_API_KEY": installation.organization.key,
                "WITNESS_URL": urls["witness"],
                "WITNESS_TOKEN": "s3cret",
            },
        )
        stack.callback(shell.end)
        yield installation, shell


def numbers_away(text: str) -> str:
    """Return what can be compared of a report, whose counts depend on when the log was sealed."""
    return re.sub(r"\d[\d,]*", "N", comparable(text))


def test_the_commands_print_what_the_pages_show(place):
    """An operator who prepares a period and an auditor who checks it see what the pages show; every command works."""
    installation, shell = place
    for page in PAGES:
        for code, shown in blocks(read(page)):
            if "> end.txt" in code:
                installation.record_events()
            elif "siem.ndjson" in code and not (installation.folder / "siem.ndjson").exists():
                installation.export()
            said = shell.run(f"set -o pipefail; {code}echo status $?")
            output, _, status = said.strip().rpartition("status ")
            assert numbers_away(output).endswith(numbers_away(shown or "")), f"{code}\n{output}"
            assert (status == "0") != ("short.ndjson" in code), f"{code}\n{output}"
