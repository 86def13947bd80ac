"""Mutants that are written by hand, where mutmut does not reach: each still applies, and its test notices it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aegis_stream"
MUTANTS = tomllib.loads((Path(__file__).parent / "by_hand.toml").read_text(encoding="utf-8"))["mutant"]
TEST_S_MAX = 90
"""Longest time for the test of one mutant, seconds."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one["why"])
def test_a_mutant_applies_at_one_place(mutant):
    """The text that a mutant replaces is in its file exactly once."""
    assert (SOURCE / mutant["file"]).read_text(encoding="utf-8").count(mutant["old"]) == 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one["why"])
def test_a_mutant_is_noticed(mutant, tmp_path):
    """The named test fails with the changed code: it fails, and does not merely fail to run."""
    shutil.copytree(SOURCE, tmp_path / "aegis_stream")
    changed = tmp_path / "aegis_stream" / mutant["file"]
    changed.write_text(
        changed.read_text(encoding="utf-8").replace(mutant["old"], mutant["new"]), encoding="utf-8"
    )

    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-o",
            f"pythonpath={tmp_path} tests .",
            mutant["test"],
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TEST_S_MAX,
        check=False,
    )

    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout[-2000:]
    assert "no tests ran" not in ended.stdout
