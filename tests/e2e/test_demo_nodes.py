"""Promises of `aegis demo --database postgres`: two nodes, one database, one of them killed."""

import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from aegis_stream.cli import demo_postgres
from aegis_stream.cli.demo_postgres import find_programs
from aegis_stream.cli.demo_service import StartFailed
from support.demo import children_of, demo, wait_for
from support.postgres import required_binaries
from support.postgres_reaper import named_in_commands
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
OPTIONS = ("--database", "postgres", "--port", "0")
ALL_EQUAL = "sent 13   stored 13   arrived 13   equal 13   all equal"
STATUS_S = 120


def servers_of(said: str) -> list[int]:
    """Return the processes of the PostgreSQL that a demonstration has started, as far as they still run."""
    return named_in_commands(data_of(said))


def data_of(said: str) -> str:
    """Return the data directory of that PostgreSQL."""
    return re.search(r"-D (\S+/data)", said)[1]


def test_nothing_is_lost_with_a_node(tmp_path):
    """All events arrive: at the new URL after a change at the other node, and from node B after node A was killed; it ends by itself."""
    required_binaries()
    with demo(tmp_path, *OPTIONS) as (process, output):
        status = process.wait(STATUS_S)

    said = output.read_text()
    assert status == 0, said
    assert said.count(ALL_EQUAL) == 3, said
    moved, kept = said.split("they arrive at the new URL")[1].split("Let the receiver fail")
    assert moved.count("receiver 2  ") >= 13, "they came to the new receiver"
    assert "Node A is gone, and every event that it acknowledged has arrived." in kept
    proven, altered = kept.partition("Prove that")[2].split("Change one byte")
    assert "verdict     COMPLETE AND UNALTERED" in proven
    assert re.search(r"ALTERED +1\n +\d+  (pflt_)?kept_\d\d  altered\.ndjson", altered)
    assert children_of(tmp_path / "data" / "demo" / "node-a") == []
    assert children_of(tmp_path / "data" / "demo" / "node-b") == []
    assert servers_of(said) == []
    assert not Path(data_of(said)).parent.exists()


def test_it_shows_no_secret(tmp_path):
    """Neither a key nor the password of the database is shown or kept in a log."""
    required_binaries()
    with demo(tmp_path, *OPTIONS) as (process, output):
        wait_for(process, output, "Create an organization")
        environment = (Path(f"/proc/{process.pid}") / "environ").read_bytes()
        nodes = environments_of_nodes(tmp_path)
        process.send_signal(signal.SIGINT)
        status = process.wait(STATUS_S)

    assert status == 0
    assert b"AEGIS_DATABASE_URL" not in environment
    password = re.search(rb"AEGIS_DATABASE_URL=postgresql://aegis:([^@]+)@", nodes[0])[1].decode()
    texts = [output, *(tmp_path / "data" / "demo").glob("*.log")]
    assert len(texts) == 4
    for text in texts:
        assert password not in text.read_text()
        assert not re.search(r"aegis_(sk|op)_[A-Za-z0-9_-]{10}", text.read_text())


def environments_of_nodes(tmp_path) -> list[bytes]:
    """Return the environments of the processes that have the data directory of node A."""
    wanted = f"AEGIS_DATA_DIR={tmp_path / 'data' / 'demo' / 'node-a'}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append((folder / "environ").read_bytes())
    return [one for one in found if wanted in one.split(b"\0")]


def test_no_server_outlives_a_killed_demonstration(tmp_path):
    """After kill -9 neither a node nor the database is left."""
    required_binaries()
    with demo(tmp_path, *OPTIONS) as (process, output):
        said = wait_for(process, output, "node B answers on")
        assert servers_of(said)

        process.kill()
        process.wait()

        wait_until(lambda: not servers_of(said) and not children_of(tmp_path / "data" / "demo" / "node-b"))


def test_it_says_what_must_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Without the driver, and without PostgreSQL's programs, one line says what to install; nothing is started."""
    monkeypatch.setattr(demo_postgres.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StartFailed, match=r"pip install 'aegis-audit-stream\[postgres\]'"):
        find_programs()

    monkeypatch.setattr(demo_postgres.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(demo_postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match="apt-get install postgresql"):
        find_programs()
