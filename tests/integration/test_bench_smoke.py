"""The benchmark harness in small: what it measures is correct, whatever the speed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_acknowledged_event_arrives_once_and_unchanged():
    """Under the benchmarks' load nothing is lost, nothing comes twice, and every body equals what was sent."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--smoke"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )

    print(done.stdout)
    if done.returncode == MISSING:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "S2 into nginx" in done.stdout
