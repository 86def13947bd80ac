"""The package that people install: its licence, its type marker, and every file that the program reads at run time."""

import subprocess
import sys
import zipfile

from support.docs import ROOT, SOURCE, read


def test_the_license_is_the_one_that_the_metadata_names(tmp_path):
    """The wheel names Apache-2.0 and carries its text, the marker for type checkers, and every SQL file of the source."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )

    (wheel,) = tmp_path.glob("*.whl")
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
