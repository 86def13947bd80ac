"""Promises of a master key rotation beside a running service: if it is killed, everything still decrypts and is delivered."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest

from support.processes import ServiceGroup, kill, make_client, make_events, recording_receiver, service_group
from support.service import service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DESTINATIONS = 120
"""Destinations in three steps of a rotation."""
KILLS = 5
BEHIND = "SELECT count(*) FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.cursor < o.head OR c.retrying > 0"
BEARER = "c4n4ry-of-the-receiver"


def command(group: ServiceGroup, *arguments: str) -> subprocess.Popen[str]:
    """Start a command beside the service, on its data directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "aegis_stream", *arguments],
        env=service_environment(group.tmp_path, **group.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rotate(group: ServiceGroup, *options: str) -> None:
    """Run `aegis vault rotate` to its end."""
    process = command(group, "vault", "rotate", *options)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def kill_a_rotation(group: ServiceGroup, dice: random.Random) -> None:
    """Start a rotation, and kill it at a random moment: when the key file has changed, or after some of its steps."""
    key_file = group.tmp_path / "data" / "master.key"
    before = key_file.read_bytes()
    process = command(group, "vault", "rotate")
    steps = dice.randrange(4)
    if steps:
        for _ in range(steps):
            process.stderr.readline()
    else:
        wait_until(lambda: key_file.read_bytes() != before or process.poll() is not None)
    kill(process.pid)
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)


def test_killed_rotations_under_a_running_service_lose_nothing(tmp_path):
    """Whenever the rotation and the worker are killed, every destination decrypts and gets every event with its credential."""
    dice = random.Random(20_261)
    with (
        service_group(tmp_path, AEGIS_LEASE_SECONDS="15") as group,
        recording_receiver(tmp_path, "--bearer", BEARER) as receiver,
    ):
        group.start()
        client = make_client(group)
        fields = {
            "auth_header_name": "Authorization",
            "auth_header_value": f"Bearer {BEARER}",
            "headers": {"X-Key": "synthetic"},
            # Audit events of their creation are not sent to all destinations.
            "filter": {"datasets": ["app.login"]},
        }
        made = [client.add_destination(f"{receiver.url}{n}", **fields) for n in range(DESTINATIONS)]
        sent: dict[str, int] = {}

        def deliver_to_all() -> None:
            events = make_events(client.organization.org_id, len(sent) + 1, 1)
            client.record(events.values())
            sent.update(dict.fromkeys(events, len(made)))
            wait_until(lambda: group.rows(BEHIND) == [(0,)], seconds=60)

        for _ in range(KILLS):
            kill_a_rotation(group, dice)
            kill(
                group.worker_pid()
            )  # the next worker decrypts every credential as the killed rotation left it
            client.request("PATCH", f"/forwarding-destinations/{dice.choice(made)}", json={"name": "changed"})
            deliver_to_all()
        rotate(group)
        rotate(group, "--drop-old")
        ring = (tmp_path / "data" / "master.key").read_text().split()
        group.kill()
        group.start()
        made.append(client.add_destination(f"{receiver.url}late", **fields))
        deliver_to_all()
        stamps = group.rows(
            "SELECT DISTINCT substr(url, 1, 5), substr(auth_value, 1, 5), substr(headers, 1, 5) FROM destinations"
        )
        [(failed,)] = group.rows("SELECT sum(failed_attempts) FROM cursors")
        alarms = group.log_lines("vault.key_unknown") + group.log_lines("vault.record_refused")
        assert group.terminate() == 0
        arrived = Counter(json.loads(body)["event"]["id"] for body in receiver.bodies())

    assert (len(ring), len(stamps)) == (1, 1), "everything stands under the one key that is left"
    assert (failed, alarms) == (0, []), "no attempt was made without its credential"
    assert all(arrived[event_id] >= count for event_id, count in sent.items())


@pytest.mark.parametrize("program", [("serve", "--port", "0"), ("worker",)], ids=lambda one: one[0])
def test_neither_service_nor_worker_starts_with_a_wrong_master_key(tmp_path, program):
    """Both end immediately with status 1 and one line that says what to do."""
    with service_group(tmp_path) as group:
        group.start()
        assert group.terminate() == 0
        (tmp_path / "data" / "master.key").unlink()

        process = command(group, *program)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert len(errors.splitlines()) == 1
    assert "master.key is missing" in errors
    assert not (tmp_path / "data" / "master.key").exists()
