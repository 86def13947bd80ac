"""What was measured, so that figures can be compared."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import apsw

from aegis_stream import build

from .postgres import facts

PACKAGES = ("uvloop", "httptools", "msgspec", "apsw")


def versions() -> dict[str, str]:
    """Return the machine, the versions of all programs, and the command."""
    root = Path(__file__).parent.parent
    commit = _first_line(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"])
    return {
        "machine": f"{os.cpu_count()} cores, {_processor()}, Linux {platform.release()}",
        "ours": f"commit {commit}, {build.label()}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        "others": ", ".join(
            (
                _version(["nginx", "-v"], r"nginx/(\S+)", "nginx"),
                _version(["wrk", "-v"], r"wrk (\S+)", "wrk"),
                _version(["syslog-ng", "--version"], r"\((\S+)\)", "syslog-ng"),
            )
        ),
        **facts(),
        "command": " ".join(
            [Path(sys.executable).name, "-m", f"bench.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        ),
    }


def _version(command: list[str], pattern: str, name: str) -> str:
    found = re.search(pattern, _output(command))
    return f"{name} {found.group(1) if found else 'missing'}"


def _first_line(command: list[str]) -> str:
    return (_output(command).splitlines() or ["unknown"])[0]


def _output(command: list[str]) -> str:
    env = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=env)
    except OSError:
        return ""
    return done.stdout + done.stderr


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()
