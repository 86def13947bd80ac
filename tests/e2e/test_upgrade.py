"""Promises of a start on a data directory that another version has written."""

import re
import subprocess
import sys

import apsw
import pytest

from support.processes import make_client, make_events, recording_receiver, service_group
from support.service import service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def serve_until_it_ends(tmp_path):
    """Run an `aegis serve` that must not start."""
    command = [sys.executable, "-m", "aegis_stream", "serve", "--port", "0"]
    return subprocess.run(
        command, env=service_environment(tmp_path), capture_output=True, text=True, timeout=60
    )


def set_version(database, version):
    """Set the version of the schema."""
    connection = apsw.Connection(str(database))
    connection.pragma("user_version", version)
    connection.close()


def test_a_newer_schema_is_refused_in_one_line(tmp_path):
    """A database of a newer version stops the start with status 1 and a line that names both versions and what to do."""
    with service_group(tmp_path) as group:
        group.start()
        client = make_client(group)
        client.record(make_events(client.organization.org_id, 1, 10).values())
        group.terminate()
        [(known,)] = group.rows("PRAGMA user_version")
        set_version(group.database, known + 98)

        refused = serve_until_it_ends(tmp_path)
        [(left,)] = group.rows("PRAGMA user_version")
        set_version(group.database, known)
        group.start()
        count = len(client.request("GET", "/events")["data"])

    assert refused.returncode == 1
    assert re.fullmatch(rf"aegis: .*\b{known + 98}\b.*\b{known}\b.*newer version.*\n", refused.stderr)
    assert left == known + 98, "what is not understood is not touched"
    assert count == 10


def test_the_service_starts_again_on_its_own_data(tmp_path):
    """Organizations, keys, destinations and cursors survive a restart: only new events are sent."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        client.record(make_events(client.organization.org_id, 1, 10).values())
        wait_until(lambda: client.stats(dst_id)["delivered"] == 10)
        group.terminate()

        group.start()
        client.record(make_events(client.organization.org_id, 11, 10).values())
        wait_until(lambda: client.stats(dst_id)["delivered"] == 20)

        assert receiver.counts()["received"] == 20
