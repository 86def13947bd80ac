"""Promises of audit events: with real processes, the event of an administrative action is delivered like every other."""

import json
import subprocess
import sys

import pytest

from support.processes import make_client, recording_receiver, service_group
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_what_is_done_reaches_the_destinations(tmp_path):
    """A destination receives the events of later actions, in order, and not that of its own creation."""
    with (
        service_group(tmp_path, AEGIS_AUDIT_ACTIONS="true") as group,
        recording_receiver(tmp_path) as receiver,
    ):
        group.start()
        client = make_client(group)
        first = client.add_destination(receiver.url)
        second = client.add_destination(receiver.url + "other")
        client.request("POST", f"/forwarding-destinations/{second}/pause")

        wait_until(lambda: client.stats(first)["delivered"] == 2)
        found = [json.loads(body) for body in receiver.bodies()]

    assert [one["event"]["action"] for one in found] == ["destination_create", "destination_pause"]
    assert {one["aegis"]["audit"]["target"]["id"] for one in found} == {second}
    assert {one["event"]["dataset"] for one in found} == {"aegis.audit_stream.admin"}


def test_what_the_command_line_does_reaches_the_destinations(tmp_path):
    """Keys created on the command line while the service runs are reported to destinations immediately."""
    with (
        service_group(tmp_path, AEGIS_AUDIT_ACTIONS="true") as group,
        recording_receiver(tmp_path) as receiver,
    ):
        group.start()
        client = make_client(group)
        destination_id = client.add_destination(receiver.url)
        command = [
            sys.executable,
            "-m",
            "aegis_stream",
            "key",
            "create",
            "--org",
            client.organization.org_id,
            "--json",
        ]

        done = subprocess.run(
            command, env=group.running.environment, capture_output=True, text=True, check=True
        )

        wait_until(lambda: client.stats(destination_id)["delivered"] == 1)
        (found,) = [json.loads(body) for body in receiver.bodies()]

    assert (found["event"]["action"], found["user"]["id"]) == ("key_create", "command_line")
    assert found["aegis"]["audit"]["target"]["id"] == json.loads(done.stdout)["id"]
    assert json.loads(done.stdout)["api_key"] not in json.dumps(found)
