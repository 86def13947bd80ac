"""The PostgreSQL servers of the tests themselves: they start, end and come back as the tests that use them believe."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import postgres
from support.postgres import SqlError, running_server, shared_server
from support.service import wait_until

pytestmark = pytest.mark.slow


def test_a_server_commits_to_the_disk_before_it_answers():
    """The settings are those of a server that the product accepts: nothing acknowledged is lost by a power cut."""
    names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    server = shared_server()

    assert [server.sql(f"SHOW {name}") for name in names] == [[("on",)]] * len(names)
    assert server.sql("SHOW server_encoding") == [("UTF8",)]


def test_a_database_is_the_products_own_and_goes_with_its_test():
    """The product's role owns its database without being a superuser; at the end it is dropped whoever is connected."""
    server = shared_server()
    with server.database() as url:
        name = url.rpartition("/")[2]
        assert server.sql(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{name}'") == [
            ("aegis",)
        ]

    assert server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'aegis'") == [("f",)]
    assert server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []


def test_a_template_is_filled_once():
    """Databases that are copied from a template have its tables, and it is prepared for the first of them only."""
    server = shared_server()
    prepared = []

    def prepare(url: str) -> None:
        prepared.append(url)
        server.sql("CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), (NULL)", url.rpartition("/")[2])

    for _ in range(2):
        template = server.make_template("filled", prepare)
        with server.database(template) as url:
            assert server.sql("SELECT a, 1 FROM t ORDER BY a", url.rpartition("/")[2]) == [
                ("x", "1"),
                ("", "1"),
            ]
    assert len(prepared) == 1


@pytest.mark.parametrize("ending", ["kill", "fast", "immediate"])
def test_data_survive_every_way_to_end_a_server(ending: str):
    """What was committed is there after kill -9, a fast stop and an immediate one, on the same port; no process stays."""
    with running_server() as server, server.database() as url:
        name = url.rpartition("/")[2]
        server.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (7)", name)
        processes = server.processes()
        assert len(processes) > 3

        server.kill() if ending == "kill" else server.stop(immediate=ending == "immediate")

        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), seconds=10)
        with pytest.raises(SqlError, match="Connection refused"):
            server.sql("SELECT 1")
        server.start()
        assert server.sql("SELECT a FROM t", name) == [("7",)]


def test_a_paused_server_answers_after_it_went_on():
    """A paused server takes connections and says nothing; nothing is lost when it goes on."""
    with running_server() as server:
        server.pause()
        with pytest.raises(subprocess.TimeoutExpired):
            server.sql("SELECT 1", timeout_s=1)
        server.resume()
        assert server.sql("SELECT 1") == [("1",)]


def test_backends_are_terminated_by_their_database():
    """Clients of one database are cut, those of another are not; the server says how many there were."""
    server = shared_server()
    with server.database() as one, server.database() as other:
        command = [server.psql, "-XAtq", "-c", "SELECT pg_sleep(60)"]
        clients = [subprocess.Popen([*command, url], stderr=subprocess.DEVNULL) for url in (one, other)]
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        wait_until(lambda: server.sql(asleep) == [("2",)], seconds=20)

        assert server.terminate_backends(one.rpartition("/")[2]) == 1

        assert clients[0].wait(20) != 0
        assert clients[1].poll() is None
        assert server.terminate_backends(other.rpartition("/")[2]) == 1
        clients[1].wait(20)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_a_killed_test_process(sign: int):
    """When a test process is killed, its server ends and its files go, even if the server was paused."""
    program = """if True:
        import time
        from support.postgres import shared_server
        server = shared_server()
        server.pause()
        print(server.pid, server.folder.parent, flush=True)
        time.sleep(60)"""
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": tests},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid, _, folder = process.stdout.readline().strip().partition(" ")

        process.send_signal(sign)

    wait_until(lambda: not Path(folder).exists() and not Path(f"/proc/{pid}").exists(), seconds=20)


def test_a_server_starts_in_seconds():
    """A new server answers soon enough to be every test process's own; the limit leaves room for a busy machine."""
    begun = time.monotonic()
    with running_server() as server:
        assert server.sql("SELECT 1") == [("1",)]
    assert time.monotonic() - begun < 20


def test_tests_are_skipped_without_postgresql_but_not_in_ci(monkeypatch: pytest.MonkeyPatch):
    """Where PostgreSQL is missing a test is skipped with what to do; in CI, which installs it, it fails."""
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"setup\.sh postgres"):
        postgres.required_binaries()

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"setup\.sh postgres"):
        postgres.required_binaries()


def test_programs_of_a_build_that_lacks_one_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A test that needs a program which this build of PostgreSQL comes without is skipped, and the reason names it."""
    monkeypatch.setattr(postgres, "find_binaries", lambda: tmp_path)

    with pytest.raises(pytest.skip.Exception, match=f"{tmp_path} has no pg_rewind"):
        postgres.required_binaries("pg_rewind")
