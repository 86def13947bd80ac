"""Runs `aegis demo` for tests, as a person does: a real process, with its output in a file."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from support.service import service_environment, stop, wait_until


@contextmanager
def demo(tmp_path, *arguments, **environment):
    """Run the demonstration with its output in a file; it is stopped when the block ends."""
    output = tmp_path / "demo.log"
    variables = service_environment(tmp_path, **environment)
    for name in ("AEGIS_ALLOW_HTTP", "AEGIS_ALLOWED_NETWORKS", "AEGIS_OPERATOR_KEY"):
        if name not in environment:
            del variables[name]
    with output.open("wb") as file:
        command = [sys.executable, "-m", "aegis_stream", "demo", *arguments]
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=file, cwd=tmp_path)
    try:
        yield process, output
    finally:
        stop(process)


def wait_for(process, output, text):
    """Wait until the output has this text, and return it."""

    def look():
        said = output.read_text()
        assert text in said or process.poll() is None, said
        return said if text in said else None

    return wait_until(look, seconds=90)


def children_of(data_dir: Path) -> list[str]:
    """Return the command lines of processes with this data directory in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"AEGIS_DATA_DIR={data_dir}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
