"""The offline verifier as one file, made from the sources of `verify/` that are installed.

The same sources give the same bytes, whoever builds them, so that two copies can be compared.
"""

import io
import zipfile
from functools import cache
from pathlib import Path

NAME = "aegis-verify.pyz"
PACKAGE = "aegis_verify"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive that must be the same whenever it is made."""
SOURCE = Path(__file__).parents[1] / "verify"
_MAIN = f"from {PACKAGE}.__main__ import run\n\nrun()\n"


@cache
def verifier() -> bytes:
    """Return the file, about 170 kB, for Python 3.9 and newer; made at the first call of the process."""
    files = {f"{PACKAGE}/{one.name}": one.read_bytes() for one in sorted(SOURCE.glob("*.py"))}
    made = io.BytesIO(b"#!/usr/bin/env python3\n")
    made.seek(0, io.SEEK_END)
    with zipfile.ZipFile(made, "a") as archive:
        for name, data in {"__main__.py": _MAIN.encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), data)
    return made.getvalue()
