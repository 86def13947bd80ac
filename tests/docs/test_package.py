"""The package that people install: its licence, its type marker, every file that the program reads, and how it is built."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from support.docs import ROOT, SOURCE, read


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the wheel into a folder."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


def test_the_license_is_the_one_that_the_metadata_names(tmp_path):
    """The wheel names Apache-2.0 and carries its text, the marker for type checkers, and every SQL file of the source."""
    assert build(tmp_path, AEGIS_PURE="1").returncode == 0

    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
        packed = set(archive.namelist())
    (metadata,) = [text for name, text in files.items() if name.endswith("/METADATA")]
    (license_text,) = [text for name, text in files.items() if name.endswith("/licenses/LICENSE")]
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert license_text == read("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in license_text
    wanted = {one.relative_to(SOURCE.parent).as_posix() for one in SOURCE.rglob("*.sql")}
    assert wanted | {"aegis_stream/py.typed"} <= packed


def test_a_build_without_a_compiler_is_pure_and_says_why(tmp_path):
    """Where there is no C compiler the wheel is pure Python, and one line says so; AEGIS_PURE=0 makes it an error."""
    done = build(tmp_path, AEGIS_PURE="", CC="no-such-compiler")
    refused = build(tmp_path / "refused", AEGIS_PURE="0", CC="no-such-compiler")

    assert done.returncode == 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "compiled modules" in line]
    assert line.endswith("is built without compiled modules: there is no C compiler: install gcc")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", "build.json"))]
    assert refused.returncode != 0
    assert "there is no C compiler: install gcc" in refused.stderr
    assert not list((tmp_path / "refused").glob("*.whl"))


def test_a_misspelled_choice_ends_the_build(tmp_path):
    """AEGIS_PURE has two values; another one is answered with them instead of being guessed."""
    done = build(tmp_path, AEGIS_PURE="yes")

    assert done.returncode != 0
    assert "AEGIS_PURE is 'yes': set it to 1 (pure Python) or 0 (compiled), or unset it" in done.stderr


def test_the_compiler_is_the_one_that_the_tests_have_seen():
    """A build in an environment of its own gets the version of mypyc that requirements/dev.txt pins."""
    (version,) = re.findall(r"^mypy==(\S+)", read("requirements/dev.txt"), re.MULTILINE)

    assert f'COMPILER = "mypy[mypyc]=={version}"' in read("hatch_build.py")
