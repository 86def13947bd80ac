"""The PostgreSQL server of the demonstration: a private one, on loopback, in a temporary directory.

It runs programs that are installed on this machine, and touches no server that already runs here.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .demo_service import LOG_LINES_SHOWN, POLL_S, START_S, STOP_S, StartFailed
from .screen import shorten

ROLE = DATABASE = "aegis"
_DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version; they are not on the PATH there."""
_USERS = ("postgres", "nobody")
"""Users that the server runs as when we are root, which PostgreSQL refuses; the first that exists."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class PrivatePostgres:
    """A running server.

    Args:
        version: as the program says it.
        command: that started it.
        url: of its database, with the password.
        shown_url: the same with the password shortened.
    """

    version: str
    command: Sequence[str]
    url: str
    shown_url: str
    process: subprocess.Popen[bytes]


def find_programs() -> Path:
    """Return the directory of PostgreSQL's programs. Raises: StartFailed when something is missing that must be installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise StartFailed(
            "the driver for PostgreSQL is not installed: pip install 'aegis-audit-stream[postgres]'"
        )
    installed = [one.parent for one in _DEBIAN.glob("*/bin/initdb") if one.parts[-3].isdecimal()]
    if installed:
        return max(installed, key=lambda programs: int(programs.parent.name))
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).resolve().parent
    raise StartFailed(
        f"PostgreSQL is not installed: there is no initdb in the PATH or below {_DEBIAN}; "
        "install it (Debian: apt-get install postgresql), or run the demonstration with SQLite"
    )


@contextmanager
def private_postgres(programs: Path, log: Path) -> Iterator[PrivatePostgres]:
    """Make a server and run it until the block ends; then its data are removed.

    The kernel ends it when this process is killed; its data then stay in the temporary directory. Call it in the main thread,
    before there are others: the server ends with the thread that started it.

    Args:
        log: file for its output; an old one is overwritten.
    Raises: StartFailed when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="aegis-demo-postgres-", ignore_cleanup_errors=True) as folder:
        log.write_bytes(b"")
        log.chmod(0o600)
        password = secrets.token_urlsafe(24)
        data = _make_data(programs, Path(folder), password, log)
        port = _free_port()
        # The addresses of the demonstration, and nothing else: no socket in a shared directory.
        options = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(port))
        command = [str(programs / "postgres"), "-D", str(data), *options]
        process = _start(command, log)
        try:
            _wait_until_ready(process, data, log)
            address = f"127.0.0.1:{port}/{DATABASE}"
            yield PrivatePostgres(
                _version_of(programs),
                command,
                f"postgresql://{ROLE}:{password}@{address}",
                f"postgresql://{ROLE}:{shorten(password)}@{address}",
                process,
            )
        finally:
            _stop(process)


def _make_data(programs: Path, folder: Path, password: str, log: Path) -> Path:
    """Make the data directory, with one role and one database. Returns: its path."""
    data, password_file = folder / "data", folder / "password"
    password_file.touch(0o600)
    password_file.write_text(password, encoding="ascii")
    if (user := _server_user()) is not None:
        for path in (folder, password_file):
            os.chown(path, user.pw_uid, user.pw_gid)
    make = ["initdb", "-D", str(data), "--username", ROLE, "--pwfile", str(password_file)]
    make += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"]
    _run(programs, make, b"", log)
    # A server for one user, which no other program can reach, reads statements from its input.
    _run(
        programs,
        ["postgres", "--single", "-D", str(data), "postgres"],
        f"CREATE DATABASE {DATABASE}\n".encode(),
        log,
    )
    return data


def _run(programs: Path, command: Sequence[str], text: bytes, log: Path) -> None:
    with log.open("ab") as output:
        done = subprocess.run(  # noqa: S603 - a program of PostgreSQL with our arguments
            [str(programs / command[0]), *command[1:]],
            input=text,
            env=_environment(),
            stdout=output,
            stderr=output,
            cwd="/",
            check=False,
            **_identity(),
        )
    if done.returncode:
        raise _failed(log)


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)

    def end_with_parent() -> None:
        with contextlib.suppress(AttributeError):  # not Linux
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)

    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - a program of PostgreSQL with our arguments
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,  # Ctrl-C reaches only us, and we stop it last
            **_identity(),
            preexec_fn=end_with_parent,  # noqa: PLW1509 - there is no other thread yet
        )


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise _failed(log)
        with contextlib.suppress(OSError):
            lines = (data / "postmaster.pid").read_text().splitlines()
            if [line.strip() for line in lines[7:]] == ["ready"]:
                return
        time.sleep(POLL_S)
    raise StartFailed(f"PostgreSQL did not start within {START_S:g} s: see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # PostgreSQL's "fast": it ends its sessions and writes a checkpoint
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _failed(log: Path) -> StartFailed:
    last = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
    return StartFailed(f"PostgreSQL did not start:\n{last}")


def _version_of(programs: Path) -> str:
    said = subprocess.check_output([str(programs / "postgres"), "--version"], text=True)  # noqa: S603
    found = re.search(r"[\d.]+", said)
    return found[0] if found else said.strip()


def _environment() -> dict[str, str]:
    """Return our environment without what would lead the server to other data, or make it speak another language."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))
    }
    return inherited | {"LC_ALL": "C"}


def _server_user() -> pwd.struct_passwd | None:
    """Return the user that the server runs as; None if that is ours. Raises: StartFailed when we are root and there is none."""
    if os.geteuid() != 0:
        return None
    there = {user.pw_name: user for user in pwd.getpwall()}
    for name in _USERS:
        if name in there:
            return there[name]
    raise StartFailed(
        "PostgreSQL refuses to run as root, and there is no user postgres: run this as another user"
    )


def _identity() -> dict[str, Any]:
    """Return the arguments of `subprocess` that make a process that of the server's user."""
    user = _server_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
