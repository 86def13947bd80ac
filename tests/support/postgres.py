"""PostgreSQL servers for tests: private ones, on loopback, in temporary directories; never the machine's own.

    def test_…(postgres_url: str):                      # a new database on the server of this test process
    with shared_server().database() as url: …           # the same, without the fixture
    with running_server() as server:                    # a server of this test's own, to be killed and restarted
        with server.database() as url:
            server.kill()
            server.start()

The shared server starts with the first test that needs it and ends with the test process, however that ends:
postgres_reaper.py sees to it. A fresh database takes some 50 ms; one copied from a template is as quick (`make_template`).
The product's role `aegis` is the databases' owner and no superuser. Standbys: support/standbys.py.
"""

import atexit
import functools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support.postgres_reaper import processes_of
from support.service import wait_until

SUPERUSER = "postgres"
ROLE = "aegis"
"""Role that the product logs in as."""
START_S = 30.0
STOP_S = 30.0
STATEMENT_S = 60.0
"""Seconds that one call of `sql`, or one program, may take."""
FIELD, RECORD = "\x1f", "\x1e"
_PORTS = range(15_000, 32_000)
"""Below the ports that the kernel gives to clients, so that nobody takes a stopped server's port."""
_REFUSES_ROOT = ("postgres", "nobody")
"""Users that the server runs as when the tests run as root; the first that exists."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # What the product demands: a commit is on the disk when it is answered.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Small, because each test process has a server.
    "shared_buffers": "16MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "recovery_init_sync_method": "syncfs",  # file by file takes 3 seconds at each start after a kill
    # For standbys.
    "wal_keep_size": "256MB",
    "wal_retrieve_retry_interval": "200ms",
    # A report that comes before the primary counts the standby releases no commit; the next one may be this much later.
    "wal_receiver_status_interval": "1s",
    "log_line_prefix": "%m [%p] %a ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class SqlError(Exception):
    """A statement of a test failed; the text is the server's message."""


class PostgresServer:
    """One server: its data directory, port and processes. It starts again, with its data, after `stop` and after `kill`.

    Args:
        binaries: directory of `postgres`, `initdb` and the rest.
        folder: where its data and its log are.
        name: its name for other servers, as `synchronous_standby_names` has it.
        password: of both roles.
    """

    def __init__(self, binaries: Path, folder: Path, name: str, password: str) -> None:
        self.binaries = binaries
        self.folder = folder
        self.name = name
        self.password = password
        self.port = free_server_port()
        self._settings = dict(_SETTINGS, cluster_name=name)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def version(self) -> int:
        """Its major version."""
        return version_of(self.binaries)

    @property
    def psql(self) -> Path:
        """psql, which some builds of the server come without; that of another version serves as well."""
        of_server = self.binaries / "psql"
        found = of_server if of_server.is_file() else shutil.which("psql")
        assert found, "psql is missing: sh tests/real/setup.sh postgres"
        return Path(found)

    @property
    def pid(self) -> int:
        """Its first process, the postmaster."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(self, database: str, role: str = ROLE, **options: str) -> str:
        """Return the URL of a database; `options` are libpq's: connect_timeout="2"."""
        return url_of([self], database, role, **options)

    def make_cluster(self) -> None:
        """Make the data directory and the product's role."""
        password = self.folder / "password"
        password.touch(0o600)
        give_away(password)
        password.write_text(self.password)
        arguments = [
            "--username",
            SUPERUSER,
            "--pwfile",
            password,
            "--auth=scram-sha-256",
            "--data-checksums",
        ]
        arguments += ["--locale=C", "--encoding=UTF8", "--wal-segsize=4", "--no-sync", "--no-instructions"]
        self.run("initdb", "-D", self.data, *arguments)
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'")

    def configure(self, **settings: str) -> None:
        """Change settings; a running server reads them again, and those that need a restart wait for one."""
        self._settings |= settings
        quoted = {name: value.replace("'", "''") for name, value in self._settings.items()}
        lines = [f"{name} = '{value}'\n" for name, value in (quoted | {"port": str(self.port)}).items()]
        (self.data / "postgresql.conf").write_text("".join(lines))
        if self.is_running:
            os.kill(self.pid, signal.SIGHUP)

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert not self.is_running, "it runs already"
        for _ in range(5):
            self.configure()
            with self.log.open("ab") as output:
                start = output.tell()
                self._process = subprocess.Popen(
                    [self.binaries / "postgres", "-D", self.data],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    **as_its_user(),
                )
            if (
                wait_until(lambda: self._is_ready() or not self.is_running, seconds=START_S)
                and self.is_running
            ):
                return
            said = self.log.read_bytes()[start:].decode(errors="replace")
            assert "Address already in use" in said, f"PostgreSQL did not start: {said}"
            assert self._databases == 0, f"somebody took port {self.port}: {said}"
            self.port = free_server_port()
        pytest.fail("PostgreSQL found no free port")

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it: "fast", with a checkpoint, or "immediate", without, so that it recovers at its next start."""
        if self.is_running:
            os.kill(self.pid, signal.SIGQUIT if immediate else signal.SIGINT)
            assert self._process is not None
            self._process.wait(STOP_S)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """End all of its processes with SIGKILL, at one moment, as a power cut would."""
        if self.is_running:
            self.pause()
            for pid in reversed(self.processes()):  # the postmaster last: no child learns of its death
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert self._process is not None
            self._process.wait(STOP_S)

    def pause(self) -> None:
        """Stop all of its processes where they are; what connects or waits gets no answer, and no error."""
        os.kill(self.pid, signal.SIGSTOP)  # first, so that it forks no further child
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        for pid in reversed(self.processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return its processes, the postmaster first."""
        return processes_of(self.pid)

    def terminate_backends(self, database: str | None = None) -> int:
        """Cut the connections of all clients, or of those of one database; returns how many."""
        where = "" if database is None else f"AND datname = '{database}'"
        rows = self.sql(f"""
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() {where}""")
        return int(rows[0][0])

    def sql(
        self, text: str, database: str = "postgres", *, timeout_s: float = STATEMENT_S
    ) -> list[tuple[str, ...]]:
        """Execute statements as the superuser, each a transaction of its own; returns the rows, NULL as an empty text.

        Raises: SqlError, also when the server cannot be reached. subprocess.TimeoutExpired.
        """
        command = [self.psql, "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", FIELD, "-R", RECORD, "-f", "-"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        done = subprocess.run(
            command,
            input=text,
            env=_environment(PGPASSWORD=self.password, PGCONNECT_TIMEOUT="10"),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise SqlError(done.stderr.strip())
        text = done.stdout.removesuffix("\n")
        return [tuple(row.split(FIELD)) for row in text.split(RECORD)] if text else []

    def make_template(self, name: str, prepare: Callable[[str], object]) -> str:
        """Make a database for `database` to copy, if there is none of the name; `prepare` fills it by its URL."""
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
            prepare(self.url(name))
            self.terminate_backends(name)
            self.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        return name

    def create_database(self, template: str = "template1") -> str:
        """Create a database of the product's role; returns its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database whoever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Create a database; yields its URL, and drops it afterwards if the server runs."""
        name = self.create_database(template)
        try:
            yield self.url(name)
        finally:
            if self.is_running:
                self.drop_database(name)

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the user of the server; it must succeed."""
        done = subprocess.run(
            [self.binaries / program, *arguments],
            env=_environment(PGPASSWORD=self.password),
            capture_output=True,
            text=True,
            timeout=STATEMENT_S,
            check=False,
            **as_its_user(),
        )
        assert done.returncode == 0, f"{program}: {done.stderr or done.stdout}"

    def _is_ready(self) -> bool:
        with suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False


def url_of(servers: Sequence[PostgresServer], database: str, role: str = ROLE, **options: str) -> str:
    """Return the URL of a database that one of several servers has; libpq tries them in this order."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql://{role}:{servers[0].password}@{hosts}/{database}" + (f"?{query}" if query else "")


@functools.cache
def shared_server() -> PostgresServer:
    """Return the server of this test process, which no test may stop or configure; skip the test where there is none."""
    server = new_server("shared", required_binaries())
    server.make_cluster()
    return server


@contextmanager
def running_server(name: str = "alone", **settings: str) -> Iterator[PostgresServer]:
    """Make a server of the caller's own and start it; its data are removed at the end, whether it still runs or not."""
    server = new_server(name, required_binaries())
    try:
        server.make_cluster()
        if settings:
            server.configure(**settings)
            server.restart()
        yield server
    finally:
        discard(server)


def new_server(name: str, binaries: Path, password: str | None = None) -> PostgresServer:
    """Return a server that has a folder, but no data yet."""
    return PostgresServer(binaries, new_folder(name), name, password or secrets.token_urlsafe(24))


def new_folder(name: str) -> Path:
    """Make a folder for a server; what runs with it in its command ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_root()))
    give_away(folder)
    return folder


def discard(server: PostgresServer) -> None:
    """End a server at once, also a paused one, and remove its data."""
    server.kill()
    shutil.rmtree(server.folder)


def required_binaries(*programs: str) -> Path:
    """Return the directory of PostgreSQL's programs, or skip the test with the reason.

    In CI, which installs PostgreSQL, it fails where that is missing.

    Args:
        programs: those that some builds come without, and the test needs.
    """
    found = find_binaries()
    if found is None:
        reason = "PostgreSQL is not installed: sh tests/real/setup.sh postgres"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    missing = [name for name in programs if not (found / name).is_file()]
    if missing:
        pytest.skip(f"{found} has no {' and no '.join(missing)}")
    return found


def find_binaries() -> Path | None:
    """Return the directory of PostgreSQL's programs: AEGIS_TEST_POSTGRES, else the newest of Debian's, else that of the PATH."""
    if wanted := os.environ.get("AEGIS_TEST_POSTGRES"):
        assert (Path(wanted) / "postgres").is_file(), f"AEGIS_TEST_POSTGRES has no postgres: {wanted}"
        return Path(wanted)
    installed = [one.parent for one in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if installed:
        return max(installed, key=lambda binaries: int(binaries.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@functools.cache
def version_of(binaries: Path) -> int:
    """Return the major version of a PostgreSQL."""
    said = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\d+", said)
    assert found is not None, said
    return int(found[0])


def give_away(path: Path) -> None:
    """Make a file or folder that of the servers' user."""
    if user := _its_user():
        os.chown(path, user.pw_uid, user.pw_gid)


@functools.cache
def _its_user() -> pwd.struct_passwd | None:
    """Return the user that servers run as, because PostgreSQL refuses root; None when it is the tests' own."""
    if os.geteuid() != 0:
        return None
    there = {user.pw_name: user for user in pwd.getpwall()}
    return next(there[name] for name in _REFUSES_ROOT if name in there)


def as_its_user() -> dict[str, Any]:
    """Return the arguments of `subprocess` that start a program as the servers' user."""
    user = _its_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _environment(**variables: str) -> dict[str, str]:
    """Return an environment in which nothing but these variables says where a server is, or in which language it speaks."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))
    }
    return inherited | {"LC_ALL": "C"} | variables


def free_server_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to no client."""
    for _ in range(100):
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


@functools.cache
def _root() -> Path:
    """Return the folder of this process's servers; when this process is gone, a process beside it ends them and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
    folder.chmod(0o711)
    program = Path(__file__).with_name("postgres_reaper.py")
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", program, folder], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(_end, reaper, os.getpid())
    return folder


def _end(reaper: subprocess.Popen[bytes], pid: int) -> None:
    """End the servers of this process; a fork of it leaves them alone."""
    if os.getpid() == pid:
        if shared_server.cache_info().currsize:
            discard(shared_server())
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait()
