"""Builds the offline verifier as one file: `python build_verifier.py dist/aegis-verify.pyz`.

The same source gives the same bytes, so that anybody can build it again and compare.
"""

import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parent / "src" / "aegis_stream" / "verify"
PACKAGE = "aegis_verify"
MAIN = f"from {PACKAGE}.__main__ import run\n\nrun()\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def build(target: Path) -> None:
    """Write the archive, executable, with a first line for the shell."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = {f"{PACKAGE}/{one.name}": one.read_bytes() for one in sorted(SOURCE.glob("*.py"))}
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in {"__main__.py": MAIN.encode(), **files}.items():
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data)
    target.chmod(0o755)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
