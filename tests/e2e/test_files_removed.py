"""Promises when the files of the database are removed, replaced or moved under the running service."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from support.processes import Client, free_port, make_events, recording_receiver
from support.service import running_service, service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ACKS_STOP_S = 1.0
ENVIRONMENT = {"AEGIS_LOG_FORMAT": "json"}


def remove_database(data: Path) -> None:
    """Delete everything of the database."""
    for end in ("", "-wal", "-shm"):
        (data / f"aegis.db{end}").unlink()


def remove_log(data: Path) -> None:
    """Delete the write-ahead log alone, as a careless clean-up does."""
    (data / "aegis.db-wal").unlink()


def replace_database(data: Path) -> None:
    """Put another database in place while the service runs."""
    copy = data / "restored"
    copy.write_bytes((data / "aegis.db").read_bytes())
    copy.replace(data / "aegis.db")


def move_directory(data: Path) -> None:
    """Give the whole directory another name."""
    data.rename(data.with_name("moved"))


@pytest.mark.parametrize("change", [remove_database, remove_log, replace_database, move_directory])
def test_acknowledgements_stop_within_a_second(change):
    """Ingest answers 503 with a code, /readyz is not ready, attempts stop, and doctor names it."""
    with (
        # A short path: by that of a worker's socket doctor finds a service whose directory was moved.
        tempfile.TemporaryDirectory() as folder,
        recording_receiver(Path(folder)) as receiver,
        running_service(
            Path(folder), port=free_port(), api_processes=2, files_stay=False, **ENVIRONMENT
        ) as running,
    ):
        client = Client(running.url, running.make_organization())
        dst_id = client.add_destination(receiver.url)
        client.record(make_events(client.organization.org_id, 1, 20).values())
        wait_until(lambda: client.stats(dst_id)["delivered"] == 20)

        change(Path(folder) / "data")
        changed_s = time.monotonic()
        last_ack_s, refused, number = 0.0, [], 100
        while time.monotonic() < changed_s + 2.5:
            # A new connection each time: the kernel spreads them over both processes of the API.
            sent_s = time.monotonic() - changed_s
            answer = client.send(make_events(client.organization.org_id, number, 1).values())
            number += 1
            if answer.status_code == 202:
                last_ack_s = sent_s
            else:
                refused.append((answer.status_code, answer.json()["type"].rpartition("/")[2]))
        ready = httpx.get(running.url + "/readyz", trust_env=False, timeout=30)
        wait_until(lambda: "store.replaced" in running.log.read_text(), seconds=5)
        doctor = subprocess.run(
            [sys.executable, "-m", "aegis_stream", "doctor", "--json"],
            env=service_environment(Path(folder), **ENVIRONMENT),
            capture_output=True,
            check=False,
            timeout=60,
        )

    assert last_ack_s < ACKS_STOP_S
    assert len(refused) > 10
    assert {code for code, _ in refused} == {503}
    assert {kind for _, kind in refused} == {"store-replaced"}
    assert (ready.status_code, ready.json()["type"].rpartition("/")[2]) == (503, "store-replaced")
    found = [one for one in json.loads(doctor.stdout)["findings"] if one["state"] == "problem"]
    assert any("stores nothing" in one["detail"] for one in found), doctor.stdout
    assert doctor.returncode == 1
