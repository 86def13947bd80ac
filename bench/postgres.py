"""PostgreSQL servers of a benchmark's own: on the loopback address, with their data on the disk of the repository.

The settings are PostgreSQL's defaults, except for those of `SETTINGS`. A commit is on the disk before it is answered
(`fsync=on`, `synchronous_commit=on`), and on that of a standby where there is one.
"""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from .processes import Tree, accepts, free_port, running, wait_until

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "256MB",  # a checkpoint begins after some 100 MB, so that each run has its share of them
    "max_connections": "200",
}
"""What every server is started with."""
SUPERUSER = "postgres"
READY_S = 30.0
_REFUSES_ROOT = ("postgres", "nobody")
"""Users that a server runs as when the benchmark runs as root; the first that exists."""


@dataclass(slots=True)
class Server:
    """A running server, or one with a standby.

    Args:
        pid: its first process; all others are children of it.
        standby_pid: that of its synchronous standby; None where it has none.
    """

    folder: Path
    port: int
    password: str
    pid: int
    standby_pid: int | None = None
    _databases: int = 0
    _admin: "psycopg.Connection[Any] | None" = field(default=None, repr=False)

    def new_database(self) -> "Database":
        """Create a database."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self.sql(f"CREATE DATABASE {name}")
        return Database(self, f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{name}")

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Execute one statement as the superuser; return its rows."""
        if self._admin is None:
            conninfo = f"host=127.0.0.1 port={self.port} user={SUPERUSER} dbname=postgres"
            self._admin = psycopg.connect(conninfo, password=self.password, autocommit=True)
        cursor = self._admin.execute(text.encode())
        return cursor.fetchall() if cursor.description is not None else []

    def close(self) -> None:
        """Close the connection of `sql`."""
        if self._admin is not None:
            self._admin.close()

    def wal_bytes(self) -> int:
        """Return how many bytes of write-ahead log it has written so far."""
        return int(self.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")[0][0])

    def checkpoints(self) -> int:
        """Return how many checkpoints it has begun so far."""
        return (self.folder / "server.log").read_text(errors="replace").count("checkpoint starting")


@dataclass(frozen=True, slots=True)
class Database:
    """A database for one run of the service."""

    server: Server
    url: str

    @property
    def processes(self) -> dict[str, Tree]:
        """The server's processes, whose CPU is counted beside the service's; those of one server are one figure."""
        found = {"database": Tree(self.server.pid)}
        if self.server.standby_pid is not None:
            found["standby"] = Tree(self.server.standby_pid)
        return found

    @property
    def counters(self) -> dict[str, Callable[[], float]]:
        """What the server counts, and a run is charged for: bytes of write-ahead log, and checkpoints."""
        return {"WAL bytes": self.server.wal_bytes, "checkpoints": self.server.checkpoints}

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the service that say where its data is."""
        return {"AEGIS_DATABASE_URL": self.url}


@contextlib.contextmanager
def postgres(folder: Path, *, standby: bool = False) -> Iterator[Server]:
    """Run a server until the block ends.

    Args:
        folder: must not exist yet.
        standby: run a second server beside it, whose disk every commit waits for (`ANY 1`).
    """
    folder.parent.chmod(0o711)  # the server's user may be another one
    folder.mkdir(mode=0o711)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_primary(folder / "primary"))
        if standby:
            server.standby_pid = stack.enter_context(_standby(folder / "standby", server))
            server.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")
            server.sql("SELECT pg_reload_conf()")
            state = "SELECT sync_state FROM pg_stat_replication"
            wait_until("the synchronous standby", lambda: server.sql(state) == [("quorum",)], READY_S)
        yield server


def find_binaries() -> Path | None:
    """Return the directory of PostgreSQL's programs: AEGIS_TEST_POSTGRES, else Debian's newest, else that of the PATH."""
    if wanted := os.environ.get("AEGIS_TEST_POSTGRES"):
        return Path(wanted)
    installed = [one.parent for one in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda binaries: int(binaries.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def facts() -> dict[str, str]:
    """Return version and settings of the servers, for the report; nothing where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        return {}
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\d[\d.]*", said.stdout)
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return {"PostgreSQL": f"{version[0] if version else 'unknown'}, defaults and {settings}"}


@contextlib.contextmanager
def _primary(folder: Path) -> Iterator[Server]:
    password = secrets.token_hex(16)
    folder.mkdir()
    secret = folder / "password"
    secret.touch(0o600)
    secret.write_text(password)
    for one in (folder, secret):
        _give_away(one)
    arguments = ["--username", SUPERUSER, "--pwfile", secret, "--auth=scram-sha-256", "--data-checksums"]
    _run("initdb", "-D", folder / "data", *arguments, "--locale=C", "--encoding=UTF8", "--no-sync")
    port = free_port()
    with _started(folder, port, SETTINGS) as pid:
        server = Server(folder, port, password, pid)
        with contextlib.closing(server):
            yield server


@contextlib.contextmanager
def _standby(folder: Path, primary: Server) -> Iterator[int]:
    folder.mkdir()
    _give_away(folder)
    address = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", SUPERUSER]
    options = ["--checkpoint=fast", "--wal-method=stream", "--no-sync"]
    _run("pg_basebackup", "-D", folder / "data", *address, *options, password=primary.password)
    for name in ("standby.signal", "postgresql.auto.conf"):
        (folder / "data" / name).touch()
        _give_away(folder / "data" / name)
    source = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} password={primary.password} application_name=standby"
    with _started(folder, free_port(), {**SETTINGS, "primary_conninfo": source}) as pid:
        yield pid


@contextlib.contextmanager
def _started(folder: Path, port: int, settings: Mapping[str, str]) -> Iterator[int]:
    """Run a server on its data until the block ends; yield the id of its first process."""
    written = {
        **settings,
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "log_checkpoints": "on",
    }
    lines = [f"{name} = '{value}'\n" for name, value in written.items()]
    (folder / "data" / "postgresql.conf").write_text("".join(lines))
    log = folder / "server.log"
    command = [_binaries() / "postgres", "-D", folder / "data"]
    # SIGINT: close the connections and write a checkpoint.
    with running(command, log=log, env=_environment(), stop_signal=signal.SIGINT, **_its_user()) as process:
        ended = process.poll
        wait_until("PostgreSQL", lambda: ended() is not None or _is_ready(folder, port), READY_S)
        if ended() is not None:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
        yield process.pid


def _is_ready(folder: Path, port: int) -> bool:
    """Tell whether a server takes connections: it writes so into its file of the process id."""
    with contextlib.suppress(OSError):
        lines = (folder / "data" / "postmaster.pid").read_text().split("\n")
        return len(lines) > 7 and lines[7].strip() == "ready" and accepts(port)
    return False


def _run(program: str, *arguments: str | Path, password: str = "") -> None:
    """Run one of PostgreSQL's programs. Raises: RuntimeError with what it said."""
    command: Sequence[str | Path] = [_binaries() / program, *arguments]
    env = _environment() | ({"PGPASSWORD": password} if password else {})
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False, **_its_user()
    )
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")


def _binaries() -> Path:
    found = find_binaries()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed: run `sh tests/real/setup.sh postgres`")
    return found


def _environment() -> dict[str, str]:
    """Return an environment that does not say where another server is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def _user() -> pwd.struct_passwd | None:
    """Return the user that servers run as, because PostgreSQL refuses root; None when it is the caller."""
    if os.geteuid() != 0:
        return None
    there = {one.pw_name: one for one in pwd.getpwall()}
    return next(there[name] for name in _REFUSES_ROOT if name in there)


def _its_user() -> dict[str, Any]:
    """Return the arguments of `subprocess` that start a program as that user."""
    user = _user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _give_away(path: Path) -> None:
    if user := _user():
        os.chown(path, user.pw_uid, user.pw_gid)
