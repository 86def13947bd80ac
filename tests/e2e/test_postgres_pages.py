"""The commands of the pages about PostgreSQL, run as written against a private server."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.copying import compare, copy
from aegis_stream.store.opening import open_copy_source, open_copy_target
from aegis_stream.store.postgres.conditions import CONNECTIONS_PER_PROCESS
from support.copies import make_source
from support.docs import read
from support.postgres import shared_server
from support.processes import make_client, make_events, recording_receiver, service_group
from support.service import service_environment, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash"),
]
MOVE, BACK_UP = "docs/how-to/move-to-postgresql.md", "docs/how-to/back-up-postgresql.md"
URL = "postgresql://aegis:PASSWORD@db.example.com/aegis?sslmode=verify-full"
"""The URL of the page."""


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """Return the blocks of one section of a page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def quiet(_: str, __: int, ___: int) -> None:
    """Take no notice of progress."""


class Shell:
    """Runs commands of a page, with its paths in a folder of the test's and its URL that of the test's database."""

    def __init__(self, folder: Path, url: str, **variables: str) -> None:
        self._folder, self._url = folder, url
        self._exports: list[str] = []
        programs = (Path(sys.executable).parent, shared_server().binaries, os.environ["PATH"])
        self._environment = service_environment(folder, **variables) | {
            "PATH": os.pathsep.join(map(str, programs))
        }
        for name in ("backup", "var/lib/aegis-back"):
            (folder / name).mkdir(parents=True)

    def run(self, line: str) -> str:
        """Run a command, which must succeed, with the variables that were exported before; return what it prints."""
        line = line.replace(URL, self._url)
        for place in ("/backup/", "/var/lib/aegis-back/"):
            line = line.replace(place, f"{self._folder}{place}")
        line = line.replace("/var/lib/aegis\n", f"{self._folder}/data\n")
        if line.startswith(("export ", "unset ")):
            self._exports.append(line)
            return ""
        done = subprocess.run(
            ["bash", "-ec", "\n".join([*self._exports, line])],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, line + done.stdout + done.stderr
        return done.stdout


def lines_of(text: str) -> list[str]:
    """Return the commands of a block, one a line."""
    return [line + "\n" for line in text.splitlines()]


def test_the_move_of_the_page_loses_nothing(tmp_path, postgres_url):
    """A copy of a backup while the service runs, a last copy after its stop: everything is delivered from PostgreSQL, once."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:
        shell = Shell(tmp_path, postgres_url)
        group.start()
        client = make_client(group)
        client.add_destination(
            receiver.url, auth_header_name="Authorization", auth_header_value="Bearer s3cret"
        )
        client.record(make_events(client.organization.org_id, 1, 100).values())
        shell.run(lines_of(blocks(MOVE, "Prepare")[0])[0])
        for line in lines_of(blocks(MOVE, "A large log: copy while the service runs")[0]):
            if line == "systemctl stop aegis\n":
                client.record(make_events(client.organization.org_id, 101, 100).values())
                wait_until(lambda: receiver.counts()["received"] == 200)
                assert group.terminate() == 0
            else:
                output = shell.run(line)
        assert re.search(r"^events +1 +200 +200 +equal$", output, re.MULTILINE)
        group.environment["AEGIS_DATABASE_URL"] = postgres_url
        group.start()
        client.record(make_events(client.organization.org_id, 201, 100).values())
        wait_until(lambda: receiver.counts()["received"] == 300)
        assert group.terminate() == 0

        (back,) = blocks(MOVE, "Back to SQLite")
        assert "all rows are equal" in shell.run(back)
        assert receiver.counts()["duplicates"] == 0


def test_the_copy_of_the_page_prints_what_the_page_shows(tmp_path, postgres_url):
    """The table has the columns and the rows that the page shows, in their order."""
    with service_group(tmp_path) as group:
        group.start()
        client = make_client(group)
        client.record(make_events(client.organization.org_id, 1, 300).values())
        group.terminate()
    shell = Shell(tmp_path, postgres_url)
    for line in lines_of(blocks(MOVE, "Prepare")[0]):
        shell.run(line)
    (commands,) = blocks(MOVE, "Copy")
    output = [shell.run(line) for line in lines_of(commands) if not line.startswith("systemctl")][-1]

    (shown,) = blocks(MOVE, "Copy", "text")
    printed = [line.split() for line in output.splitlines()]
    assert [line.split() for line in shown.splitlines()] == printed[: len(shown.splitlines())]


def test_the_dump_of_the_page_restores_everything(tmp_path, postgres_url):
    """A dump that is restored to an empty database holds every row."""
    source = DatabaseUrl(path=make_source(tmp_path / "data"))
    with (
        contextlib.closing(open_copy_source(source)) as one,
        contextlib.closing(open_copy_target(DatabaseUrl.parse(postgres_url))) as other,
    ):
        assert copy(one, other, quiet).is_equal
    with shared_server().database() as restored:
        shell = Shell(tmp_path, postgres_url, AEGIS_DATABASE_URL=postgres_url, AEGIS_RESTORED_URL=restored)
        for commands in blocks(BACK_UP, "A dump"):
            shell.run(commands)

        with (
            contextlib.closing(open_copy_source(source)) as one,
            contextlib.closing(open_copy_source(DatabaseUrl.parse(restored))) as other,
        ):
            tables, _ = compare(one, other, quiet)

    assert [table.table for table in tables if table.differing] == []


def test_the_pages_count_connections_as_the_doctor_does():
    """A process opens as many connections as the pages say."""
    size, available = read("docs/how-to/size-an-installation.md"), read("docs/how-to/high-availability.md")
    rows = re.findall(r"^\| (\d+) \| (\d+) API, (\d+) workers? \| (\d+) \|$", size, re.MULTILINE)

    assert f"connections = {CONNECTIONS_PER_PROCESS} ×" in size
    assert rows
    assert all(
        int(nodes) * (int(api) + int(workers)) * CONNECTIONS_PER_PROCESS == int(total)
        for nodes, api, workers, total in rows
    )
    assert CONNECTIONS_PER_PROCESS == 6, "high-availability.md says six, and 480 for 20 nodes of four"
    assert "Six connections" in available
