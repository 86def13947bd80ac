"""What the processes load before they work: a start costs as much CPU as its imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SERVE = """
import os, signal, sys
from aegis_stream.cli.main import main
from aegis_stream.serving import server

def ready():
    print("loaded:", *sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)

server.freeze = ready
sys.argv = ["aegis", "serve", "--port", "0", "--workers", "0"]
main()
"""
_HELP = """
import sys
from aegis_stream.cli.main import main
sys.argv = ["aegis", "worker", "--help"]
try:
    main()
finally:
    print("loaded:", *sys.modules)
"""


def loaded_by(program: str, folder: Path) -> set[str]:
    """Run a program, and return the modules that it says it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AEGIS_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded: ")[2].split())


def test_the_api_accepts_events_before_the_web_framework_is_loaded(tmp_path: Path):
    """A service that has just started has loaded what ingest needs, and neither the framework, nor schemas, nor a worker."""
    loaded = loaded_by(_SERVE, tmp_path)

    assert "aegis_stream.api.ingest" in loaded, "the service was running"
    packages = {one.partition(".")[0] for one in loaded}
    assert not packages & {"aiodns", "pycares", "zoneinfo"}
    assert not packages & {"litestar", "anyio", "yaml", "multipart", "multidict", "httpx", "jinja2", "rich"}
    ours = {one.removeprefix("aegis_stream.") for one in loaded if one.startswith("aegis_stream.")}
    unwanted = ("api.app", "api.openapi", "api.schemas", "delivery", "worker", "receiver", "cli.destinations")
    unwanted += (
        "store.copying",
        "store.copy_tables",
        "store.inspection",
        "store.sqlite.copying",
        "store.sqlite.backup",
    )
    assert not {one for one in ours if one.startswith(unwanted)}


def test_a_command_loads_no_other_command(tmp_path: Path):
    """`aegis worker` loads its own command alone: the others bring the use cases, the receiver and the HTTP client along."""
    loaded = loaded_by(_HELP, tmp_path)

    commands = {one for one in loaded if one.startswith("aegis_stream.cli.")}
    assert commands == {f"aegis_stream.cli.{name}" for name in ("main", "service", "output", "values")}
    assert not {one for one in loaded if one.startswith(("aegis_stream.receiver", "aegis_stream.control"))}


@pytest.mark.parametrize("name", ["serve", "worker", "org", "dead-letter"])
def test_every_command_is_found_by_its_name(name):
    """A command that is loaded late answers to its name."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream", name, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"Usage: aegis {name}" in done.stdout


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",)])
def test_a_bundle_that_cannot_be_read_stops_the_start(tmp_path: Path, command: tuple[str, ...]):
    """A wrong AEGIS_CA_BUNDLE is told at the start, in one line, and not at the first delivery."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream", *command],
        env={**os.environ, "AEGIS_DATA_DIR": str(tmp_path / "data"), "AEGIS_CA_BUNDLE": "/nowhere.pem"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("aegis: the bundle of certificate authorities /nowhere.pem cannot be read")
    assert "AEGIS_CA_BUNDLE" in done.stderr
    assert done.stderr.count("\n") == 1
