"""Third-party servers for tests in tests/real: installed by `make real`, run on loopback, stopped with the test.

    command = [program("loki"), f"-config.file={folder / 'loki.yaml'}"]
    with running(command, tmp_path / "loki.log", ready=lambda: answers(f"http://127.0.0.1:{port}/ready")):
        …

When a test fails, its report contains the ends of its servers' logs: tests/real/conftest.py.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from security.certificates import Authority
from support.service import stop, wait_until

REAL = Path(__file__).parents[2] / ".cache" / "real"
"""Where tests/real/setup.sh installs programs, each in a folder of its name."""
OF_SYSTEM = frozenset({"nginx"})
"""Programs from packages of the system."""
REQUIRED_IN_CI = frozenset({"nginx"})
"""Programs whose tests must not be skipped in CI: .ci/run installs them."""
RUNNING: list[Path] = []
"""Logs of the running servers."""
FAILED: list[tuple[Path, str]] = []
"""Logs of servers whose block ended with an error, and their ends at that moment, for tests/real/conftest.py."""
_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_LOG_CHARACTERS = 4000


def program(name: str, file: str | None = None) -> Path:
    """Return the program of a server, or skip the test with the reason; in CI a required one that is missing is a failure.

    Args:
        name: name of its folder in .cache/real, or of the system's program.
        file: its path in that folder, if it is not its name.
    """
    found = shutil.which(name, path=_SYSTEM_PATH) if name in OF_SYSTEM else REAL / name / (file or name)
    if found is not None and os.access(found, os.X_OK):
        return Path(found)
    reason = f"{name} is not installed: make real"
    if os.environ.get("CI") == "true" and name in REQUIRED_IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    ready: Callable[[], bool],
    env: dict[str, str] | None = None,
    *,
    seconds: float = 30,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; its child processes end with it.

    Args:
        log: file to which the server's output is appended.
        ready: returns whether the server answers; polled until it does.
        env: variables besides those of this process.
        seconds: time in which it must answer.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    RUNNING.append(log)

    def is_ready() -> bool:
        assert process.poll() is None, f"{command[0]} ended with status {process.returncode}: {end_of(log)}"
        return ready()

    try:
        wait_until(is_ready, seconds=seconds)
        yield process
    except BaseException:
        FAILED.append((log, end_of(log)))  # later output is about its own end
        raise
    finally:
        RUNNING.remove(log)
        stop(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children of a killed server


def localhost_certificate(tmp_path: Path) -> tuple[Path, str]:
    """Create a certificate for localhost: return the file with it and its key, and the PEM text of its authority."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority = Authority(folder)
    authority.server_context("localhost")
    (certificate,) = folder.iterdir()
    return certificate, authority.pem


def answers(url: str, status: int = 200) -> bool:
    """Return whether a URL of a server answers with a status."""
    with suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False, timeout=5).status_code == status
    return False


def end_of(log: Path) -> str:
    """Return the end of a log, which has the reason."""
    return log.read_text(errors="replace")[-_LOG_CHARACTERS:]
