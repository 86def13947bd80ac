"""Promises of `aegis doctor` beside a real service."""

import json
import subprocess
import sys

import pytest

from support.processes import make_client, recording_receiver, service_group
from support.service import service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_service_that_delivers_has_no_problem_and_one_that_is_gone_has(tmp_path):
    """While a service runs, the status is 0 and workers and connections are ok; after its end, the missing worker is a problem."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:

        def doctor(*options: str) -> tuple[int, dict[str, set[str]]]:
            done = subprocess.run(
                [sys.executable, "-m", "aegis_stream", "doctor", "--json", *options],
                env=service_environment(tmp_path, **group.environment),
                capture_output=True,
                check=False,
                timeout=60,
            )
            found = json.loads(done.stdout)["findings"]
            states = {one["state"] for one in found}
            return done.returncode, {
                state: {one["check"] for one in found if one["state"] == state} for state in states
            }

        group.start()
        make_client(group).add_destination(receiver.url)
        wait_until(lambda: group.rows("SELECT 1 FROM cursors WHERE lease_owner IS NOT NULL"))
        status, found = doctor("--egress")
        group.terminate()
        status_after, found_after = doctor()

    assert status == 0
    assert found["ok"] >= {"configuration", "TLS", "files", "disk", "database", "master key", "credentials"}
    assert found["ok"] >= {"workers", "egress"}
    assert (status_after, found_after["problem"]) == (1, {"workers"})
