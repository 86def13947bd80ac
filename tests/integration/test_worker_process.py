"""The process of `aegis worker`: what it loads, and what it does not."""

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, signal, sys
from aegis_stream.cli.main import main
from aegis_stream.serving import worker

def ready():
    print(*sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)

worker.freeze = ready
sys.argv = ["aegis", "worker"]
main()
"""


def test_a_worker_loads_no_web_framework(tmp_path: Path):
    """A worker that serves has neither Litestar nor uvicorn in memory, nor anything of the API, nor what copies databases."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "AEGIS_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    loaded = set(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "aegis_stream.delivery.forwarder" in loaded, "a worker was running"
    assert not {
        one
        for one in loaded
        if one.partition(".")[0]
        in ("litestar", "uvicorn", "starlette", "jinja2", "httpx", "aiodns", "pycares")
    }
    assert not {one for one in loaded if one.startswith(("aegis_stream.api", "aegis_stream.store.cop"))}
