"""The commands of the page about backups, run as written on a busy service."""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.docs import read
from support.processes import (
    Client,
    by_event_id,
    make_client,
    make_events,
    recording_receiver,
    service_group,
)
from support.service import service_environment, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash"),
]
PAGE = "docs/how-to/back-up-and-restore.md"


def blocks(heading: str) -> list[str]:
    """Return the shell commands of one section of the page, and the outputs it shows."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", read(PAGE), re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(?:sh|text)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


class Shell:
    """Runs the page's commands with its paths in a folder of the test's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._paths = {"/var/lib/aegis": folder / "data", "/tmp/restored": folder / "restored"}
        self._paths |= {place: folder / place.strip("/") for place in ("/backup", "/safe")}
        for place in ("/backup", "/safe"):
            self._paths[place].mkdir()
        self.environment = environment | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        }

    def placed(self, text: str) -> str:
        """Put the test's paths in place of the page's."""
        for place, path in self._paths.items():
            text = text.replace(place, str(path))
        return text

    def run(self, commands: str) -> str:
        """Run commands, each of which must succeed; return what they print."""
        done = subprocess.run(
            ["bash", "-ec", self.placed(commands)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_the_backup_of_the_page_loses_nothing_and_restores(tmp_path):
    """Events acknowledged before the backup are in it; those after it survive in the original; the restored service delivers."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:
        shell = Shell(tmp_path, service_environment(tmp_path, **group.environment))
        group.start()
        client = make_client(group)
        client.add_destination(
            receiver.url, auth_header_name="Authorization", auth_header_value="Bearer s3cret"
        )
        before = make_events(client.organization.org_id, 1, 300)
        client.record(before.values())
        # A key that was generated has a digest on disk; the tests' key comes from a variable.
        (tmp_path / "data" / "operator.sha256").touch(0o600)

        busy = _Busy(client)
        for commands in blocks("Back up"):
            shell.run(commands)
        busy.stop()
        _check_it_is_tried(shell)

        group.kill()
        group.start()
        wait_until(lambda: receiver.counts()["received"] >= len(before) + len(busy.acknowledged))
        for command in blocks("Restore")[0].splitlines():
            if command == "systemctl stop aegis":
                assert group.terminate() == 0
            elif command == "systemctl start aegis":
                group.start()
                wait_until(lambda: group.rows("SELECT 1 FROM cursors WHERE lease_owner IS NOT NULL"))
            else:
                shell.run(command)
        after = make_events(client.organization.org_id, 50_001, 20)
        client.record(after.values())
        stored = {one["event"]["event"]["id"] for one in _all_events(client)}
        wait_until(
            lambda: client.request("GET", "/forwarding-destinations")["data"][0]["stats"]["backlog"] == 0
        )
        arrived, _ = by_event_id(receiver.bodies())

    assert set(before) <= stored
    assert set(after) <= stored
    assert set(arrived) >= {*before, *busy.acknowledged, *after}


class _Busy:
    """Records events, one after the other, until it is stopped."""

    def __init__(self, client: Client) -> None:
        self.acknowledged: set[str] = set()
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 10_000
        while not self._stop.is_set():
            event = make_events(self._client.organization.org_id, number, 1)
            if self._client.is_acknowledged(event.values()):
                self.acknowledged.update(event)
            number += 1


def _check_it_is_tried(shell: Shell) -> None:
    """Run the last section, and compare what it prints with what the page shows."""
    commands, shown = blocks("Try a backup")
    assert shell.run(commands) == shell.placed(shown)


def _all_events(client: Client) -> list[dict]:
    events, cursor = [], None
    while True:
        page = client.request(
            "GET", "/events", params={"limit": 200, **({"cursor": cursor} if cursor else {})}
        )
        events += page["data"]
        if not (cursor := page["next_cursor"]):
            return events
