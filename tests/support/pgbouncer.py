"""PgBouncer before a PostgreSQL of the tests: transaction pooling, on a loopback port.

    with running_pgbouncer(shared_server(), pool_size=2) as pooler:
        pooler.url(database)

Each transaction of a client may have another server connection, so session settings, LISTEN and session locks are lost.
Debian 12 has 1.18, which also knows no prepared statements.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.postgres import ROLE, PostgresServer, as_its_user, free_server_port, give_away, new_folder
from support.service import wait_until

START_S = 20.0
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))


@dataclass
class Pooler:
    """A running PgBouncer."""

    server: PostgresServer
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def url(self, database: str, **options: str) -> str:
        """Return the URL of a database of the server behind it."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        address = f"postgresql://{ROLE}:{self.server.password}@127.0.0.1:{self.port}/{database}"
        return f"{address}?{query}" if query else address

    def kill(self) -> None:
        """End it with SIGKILL; the server behind it loses its clients."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop it where it is: clients get no answer, and no error."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_pgbouncer(server: PostgresServer, *, pool_size: int = 2, **settings: str) -> Iterator[Pooler]:
    """Run PgBouncer with a pool for each database until the block ends; the test is skipped where it is missing.

    Args:
        pool_size: server connections of a database.
        settings: of PgBouncer's, in place of the ones here.
    """
    program = required_program()
    folder = new_folder("pgbouncer")
    port = free_server_port()
    _write(folder / "users", f'"{ROLE}" "{server.password}"\n')
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "users"),
        "pool_mode": "transaction",
        "default_pool_size": str(pool_size),
        "max_client_conn": "200",
        "server_login_retry": "1",  # seconds; 15 by default, in which it takes no client after an outage
    } | settings
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server.port}",
        "[pgbouncer]",
        *(f"{name} = {value}" for name, value in chosen.items()),
    ]
    _write(folder / "pgbouncer.ini", "\n".join(lines) + "\n")
    log = folder / "pgbouncer.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **as_its_user(),
        )

    def listens() -> bool:
        assert process.poll() is None, f"PgBouncer ended: {log.read_text(errors='replace')}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, seconds=START_S)
        yield Pooler(server, port, process, log)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def required_program() -> str:
    """Return PgBouncer's program, or skip the test with the reason; in CI, which installs it, it fails."""
    if found := shutil.which("pgbouncer", path=_PATH):
        return found
    reason = "PgBouncer is not installed: sh tests/real/setup.sh pgbouncer"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def version() -> tuple[int, ...]:
    """Return PgBouncer's version, such as (1, 18, 0)."""
    said = subprocess.check_output([required_program(), "--version"], text=True)
    found = re.search(r"PgBouncer ([\d.]+)", said)
    assert found is not None, said
    return tuple(int(one) for one in found[1].split("."))


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    give_away(path)
    path.write_text(text)
